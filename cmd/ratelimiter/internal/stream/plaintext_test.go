package stream

import (
	"io"
	"strings"
	"testing"
)

func FuzzPlainText(f *testing.F) {
	f.Add("\ufeff[{\"a\":1},\n{}]")
	f.Add("\x00\x00\x00a\x00b\x00c")
	f.Add("\xff\xfea\x00\n")
	f.Add("{\n \"a\\\"")
	f.Fuzz(func(_ *testing.T, text string) {
		lines, err := unpackLayers(strings.NewReader(text), maxLayers, &counted{})
		if err != nil {
			return
		}
		if lines, err = plainText(io.LimitReader(lines, 1<<20)); err == nil {
			_, _ = io.Copy(io.Discard, lines) // it must end, and not panic
		}
	})
}

package stream

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

// packed packs a text.
func packed(t *testing.T, text string, packer func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	w := packer(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

func gzipped(t *testing.T, text string) string {
	return packed(t, text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func xzipped(t *testing.T, text string) string {
	return packed(t, text, func(w io.Writer) io.WriteCloser {
		x, err := xz.NewWriter(w)
		require.NoError(t, err)
		return x
	})
}

func zipped(t *testing.T, texts ...string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, text := range texts {
		part, err := w.Create("logs/access.log")
		require.NoError(t, err)
		_, err = part.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

func TestPackedLogsAreUnpacked(t *testing.T) {
	log := line("a", 0) + line("b", 1)
	// bzip2 has no writer here: printf 'the log' | bzip2 | base64
	bzipped, err := base64.StdEncoding.DecodeString(bzippedLog)
	require.NoError(t, err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "logs/", Typeflag: tar.TypeDir}))
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "logs/access.log", Mode: 0o600, Size: int64(len(log))}))
	_, err = w.Write([]byte(log))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for name, text := range map[string]string{
		"gzip":               gzipped(t, log),
		"two gzips in a row": gzipped(t, line("a", 0)) + gzipped(t, line("b", 1)),
		"a gzip in a gzip":   gzipped(t, gzipped(t, log)),
		"zstd": packed(t, log, func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			require.NoError(t, err)
			return z
		}),
		"bzip2":              string(bzipped),
		"xz":                 xzipped(t, log),
		"a tar in a gzip":    gzipped(t, archive.String()),
		"zip":                zipped(t, log),
		"several in a zip":   zipped(t, line("a", 0), line("b", 1)),
		"UTF-16 in a gzip":   gzipped(t, "\xff\xfe"+wide(log)),
		"a gzip in a zip":    zipped(t, gzipped(t, line("a", 0)), gzipped(t, line("b", 1))),
		"no end of the line": gzipped(t, log[:len(log)-1]),
	} {
		list, tally := seen(t, options(write(t, "log", []byte(text))))
		require.Equal(t, []string{"a 0", "b 1"}, list, name)
		require.Zero(t, tally.Lost(), name)
		require.NoError(t, tally.Files[0].Short, name)
	}
}

const bzippedLog = "QlpoOTFBWSZTWaAFPmgAADlfgEAQUAv5EALQRAoyB0BAIAByEqmmmhpiaDCaHoFVTT1TJ5RoMj1PKGiaiqWN1FUKNHBm5CS14WfWSmGHnZi1RhCHFLZo8M2SGSb2miSVVmqabZZJcyKniHpj8diFgQ/Li7kinChIUAKfNAA="

func wide(text string) string {
	var b bytes.Buffer
	for _, c := range []byte(text) {
		b.Write([]byte{c, 0})
	}
	return b.String()
}

func TestAnUnsupportedPackingIsNamed(t *testing.T) {
	huge := []byte(xzipped(t, line("a", 0)))
	require.EqualValues(t, 0x21, huge[14], "the filter of the first block")
	huge[16] = 40 // 4 GiB
	for says, o := range map[string]*Options{
		"packed with zip, which is not supported; run unzip -p FILE": fromStdin(zipped(t, line("a", 0))),
		"packed with lz4":                options(write(t, "log", []byte("\x04\x22\x4d\x18"))),
		"its xz dictionary is larger":    options(write(t, "log", huge)),
		"it is packed more than 3 times": options(write(t, "log", []byte(gzipped(t, gzipped(t, gzipped(t, gzipped(t, line("a", 0)))))))),
	} {
		_, err := Read(t.Context(), o, traffic.NewCensus([]time.Duration{time.Second}))
		require.ErrorContains(t, err, says)
	}
}

// zeros is an endless file.
type zeros struct{ text string }

func (z zeros) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], z.text)
	}
	return len(p), nil
}

func TestADecompressionBombIsNotReadToTheEnd(t *testing.T) {
	g := &guarded{Reader: zeros{line("a", 0)}, packed: &counted{own: 1000}}
	n, err := io.Copy(io.Discard, g)
	require.ErrorContains(t, err, "unpacks to more than 2000 times its size")
	require.LessOrEqual(t, n, int64(safeBytes+1<<20))
}

func TestATruncatedArchiveIsReadAsFarAsPossible(t *testing.T) {
	var all strings.Builder
	for i := range 40_000 {
		all.WriteString(line(fmt.Sprintf("10.%d.%d.%d", i*7%250, i*13%251, i*17%253), i))
	}
	for name, whole := range map[string]string{"gzip": gzipped(t, all.String()), "xz": xzipped(t, all.String())} {
		path := write(t, "log", []byte(whole[:len(whole)*3/4]))
		list, tally := seen(t, options(path))
		require.NotEmpty(t, list, name)
		require.Error(t, tally.Files[0].Short, name)
		require.NoError(t, os.Remove(path))
	}
}

package stream

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// plainText converts unpacked text to lines in UTF-8. It skips NULs at the start of a log that
// was truncated while a server wrote to it, decodes UTF-16, removes a byte order mark, and
// puts each object of a JSON array on its own line.
func plainText(reader io.Reader) (io.Reader, error) {
	text := bufio.NewReaderSize(reader, 256<<10)
	if err := skipNULs(text); err != nil {
		return nil, err
	}
	head, err := text.Peek(magicBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		if len(head) == 0 {
			return nil, err
		}
		return text, nil // further reading returns the error
	}
	if order, utf16 := utf16Order(head); utf16 {
		decoder := unicode.UTF16(order, unicode.UseBOM).NewDecoder()
		text = bufio.NewReaderSize(transform.NewReader(text, decoder), 64<<10)
		head, _ = text.Peek(magicBytes) // further reading returns the error
	}
	if bytes.HasPrefix(head, byteOrderMark) {
		_, _ = text.Discard(len(byteOrderMark)) // already buffered
		head = head[len(byteOrderMark):]
	}
	if isArray(head) {
		return &objects{from: text}, nil
	}
	return text, nil
}

var byteOrderMark = []byte("\ufeff")

// skipNULs skips the hole at the start of a sparse file.
func skipNULs(text *bufio.Reader) error {
	for {
		head, err := text.Peek(1)
		if err != nil || head[0] != 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		head, _ = text.Peek(text.Buffered()) // already buffered
		if len(head) > 1 && head[1] != 0 && head[1] < 0x80 && len(head)%2 == 0 && len(head) > 3 && head[2] == 0 {
			return nil // big-endian UTF-16
		}
		_, _ = text.Discard(len(head) - len(bytes.TrimLeft(head, "\x00"))) // already buffered
	}
}

// utf16Order detects UTF-16 by its byte order mark, or by the zero byte in each of the first
// characters, which are ASCII in a log.
func utf16Order(head []byte) (unicode.Endianness, bool) {
	if len(head) < 4 {
		return unicode.LittleEndian, false
	}
	switch {
	case head[0] == 0xff && head[1] == 0xfe, head[1] == 0 && head[3] == 0 && head[0] != 0:
		return unicode.LittleEndian, true
	case head[0] == 0xfe && head[1] == 0xff, head[0] == 0 && head[2] == 0 && head[1] != 0:
		return unicode.BigEndian, true
	}
	return unicode.LittleEndian, false
}

// isArray detects a JSON array of objects, or objects over several lines.
func isArray(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	if len(head) < 2 {
		return false
	}
	switch head[0] {
	case '[':
		head = bytes.TrimLeft(head[1:], " \t\r\n")
		return len(head) > 0 && head[0] == '{'
	case '{':
		head = bytes.TrimLeft(head[1:], " \t\r")
		return len(head) > 0 && head[0] == '\n'
	}
	return false
}

// objects puts each object of a JSON text on its own line. Text between objects, other than
// commas, brackets and spaces, also becomes a line, so that it is counted.
type objects struct {
	from   *bufio.Reader
	depth  int
	text   bool // within quotes
	escape bool // after a backslash
	junk   bool
}

func (o *objects) Read(p []byte) (n int, err error) {
	for n+2 <= len(p) {
		c, err := o.from.ReadByte()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		n += o.take(p[n:], c)
		if n > 0 && o.from.Buffered() == 0 {
			return n, nil
		}
	}
	return n, nil
}

// take writes the output for a character: at most two bytes.
func (o *objects) take(to []byte, c byte) int {
	to[0], to[1] = c, '\n'
	switch {
	case o.depth == 0 && o.junk:
		o.junk = c != '\n'
		return 1
	case o.depth == 0:
		if c == '{' {
			o.depth = 1
			return 1
		}
		o.junk = bytes.IndexByte([]byte(" \t\r\n,[]"), c) < 0
		if o.junk {
			return 1
		}
		return 0
	case o.escape:
		o.escape = false
	case o.text:
		o.escape = c == '\\'
		o.text = c != '"'
	case c == '\n' || c == '\r' || c == '\t':
		return 0
	case c == '"':
		o.text = true
	case c == '{':
		o.depth++
	case c == '}':
		if o.depth--; o.depth == 0 {
			return 2
		}
	}
	return 1
}

package accesslog

import "bytes"

// csvLine reads a line of comma-separated values (RFC 4180). A value cannot
// reach over the end of a line: access logs hold none that would.
type csvLine struct {
	separator byte
	header    []byte // a line like this one is no request
	roles     []role // of the columns, as far as they matter
	spare     [8][]byte
}

// Parse reads a line.
func (c *csvLine) Parse(line []byte, r *Record) error {
	*r = Record{}
	line = bytes.TrimRight(line, "\r")
	if len(line) == 0 {
		return errEmpty
	}
	if bytes.Equal(line, c.header) {
		return ErrNoRequest
	}
	rest, more := line, true
	for _, as := range c.roles {
		if !more {
			return errNoColumn
		}
		var value []byte
		var err error
		value, rest, more, err = c.next(rest, &c.spare[as])
		if err != nil {
			return err
		}
		if err := r.set(as, value); err != nil {
			return err
		}
	}
	return nil
}

// next takes a value off the front; more tells whether another follows.
func (c *csvLine) next(line []byte, spare *[]byte) (value, rest []byte, more bool, err error) {
	if len(line) == 0 || line[0] != '"' {
		if end := bytes.IndexByte(line, c.separator); end >= 0 {
			return line[:end], line[end+1:], true, nil
		}
		return line, nil, false, nil
	}
	line = line[1:]
	plain := (*spare)[:0]
	for {
		end := bytes.IndexByte(line, '"')
		if end < 0 {
			return nil, nil, false, errQuote
		}
		doubled := end+1 < len(line) && line[end+1] == '"'
		switch {
		case doubled: // stands for one quote
			plain = append(plain, line[:end+1]...)
			line = line[end+2:]
			continue
		case len(plain) == 0:
			value = line[:end]
		default:
			plain = append(plain, line[:end]...)
			*spare, value = plain, plain
		}
		rest = line[end+1:]
		if len(rest) == 0 {
			return value, nil, false, nil
		}
		if rest[0] != c.separator {
			return nil, nil, false, errQuote
		}
		return value, rest[1:], true, nil
	}
}

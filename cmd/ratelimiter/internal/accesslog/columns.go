package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// columns are the relevant columns of a line, in order: those of CSV, or those in the
// "#Fields:" of a W3C log.
type columns struct {
	separator byte
	quotes    bool // values may be quoted as in RFC 4180
	roles     []role
	forwarded *Forwarded
	header    []byte // this line is not a request
	w3c       bool   // lines that start with "#" are not requests
	spare     [roles][]byte
}

// Parse parses a line. A value cannot contain a line break; access logs have no such values.
func (c *columns) Parse(line []byte, r *Record) error {
	*r = Record{}
	line = bytes.TrimRight(line, "\r")
	if len(line) == 0 {
		return ErrEmpty
	}
	if bytes.Equal(line, c.header) {
		return ErrNoRequest
	}
	if c.w3c && line[0] == '#' {
		if bytes.HasPrefix(line, fieldsPrefix) && !bytes.Equal(line, c.header) {
			return ErrColumnsChange
		}
		return ErrNoRequest
	}
	rest, more := line, true
	for _, as := range c.roles {
		if !more {
			return errNoColumn
		}
		var value []byte
		var err error
		if value, rest, more, err = c.next(rest, &c.spare[as]); err != nil {
			return err
		}
		if err := r.set(as, value); err != nil {
			return err
		}
	}
	return r.finish(c.forwarded)
}

// next removes a value from the start of a line; more reports whether another follows.
func (c *columns) next(line []byte, spare *[]byte) (value, rest []byte, more bool, err error) {
	if !c.quotes || len(line) == 0 || line[0] != '"' {
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
		case doubled: // an escaped quote
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

func (c *columns) split(line []byte) (list []string, err error) {
	for more := true; more; {
		var value []byte
		if value, line, more, err = c.next(line, &c.spare[0]); err != nil {
			return nil, err
		}
		list = append(list, string(value))
	}
	return list, nil
}

// fromCSV reads the column names from the first line. Columns can also be given by number,
// starting at 1.
func fromCSV(sample [][]byte, wanted Wanted) (Format, error) {
	if len(sample) == 0 {
		return Format{}, ErrEmpty
	}
	header := bytes.TrimRight(sample[0], "\r")
	c := columns{separator: ',', quotes: true, header: header, forwarded: wanted.Forwarded}
	for _, other := range []byte{';', '\t', '|'} {
		if bytes.Count(header, []byte{other}) > bytes.Count(header, []byte{c.separator}) {
			c.separator = other
		}
	}
	names, err := c.split(header)
	if err != nil {
		return Format{}, err
	}
	chosen, err := c.choose(names, sample[1:], wanted)
	if err != nil {
		return Format{}, err
	}
	if _, numbered := strconv.Atoi(chosen[roleTime] + chosen[roleClock]); numbered == nil {
		c.header = nil // there is no header
	}
	return Format{Name: "csv, " + describe(chosen), timeless: timeless(chosen), NewParser: func() Parser { own := c; return &own }}, nil
}

var (
	fieldsPrefix = []byte("#Fields:")
	errNoFields  = errors.New("no #Fields line declares the columns")
)

// fromW3C reads the column names from the "#Fields:" of the extended log file format. IIS
// separates columns by spaces, and CloudFront by tabs.
func fromW3C(sample [][]byte, wanted Wanted) (Format, error) {
	for i, line := range sample {
		line = bytes.TrimRight(line, "\r")
		if !bytes.HasPrefix(line, fieldsPrefix) {
			continue
		}
		c := columns{separator: ' ', header: line, w3c: true, forwarded: wanted.Forwarded}
		for _, data := range sample[i+1:] {
			if !isComment(data) && bytes.IndexByte(data, '\t') >= 0 {
				c.separator = '\t'
			}
		}
		chosen, err := c.choose(strings.Fields(string(line[len(fieldsPrefix):])), sample[i+1:], wanted)
		if err != nil {
			return Format{}, err
		}
		return Format{Name: "w3c, " + describe(chosen), timeless: timeless(chosen), NewParser: func() Parser { own := c; return &own }}, nil
	}
	return Format{}, errNoFields
}

func isComment(line []byte) bool { return len(line) > 0 && line[0] == '#' }

// choose assigns roles to the columns by their names and by the values in the sample. If the
// sample has no values, only the names count.
func (c *columns) choose(names []string, sample [][]byte, wanted Wanted) (map[role]string, error) {
	places, found := map[string]int{}, values{}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		places[names[i]] = i
		places[strconv.Itoa(i+1)] = i
	}
	for _, line := range sample {
		if c.w3c && isComment(line) {
			continue
		}
		row, err := c.split(bytes.TrimRight(line, "\r"))
		for i := 0; err == nil && i < min(len(names), len(row)); i++ {
			found[names[i]] = append(found[names[i]], row[i])
		}
	}
	if len(found) == 0 {
		c.guess(names, found)
	}
	chosen, err := found.choose(wanted)
	if err != nil {
		return nil, err
	}
	for as, name := range chosen {
		column, ok := places[name]
		if !ok {
			return nil, fmt.Errorf("the log has no column %q", name)
		}
		for len(c.roles) <= column {
			c.roles = append(c.roles, roleNone)
		}
		c.roles[column] = as
	}
	return chosen, nil
}

// guess fills in values for a log without requests.
func (c *columns) guess(names []string, found values) {
	for _, name := range names {
		found[name] = []string{"200", "192.0.2.1", "2015-05-17T10:05:03Z"}
	}
}

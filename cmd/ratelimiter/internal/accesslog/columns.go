package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// columns are the fields of a line in their order, as far as they matter: those
// of CSV, and those that the "#Fields:" of a W3C log announces.
type columns struct {
	separator byte
	quotes    bool // values may be quoted, as RFC 4180 has it
	roles     []role
	forwarded *Forwarded
	header    []byte // a line like this one is no request
	w3c       bool   // lines that begin with "#" are not requests either
	spare     [roles][]byte
}

// Parse reads a line. A value cannot reach over the end of a line: access logs
// hold none that would.
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

// next takes a value off the front; more tells whether another follows.
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

// fromCSV reads the names of the columns from the first line. Columns can also be
// given by number, the first being 1.
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
		c.header = nil // there is no line with names
	}
	return Format{Name: "csv, " + describe(chosen), timeless: timeless(chosen), NewParser: func() Parser { own := c; return &own }}, nil
}

var (
	fieldsPrefix = []byte("#Fields:")
	errNoFields  = errors.New("no line tells the columns with #Fields")
)

// fromW3C reads the names of the columns from the "#Fields:" of the extended log
// file format, which IIS and CloudFront write. IIS separates by spaces,
// CloudFront by tabs.
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

// choose gives the columns their roles, by their names and by the values that the
// sample shows. Where it shows none, the names alone decide.
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
			return nil, fmt.Errorf("there is no column %q", name)
		}
		for len(c.roles) <= column {
			c.roles = append(c.roles, roleNone)
		}
		c.roles[column] = as
	}
	return chosen, nil
}

// guess stands in for the values of a log without requests.
func (c *columns) guess(names []string, found values) {
	for _, name := range names {
		found[name] = []string{"200", "192.0.2.1", "2015-05-17T10:05:03Z"}
	}
}

package accesslog

import (
	"bytes"
	"strings"

	"github.com/buger/jsonparser"
)

// pairsLine parses logfmt, the text format of logrus and slog: key=value pairs, where values
// with spaces are quoted and escaped as in JSON.
type pairsLine struct {
	keys      []string
	roles     []role
	expected  fields
	forwarded *Forwarded
	spare     [roles][]byte
}

// fromPairs finds the fields in the pairs of a sample.
func fromPairs(sample [][]byte, wanted Wanted) (Format, error) {
	found := values{}
	for _, line := range sample {
		for len(line) > 0 {
			var key, value []byte
			if key, value, line = nextPair(line); key != nil {
				text := string(value)
				if len(value) > 1 && value[0] == '"' {
					text = strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`)
				}
				found[string(key)] = append(found[string(key)], text)
			}
		}
	}
	if len(found) < 2 {
		return Format{}, errNotPairs
	}
	chosen, err := found.choose(wanted)
	if err != nil {
		return Format{}, err
	}
	return Format{Name: "logfmt, " + describe(chosen), timeless: timeless(chosen), NewParser: func() Parser {
		p := &pairsLine{forwarded: wanted.Forwarded}
		for as, key := range chosen {
			p.keys, p.roles = append(p.keys, key), append(p.roles, as)
			p.expected.note(as)
		}
		return p
	}}, nil
}

// Parse parses a line.
func (p *pairsLine) Parse(line []byte, r *Record) error {
	*r = Record{}
	if len(line) == 0 {
		return ErrEmpty
	}
	var seen fields
	pairs := 0
	for len(line) > 0 {
		var key, value []byte
		if key, value, line = nextPair(line); key == nil {
			continue
		}
		pairs++
		as := p.roleOf(key)
		if as == roleNone || len(value) == 0 {
			continue
		}
		if value[0] == '"' {
			var err error
			if value, err = p.unquote(as, value); err != nil {
				return err
			}
		}
		seen.note(as)
		if err := r.set(as, value); err != nil {
			return err
		}
	}
	if pairs == 0 {
		return errNotPairs
	}
	return seen.settle(p.expected, r, p.forwarded)
}

func (p *pairsLine) roleOf(key []byte) role {
	for i, name := range p.keys {
		if name == string(key) {
			return p.roles[i]
		}
	}
	return roleNone
}

func (p *pairsLine) unquote(as role, value []byte) ([]byte, error) {
	if len(value) < 2 || value[len(value)-1] != '"' {
		return nil, errQuote
	}
	value = value[1 : len(value)-1]
	if bytes.IndexByte(value, '\\') < 0 {
		return value, nil
	}
	plain, err := jsonparser.Unescape(value, p.spare[as][:cap(p.spare[as])])
	if err != nil {
		return value, nil //nolint:nilerr // an escape that JSON does not know stays as written
	}
	p.spare[as] = plain
	return plain, nil
}

// nextPair removes a pair from the start of a line. For a word that is not a pair, key is
// nil. The value keeps its quotes.
func nextPair(line []byte) (key, value, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	at := bytes.IndexAny(line, "= ")
	if at < 0 || line[at] == ' ' || at == 0 {
		_, rest, _ = bytes.Cut(line, []byte(" "))
		return nil, nil, rest
	}
	key, line = line[:at], line[at+1:]
	if len(line) == 0 || line[0] != '"' {
		value, rest, _ = bytes.Cut(line, []byte(" "))
		return key, value, rest
	}
	end := quoteEnd(line[1:])
	if end < 0 {
		return key, line, nil
	}
	return key, line[:end+2], line[end+2:]
}

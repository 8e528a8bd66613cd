package accesslog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/buger/jsonparser"
)

// jsonLine parses one JSON object per line. It reads only a few paths, which were found in
// the first lines of the log.
type jsonLine struct {
	paths     [][]string
	roles     []role
	expected  fields
	forwarded *Forwarded

	record *Record
	fault  error
	seen   fields
	spare  [roles][]byte // buffers for texts with escapes
}

func newJSONLine(paths map[role][]string, forwarded *Forwarded) *jsonLine {
	j := &jsonLine{forwarded: forwarded}
	for as := roleTime; as < roles; as++ {
		if path, ok := paths[as]; ok {
			j.paths = append(j.paths, path)
			j.roles = append(j.roles, as)
			j.expected.note(as)
		}
	}
	return j
}

// fromJSON finds the fields in the objects of a sample.
func fromJSON(sample [][]byte, wanted Wanted) (Format, error) {
	found, paths := values{}, map[string][]string{}
	for _, line := range sample {
		var object map[string]any
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.UseNumber() // keep numbers as written
		if decoder.Decode(&object) == nil {
			found.addObject(paths, nil, object)
		}
	}
	if len(found) == 0 {
		return Format{}, errNotJSON
	}
	chosen, err := found.choose(wanted)
	if err != nil {
		return Format{}, err
	}
	where := map[role][]string{}
	for as, name := range chosen {
		where[as] = paths[name]
		if where[as] == nil { // named by the caller, but not in the sample
			where[as] = strings.Split(name, ".")
		}
	}
	return Format{
		Name: "json, " + describe(chosen), timeless: timeless(chosen),
		NewParser: func() Parser { return newJSONLine(where, wanted.Forwarded) },
	}, nil
}

// maxDepth is how deep objects are searched. Loggers nest a few; a line that nests thousands
// would take memory for the path to each of them.
const maxDepth = 16

// addObject records all texts and numbers in an object with their paths: a dot in a name may
// separate nested objects or be part of the name.
func (v values) addObject(paths map[string][]string, before []string, object map[string]any) {
	for name, value := range object {
		path := slices.Concat(before, []string{name})
		switch value := value.(type) {
		case map[string]any:
			if len(path) < maxDepth {
				v.addObject(paths, path, value)
			}
		case string, json.Number:
			dotted := strings.Join(path, ".")
			v[dotted] = append(v[dotted], fmt.Sprint(value))
			paths[dotted] = path
		}
	}
}

// Parse parses a line.
func (j *jsonLine) Parse(line []byte, r *Record) error {
	*r = Record{}
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return ErrEmpty
	}
	if line[0] != '{' || line[len(line)-1] != '}' {
		return errNotJSON
	}
	j.record, j.fault, j.seen = r, nil, 0
	jsonparser.EachKey(line, j.take, j.paths...)
	if j.fault != nil {
		return j.fault
	}
	return j.seen.settle(j.expected, r, j.forwarded)
}

// take receives each path that was found.
func (j *jsonLine) take(i int, value []byte, kind jsonparser.ValueType, err error) {
	if err != nil {
		j.fail(errNotJSON)
		return
	}
	switch kind {
	case jsonparser.Null, jsonparser.NotExist, jsonparser.Object:
		return
	case jsonparser.String:
		if bytes.IndexByte(value, '\\') >= 0 {
			plain, err := jsonparser.Unescape(value, j.spare[i][:cap(j.spare[i])])
			if err != nil {
				j.fail(errNotJSON)
				return
			}
			j.spare[i], value = plain, plain
		}
	}
	j.seen.note(j.roles[i])
	if err := j.record.set(j.roles[i], value); err != nil {
		j.fail(err)
	}
}

func (j *jsonLine) fail(err error) {
	if j.fault == nil {
		j.fault = err
	}
}

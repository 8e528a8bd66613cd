package accesslog

import (
	"bytes"
	"strings"

	"github.com/buger/jsonparser"
)

// jsonLine reads an object on a line. It looks for a few paths alone, those that
// the first lines of the log have shown.
type jsonLine struct {
	paths [][]string
	roles []role

	record *Record
	fault  error
	seen   uint
	spare  [8][]byte // for texts with escapes, one a path
}

func newJSONLine(paths map[role]string) *jsonLine {
	j := &jsonLine{}
	for as := roleTime; as <= roleExtra; as++ {
		if path, ok := paths[as]; ok {
			j.paths = append(j.paths, strings.Split(path, "."))
			j.roles = append(j.roles, as)
		}
	}
	return j
}

// Parse reads a line.
func (j *jsonLine) Parse(line []byte, r *Record) error {
	*r = Record{}
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return errEmpty
	}
	if line[0] != '{' || line[len(line)-1] != '}' {
		return errNotJSON
	}
	j.record, j.fault, j.seen = r, nil, 0
	jsonparser.EachKey(line, j.take, j.paths...)
	if j.fault != nil {
		return j.fault
	}
	return j.missing()
}

// missing tells what a line lacks. The client may be told by the address or by
// the field that was named instead.
func (j *jsonLine) missing() error {
	told := false
	var lacks error
	for i, as := range j.roles {
		seen := j.seen&(1<<i) != 0
		switch {
		case as == roleClient || as == roleExtra:
			told = told || seen
		case !seen && as == roleTime:
			return errNoTime
		case !seen && (as == roleRequest || as == rolePath):
			lacks = errNoRequest
		}
	}
	if !told {
		return errClient
	}
	return lacks
}

// take is told of each path that was found.
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
	j.seen |= 1 << i
	if err := j.record.set(j.roles[i], value); err != nil {
		j.fail(err)
	}
}

func (j *jsonLine) fail(err error) {
	if j.fault == nil {
		j.fault = err
	}
}

package accesslog

import (
	"bytes"
	"errors"
	"time"

	"github.com/buger/jsonparser"
)

// prefix is a prefix or wrapper of each line, written by syslog, journald, a container
// runtime or compose.
type prefix struct {
	name string
	// cut removes the prefix and returns the time in it, or 0 for none. spare is a buffer
	// for lines with escapes.
	cut func(line []byte, spare *[]byte) (rest []byte, micros int64, ok bool)
	// why returns the error for a line without the prefix.
	why func(line []byte) error
}

// prefixes are tried in this order: the more specific first.
var prefixes = []prefix{
	{"json-wrapped", cutJSON, noPrefix},
	{"compose", cutCompose, noPrefix},
	{"kubectl", cutPod, noPrefix},
	{"cri", cutCRI, partOrNone},
	{"syslog", cutSyslog, noPrefix},
	{"timestamped", cutTimestamp, noPrefix},
}

var (
	errPrefix = errors.New("the line lacks the prefix of the other lines")
	errPart   = errors.New("the line is part of a longer line")
)

func noPrefix([]byte) error { return errPrefix }

// unwrapped parses lines with a prefix.
type unwrapped struct {
	prefix prefix
	inner  Parser
	spare  []byte
}

// withPrefix makes a format with a prefix before the lines of another format.
func withPrefix(p prefix, inner Format) Format {
	return Format{Name: p.name + " " + inner.Name, NewParser: func() Parser {
		return &unwrapped{prefix: p, inner: inner.NewParser()}
	}}
}

// Parse parses a line. If the rest has no time, the time in the prefix counts.
func (u *unwrapped) Parse(line []byte, r *Record) error {
	*r = Record{}
	if len(line) == 0 {
		return ErrEmpty
	}
	rest, micros, ok := u.prefix.cut(line, &u.spare)
	if !ok {
		return u.prefix.why(line)
	}
	err := u.inner.Parse(rest, r)
	if errors.Is(err, ErrEmpty) {
		return ErrNoRequest
	}
	if err == nil && r.Time == 0 {
		r.Time = micros
		if micros == 0 {
			return errNoTime
		}
	}
	return err
}

// wrappers are the JSON fields that contain a line and its time, as written by docker,
// journald and the agents of Elastic and Google.
var wrappers = []struct{ line, time []string }{
	{[]string{"log"}, []string{"time"}},
	{[]string{"MESSAGE"}, []string{"__REALTIME_TIMESTAMP"}},
	{[]string{"message"}, []string{"@timestamp"}},
	{[]string{"textPayload"}, []string{"timestamp"}},
}

// cutJSON extracts a line from a JSON object.
func cutJSON(line []byte, spare *[]byte) (rest []byte, micros int64, ok bool) {
	if line[0] != '{' {
		return nil, 0, false
	}
	for _, w := range wrappers {
		value, kind, _, err := jsonparser.Get(line, w.line...)
		if err != nil || kind != jsonparser.String {
			continue
		}
		if bytes.IndexByte(value, '\\') >= 0 {
			plain, err := jsonparser.Unescape(value, (*spare)[:cap(*spare)])
			if err != nil {
				return nil, 0, false
			}
			*spare, value = plain, plain
		}
		if at, _, _, err := jsonparser.Get(line, w.time...); err == nil {
			micros, _ = parseTime(at)
		}
		return bytes.TrimRight(value, "\r\n"), micros, true
	}
	return nil, 0, false
}

// cutCompose removes the name of a service and a bar, such as "web-1  | ", perhaps coloured.
func cutCompose(line []byte, _ *[]byte) (rest []byte, micros int64, ok bool) {
	bar := bytes.IndexByte(line[:min(len(line), 80)], '|')
	if bar < 2 || bar+1 < len(line) && line[bar+1] != ' ' && line[bar+1] != 0x1b {
		return nil, 0, false
	}
	name := line[:bar]
	rest = bytes.TrimLeft(line[bar+1:], "")
	if bytes.HasPrefix(rest, []byte("\x1b[0m")) {
		rest = rest[len("\x1b[0m"):]
	}
	rest = bytes.TrimPrefix(rest, []byte(" "))
	name = trim(name)
	if len(name) == 0 || line[bar-1] != ' ' {
		return nil, 0, false
	}
	for _, c := range name {
		if !isNameByte(c) && c != '-' && c != '.' {
			return nil, 0, false
		}
	}
	return rest, 0, true
}

// cutPod removes the prefix of "kubectl logs --prefix", such as "[pod/web-5d9c/nginx] ".
func cutPod(line []byte, _ *[]byte) (rest []byte, micros int64, ok bool) {
	if !bytes.HasPrefix(line, []byte("[pod/")) {
		return nil, 0, false
	}
	_, rest, ok = bytes.Cut(line, []byte("] "))
	return rest, 0, ok
}

// cutCRI removes the prefix of Kubernetes container runtimes: the time, the stream, and F
// for a full line or P for a partial one.
func cutCRI(line []byte, _ *[]byte) (rest []byte, micros int64, ok bool) {
	tag, rest, micros, ok := cutStream(line)
	return rest, micros, ok && (string(tag) == "F" || bytes.HasPrefix(tag, []byte("F:")))
}

func partOrNone(line []byte) error {
	if tag, _, _, ok := cutStream(line); ok && bytes.HasPrefix(tag, []byte("P")) {
		return errPart
	}
	return errPrefix
}

// cutStream removes the time, the stream and the tag.
func cutStream(line []byte) (tag, rest []byte, micros int64, ok bool) {
	rest, micros, ok = cutTime(line)
	stream, rest, _ := bytes.Cut(rest, []byte(" "))
	tag, rest, found := bytes.Cut(rest, []byte(" "))
	return tag, rest, micros, ok && found && (string(stream) == "stdout" || string(stream) == "stderr")
}

// cutTimestamp removes an ISO 8601 time, as written by "docker logs -t" and "kubectl logs
// --timestamps".
func cutTimestamp(line []byte, _ *[]byte) (rest []byte, micros int64, ok bool) {
	return cutTime(line)
}

// cutTime removes an ISO 8601 time and the space after it.
func cutTime(line []byte) (rest []byte, micros int64, ok bool) {
	if len(line) < 21 || line[0] < '0' || line[0] > '9' || line[4] != '-' {
		return nil, 0, false
	}
	at, rest, _ := bytes.Cut(line, []byte(" "))
	if len(at) == 10 { // a date; the time of day is the next word
		end := bytes.IndexByte(rest, ' ')
		if end < 0 {
			return nil, 0, false
		}
		at, rest = line[:10+1+end], rest[end+1:]
	}
	if len(at) < 19 {
		return nil, 0, false
	}
	micros, ok = parseISO(at)
	return rest, micros, ok && micros > 0 && micros < latest
}

// cutSyslog removes the prefix of syslog and journald: RFC 3164, RFC 5424, and lines with an
// ISO 8601 time before the host and the tag.
func cutSyslog(line []byte, _ *[]byte) (rest []byte, micros int64, ok bool) {
	line, version := cutPriority(line)
	if version {
		return cutRFC5424(line)
	}
	if rest, micros, ok = cutTime(line); !ok {
		rest, micros, ok = cutStamp(line)
	}
	if !ok {
		return nil, 0, false
	}
	// Without a host, the tag comes first.
	word, behind, _ := bytes.Cut(rest, []byte(" "))
	if !bytes.HasSuffix(word, []byte(":")) {
		word, behind, _ = bytes.Cut(bytes.TrimLeft(behind, " "), []byte(" "))
	}
	if len(word) < 2 || word[len(word)-1] != ':' {
		return nil, 0, false
	}
	return behind, micros, true
}

// cutPriority removes "<190>" and the version 1 of RFC 5424, and reports whether there is a
// version.
func cutPriority(line []byte) (rest []byte, version bool) {
	if line[0] != '<' {
		return line, false
	}
	end := bytes.IndexByte(line[:min(len(line), 6)], '>')
	if end < 0 || end+1 >= len(line) {
		return line, false
	}
	return bytes.CutPrefix(line[end+1:], []byte("1 "))
}

// cutRFC5424 removes the time, host, application, process, message ID and structured data of
// RFC 5424.
func cutRFC5424(line []byte) (rest []byte, micros int64, ok bool) {
	if rest, micros, ok = cutTime(line); !ok {
		return nil, 0, false
	}
	for range 4 {
		if _, rest, ok = bytes.Cut(rest, []byte(" ")); !ok {
			return nil, 0, false
		}
	}
	if len(rest) > 0 && rest[0] == '[' {
		_, rest, ok = bytes.Cut(rest, []byte("] "))
	} else {
		rest, ok = bytes.CutPrefix(rest, []byte("- "))
	}
	return bytes.TrimPrefix(rest, []byte("\ufeff")), micros, ok
}

// cutStamp removes "May 17 10:05:03 ", perhaps with a fraction. The year is missing, so the
// latest year that does not put the time in the future is used.
func cutStamp(line []byte) (rest []byte, micros int64, ok bool) {
	if len(line) < 17 || line[3] != ' ' || line[6] != ' ' {
		return nil, 0, false
	}
	month := monthOf(line[:3])
	dayOfMonth, ok1 := digits(bytes.TrimLeft(line[4:6], " "))
	clock, ok2 := parseClock(line[7:15])
	if month == 0 || !ok1 || !ok2 {
		return nil, 0, false
	}
	fraction, rest := parseFraction(line[15:])
	if len(rest) == 0 || rest[0] != ' ' {
		return nil, 0, false
	}
	year := int64(started.Year())
	midnight, ok := date(year, month, dayOfMonth)
	if !ok || midnight > started.UnixMicro()+day {
		if midnight, ok = date(year-1, month, dayOfMonth); !ok {
			return nil, 0, false
		}
	}
	return rest[1:], midnight + clock + fraction, true
}

// started is the start time of the program, so that all lines get the same year.
var started = time.Now().UTC()

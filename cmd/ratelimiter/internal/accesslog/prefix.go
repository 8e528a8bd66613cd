package accesslog

import (
	"bytes"
	"errors"
	"time"

	"github.com/buger/jsonparser"
)

// prefix is what something between the server and the file has put before each
// line, or around it: syslog, journald, a container runtime, compose.
type prefix struct {
	name string
	// cut takes it off. The time is the one in it, 0 if there is none. spare is
	// memory for lines with escapes.
	cut func(line []byte, spare *[]byte) (rest []byte, micros int64, ok bool)
	// why says what is wrong with a line that it does not fit.
	why func(line []byte) error
}

// prefixes are tried in this order: the more telling first.
var prefixes = []prefix{
	{"json-wrapped", cutJSON, noPrefix},
	{"compose", cutCompose, noPrefix},
	{"kubectl", cutPod, noPrefix},
	{"cri", cutCRI, partOrNone},
	{"syslog", cutSyslog, noPrefix},
	{"timestamped", cutTimestamp, noPrefix},
}

var (
	errPrefix = errors.New("the line does not begin with what is before the others")
	errPart   = errors.New("the line is a part of a longer one")
)

func noPrefix([]byte) error { return errPrefix }

// unwrapped reads lines behind a prefix.
type unwrapped struct {
	prefix prefix
	inner  Parser
	spare  []byte
}

// behind makes the format of lines that have a prefix before those of another.
func behind(p prefix, inner Format) Format {
	return Format{Name: p.name + " " + inner.Name, NewParser: func() Parser {
		return &unwrapped{prefix: p, inner: inner.NewParser()}
	}}
}

// Parse reads a line. The time of the prefix counts where the rest has none.
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

// wrappers are the fields in which JSON carries a line: those of docker, journald
// and the Elastic and Google agents, with the field of their time.
var wrappers = []struct{ line, time []string }{
	{[]string{"log"}, []string{"time"}},
	{[]string{"MESSAGE"}, []string{"__REALTIME_TIMESTAMP"}},
	{[]string{"message"}, []string{"@timestamp"}},
	{[]string{"textPayload"}, []string{"timestamp"}},
}

// cutJSON takes a line out of the object that carries it.
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

// cutCompose takes off the name of a service and a bar, as "web-1  | ", which may
// be coloured.
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

// cutPod takes off what "kubectl logs --prefix" writes, as "[pod/web-5d9c/nginx] ".
func cutPod(line []byte, _ *[]byte) (rest []byte, micros int64, ok bool) {
	if !bytes.HasPrefix(line, []byte("[pod/")) {
		return nil, 0, false
	}
	_, rest, ok = bytes.Cut(line, []byte("] "))
	return rest, 0, ok
}

// cutCRI takes off what container runtimes write into the files of Kubernetes:
// the time, the stream, and F for a whole line. P is for a part of one.
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

// cutStream takes off the time, the stream and the tag behind it.
func cutStream(line []byte) (tag, rest []byte, micros int64, ok bool) {
	rest, micros, ok = cutTime(line)
	stream, rest, _ := bytes.Cut(rest, []byte(" "))
	tag, rest, found := bytes.Cut(rest, []byte(" "))
	return tag, rest, micros, ok && found && (string(stream) == "stdout" || string(stream) == "stderr")
}

// cutTimestamp takes off a time in ISO 8601, as "docker logs -t" and "kubectl logs
// --timestamps" write it.
func cutTimestamp(line []byte, _ *[]byte) (rest []byte, micros int64, ok bool) {
	return cutTime(line)
}

// cutTime takes off a time in ISO 8601 and the space behind it.
func cutTime(line []byte) (rest []byte, micros int64, ok bool) {
	if len(line) < 21 || line[0] < '0' || line[0] > '9' || line[4] != '-' {
		return nil, 0, false
	}
	at, rest, _ := bytes.Cut(line, []byte(" "))
	if len(at) == 10 { // a date, and the time of day in a word of its own
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

// cutSyslog takes off what syslog and journald write: RFC 3164, RFC 5424, and
// lines with a time in ISO 8601 before the host and the tag.
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
	// The host is missing where the tag comes first.
	word, behind, _ := bytes.Cut(rest, []byte(" "))
	if !bytes.HasSuffix(word, []byte(":")) {
		word, behind, _ = bytes.Cut(bytes.TrimLeft(behind, " "), []byte(" "))
	}
	if len(word) < 2 || word[len(word)-1] != ':' {
		return nil, 0, false
	}
	return behind, micros, true
}

// cutPriority takes off "<190>", and tells whether the version 1 of RFC 5424
// follows, which it takes off as well.
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

// cutRFC5424 takes off the time, host, application, process, message and
// structured data of RFC 5424.
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

// cutStamp takes off "May 17 10:05:03 ", perhaps with a fraction. It has no year,
// so the time is the latest such time that is not in the future.
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

// started is when the program was, for all lines to have the same year.
var started = time.Now().UTC()

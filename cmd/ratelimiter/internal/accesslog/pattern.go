package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pattern is a format in the notation of nginx's log_format: variables, and the
// text between them. A variable reaches as far as the text that follows it.
type pattern struct {
	begins    string
	fields    []patternField
	forwarded *Forwarded
	// noRequest tells a line that belongs to the log and is no request. It is asked
	// about lines that do not fit; nil when there are none such.
	noRequest func(line []byte) bool

	// The last time that was read: lines that follow one another often have the same.
	time   []byte
	micros int64
}

type patternField struct {
	role    role
	ends    string // the text behind; empty at the end of the line
	open    bool   // the line may go on behind it: it ends where its kind ends
	quoted  bool   // a quote behind a backslash does not end it
	list    bool   // a comma before the text behind does not end it either
	missing error  // when the text behind is not found
}

// variables are those of nginx, and some that other formats need.
var variables = map[string]role{
	"remote_addr": roleClient, "http_x_forwarded_for": roleForwarded, "proxy_add_x_forwarded_for": roleForwarded,
	"time_local": roleTime, "time_iso8601": roleTime, "msec": roleTime, "time": roleTime, "date": roleDate,
	"request": roleRequest, "request_method": roleMethod, "request_uri": rolePath, "uri": rolePath,
	"host": roleHost, "http_host": roleHost, "server_name": roleHost, "status": roleStatus,
}

// newPattern compiles a format. Behind the last field that matters a line is not
// looked at.
func newPattern(text string, wanted Wanted) (*pattern, error) {
	p := &pattern{forwarded: wanted.Forwarded}
	rest := text
	p.begins, rest = literal(rest)
	last := 0
	for rest != "" {
		name, after, err := variable(rest)
		if err != nil {
			return nil, fmt.Errorf("the format %q: %w", text, err)
		}
		field := patternField{role: roleOf(name, wanted)}
		field.quoted = strings.HasSuffix(text[:len(text)-len(rest)], `"`)
		field.ends, rest = literal(after)
		if field.ends == "" && rest != "" {
			return nil, fmt.Errorf("the format %q has nothing between $%s and the next variable, so nobody can tell where it ends", text, name)
		}
		field.open, field.list = field.ends == "", field.role == roleClient
		field.missing = fmt.Errorf("%q is missing behind $%s", field.ends, name)
		p.fields = append(p.fields, field)
		if field.role != roleNone {
			last = len(p.fields)
		}
	}
	p.fields = p.fields[:last]
	p.joinDateAndTime()
	return p, p.check(text, wanted)
}

// joinDateAndTime reads $time as a time of day where a $date stands beside it.
func (p *pattern) joinDateAndTime() {
	if !p.has(roleDate) {
		return
	}
	for i := range p.fields {
		if p.fields[i].role == roleTime {
			p.fields[i].role = roleClock
		}
	}
}

func (p *pattern) has(as role) bool {
	return slices.ContainsFunc(p.fields, func(f patternField) bool { return f.role == as })
}

// timeless tells whether the lines of a pattern have no time.
func (p *pattern) timeless() bool {
	return !p.has(roleTime) && !(p.has(roleDate) && p.has(roleClock))
}

// check says what a format lacks.
func (p *pattern) check(text string, wanted Wanted) error {
	for name, field := range wanted.Fields {
		if !p.has(roleNames[name]) && !(name == "time" && p.has(roleClock)) {
			return fmt.Errorf("the format %q has no $%s, which is to tell the %s", text, field, name)
		}
	}
	if wanted.Extra != "" && !p.has(roleExtra) {
		return fmt.Errorf("the format %q has no $%s, which is to tell the client", text, wanted.Extra)
	}
	if wanted.Extra == "" && !p.has(roleClient) && !(p.has(roleForwarded) && wanted.Forwarded != nil) {
		return fmt.Errorf("the format %q has no $remote_addr; name the variable that tells the client, as --field client=http_x_real_ip", text)
	}
	return nil
}

// roleOf is what a variable means: what the caller says, or else what its name
// says.
func roleOf(variable string, wanted Wanted) role {
	if variable == wanted.Extra {
		return roleExtra
	}
	for name, field := range wanted.Fields {
		if field == variable {
			return roleNames[name]
		}
	}
	usual := variables[variable]
	for name := range wanted.Fields {
		if roleNames[name] == usual {
			return roleNone
		}
	}
	return usual
}

// literal cuts a format at its next variable.
func literal(text string) (before, rest string) {
	if at := strings.IndexByte(text, '$'); at >= 0 {
		return text[:at], text[at:]
	}
	return text, ""
}

// variable takes "$name" or "${name}" off the front of a format.
func variable(text string) (name, rest string, err error) {
	text = text[1:]
	if inner, braced := strings.CutPrefix(text, "{"); braced {
		name, rest, closed := strings.Cut(inner, "}")
		if !closed || name == "" {
			return "", "", errors.New(`"${" begins a variable that never ends`)
		}
		return name, rest, nil
	}
	end := 0
	for end < len(text) && isNameByte(text[end]) {
		end++
	}
	if end == 0 {
		return "", "", errors.New(`a "$" must be followed by the name of a variable, as $remote_addr`)
	}
	return text[:end], text[end:], nil
}

func isNameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

var errBegins = errors.New("the line begins otherwise than the format")

// parser makes a pattern that one goroutine can use.
func (p *pattern) parser() Parser {
	own := *p
	own.time, own.micros = nil, 0
	return &own
}

// Parse reads a line.
func (p *pattern) Parse(line []byte, r *Record) error {
	_, err := p.parse(line, r)
	if err != nil && p.noRequest != nil && p.noRequest(line) {
		return ErrNoRequest
	}
	return err
}

// parse reads a line, and tells how many fields of it do fit.
func (p *pattern) parse(line []byte, r *Record) (fits int, err error) {
	*r = Record{}
	if len(line) == 0 {
		return 0, ErrEmpty
	}
	if len(line) < len(p.begins) || string(line[:len(p.begins)]) != p.begins {
		return 0, errBegins
	}
	rest := line[len(p.begins):]
	for i := range p.fields {
		field := &p.fields[i]
		end := len(rest)
		switch {
		case field.ends != "":
			if end = field.end(rest); end < 0 {
				return i, field.missing
			}
		case field.open:
			end = field.endOfKind(rest)
		}
		switch field.role {
		case roleNone:
		case roleTime:
			if err := p.setTime(r, trim(rest[:end])); err != nil {
				return i, err
			}
		default:
			if err := r.set(field.role, trim(rest[:end])); err != nil {
				return i, err
			}
		}
		rest = rest[end+min(len(field.ends), len(rest)-end):]
	}
	return len(p.fields), r.finish(p.forwarded)
}

// setTime reads a time, or knows it.
func (p *pattern) setTime(r *Record, text []byte) error {
	if string(text) != string(p.time) || len(text) == 0 {
		micros, ok := parseTime(text)
		if !ok {
			return errTime
		}
		p.time, p.micros = append(p.time[:0], text...), micros
	}
	r.Time = p.micros
	return nil
}

// endOfKind finds the end of the last value of a line that may go on behind it.
func (f *patternField) endOfKind(rest []byte) int {
	switch {
	case f.quoted:
		if end := quoteEnd(rest); end >= 0 {
			return end
		}
	case f.role == roleTime:
		return timeEnd(rest)
	case f.role == roleRequest: // it holds spaces itself
		if end := bytes.Index(rest, []byte(" HTTP/")); end >= 0 {
			return end + len(" HTTP/") + wordEnd(rest[end+len(" HTTP/"):])
		}
	case f.role == roleClient || f.role == roleForwarded:
		return listEnd(rest)
	default:
		return wordEnd(rest)
	}
	return len(rest)
}

// wordEnd is where a space ends a word.
func wordEnd(rest []byte) int {
	if end := bytes.IndexByte(rest, ' '); end >= 0 {
		return end
	}
	return len(rest)
}

// listEnd is where a word ends that is not followed by another behind a comma.
func listEnd(rest []byte) int {
	end := wordEnd(rest)
	for end < len(rest) && end > 0 && rest[end-1] == ',' {
		end += 1 + wordEnd(rest[end+1:])
	}
	return end
}

// timeEnd is where what stands in times ends. A time in the common or ISO format
// may hold a space before its zone, and one before its time of day.
func timeEnd(rest []byte) int {
	end := bytes.IndexAny(rest, "]\"|,;")
	if end == 3 && len(rest) > 3 && rest[3] == ',' { // the day of the week of RFC 1123
		if end = bytes.IndexAny(rest[4:], "]\"|,;"); end >= 0 {
			end += 4
		}
	}
	if end < 0 {
		end = len(rest)
	}
	for ; end > 0; end = max(0, bytes.LastIndexByte(rest[:end], ' ')) {
		if _, ok := parseTime(rest[:end]); ok {
			return end
		}
	}
	return wordEnd(rest)
}

// quoteEnd is where a quote that is not escaped ends a text, -1 if none does.
func quoteEnd(rest []byte) int {
	for from := 0; ; {
		at := bytes.IndexByte(rest[from:], '"')
		if at < 0 {
			return -1
		}
		if at += from; !escaped(rest, at) {
			return at
		}
		from = at + 1
	}
}

// end finds the text behind the field.
func (f *patternField) end(rest []byte) int {
	for from := 0; ; {
		at := bytes.IndexByte(rest[from:], f.ends[0])
		if at < 0 {
			return -1
		}
		at += from
		if len(rest)-at >= len(f.ends) && string(rest[at:at+len(f.ends)]) == f.ends && !(f.quoted && escaped(rest, at)) && !(f.list && at > 0 && rest[at-1] == ',') {
			return at
		}
		from = at + 1
	}
}

// escaped tells whether an odd number of backslashes stands before.
func escaped(text []byte, at int) bool {
	before := at
	for before > 0 && text[before-1] == '\\' {
		before--
	}
	return (at-before)%2 == 1
}

// trim takes off the spaces and colours that Gin's logger puts around values.
func trim(value []byte) []byte {
	for len(value) > 0 {
		switch {
		case value[0] == ' ':
			value = value[1:]
		case value[len(value)-1] == ' ':
			value = value[:len(value)-1]
		case value[0] == 0x1b:
			end := bytes.IndexByte(value, 'm')
			if end < 0 {
				return value
			}
			value = value[end+1:]
		case value[len(value)-1] == 'm' && bytes.LastIndexByte(value, 0x1b) > 0:
			value = value[:bytes.LastIndexByte(value, 0x1b)]
		default:
			return value
		}
	}
	return value
}

package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pattern is a format in the notation of nginx's log_format: variables and the text between
// them. A variable extends to the text that follows it.
type pattern struct {
	begins    string
	fields    []patternField
	forwarded *Forwarded
	// noRequest recognises lines that are not requests. It is called for lines that do not
	// match; nil if the format has no such lines.
	noRequest func(line []byte) bool

	// The last time that was parsed: consecutive lines often have the same.
	time   []byte
	micros int64
}

type patternField struct {
	role    role
	ends    string // the text after the field; empty at the end of the line
	open    bool   // the last field of a format that may stop early; its kind determines its end
	quoted  bool   // an escaped quote does not end it
	list    bool   // the text in ends does not end it after a comma
	missing error  // returned if the text in ends is not found
}

// variables are the variables of nginx, and some for other formats.
var variables = map[string]role{
	"remote_addr": roleClient, "http_x_forwarded_for": roleForwarded, "proxy_add_x_forwarded_for": roleForwarded,
	"time_local": roleTime, "time_iso8601": roleTime, "msec": roleTime, "time": roleTime, "date": roleDate,
	"request": roleRequest, "request_method": roleMethod, "request_uri": rolePath, "uri": rolePath,
	"host": roleHost, "http_host": roleHost, "server_name": roleHost, "status": roleStatus,
}

// newPattern compiles a format. The part of a line after the last relevant field is ignored.
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
			return nil, fmt.Errorf("the format %q has no text between $%s and the next variable, so the end of the variable is unknown", text, name)
		}
		field.open, field.list = field.ends == "", field.role == roleClient
		field.missing = fmt.Errorf("%q is missing after $%s", field.ends, name)
		p.fields = append(p.fields, field)
		if field.role != roleNone {
			last = len(p.fields)
		}
	}
	p.fields = p.fields[:last]
	p.joinDateAndTime()
	return p, p.check(text, wanted)
}

// joinDateAndTime makes $time a time of day if there is a $date, too.
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

// timeless reports whether the lines of a pattern have no time.
func (p *pattern) timeless() bool {
	return !p.has(roleTime) && !(p.has(roleDate) && p.has(roleClock))
}

// check returns an error if a format lacks a required variable.
func (p *pattern) check(text string, wanted Wanted) error {
	for name, field := range wanted.Fields {
		if !p.has(roleNames[name]) && !(name == "time" && p.has(roleClock)) {
			return fmt.Errorf("the format %q has no $%s, which --field names as the %s", text, field, name)
		}
	}
	if wanted.Extra != "" && !p.has(roleExtra) {
		return fmt.Errorf("the format %q has no $%s, which --client-field names as the client", text, wanted.Extra)
	}
	if wanted.Extra == "" && !p.has(roleClient) && !(p.has(roleForwarded) && wanted.Forwarded != nil) {
		return fmt.Errorf("the format %q has no $remote_addr; name the variable of the client, such as --field client=http_x_real_ip", text)
	}
	return nil
}

// roleOf returns the role of a variable: the one in wanted, or else the usual one.
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

// literal splits a format before its next variable.
func literal(text string) (before, rest string) {
	if at := strings.IndexByte(text, '$'); at >= 0 {
		return text[:at], text[at:]
	}
	return text, ""
}

// variable removes "$name" or "${name}" from the start of a format.
func variable(text string) (name, rest string, err error) {
	text = text[1:]
	if inner, braced := strings.CutPrefix(text, "{"); braced {
		name, rest, closed := strings.Cut(inner, "}")
		if !closed || name == "" {
			return "", "", errors.New(`"${" has no closing "}"`)
		}
		return name, rest, nil
	}
	end := 0
	for end < len(text) && isNameByte(text[end]) {
		end++
	}
	if end == 0 {
		return "", "", errors.New(`"$" must be followed by the name of a variable, such as $remote_addr`)
	}
	return text[:end], text[end:], nil
}

func isNameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

var errBegins = errors.New("the line does not start like the format")

// parser makes a copy for one goroutine.
func (p *pattern) parser() Parser {
	own := *p
	own.time, own.micros = nil, 0
	return &own
}

// Parse parses a line.
func (p *pattern) Parse(line []byte, r *Record) error {
	_, err := p.parse(line, r)
	if err != nil && p.noRequest != nil && p.noRequest(line) {
		return ErrNoRequest
	}
	return err
}

// parse parses a line, and returns the number of fields that match.
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

// setTime parses a time, unless it is the same as the last one.
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

// endOfKind finds the end of the last field of a format that may stop early.
func (f *patternField) endOfKind(rest []byte) int {
	switch {
	case f.quoted:
		if end := quoteEnd(rest); end >= 0 {
			return end
		}
	case f.role == roleTime:
		return timeEnd(rest)
	case f.role == roleRequest: // it contains spaces
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

// wordEnd is the end of a word.
func wordEnd(rest []byte) int {
	if end := bytes.IndexByte(rest, ' '); end >= 0 {
		return end
	}
	return len(rest)
}

// listEnd is the end of a list of words that are separated by commas and spaces.
func listEnd(rest []byte) int {
	end := wordEnd(rest)
	for end < len(rest) && end > 0 && rest[end-1] == ',' {
		end += 1 + wordEnd(rest[end+1:])
	}
	return end
}

// timeEnd is the end of a time. In the common and ISO formats a time may contain a space
// before its zone, and one before its time of day.
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

// quoteEnd is the position of the first quote that is not escaped, or -1.
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

// end finds the text after the field.
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

// escaped reports whether an odd number of backslashes precedes a position.
func escaped(text []byte, at int) bool {
	before := at
	for before > 0 && text[before-1] == '\\' {
		before--
	}
	return (at-before)%2 == 1
}

// trim removes the spaces and colours that Gin's logger puts around values.
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

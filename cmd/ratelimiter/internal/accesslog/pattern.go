package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// pattern is a format in the notation of nginx's log_format: variables, and the
// text between them. A variable reaches as far as the text that follows it.
type pattern struct {
	begins string
	fields []patternField
}

type patternField struct {
	role    role
	ends    string // the text behind; empty at the end of the line
	quoted  bool   // a quote behind a backslash does not end it
	missing error  // when the text behind is not found
}

// variables are those of nginx, and some that other formats need.
var variables = map[string]role{
	"remote_addr": roleClient, "time_local": roleTime, "time_iso8601": roleTime, "msec": roleTime,
	"request": roleRequest, "request_method": roleMethod, "request_uri": rolePath, "uri": rolePath,
	"status": roleStatus,
}

// newPattern compiles a format. Behind the last field that matters a line is not
// looked at.
func newPattern(text string, wanted Wanted) (*pattern, error) {
	p := &pattern{}
	rest := text
	p.begins, rest = literal(rest)
	last, seen := 0, map[role]bool{}
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
		field.missing = fmt.Errorf("%q is missing behind $%s", field.ends, name)
		p.fields = append(p.fields, field)
		if field.role != roleNone {
			last = len(p.fields)
			seen[field.role] = true
		}
	}
	p.fields = p.fields[:last]
	if !seen[roleTime] {
		return nil, fmt.Errorf("the format %q has no time; it needs $time_local, $time_iso8601 or $msec", text)
	}
	for name, field := range wanted.Fields {
		if !seen[roleNames[name]] {
			return nil, fmt.Errorf("the format %q has no $%s, which is to tell the %s", text, field, name)
		}
	}
	if wanted.Extra != "" && !seen[roleExtra] {
		return nil, fmt.Errorf("the format %q has no $%s, which is to tell the client", text, wanted.Extra)
	}
	if wanted.Extra == "" && !seen[roleClient] {
		return nil, fmt.Errorf("the format %q has no $remote_addr; name the variable that tells the client, as --field client=http_x_real_ip", text)
	}
	return p, nil
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

// Parse reads a line. A pattern has no memory, so all goroutines share it.
func (p *pattern) Parse(line []byte, r *Record) error {
	*r = Record{}
	if len(line) == 0 {
		return errEmpty
	}
	if len(line) < len(p.begins) || string(line[:len(p.begins)]) != p.begins {
		return errBegins
	}
	rest := line[len(p.begins):]
	for i := range p.fields {
		field := &p.fields[i]
		end := len(rest)
		if field.ends != "" {
			end = field.end(rest)
			if end < 0 {
				return field.missing
			}
		}
		if field.role != roleNone {
			if err := r.set(field.role, trim(rest[:end])); err != nil {
				return err
			}
		}
		rest = rest[end+min(len(field.ends), len(rest)-end):]
	}
	return nil
}

// end finds the text behind the field.
func (f *patternField) end(rest []byte) int {
	for from := 0; ; {
		at := bytes.IndexByte(rest[from:], f.ends[0])
		if at < 0 {
			return -1
		}
		at += from
		if len(rest)-at >= len(f.ends) && string(rest[at:at+len(f.ends)]) == f.ends && !(f.quoted && escaped(rest, at)) {
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

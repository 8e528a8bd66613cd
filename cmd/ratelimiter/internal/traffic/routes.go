package traffic

import (
	"bytes"
	"fmt"
	"strings"
)

// Routes turns paths into the templates of an application's routes, such as
// "GET /users/:id".
type Routes struct {
	root  node // of the templates that were given; the first segment is the method
	given bool
}

// node is a segment of templates, in the order in which Gin prefers them: a
// fixed text, a parameter, and the rest of the path.
type node struct {
	fixed map[string]*node
	param *node
	rest  string // the template that takes all that follows
	ends  string // the template that ends here
}

// unmatched is the route of requests that no template fits, as the library calls
// them.
const unmatched = "unmatched"

// NewRoutes reads templates in the notation of Gin: "/users/:id", "/files/*path",
// with a method before or without. Without any templates they are learnt:
// segments that are numbers or hexadecimal stand for ":id".
func NewRoutes(templates []string) (*Routes, error) {
	r := &Routes{}
	var everywhere []string
	for _, template := range templates {
		template = strings.TrimSpace(template)
		if template == "" {
			continue
		}
		method, path, found := strings.Cut(template, " ")
		if !found {
			method, path = "", template
		}
		path = strings.TrimSpace(path)
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("%q is not the template of a route; write one as /users/:id or GET /users/:id", template)
		}
		r.given = true
		if method == "" {
			everywhere = append(everywhere, path)
		} else {
			r.add(method, path)
		}
	}
	r.root.child("") // of the methods that have no templates of their own
	for method := range r.root.fixed {
		for _, path := range everywhere {
			r.add(method, path)
		}
	}
	return r, nil
}

func (r *Routes) add(method, path string) {
	at := r.root.child(method)
	for segment := range strings.SplitSeq(path[1:], "/") {
		if strings.HasPrefix(segment, "*") {
			at.rest = path
			return
		}
		if strings.HasPrefix(segment, ":") {
			if at.param == nil {
				at.param = &node{}
			}
			at = at.param
			continue
		}
		at = at.child(segment)
	}
	at.ends = path
}

func (n *node) child(segment string) *node {
	if n.fixed == nil {
		n.fixed = map[string]*node{}
	}
	if n.fixed[segment] == nil {
		n.fixed[segment] = &node{}
	}
	return n.fixed[segment]
}

// Append writes the route of a request.
func (r *Routes) Append(to, method, path []byte) []byte {
	if !r.given {
		to = append(to, method...)
		to = append(to, ' ')
		return appendLearnt(to, path)
	}
	template := ""
	if len(path) > 0 && path[0] == '/' {
		via := r.root.fixed[string(method)]
		if via == nil {
			via = r.root.fixed[""]
		}
		template = via.find(path[1:])
	}
	if template == "" {
		return append(to, unmatched...)
	}
	to = append(to, method...)
	to = append(to, ' ')
	return append(to, template...)
}

// find is the template that fits a path, empty if there is none.
func (n *node) find(path []byte) string {
	segment, after, more := bytes.Cut(path, []byte("/"))
	for _, next := range [2]*node{n.fixed[string(segment)], n.paramFor(segment)} {
		if next == nil {
			continue
		}
		if !more {
			if next.ends != "" {
				return next.ends
			}
			continue
		}
		if found := next.find(after); found != "" {
			return found
		}
	}
	return n.rest
}

// paramFor is the parameter, which takes no empty segment.
func (n *node) paramFor(segment []byte) *node {
	if len(segment) == 0 {
		return nil
	}
	return n.param
}

// appendLearnt writes ":id" for segments that look like one.
func appendLearnt(to, path []byte) []byte {
	for len(path) > 0 {
		if path[0] == '/' {
			to = append(to, '/')
			path = path[1:]
			continue
		}
		end := bytes.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if looksLikeID(path[:end]) {
			to = append(to, ":id"...)
		} else {
			to = append(to, path[:end]...)
		}
		path = path[end:]
	}
	return to
}

// looksLikeID is true for numbers, and for eight or more hexadecimal characters
// with a digit among them, dashes as in a UUID allowed.
func looksLikeID(segment []byte) bool {
	digits, hex := 0, 0
	for _, c := range segment {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F':
			hex++
		case c != '-':
			return false
		}
	}
	return digits > 0 && (digits == len(segment) || digits+hex >= 8)
}

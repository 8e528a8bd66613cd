package traffic

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// Routes maps requests to route templates, such as "GET /users/:id". It uses Gin's own router
// for given templates.
type Routes struct {
	engine  *gin.Engine // nil to infer templates
	methods []string    // methods with their own templates
}

// unmatched is the route of requests that match no template, as in the library.
const unmatched = "unmatched"

// everyMethod stands for the methods without their own templates.
const everyMethod = "EVERY"

// NewRoutes parses templates in Gin's notation, such as "/users/:id" or "/files/*path", with a
// method in front or, without one, for all methods. If there are none, templates are inferred:
// segments that look like IDs become ":id".
func NewRoutes(templates []string) (*Routes, error) {
	r := &Routes{}
	type route struct{ method, path string }
	var routes []route
	for _, template := range templates {
		template = strings.TrimSpace(template)
		if template == "" {
			continue
		}
		method, path, found := strings.Cut(template, " ")
		if !found {
			method, path = everyMethod, template
		}
		path = strings.TrimSpace(path)
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("%q is not a route template; write one such as /users/:id or GET /users/:id", template)
		}
		if !slices.Contains(r.methods, method) && method != everyMethod {
			r.methods = append(r.methods, method)
		}
		routes = append(routes, route{method, path})
	}
	if len(routes) == 0 {
		return r, nil
	}
	gin.SetMode(gin.ReleaseMode)
	r.engine = gin.New()
	r.engine.RedirectTrailingSlash = false
	for _, t := range routes {
		methods := []string{t.method}
		if t.method == everyMethod {
			methods = append(methods, r.methods...)
		}
		for _, method := range methods {
			if err := r.add(method, t.path); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// add registers a template. Gin panics if two templates conflict.
func (r *Routes) add(method, path string) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("the template %q is not valid in Gin: %v", path, why)
		}
	}()
	if slices.ContainsFunc(r.engine.Routes(), func(other gin.RouteInfo) bool { return other.Method == method && other.Path == path }) {
		return nil // given both with and without a method
	}
	r.engine.Handle(method, path, func(c *gin.Context) { c.Header(templateHeader, c.FullPath()) })
	return nil
}

// Append appends the route of a request. It is safe for concurrent use.
func (r *Routes) Append(to, method, path []byte) []byte {
	if r.engine == nil {
		to = append(to, method...)
		to = append(to, ' ')
		return appendInferred(to, path)
	}
	template := r.find(method, path)
	if template == "" {
		return append(to, unmatched...)
	}
	to = append(to, method...)
	to = append(to, ' ')
	return append(to, template...)
}

// find returns the template that matches a request, or an empty text.
func (r *Routes) find(method, path []byte) string {
	if len(path) == 0 || path[0] != '/' {
		return ""
	}
	known := everyMethod
	if i := slices.Index(r.methods, string(method)); i >= 0 {
		known = r.methods[i]
	}
	plain := string(path)
	if decoded, err := url.PathUnescape(plain); err == nil {
		plain = decoded // as the server does before routing
	}
	answer := answer{http.Header{}}
	r.engine.ServeHTTP(answer, &http.Request{Method: known, URL: &url.URL{Path: plain}})
	return answer.header.Get(templateHeader)
}

// answer is a response writer that keeps only the headers.
type answer struct{ header http.Header }

const templateHeader = "Template"

func (a answer) Header() http.Header         { return a.header }
func (a answer) Write(p []byte) (int, error) { return len(p), nil }
func (a answer) WriteHeader(int)             {}

// appendInferred appends a path with ":id" for segments that look like IDs.
func appendInferred(to, path []byte) []byte {
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

// looksLikeID is true for numbers, for eight or more hexadecimal characters with a digit
// (perhaps with dashes, as in a UUID), for ULIDs and for e-mail addresses.
func looksLikeID(segment []byte) bool {
	digits, hex, base32, others := 0, 0, 0, 0
	for _, c := range segment {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F':
			hex++
		case c == '-':
		case c != 'I' && c != 'L' && c != 'O' && c != 'U' && 'A' <= c && c <= 'Z', 'g' <= c && c <= 'z' && c != 'i' && c != 'l' && c != 'o' && c != 'u':
			base32++
		default:
			others++
		}
	}
	switch {
	case others == 0 && base32 == 0:
		return digits > 0 && (digits == len(segment) || digits+hex >= 8)
	case len(segment) == ulidLength && digits+hex+base32 == ulidLength:
		return digits > 0 && segment[0] <= '7'
	}
	return isEmail(segment)
}

// ulidLength is the length of a ULID in base 32, see https://github.com/ulid/spec.
const ulidLength = 26

// isEmail recognises an e-mail address, with a plain or escaped "@".
func isEmail(segment []byte) bool {
	at, sign := bytes.IndexByte(segment, '@'), 1
	if at < 0 {
		at, sign = bytes.Index(segment, []byte("%40")), 3
	}
	return at > 0 && bytes.IndexByte(segment[at+sign:], '.') > 0
}

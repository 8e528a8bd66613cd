package accesslog

import "bytes"

// setRequest splits "GET /users/7?page=2 HTTP/1.1". A text that is not an HTTP request, such
// as the first bytes of a TLS handshake, becomes the path, so that it still counts.
func (r *Record) setRequest(request []byte) {
	first := bytes.IndexByte(request, ' ')
	if first < 1 || !isMethod(request[:first]) {
		r.Method = nil
		r.setPath(request)
		return
	}
	rest := request[first+1:]
	// The protocol is the last word; a path may contain spaces.
	if last := bytes.LastIndexByte(rest, ' '); last >= 0 && bytes.HasPrefix(rest[last+1:], []byte("HTTP/")) {
		rest = rest[:last]
	}
	r.Method = request[:first]
	r.setPath(rest)
}

func isMethod(word []byte) bool {
	for _, c := range word {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// setPath removes the query, and the scheme and host of an absolute URL, as in the logs of
// proxies and load balancers.
func (r *Record) setPath(url []byte) {
	if len(url) > 0 && url[0] != '/' {
		url = r.cutHost(url)
	}
	if query := bytes.IndexByte(url, '?'); query >= 0 {
		url = url[:query]
	}
	r.Path = url
}

var (
	schemeEnd = []byte("://")
	root      = []byte("/")
)

// cutHost removes "https://example.com:443" from the start of a URL.
func (r *Record) cutHost(url []byte) []byte {
	scheme := bytes.Index(url, schemeEnd)
	if scheme < 2 || scheme > 5 {
		return url
	}
	host := url[scheme+len(schemeEnd):]
	path := root
	if end := bytes.IndexAny(host, "/?"); end >= 0 {
		host, path = host[:end], host[end:]
	}
	if path[0] == '?' {
		path = root
	}
	if len(r.Host) == 0 {
		r.Host = host
	}
	return path
}

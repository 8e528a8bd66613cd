package accesslog

import "bytes"

// splitRequest takes "GET /users/7?page=2 HTTP/1.1" apart. What is no HTTP
// request, as the first bytes of a TLS handshake, is all path: somebody has asked
// for something all the same.
func splitRequest(request []byte) (method, path []byte) {
	first := bytes.IndexByte(request, ' ')
	if first < 1 || !isMethod(request[:first]) {
		return nil, withoutQuery(request)
	}
	method, rest := request[:first], request[first+1:]
	// The protocol is the last word; a path may hold spaces.
	if last := bytes.LastIndexByte(rest, ' '); last >= 0 && bytes.HasPrefix(rest[last+1:], []byte("HTTP/")) {
		rest = rest[:last]
	}
	return method, withoutQuery(rest)
}

func isMethod(word []byte) bool {
	for _, c := range word {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func withoutQuery(path []byte) []byte {
	if query := bytes.IndexByte(path, '?'); query >= 0 {
		return path[:query]
	}
	return path
}

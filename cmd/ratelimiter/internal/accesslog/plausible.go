package accesslog

import (
	"bytes"
	"strings"
)

// plausible tells whether a text can be the client of a request: an address,
// perhaps with a port, the name of a host with a dot in it, or "unix:", as nginx
// calls the peer of a socket file. Words such as "stdout" and numbers such as the
// day of a date are what a format finds that does not fit.
func plausible(client []byte) bool {
	text := string(client)
	if _, ok := parseAddress(text); ok || text == "unix:" || text == "localhost" {
		return true
	}
	return isHostName(text) && strings.Contains(strings.Trim(text, "."), ".")
}

// isHostName tells a name of a host, perhaps with a port, from other words.
func isHostName(text string) bool {
	name, port, _ := strings.Cut(text, ":")
	letters := 0
	for _, c := range []byte(strings.ToLower(name)) {
		switch {
		case 'a' <= c && c <= 'z':
			letters++
		case c != '.' && c != '-' && c != '_' && (c < '0' || c > '9'):
			return false
		}
	}
	return letters > 0 && strings.Trim(port, "0123456789") == ""
}

// plausibleHost is for the name of a server: an address will do as well.
func plausibleHost(host []byte) bool {
	text := string(host)
	_, isAddress := parseAddress(text)
	return isAddress || isHostName(text) && !bytes.HasSuffix(host, []byte(":"))
}

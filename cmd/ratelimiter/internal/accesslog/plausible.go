package accesslog

import (
	"bytes"
	"strings"
)

// plausible reports whether a text can be a client: an address, perhaps with a port, a host
// name with a dot, or "unix:", which nginx logs for a Unix socket. A wrong format finds words
// such as "stdout" or numbers such as the day of a date.
func plausible(client []byte) bool {
	text := string(client)
	if _, ok := parseAddress(text); ok || text == "unix:" || text == "localhost" {
		return true
	}
	return isHostName(text) && strings.Contains(strings.Trim(text, "."), ".")
}

// isHostName reports whether a text is a host name, perhaps with a port.
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

// plausibleHost reports whether a text can be the name or address of a server.
func plausibleHost(host []byte) bool {
	text := string(host)
	_, isAddress := parseAddress(text)
	return isAddress || isHostName(text) && !bytes.HasSuffix(host, []byte(":"))
}

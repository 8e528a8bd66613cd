package mask

import (
	"net/url"
	"strings"
)

// URL is where a URL leads, without anything that could be a secret: the user, the
// password, and the parameters are left out. It is "" for a text that is not a URL, or
// whose password was not escaped: such a text may hold parts of it anywhere.
func URL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Opaque != "" || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

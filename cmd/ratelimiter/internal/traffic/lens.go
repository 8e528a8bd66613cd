package traffic

import (
	"bytes"
	"hash/maphash"
	"net/http"
	"net/netip"
	"regexp"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
)

// View defines clients and filters requests.
type View struct {
	Prefix4, Prefix6 int     // prefix lengths that identify a client
	Routes           *Routes // to count each route separately; nil counts all together

	Methods         []string
	Statuses        []Range
	Path, NotPath   *regexp.Regexp
	Hosts           []string       // allowed hosts, without a port
	Client          []netip.Prefix // allowed networks
	NotClient       []netip.Prefix // excluded networks
	Since, Until    int64          // µs, Until exclusive; 0 for no bound
	filtersAnything bool
}

// Range is a range of statuses, both ends included.
type Range struct{ From, To int }

// routeSeparator separates the client and the route in a key.
const routeSeparator = 0

// Lens applies a View to records. It is not safe for concurrent use: each goroutine has its
// own.
type Lens struct {
	view  *View
	seed  maphash.Seed
	known map[string]scope // by address, as logged
}

// scope is a parsed address.
type scope struct {
	text    string
	address netip.Addr
}

// knownMost bounds the number of cached addresses.
const knownMost = 1 << 16

// NewLens makes a lens. Lenses that work together need the same seed.
func NewLens(view *View, seed maphash.Seed) *Lens {
	v := *view
	v.filtersAnything = len(v.Methods)+len(v.Statuses)+len(v.Client)+len(v.NotClient)+len(v.Hosts) > 0 ||
		v.Path != nil || v.NotPath != nil || v.Since != 0 || v.Until != 0
	return &Lens{view: &v, seed: seed, known: map[string]scope{}}
}

// Look adds the event of a record to a batch, unless a filter excludes it.
func (l *Lens) Look(r *accesslog.Record, b *Batch) (kept bool) {
	if l.view.filtersAnything && !l.passes(r) {
		b.Filtered++
		if len(l.view.Hosts) > 0 && len(r.Host) == 0 {
			b.Hostless++
		}
		return false
	}
	if r.Status == http.StatusTooManyRequests {
		b.Throttled++
	}
	if hasText(r.Extra) {
		b.Named++
	}
	start := len(b.Keys)
	b.Keys = l.appendClient(b.Keys, r)
	if l.view.Routes != nil {
		b.Keys = append(b.Keys, routeSeparator)
		b.Keys = l.view.Routes.Append(b.Keys, r.Method, r.Path)
	}
	if len(b.Keys)-start > maxKey {
		b.Keys = b.Keys[:start+maxKey]
	}
	key := b.Keys[start:]
	b.Events = append(b.Events, Event{
		Time: r.Time, Hash: maphash.Bytes(l.seed, key), Key: uint32(start), Bytes: uint16(len(key)), Traits: traits(r),
	})
	return true
}

// appendClient appends the client of a request in the form of a scope of the library: an
// address is normalised, and replaces an empty field.
func (l *Lens) appendClient(to []byte, r *accesslog.Record) []byte {
	switch {
	case hasText(r.Extra):
		return append(to, r.Extra...)
	case !hasText(r.Client):
		return append(to, '-')
	case l.view.Prefix4 == 32 && plainIPv4(r.Client):
		return append(to, r.Client...)
	}
	return append(to, l.scopeOf(r.Client).text...)
}

// hasText is false for an empty value and for a dash, which servers write for one.
func hasText(value []byte) bool {
	return len(value) > 1 || len(value) == 1 && value[0] != '-'
}

// plainIPv4 recognises an address that needs no parsing.
func plainIPv4(text []byte) bool {
	dots := 0
	for _, c := range text {
		switch {
		case c == '.':
			dots++
		case c < '0' || c > '9':
			return false
		}
	}
	return dots == 3
}

// scopeOf reduces an address to its network. A host name or any other text stays as it is.
func (l *Lens) scopeOf(text []byte) scope {
	if known, ok := l.known[string(text)]; ok {
		return known
	}
	s := scope{text: string(text)}
	address, err := netip.ParseAddr(s.text)
	if withPort, errPort := netip.ParseAddrPort(s.text); errPort == nil {
		address, err = withPort.Addr(), nil // the port differs between connections
	}
	if err == nil {
		s.address = address.Unmap().WithZone("")
		bits, whole := l.view.Prefix6, 128
		if s.address.Is4() {
			bits, whole = l.view.Prefix4, 32
		}
		s.text = s.address.String()
		if network, err := s.address.Prefix(bits); err == nil && bits < whole {
			s.text = network.String()
		}
	}
	if len(l.known) >= knownMost {
		clear(l.known)
	}
	l.known[string(text)] = s
	return s
}

// passes reports whether a record passes the filters.
func (l *Lens) passes(r *accesslog.Record) bool {
	v := l.view
	switch {
	case v.Since != 0 && r.Time < v.Since, v.Until != 0 && r.Time >= v.Until:
		return false
	case len(v.Methods) > 0 && !oneOf(r.Method, v.Methods):
		return false
	case len(v.Statuses) > 0 && !inRanges(r.Status, v.Statuses):
		return false
	case v.Path != nil && !v.Path.Match(r.Path), v.NotPath != nil && v.NotPath.Match(r.Path):
		return false
	}
	if len(v.Hosts) > 0 && !oneHost(r.Host, v.Hosts) {
		return false
	}
	if len(v.Client)+len(v.NotClient) == 0 {
		return true
	}
	address := l.scopeOf(r.Client).address
	return (len(v.Client) == 0 || contained(address, v.Client)) && !contained(address, v.NotClient)
}

func oneOf(word []byte, words []string) bool {
	for _, other := range words {
		if string(word) == other {
			return true
		}
	}
	return false
}

// oneHost reports whether a host, perhaps with a port, is in a list.
func oneHost(host []byte, hosts []string) bool {
	if colon := bytes.LastIndexByte(host, ':'); colon > 0 && bytes.IndexByte(host, ']') < colon {
		host = host[:colon]
	}
	for _, other := range hosts {
		if bytes.EqualFold(host, []byte(other)) {
			return true
		}
	}
	return false
}

func inRanges(status int, ranges []Range) bool {
	for _, r := range ranges {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

func contained(address netip.Addr, networks []netip.Prefix) bool {
	for _, network := range networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// traits classifies a request roughly.
func traits(r *accesslog.Record) (t Traits) {
	if isAsset(r.Path) {
		t |= Asset
	}
	if r.Status >= 400 {
		t |= Fault
	}
	return t
}

// isAsset reports by the file extension whether a path is part of a page.
func isAsset(path []byte) bool {
	dot := len(path) - 1
	for dot >= 0 && len(path)-dot <= 6 && path[dot] != '.' {
		dot--
	}
	if dot < 0 || path[dot] != '.' {
		return false
	}
	switch string(path[dot+1:]) {
	case "css", "js", "mjs", "map", "png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "woff", "woff2", "ttf", "eot", "otf":
		return true
	}
	return false
}

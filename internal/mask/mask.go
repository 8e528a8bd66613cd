// Package mask shows who a client is without telling it: enough to follow one
// client through a log or a table, too little to name it.
package mask

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Masker masks scopes. The same scope always looks the same to one Masker. It is
// safe for use by many goroutines at once.
type Masker struct{ key []byte }

// New makes a Masker with a key that nobody knows and that ends with the process:
// a hash without one is no secret, as all addresses and most names can be tried. All
// of a process mask alike, so that a client of the log is found on the dashboard.
func New() *Masker { return &Masker{processKey()} }

var processKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails
	return key
})

// WithSecret makes a Masker for several processes, or for one that is started
// again: the same secret masks the same. Whoever has it can try names.
func WithSecret(secret string) *Masker { return &Masker{[]byte(secret)} }

const (
	// between stands between the parts of a scope.
	separator = "|"
	// maxParts is how many parts are masked one by one. A client may send more, to
	// make a text long.
	maxParts = 4
	// shownRunes is the most that is shown of a name.
	maxNameRunes = 3
)

// Scope is a scope as others may read it, in printable characters without quotes
// or spaces. A part that is an address shows its network, "192.0.2.x#5e8f0c" or
// "2001:db8:x#5e8f0c", and any other up to three characters and no more than a
// third of them, "ann#5e8f0c". Behind # is a keyed hash, by which they can be told
// apart. Scopes that are nobody in particular stay as they are.
func (m *Masker) Scope(scope string) string {
	switch scope {
	case "everyone", "no address": // see ratelimiter.ByEveryone, and of clients without an address
		return scope
	}
	if strings.Count(scope, separator) >= maxParts {
		return m.part(scope)
	}
	parts := strings.Split(scope, separator)
	for i, part := range parts {
		parts[i] = m.part(part)
	}
	return strings.Join(parts, separator)
}

func (m *Masker) part(part string) string {
	network, address := network(part)
	if !address {
		network = namePrefix(part)
	}
	return network + "#" + m.hash(part)
}

// hash is short: to tell apart the clients that a person looks at.
func (m *Masker) hash(text string) string { return hex.EncodeToString(m.sum(text)[:3]) }

// ID stands for a scope where a machine tells many apart.
func (m *Masker) ID(scope string) string { return hex.EncodeToString(m.sum(scope)[:8]) }

func (m *Masker) sum(text string) []byte {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// network is what is shown of an address, or of a network as it is written in a
// scope: the first 24 bits of IPv4, and the first 32 of IPv6, which is what
// providers have; longer ones may be those of one customer.
func network(text string) (masked string, ok bool) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return "", false
		}
		address = prefix.Addr()
	}
	address = address.Unmap()
	if address.Is4() {
		masked = address.String()
		return masked[:strings.LastIndexByte(masked, '.')] + ".x", true
	}
	groups := strings.SplitN(address.StringExpanded(), ":", 3)
	return trimZeros(groups[0]) + ":" + trimZeros(groups[1]) + ":x", true
}

// short is a group of an IPv6 address without the zeros before it.
func trimZeros(group string) string {
	if group = strings.TrimLeft(group, "0"); group == "" {
		return "0"
	}
	return group
}

// beginning is what is shown of a name: nothing of short ones, which would be
// all but told.
func namePrefix(text string) string {
	end, left := 0, min(maxNameRunes, utf8.RuneCountInString(text)/3)
	for i, r := range text {
		if left == 0 || r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r) {
			break
		}
		end, left = i+utf8.RuneLen(r), left-1
	}
	return text[:end]
}

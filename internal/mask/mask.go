// Package mask shows who a client is without identifying it: enough to follow one client
// through a log or a table, too little to name it.
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

// Masker masks scopes. A Masker masks the same scope always in the same way. All methods
// are safe for concurrent use.
type Masker struct{ key []byte }

// New returns a Masker with a random key that lasts as long as the process. Without a
// secret key, a hash would hide nothing, because all addresses and most names can be tried.
// All Maskers returned by New share the key, so that a client in the log can be found on
// the dashboard.
func New() *Masker { return &Masker{processKey()} }

var processKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return key
})

// WithSecret returns a Masker for use in several processes or across restarts: the same
// secret gives the same masks. Anyone who knows the secret can find out scopes by trying.
func WithSecret(secret string) *Masker { return &Masker{[]byte(secret)} }

const (
	// separator separates the parts of a scope.
	separator = "|"
	// maxParts is the most parts that are masked one by one. Clients may send more, to make
	// the text long.
	maxParts = 4
	// maxNameRunes is the most characters of a name that are shown.
	maxNameRunes = 3
)

// Scope returns a scope in masked form, in printable characters without quotes or spaces. A
// part that is an address shows its network, as in "192.0.2.x#5e8f0c" or
// "2001:db8:x#5e8f0c". Any other part shows at most three characters and at most a third of
// it, as in "ann#5e8f0c". After the # comes a keyed hash that distinguishes clients. Scopes
// that stand for no particular client do not change.
func (m *Masker) Scope(scope string) string {
	switch scope {
	case "everyone", "no address": // scopes of ratelimiter.ByEveryone and of clients without an address
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

// hash is short, because it only has to distinguish the clients that a person looks at.
func (m *Masker) hash(text string) string { return hex.EncodeToString(m.sum(text)[:3]) }

// ID returns an identifier of a scope for use by machines, longer than the hash in Scope.
func (m *Masker) ID(scope string) string { return hex.EncodeToString(m.sum(scope)[:8]) }

func (m *Masker) sum(text string) []byte {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// network returns the part of an address or network that is shown: the first 24 bits of
// IPv4 and the first 32 bits of IPv6, which belong to a provider. More bits could identify
// a customer.
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

// trimZeros returns a group of an IPv6 address without leading zeros.
func trimZeros(group string) string {
	if group = strings.TrimLeft(group, "0"); group == "" {
		return "0"
	}
	return group
}

// namePrefix returns the part of a name that is shown: nothing of a short name, which would
// almost reveal it.
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

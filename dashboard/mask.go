package dashboard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
)

// mask hides who a client is, so that two can still be told apart.
type mask struct {
	off    bool
	secret []byte
}

// idBytes is how much of an HMAC stands for a scope.
const idBytes = 8

// id stands for a scope, in the page and back. It is of this process and tells nothing
// to others: there are few enough addresses to try them all, but for the secret.
func (m *mask) id(scope string) string {
	sum := hmac.New(sha256.New, m.secret)
	sum.Write([]byte(scope))
	return hex.EncodeToString(sum.Sum(nil)[:idBytes])
}

// shown is a scope as the page shows it.
func (m *mask) shown(scope string) string {
	if m.off || scope == "" || scope == "everyone" || scope == "no address" {
		return scope // the last two are nobody in particular
	}
	parts := strings.Split(scope, "|")
	for i, part := range parts {
		parts[i] = masked(part)
	}
	return strings.Join(parts, "|") + " ·" + m.id(scope)[:4]
}

// masked is the network of an address, and the beginning of anything else.
func masked(text string) string {
	if network, err := netip.ParsePrefix(text); err == nil {
		if network.Addr().Is4() && network.Bits() <= 24 {
			return text
		}
		return maskedAddress(network.Addr())
	}
	if address, err := netip.ParseAddr(text); err == nil {
		return maskedAddress(address)
	}
	letters := []rune(text)
	return string(letters[:min(4, (len(letters)+2)/3)]) + "…"
}

func maskedAddress(address netip.Addr) string {
	if address = address.Unmap().WithZone(""); address.Is4() {
		text := address.String()
		return text[:strings.LastIndexByte(text, '.')] + ".x"
	}
	network, err := address.Prefix(32)
	if err != nil {
		return "…" // cannot be
	}
	return strings.TrimSuffix(network.Addr().String(), ":") + "…"
}

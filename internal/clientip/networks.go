package clientip

import (
	"fmt"
	"net/netip"

	"github.com/gin-gonic/gin"
)

// ParseNetworks parses addresses such as 192.0.2.7 and networks such as 10.0.0.0/8 or
// 2001:db8::/32. Bits after the prefix length are ignored. The error names the text that is
// neither.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		network, err := netip.ParsePrefix(text)
		if address, notOne := netip.ParseAddr(text); notOne == nil {
			address = canonical(address)
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address such as 192.0.2.7 nor a network such as 10.0.0.0/8 or 2001:db8::/32", text)
		}
		if network.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is an IPv4 network in the form of an IPv6 network; write it in the form 10.0.0.0/8", text)
		}
		networks[i] = network.Masked()
	}
	return networks, nil
}

// Within returns a function that reports whether the client of a request is in one of the
// networks. It returns false if a trusted proxy has forwarded something that is not an
// address, because the client is unknown then.
func (f *Finder) Within(networks []netip.Prefix) func(*gin.Context) bool {
	return func(c *gin.Context) bool {
		t := f.engines.of(c)
		address, source := t.client(c.Request)
		if source == unreadable {
			return false
		}
		address = canonical(address)
		for _, network := range networks {
			if network.Contains(address) {
				if source == untrusted {
					t.warnOfSkip(c.Request, network, address)
				}
				return true
			}
		}
		return false
	}
}

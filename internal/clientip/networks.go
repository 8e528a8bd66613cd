package clientip

import (
	"fmt"
	"net/netip"

	"github.com/gin-gonic/gin"
)

// ParseNetworks reads addresses, as 192.0.2.7, and networks, as 10.0.0.0/8 or
// 2001:db8::/32. The bits of a network behind its length do not matter. The error
// tells which text is neither.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		network, err := netip.ParsePrefix(text)
		if address, notOne := netip.ParseAddr(text); notOne == nil {
			address = canonical(address)
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address, as 192.0.2.7, nor a network, as 10.0.0.0/8 or 2001:db8::/32", text)
		}
		if network.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is an IPv4 network written as an IPv6 network; write it as 10.0.0.0/8", text)
		}
		networks[i] = network.Masked()
	}
	return networks, nil
}

// Within tells whether the client of a request is in one of the networks. It is not
// if a trusted proxy has forwarded something that is no address: then the client may
// be anybody.
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

package clientip

import (
	"net/netip"
	"strings"
)

const wholeIPv4 = 32

// Text returns an address as a scope, truncated to its first ipv4Bits (0 to 32) or ipv6Bits
// (0 to 128): "192.0.2.7", "198.51.100.0/24", "2001:db8::/64". All spellings of an address
// give the same scope. An invalid address gives NoAddress.
func Text(address netip.Addr, ipv4Bits, ipv6Bits int) string {
	address = canonical(address)
	bits := ipv6Bits
	if address.Is4() {
		bits = ipv4Bits
	}
	if bits == address.BitLen() && address.IsValid() {
		return address.String()
	}
	network, err := address.Prefix(bits)
	if err != nil || !network.IsValid() {
		return NoAddress
	}
	var space [48]byte
	return string(network.AppendTo(space[:0]))
}

// nat64 is the well-known prefix of translators (RFC 6052): the last 32 bits of its
// addresses are an IPv4 address. The prefix for local use, 64:ff9b:1::/48, does not
// determine where the IPv4 address is (RFC 8215, section 5).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// canonical returns the form of an address that identifies a client: IPv4 if it is an IPv4
// address in another form, and without a zone.
func canonical(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if !nat64.Contains(address) {
		return address
	}
	bytes := address.As16()
	ipv4 := netip.AddrFrom4([4]byte(bytes[12:]))
	if isInternal(ipv4) || ipv4.IsUnspecified() {
		return address // a translator must not use it; see RFC 6052, section 3.1
	}
	return ipv4
}

// carrierGrade is shared address space (RFC 6598), which clouds assign to their machines.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// isInternal reports whether an address belongs to the local network.
func isInternal(address netip.Addr) bool {
	return address.IsLoopback() || address.IsPrivate() || address.IsLinkLocalUnicast() || carrierGrade.Contains(address)
}

// parseAddress parses an address with or without a port, as written by servers and proxies:
// "192.0.2.7:1234", "192.0.2.7", "[2001:db8::1]:443", "2001:db8::1". It drops the zone.
func parseAddress(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if inside, ok := strings.CutPrefix(text, "["); ok {
		host, port, closed := strings.Cut(inside, "]")
		if !closed || port != "" && (port[0] != ':' || strings.Contains(port[1:], ":")) {
			return netip.Addr{}, false
		}
		text = host
	} else if host, port, found := strings.Cut(text, ":"); found && !strings.Contains(port, ":") {
		text = host
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap().WithZone(""), err == nil
}

// plainIPv4 is a fast version of parseAddress for IPv4 addresses in the form written by
// netip.Addr. It does not allocate.
func plainIPv4(text string) (address string, ok bool) {
	number, digits, dots := 0, 0, 0
	for i := range len(text) {
		switch b := text[i]; {
		case '0' <= b && b <= '9':
			if digits > 0 && number == 0 {
				return "", false // leading zero
			}
			digits++
			if number = number*10 + int(b-'0'); number > 255 {
				return "", false
			}
		case b == '.' && digits > 0:
			number, digits, dots = 0, 0, dots+1
		case b == ':' && digits > 0 && dots == 3:
			return text[:i], !strings.Contains(text[i+1:], ":")
		default:
			return "", false
		}
	}
	return text, digits > 0 && dots == 3
}

package clientip

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPlainIPv4MatchesParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:1234":       "192.0.2.7",
		"192.0.2.7":            "192.0.2.7",
		"0.0.0.0:":             "0.0.0.0",
		"255.255.255.255:http": "255.255.255.255",
	} {
		address, ok := plainIPv4(text)
		require.True(t, ok, text)
		require.Equal(t, want, address)
	}
	for _, text := range []string{
		"", "@", ":80", "7", "1.2.3", "1.2.3.", "1.2.3.:80", "1.2.3:80", "1.2.3.4.5", "1.2.3.4.5:80", "1.2.3.4.", ".1.2.3.4", "1..2.3", "256.1.1.1", "1.2.3.999", "01.2.3.4", "1.2.3.00", "1.2.3.4:5:6", " 1.2.3.4", "1.2.3.4 ", "::1", "[::1]:80", "1.2.3.4%eth0", "+1.2.3.4",
	} {
		_, ok := plainIPv4(text)
		require.False(t, ok, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.Byte()
		address := netip.AddrFrom4([4]byte{b.Draw(t, "1"), b.Draw(t, "2"), b.Draw(t, "3"), b.Draw(t, "4")})
		port := rapid.Uint16().Draw(t, "port")
		text, ok := plainIPv4(fmt.Sprintf("%s:%d", address, port))
		require.True(t, ok)
		require.Equal(t, address.String(), text)
	})
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		address            string
		ipv4Bits, ipv6Bits int
		want               string
	}{
		{"192.0.2.7", 32, 64, "192.0.2.7"},
		{"192.0.2.7", 8, 64, "192.0.0.0/8"},
		{"::ffff:192.0.2.7", 32, 64, "192.0.2.7"},
		{"64:ff9b::192.0.2.7", 24, 64, "192.0.2.0/24"},
		{"64:ff9b::127.0.0.1", 32, 64, "64:ff9b::/64"},
		{"64:ff9b::0.0.0.0", 32, 128, "64:ff9b::"},
		{"64:ff9b:1::192.0.2.7", 32, 64, "64:ff9b:1::/64"},
		{"2001:db8:1:2:3::4", 32, 64, "2001:db8:1:2::/64"},
		{"2001:db8:1:2:3::4", 32, 128, "2001:db8:1:2:3::4"},
		{"fe80::1%eth0", 32, 128, "fe80::1"},
		{"2001:db8::1", 32, 129, NoAddress},
	} {
		require.Equal(t, test.want, Text(netip.MustParseAddr(test.address), test.ipv4Bits, test.ipv6Bits), test.address)
	}
	require.Equal(t, NoAddress, Text(netip.Addr{}, 32, 64))
	require.Equal(t, NoAddress, Text(netip.Addr{}, 0, 0))
}

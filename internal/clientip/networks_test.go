package clientip

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseNetworks(t *testing.T) {
	networks, err := ParseNetworks([]string{"10.0.0.0/8", "198.51.100.7", "10.1.2.3/8", "2001:db8::/32", "2001:db8::7", "::ffff:192.0.2.7"})
	require.NoError(t, err)
	var want []netip.Prefix
	for _, text := range []string{"10.0.0.0/8", "198.51.100.7/32", "10.0.0.0/8", "2001:db8::/32", "2001:db8::7/128", "192.0.2.7/32"} {
		want = append(want, netip.MustParsePrefix(text))
	}
	require.Equal(t, want, networks)

	for text, says := range map[string]string{
		"":                  `"" is neither an address`,
		"10.0.0.0/99":       `"10.0.0.0/99" is neither an address such as 192.0.2.7 nor a network such as 10.0.0.0/8`,
		"10.0.0.0/8,::1":    "neither",
		"localhost":         "neither",
		"fe80::/10%eth0":    "neither",
		"::ffff:10.0.0.0/8": "write it in the form 10.0.0.0/8",
	} {
		networks, err := ParseNetworks([]string{"10.0.0.0/8", text})
		require.ErrorContains(t, err, says, text)
		require.Nil(t, networks)
	}
}

func TestWithin(t *testing.T) {
	networks, err := ParseNetworks([]string{"10.0.0.0/8", "2001:db8::/32", "198.51.100.7"})
	require.NoError(t, err)
	for _, test := range []struct {
		name    string
		engine  []engineOption
		peer    string
		headers []string
		want    bool
	}{
		{"in the first", nil, "10.0.0.1:80", nil, true},
		{"in the second", nil, "[2001:db8:1::1%eth0]:80", nil, true},
		{"in the third, without a port", nil, "198.51.100.7", nil, true},
		{"translated", nil, "[64:ff9b::198.51.100.7]:80", nil, true},
		{"in none of them", nil, "192.0.2.7:80", nil, false},
		{"a private address behind the prefix of translators", nil, "[64:ff9b::10.0.0.1]:80", nil, false},
		{"a forged header", nil, "192.0.2.7:80", []string{"X-Forwarded-For", "10.0.0.1"}, false},
		{"a forged address before the client", []engineOption{trust10}, "10.0.0.1:80", []string{"X-Forwarded-For", "10.0.0.1, 192.0.2.7"}, false},
		{"a client within the networks behind a proxy within", []engineOption{trust10}, "10.0.0.1:80", []string{"X-Forwarded-For", "10.0.0.9"}, true},
		{"an invalid client behind a proxy within", []engineOption{trust10}, "10.0.0.1:80", []string{"X-Forwarded-For", "unknown"}, false},
		{"the proxy itself, such as its health checks", []engineOption{trust10}, "10.0.0.1:80", nil, true},
		{"no address", nil, "@", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBothWays(t, func(t *testing.T) {
				within := (&Finder{}).Within(networks)
				require.Equal(t, test.want, within(request(newEngine(test.engine...), test.peer, test.headers...)))
			})
		})
	}
	require.False(t, (&Finder{}).Within(nil)(request(newEngine(), "10.0.0.1:80")))
}

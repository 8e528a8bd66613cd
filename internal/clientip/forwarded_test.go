package clientip

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// aHop is an entry of a forwarding header, and the address it stands for.
type aHop struct {
	text    string
	address string // empty if there is none
	trusted bool   // by an engine that trusts 10.0.0.0/8 and 2001:db8:10::/48
}

var hops = []aHop{
	{"198.51.100.7", "198.51.100.7", false},
	{"6.6.6.6", "6.6.6.6", false},
	{"203.0.113.9:50123", "203.0.113.9", false},
	{" 2001:db8::7 ", "2001:db8::7", false},
	{"[2001:db8::8]:443", "2001:db8::8", false},
	{"::ffff:198.51.100.8", "198.51.100.8", false},
	{"192.168.0.1", "192.168.0.1", false},
	{"10.0.0.2", "10.0.0.2", true},
	{" 10.0.0.3:8080", "10.0.0.3", true},
	{"::ffff:10.0.0.4", "10.0.0.4", true},
	{"[2001:db8:10::1]", "2001:db8:10::1", true},
	{"unknown", "", false},
	{"", "", false},
	{"_hidden", "", false},
	{"1.2.3", "", false},
	{"10.0.0.2 10.0.0.3", "", false},
	{"[10.0.0.2", "", false},
}

func drawHops(t *rapid.T, name string) []aHop {
	return rapid.SliceOfN(rapid.SampledFrom(hops), 1, 6).Draw(t, name)
}

// inLines writes hops into a header, some of them on separate lines.
func inLines(t *rapid.T, list []aHop) []string {
	lines := []string{list[0].text}
	for _, hop := range list[1:] {
		if rapid.Bool().Draw(t, "new line") {
			lines = append(lines, hop.text)
		} else {
			lines[len(lines)-1] += "," + hop.text
		}
	}
	return lines
}

func TestAnEmptyFirstEntryIsNotAnAddress(t *testing.T) {
	finder, engine := &Finder{}, newEngine(trustProxies("10.0.0.0/8"))
	c := request(engine, "10.0.0.9:80")
	c.Request.Header.Set("X-Forwarded-For", ",10.0.0.2")
	require.Equal(t, "10.0.0.9", finder.Text(c, 32, 64))
}

func TestTheClientIsThePeerOrTheAddressFromATrustedHop(t *testing.T) {
	finder, engine := &Finder{}, newEngine(trustProxies("10.0.0.0/8", "2001:db8:10::/48"))
	rapid.Check(t, func(t *rapid.T) {
		peer := rapid.SampledFrom(hops).Filter(func(h aHop) bool { return h.address != "" }).Draw(t, "peer")
		list := drawHops(t, "X-Forwarded-For")
		c := request(engine, peer.text)
		for _, line := range inLines(t, list) {
			c.Request.Header.Add("X-Forwarded-For", line)
		}
		if rapid.Bool().Draw(t, "with X-Real-IP") {
			c.Request.Header.Set("X-Real-IP", "66.66.66.66")
		}

		// Each hop has written the entries to its left. The first one that is not trusted
		// is the client.
		want, writer := peer.address, peer
		for _, hop := range slices.Backward(list) {
			if !writer.trusted {
				break
			}
			if writer = hop; hop.address == "" {
				want = peer.address
				break
			}
			want = hop.address
		}
		require.Equal(t, want, finder.Text(c, 32, 128))
	})
}

func TestAnEngineThatTrustsEveryoneUsesThePeer(t *testing.T) {
	finder, engine := &Finder{}, newEngine()
	rapid.Check(t, func(t *rapid.T) {
		peer := rapid.SampledFrom(hops).Draw(t, "peer")
		c := request(engine, peer.text)
		c.Request.Header["X-Forwarded-For"] = inLines(t, drawHops(t, "X-Forwarded-For"))
		want := peer.address
		if want == "" {
			want = NoAddress
		}
		require.Equal(t, want, finder.Text(c, 32, 128))
	})
}

func TestBothWaysToExamineAnEngineAgree(t *testing.T) {
	options := map[string]engineOption{
		"trust 10/8": trust10, "trust no address": trustNobody, "trust all of IPv6": trustProxies("::/0"),
		"ignore headers": ignoreHeaders, "one header": ipHeaders("X-Real-Ip"), "a platform": trustPlatform("Fly-Client-IP"),
		"a platform with a common header": trustPlatform("X-Forwarded-For"),
	}
	names := []string{"a platform", "a platform with a common header", "ignore headers", "one header", "trust 10/8", "trust all of IPv6", "trust no address"}
	rapid.Check(t, func(t *rapid.T) {
		engine := newEngine()
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID[string]).Draw(t, "options") {
			options[name](engine)
		}
		c := request(engine, rapid.SampledFrom(hops).Draw(t, "peer").text)
		for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Fly-Client-Ip", "Accept"} {
			if rapid.Bool().Draw(t, name) {
				c.Request.Header[name] = inLines(t, drawHops(t, name))
			}
		}
		read := (&Finder{}).Text(c, 32, 128)
		engineIsReadable = false
		defer func() { engineIsReadable = true }()
		require.Equal(t, read, (&Finder{}).Text(c, 32, 128))
	})
}

// FuzzForwarded lets a client send any header, to which a trusted proxy appends the address
// of the client, on the same line or a new one.
func FuzzForwarded(f *testing.F) {
	f.Add("6.6.6.6", "6.6.6.6", "198.51.100.7:50123")
	f.Add("unknown, 10.0.0.2,", "", "2001:db8::7")
	f.Add("[::1", "_hidden", "@")
	f.Add("64:ff9b::a00:1%x", ",,,", "[fe80::1%eth0]:80")
	finder, engine := &Finder{}, newEngine(trust10)
	f.Fuzz(func(t *testing.T, forged, forgedToo, remoteAddr string) {
		headers := []string{"X-Real-IP", forgedToo, "Forwarded", forged, "X-Forwarded-For", forged}
		appended := slices.Concat(headers[:4], []string{"X-Forwarded-For", forged + ", 203.0.113.9"})
		require.Equal(t, "203.0.113.9", finder.Text(request(engine, "10.0.0.1:80", appended...), 32, 64))
		require.Equal(t, "203.0.113.9", finder.Text(request(engine, "10.0.0.1:80", append(headers, "X-Forwarded-For", "203.0.113.9:1")...), 32, 64))

		require.Equal(t, "192.0.2.7", finder.Text(request(engine, "192.0.2.7:80", headers...), 32, 64), "an unknown peer")

		text := finder.Text(request(engine, remoteAddr), 32, 128)
		require.Equal(t, text, Text(finder.Address(request(engine, remoteAddr)), 32, 128))
		if address, err := netip.ParseAddr(text); text != NoAddress {
			require.NoError(t, err)
			require.Equal(t, address.String(), text)
		}
		if plain, ok := plainIPv4(remoteAddr); ok {
			address, parsed := parseAddress(remoteAddr)
			require.True(t, parsed && strings.HasPrefix(remoteAddr, plain))
			require.Equal(t, address.String(), plain)
		}
	})
}

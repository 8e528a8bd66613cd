package accesslog

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnUnknownFormatIsRejectedWithTheFirstLineAndTheClosestFormat(t *testing.T) {
	for name, c := range map[string]struct{ log, says string }{
		"an unknown prefix":             {`15 web-1 ` + combined, `15 web-1 192.0.2.7`},
		"another stream's name":         {`stdout - - [17/May/2015:10:05:03 +0000] ` + tail, `the client would be "stdout"`},
		"a list of addresses":           {`203.0.113.7, 10.0.0.1 - - [17/May/2015:10:05:03 +0000] ` + tail, "select one with --client-from-forwarded"},
		"no client":                     {`- - - [17/May/2015:10:05:03 +0000] ` + tail, "the client is missing"},
		"uvicorn without any time":      {`INFO:     192.0.2.7:54321 - "GET / HTTP/1.1" 200 OK`, "The closest format is uvicorn, without a time"},
		"JSON without any time":         {`{"client_ip":"192.0.2.7","path":"/"}`, "The closest format is json, client=client_ip path=path, without a time. Name the field of the time, such as --field time=when"},
		"words":                         {"some words\nand others", "No format matches any of the lines"},
		"words that name no client":     {`{"ts":1431857103,"client":"mobile app","path":"/"}`, "no field contains the address of the client"},
		"half of the lines are another": {combined + "\nwarning: slow\n" + combined + "\nwarning: slow\nwarning: slow", "fits 2 of the first 5 lines"},
		"two formats": {strings.Repeat(combined+"\n"+`[GIN] 2015/05/17 - 10:05:03 | 404 | 1.234ms | 192.0.2.7 | GET "/"`+"\n", 9),
			"the log mixes two formats, gin and combined"},
	} {
		lines := linesOf(c.log)
		_, err := Recognise(lines, Wanted{})
		require.ErrorContains(t, err, c.says, name)
		if name != "two formats" {
			require.ErrorContains(t, err, "The first line is\n  "+string(lines[0]), name)
		}
	}
}

func TestOneBadLineDoesNotRejectTheLog(t *testing.T) {
	_, err := Recognise(linesOf(strings.Repeat(combined+"\n", 9)+"broken"), Wanted{})
	require.NoError(t, err)
}

func TestANamedFormatMustFindPlausibleClientsToo(t *testing.T) {
	lines := linesOf(strings.Repeat(`15 web-1 `+combined+"\n", 3))
	_, err := Choose("common", lines, Wanted{})
	require.ErrorContains(t, err, `the client would be "15"`)
	require.ErrorContains(t, err, "name their field with --client-field")
	_, err = Choose("$remote_addr $rest [$time_local]", lines, Wanted{})
	require.ErrorContains(t, err, `the client would be "15"`)
	_, err = Choose("$user $rest [$time_local]", lines, Wanted{Extra: "user"})
	require.NoError(t, err, "any value is plausible in a named field")
}

// None of these is a supported access log.
func TestOtherLogsAreRejected(t *testing.T) {
	for name, line := range map[string]string{
		"nginx's errors":      `2015/05/17 10:05:03 [error] 7#7: *1 open() "/x" failed (2: No such file or directory), client: 192.0.2.7, server: example.com, request: "GET /x HTTP/1.1", host: "example.com"`,
		"Apache's errors":     `[Sun May 17 10:05:03.123456 2015] [core:error] [pid 7] [client 192.0.2.7:4711] AH00126: Invalid URI in request GET / HTTP/1.1`,
		"sshd":                `May 17 10:05:03 web-1 sshd[4711]: Failed password for root from 192.0.2.7 port 4711 ssh2`,
		"a firewall":          `May 17 10:05:03 web-1 kernel: [UFW BLOCK] IN=eth0 OUT= MAC= SRC=192.0.2.7 DST=203.0.113.7 LEN=40 PROTO=TCP SPT=4711 DPT=22`,
		"Squid":               `1431857103.586    921 192.0.2.7 TCP_MISS/200 507 POST http://www.example.com/ - DIRECT/203.0.113.7 text/html`,
		"Postgres":            `2015-05-17 10:05:03.123 UTC [4711] LOG:  duration: 1.234 ms  statement: SELECT 1`,
		"a list of addresses": `192.0.2.7`,
		"a page":              `<html><body>192.0.2.7</body></html>`,
		"CSV of sales":        "date,shop,amount\n2015-05-17,www.example.com,7",
	} {
		_, err := Recognise(linesOf(strings.Repeat(line+"\n", 20)), Wanted{})
		require.ErrorContains(t, err, "the format is not recognised", name)
	}
}

func TestAPlausibleClientIsAnAddressOrAHost(t *testing.T) {
	for text, want := range map[string]bool{
		"192.0.2.7": true, "192.0.2.7:4711": true, "2001:db8::7": true, "[2001:db8::7]": true, "[2001:db8::7]:4711": true, "unix:": true,
		"crawl-7.example.com": true, "localhost": true, "": false, "-": false, "15": false, "stdout": false, "[192.0.2.7]": true,
		"2015-05-17T10:05:03.123Z": false, "nginx:": false, "1.5": false, "May": false, "192.0.2.7,": false, "\ufeff192.0.2.7": false,
	} {
		require.Equal(t, want, plausible([]byte(text)), text)
	}
}

func TestAForwardedListIsReadFromTheRight(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name      string
		forwarded Forwarded
		client    string // in front
		list      string // in a field of its own
		want      string
	}{
		{"the last", Forwarded{Hops: 1}, "198.51.100.1, 203.0.113.7", "", "203.0.113.7"},
		{"the last but one", Forwarded{Hops: 2}, "198.51.100.1, 203.0.113.7, 10.0.0.1", "", "203.0.113.7"},
		{"fewer than that", Forwarded{Hops: 2}, "203.0.113.7", "", ""},
		{"behind trusted proxies", Forwarded{Trusted: proxies}, "198.51.100.1, 203.0.113.7, 10.0.0.2, 10.0.0.1", "", "203.0.113.7"},
		{"all are trusted", Forwarded{Trusted: proxies}, "10.0.0.2, 10.0.0.1", "", "10.0.0.2"},
		{"a field of its own", Forwarded{Hops: 1}, "10.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"},
		{"a peer that is no proxy made it up", Forwarded{Trusted: proxies}, "192.0.2.7", "203.0.113.7", "192.0.2.7"},
		{"a peer that is one", Forwarded{Trusted: proxies}, "10.0.0.1", "203.0.113.7", "203.0.113.7"},
		{"a list that cannot be read", Forwarded{Hops: 1}, "10.0.0.1", "203.0.113.7, unknown", "10.0.0.1"},
		{"none was sent", Forwarded{Hops: 1}, "10.0.0.1", "-", "10.0.0.1"},
		{"with ports", Forwarded{Hops: 1}, "10.0.0.1", "203.0.113.7:4711", "203.0.113.7:4711"},
	} {
		line := c.client + ` - - [17/May/2015:10:05:03 +0000] ` + tail
		if c.list != "" {
			line += ` "` + c.list + `"`
		}
		format, err := Recognise(linesOf(line), Wanted{Forwarded: &c.forwarded})
		if c.want == "" {
			require.ErrorContains(t, err, "shorter than --client-from-forwarded", c.name)
			continue
		}
		require.NoError(t, err, c.name)
		var r Record
		require.NoError(t, format.NewParser().Parse([]byte(line), &r), c.name)
		require.Equal(t, c.want, string(r.Client), c.name)
	}
}

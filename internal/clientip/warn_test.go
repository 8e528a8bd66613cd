package clientip

import (
	"bytes"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// captureErrorLog returns what is written to Gin's error log from now on.
func captureErrorLog(t *testing.T) *bytes.Buffer {
	var log bytes.Buffer
	previous := gin.DefaultErrorWriter
	gin.DefaultErrorWriter = &log
	t.Cleanup(func() { gin.DefaultErrorWriter = previous })
	return &log
}

func TestAnUntrustedProxyIsReportedOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		engine  []engineOption
		peer    string
		headers []string
		want    string
	}{
		{"Gin's default engine", nil, "10.0.0.3:80", []string{"X-Forwarded-For", "198.51.100.7"},
			"[ratelimiter] all requests from 10.0.0.3 count as one client, because the engine does not trust its X-Forwarded-For header; if it is a proxy, write engine.SetTrustedProxies([]string{\"10.0.0.3\"})\n"},
		{"an engine that trusts no address", []engineOption{trustNobody}, "127.0.0.1:80", []string{"X-Real-IP", "198.51.100.7"},
			"[ratelimiter] all requests from 127.0.0.1 count as one client, because the engine does not trust its X-Real-Ip header; if it is a proxy, write engine.SetTrustedProxies([]string{\"127.0.0.1\"})\n"},
		{"an engine that trusts another proxy", []engineOption{trust10}, "[fd00::1]:80", []string{"X-Forwarded-For", "198.51.100.7"},
			"[ratelimiter] all requests from fd00::1 count as one client, because the engine does not trust its X-Forwarded-For header; if it is a proxy, write engine.SetTrustedProxies([]string{\"fd00::1\"})\n"},
		{"an engine that ignores headers", []engineOption{ignoreHeaders}, "100.64.0.1:80", []string{"X-Forwarded-For", "198.51.100.7"},
			"[ratelimiter] all requests from 100.64.0.1 count as one client, because the engine does not trust its X-Forwarded-For header; if it is a proxy, write engine.ForwardedByClientIP = true; engine.SetTrustedProxies([]string{\"100.64.0.1\"})\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, finder, engine := captureErrorLog(t), &Finder{}, newEngine(test.engine...)
			for range 3 {
				finder.Text(request(engine, test.peer, test.headers...), 32, 64)
			}
			require.Equal(t, test.want, log.String())
			finder.Text(request(newEngine(), "10.0.0.4:80", "X-Forwarded-For", "198.51.100.7"), 32, 64)
			require.Contains(t, log.String(), "10.0.0.4", "each engine has a warning of its own")
		})
	}
}

func TestAnUntrustedProxyOnAUnixSocketIsReportedOnce(t *testing.T) {
	log, finder, engine := captureErrorLog(t), &Finder{}, newEngine()
	for range 3 {
		finder.Text(onSocket(engine, "X-Forwarded-For", "198.51.100.7"), 32, 64)
	}
	require.Equal(t, "[ratelimiter] all requests from the Unix socket count as one client, because the engine does not trust its X-Forwarded-For header; if it is a proxy, write engine.SetTrustedProxies(nil)\n", log.String())
}

func TestNothingIsReportedIfClientsAreDistinguished(t *testing.T) {
	for _, test := range []struct {
		name    string
		engine  []engineOption
		peer    string
		headers []string
	}{
		{"a trusted proxy", []engineOption{trust10}, "10.0.0.3:80", []string{"X-Forwarded-For", "198.51.100.7"}},
		{"a trusted proxy that sends an invalid address", []engineOption{trust10}, "10.0.0.3:80", []string{"X-Forwarded-For", "unknown"}},
		{"a client on the Internet that forges a header", nil, "203.0.113.9:80", []string{"X-Forwarded-For", "198.51.100.7"}},
		{"a client without an address that forges a header", nil, "", []string{"X-Forwarded-For", "198.51.100.7"}},
		{"an internal client without a header", nil, "10.0.0.3:80", nil},
		{"a header that the engine does not use", nil, "10.0.0.3:80", []string{"Forwarded", "for=198.51.100.7"}},
		{"a platform", []engineOption{trustPlatform("Fly-Client-IP")}, "10.0.0.3:80", []string{"Fly-Client-IP", "198.51.100.7", "X-Forwarded-For", "198.51.100.7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, finder, engine := captureErrorLog(t), &Finder{}, newEngine(test.engine...)
			networks, err := ParseNetworks([]string{"10.0.0.0/8"})
			require.NoError(t, err)
			finder.Text(request(engine, test.peer, test.headers...), 32, 64)
			finder.Within(networks)(request(engine, test.peer, test.headers...))
			require.Empty(t, log.String())
		})
	}
}

func TestNetworksThatSkipAllClientsBehindAProxyAreReportedOnce(t *testing.T) {
	const want = "[ratelimiter] FromNetworks(\"10.0.0.0/8\") skips all requests from 10.0.0.3 for any client, because the engine does not trust its X-Forwarded-For header; if it is a proxy, write engine.SetTrustedProxies([]string{\"10.0.0.3\"})\n"
	log, finder, engine := captureErrorLog(t), &Finder{}, newEngine()
	networks, err := ParseNetworks([]string{"192.168.0.0/16", "10.0.0.0/8", "203.0.113.0/24"})
	require.NoError(t, err)
	within := finder.Within(networks)
	require.True(t, within(request(engine, "203.0.113.9:80", "X-Forwarded-For", "198.51.100.7")))
	require.Empty(t, log.String(), "a client on the Internet may have written the header")
	for range 3 {
		require.True(t, within(request(engine, "10.0.0.3:80", "X-Forwarded-For", "198.51.100.7")))
	}
	require.Contains(t, log.String(), want)
	require.Len(t, bytes.Split(bytes.TrimSpace(log.Bytes()), []byte("\n")), 2, "one for the proxy, one for the networks")
}

func TestNoWarningWithoutAnErrorLog(t *testing.T) {
	captureErrorLog(t)
	gin.DefaultErrorWriter = nil
	require.Equal(t, "10.0.0.3", (&Finder{}).Text(request(newEngine(), "10.0.0.3:80", "X-Forwarded-For", "198.51.100.7"), 32, 64))
}

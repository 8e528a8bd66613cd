package pages_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// whoApplication tells clients whom it takes them for.
func whoApplication(t *testing.T, set func(*gin.Engine) error) *gin.Engine {
	engine, limiter := application(t, nil)
	require.NoError(t, set(engine))

	engine.GET("/whoami", limiter.RateLimit(60, time.Minute), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.String(http.StatusOK, "%s\n", info.Scope)
	})
	return engine
}

func byDefault(*gin.Engine) error { return nil }

func trustNobody(engine *gin.Engine) error {
	err := engine.SetTrustedProxies(nil)
	return err
}

func trustProxies(engine *gin.Engine) error {
	err := engine.SetTrustedProxies([]string{"10.0.0.0/8"})
	return err
}

func trustRealIP(engine *gin.Engine) error {
	engine.RemoteIPHeaders = []string{"X-Real-IP"}
	err := engine.SetTrustedProxies([]string{"10.0.0.0/8"})
	return err
}

func trustPlatform(engine *gin.Engine) error {
	engine.TrustedPlatform = gin.PlatformCloudflare
	err := engine.SetTrustedProxies(nil)
	return err
}

func trustCDN(engine *gin.Engine) error {
	engine.RemoteIPHeaders = []string{"CF-Connecting-IP"}
	err := engine.SetTrustedProxies([]string{"192.0.2.0/24"}) // the published networks of the CDN
	return err
}

func trustCDNAndLoadBalancer(engine *gin.Engine) error {
	err := engine.SetTrustedProxies([]string{"10.0.0.0/8", "192.0.2.0/24"}) // the load balancer, and the networks of the CDN
	return err
}

func trustNginx(engine *gin.Engine) error {
	err := engine.SetTrustedProxies([]string{"127.0.0.1"})
	return err
}

func TestTheAddressThatCounts(t *testing.T) {
	const honest, forged = "198.51.100.7", "6.6.6.6"
	table := "| the engine | connection from | headers | the client is |\n|---|---|---|---|\n"
	for _, row := range []struct {
		name    string
		set     func(*gin.Engine) error
		peer    string
		headers []string // names and values in turn
		want    string
	}{
		{"a default engine", byDefault, "203.0.113.9:1", []string{"X-Forwarded-For", forged}, "203.0.113.9"},
		{"a default engine", byDefault, "10.0.0.1:1", []string{"X-Forwarded-For", honest}, "10.0.0.1"},
		{"`SetTrustedProxies(nil)`", trustNobody, "203.0.113.9:1", []string{"X-Forwarded-For", forged}, "203.0.113.9"},
		{"trusts `10.0.0.0/8`", trustProxies, "203.0.113.9:1", []string{"X-Forwarded-For", forged}, "203.0.113.9"},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", nil, "10.0.0.1"},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", honest}, honest},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1", []string{"X-Forwarded-For", honest}, honest},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", forged + ", " + honest}, honest},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", forged, "X-Forwarded-For", honest}, honest},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", forged + ", " + honest + ", 10.0.0.2"}, honest},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", honest + ", 192.0.2.20"}, "192.0.2.20"},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", honest + ":50123"}, honest},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", "[2001:db8:1:2:3::4]:443"}, "2001:db8:1:2::/64"},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", "64:ff9b::" + honest}, honest},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Forwarded-For", "unknown", "X-Real-IP", forged}, "10.0.0.1"},
		{"trusts `10.0.0.0/8`", trustProxies, "10.0.0.1:1", []string{"X-Real-IP", honest}, honest},
		{"trusts nginx on `127.0.0.1`", trustNginx, "127.0.0.1:1", []string{"X-Forwarded-For", forged + ", " + honest}, honest},
		{"trusts `10.0.0.0/8` and reads `X-Real-IP`", trustRealIP, "10.0.0.1:1", []string{"X-Real-IP", honest}, honest},
		{"trusts `10.0.0.0/8` and reads `X-Real-IP`", trustRealIP, "10.0.0.1:1", []string{"X-Forwarded-For", forged}, "10.0.0.1"},
		{"`TrustedPlatform` `CF-Connecting-IP`", trustPlatform, "203.0.113.9:1", []string{"CF-Connecting-IP", forged}, forged},
		{"`TrustedPlatform` `CF-Connecting-IP`", trustPlatform, "203.0.113.9:1", []string{"X-Forwarded-For", forged}, "203.0.113.9"},
		{"trusts the CDN and `CF-Connecting-IP`", trustCDN, "203.0.113.9:1", []string{"CF-Connecting-IP", forged}, "203.0.113.9"},
		{"trusts the CDN and `CF-Connecting-IP`", trustCDN, "192.0.2.20:1", []string{"CF-Connecting-IP", honest}, honest},
		{"trusts the CDN and the load balancer", trustCDNAndLoadBalancer, "10.0.0.1:1", []string{"X-Forwarded-For", forged + ", " + honest + ", 192.0.2.20"}, honest},
	} {
		request, shown := []func(*http.Request){from(row.peer)}, "none"
		for i := 0; i < len(row.headers); i += 2 {
			name, value := row.headers[i], row.headers[i+1]
			request = append(request, func(r *http.Request) { r.Header.Add(name, value) })
			shown = strings.TrimPrefix(shown+"<br>`"+name+": "+value+"`", "none<br>")
		}
		who := ask(whoApplication(t, row.set), http.MethodGet, "/whoami", request...).Body.String()
		require.Equal(t, row.want+"\n", who, "%v", row)
		table += fmt.Sprintf("| %s | `%s` | %s | `%s` |\n", row.name, row.peer, shown, row.want)
	}
	require.Contains(t, page(t), table)
}

func page(t *testing.T) string {
	text, err := os.ReadFile("../../docs/behind-a-proxy.md")
	require.NoError(t, err)
	return string(text)
}

func TestTheWarningAboutAProxyThatIsNotTrusted(t *testing.T) {
	var log bytes.Buffer
	previous := gin.DefaultErrorWriter
	gin.DefaultErrorWriter = &log
	t.Cleanup(func() { gin.DefaultErrorWriter = previous })
	engine := whoApplication(t, byDefault)
	for range 3 {
		ask(engine, http.MethodGet, "/whoami", from("10.0.0.3:1"), with("X-Forwarded-For", "198.51.100.7"))
	}
	require.NotEmpty(t, log.String())
	require.Contains(t, page(t), "```text\n"+log.String()+"```\n")
}

func TestAProxyThatPassesAForgedHeaderOn(t *testing.T) {
	forged := []func(*http.Request){from("10.0.0.1:1"), with("X-Forwarded-For", "6.6.6.6"), with("X-Real-IP", "198.51.100.7")}
	require.Equal(t, "6.6.6.6\n", ask(whoApplication(t, trustProxies), http.MethodGet, "/whoami", forged...).Body.String())
	require.Equal(t, "198.51.100.7\n", ask(whoApplication(t, trustRealIP), http.MethodGet, "/whoami", forged...).Body.String())
}

func TestACommandTellsWhetherHeadersAreBelieved(t *testing.T) {
	typed(t, "behind-a-proxy.md", whoApplication(t, trustProxies))
}

func TestOnASocketWithoutAddresses(t *testing.T) {
	for name, test := range map[string]struct {
		set  func(*gin.Engine) error
		want string
	}{
		"an engine as Gin makes it": {byDefault, "no address\n"},
		"one that trusts nobody":    {trustNobody, "198.51.100.7\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir()) // the path of a socket must be short
			listener, err := net.Listen("unix", "app")
			require.NoError(t, err)
			server := httptest.NewUnstartedServer(whoApplication(t, test.set))
			require.NoError(t, server.Listener.Close())
			server.Listener = listener
			server.Start()
			t.Cleanup(server.Close)

			client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", "app")
			}}}
			t.Cleanup(client.CloseIdleConnections)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://socket/whoami", nil)
			require.NoError(t, err)
			request.Header.Set("X-Forwarded-For", "6.6.6.6, 198.51.100.7")
			response, err := client.Do(request)
			require.NoError(t, err)
			who, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, test.want, string(who))
		})
	}
}

func TestWiderNetworksAreOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)

		engine.GET("/", limiter.RateLimit(60, time.Minute,
			ratelimiter.WithLimit(600, time.Minute, ratelimiter.WithName("network"), ratelimiter.WithScope(limiter.ByAddress(24, 48)))), ok)

		for _, peer := range []string{"[2001:db8:1:1::1]:1", "[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1"} {
			ask(engine, http.MethodGet, "/", from(peer))
		}
		left, err := limiter.Status(t.Context(), "GET /", "2001:db8:1::/48")
		require.NoError(t, err)
		require.EqualValues(t, 597, left[1].Remaining)
	})
}

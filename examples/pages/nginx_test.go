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
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// behindNginx starts nginx with the configuration on the page behind-a-proxy.md in front of
// an application, and returns the address it listens on.
func behindNginx(t *testing.T, application http.Handler, change func(location string) string) string {
	program, err := exec.LookPath("nginx")
	if err != nil || runtime.GOOS != "linux" { // elsewhere all of loopback is not there by itself
		t.Skip("needs nginx and Linux")
	}
	server := httptest.NewServer(application)
	t.Cleanup(server.Close)
	_, location, found := strings.Cut(page(t), "```nginx\n")
	require.True(t, found)
	location, _, _ = strings.Cut(location, "```")
	location = change(strings.ReplaceAll(location, "http://127.0.0.1:8080", server.URL))

	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())

	folder := t.TempDir()
	var paths strings.Builder
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "%s_temp_path %s;\n", name, filepath.Join(folder, name))
	}
	file := filepath.Join(folder, "nginx.conf")
	configuration := fmt.Sprintf("daemon off; master_process off; pid %s; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n%sserver {\nlisten %s;\n%s}\n}\n",
		filepath.Join(folder, "pid"), paths.String(), address, location)
	require.NoError(t, os.WriteFile(file, []byte(configuration), 0o600))
	var said bytes.Buffer
	nginx := exec.Command(program, "-p", folder, "-c", file)
	nginx.Stderr = &said
	require.NoError(t, nginx.Start())
	t.Cleanup(func() {
		_ = nginx.Process.Kill() // it may have ended by itself
		_ = nginx.Wait()
		t.Logf("nginx: %s", said.String())
	})
	redistest.Eventually(t, "nginx listens", func(ctx context.Context) bool {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err == nil && connection.Close() == nil
	})
	return address
}

func TestAForgedHeaderDoesNotChangeTheScopeBehindNginx(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"as on the page": func(location string) string { return location },
		"with $remote_addr": func(location string) string {
			return strings.ReplaceAll(location, "$proxy_add_x_forwarded_for", "$remote_addr")
		},
	} {
		t.Run(name, func(t *testing.T) {
			address := behindNginx(t, whoApplication(t, trustNginx), change)
			for _, client := range []string{"127.0.0.2", "127.0.0.3"} { // other addresses than that of nginx
				require.Equal(t, client, whoBehind(t, address, client, nil))
				require.Equal(t, client, whoBehind(t, address, client, http.Header{
					"X-Forwarded-For": {"6.6.6.6", "7.7.7.7, 127.0.0.1"}, "X-Real-Ip": {"6.6.6.6"}, "Forwarded": {"for=6.6.6.6"},
				}))
			}
		})
	}
}

// whoBehind asks from an address of this machine who the client is.
func whoBehind(t *testing.T, address, client string, header http.Header) string {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/whoami", nil)
	require.NoError(t, err)
	request.Header = header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return strings.TrimSpace(string(body))
}

package logging_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/logging"
	"github.com/stretchr/testify/require"
)

// plainHandler writes what it is given as it is, which no handler of log/slog does.
type plainHandler struct{ bytes.Buffer }

func (h *plainHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *plainHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *plainHandler) WithGroup(string) slog.Handler            { return h }
func (h *plainHandler) Handle(_ context.Context, r slog.Record) error {
	h.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(h, " %s=%v", a.Key, a.Value); return true })
	h.WriteByte('\n')
	return nil
}

// Clients send texts that would end a line, begin another, or command a terminal.
func TestNoTextOfAClientForgesARecordOrCommandsATerminal(t *testing.T) {
	for _, options := range [][]logging.Option{nil, {logging.WithFullScopes()}} {
		var out plainHandler
		log := logging.New(slog.New(&out), options...)
		engine := gin.New()
		limiter, err := ratelimiter.New(engine, nil)
		require.NoError(t, err)
		limiter.AddObserver(log)
		sent := ratelimiter.ByHeader("X-Sent")
		engine.GET("/a/*path", limiter.RateLimit(0, time.Hour, ratelimiter.WithKey(sent), ratelimiter.WithScope(sent, ratelimiter.ByParam("path"))), func(*gin.Context) {})
		texts := []string{
			"a\nINFO rate limit: client rejected no more", "a\r\nb", "a\x1b[2Jb", "\x1b]0;title\x07", "a\x00b", "a\u009b31mb", "a\u2028b", "a\u202eb", "\xff\xfe",
			strings.Repeat("\n", 1<<20), "a\tb", "a\x7fb", "\u0085",
		}
		for _, text := range texts {
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			request.URL.Path = "/a/" + text
			request.Header["X-Sent"] = []string{text}
			recorder := httptest.NewRecorder()
			engine.ServeHTTP(recorder, request)
			require.Equal(t, http.StatusTooManyRequests, recorder.Code)
			for name, values := range recorder.Header() {
				require.False(t, strings.ContainsFunc(strings.Join(values, ""), unicode.IsControl), name)
			}
		}
		require.NoError(t, log.Close())
		require.NoError(t, limiter.Close())
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		require.LessOrEqual(t, len(lines), 2*len(texts))
		for _, line := range lines {
			require.True(t, strings.HasPrefix(line, "rate limit: "), "%q", line)
			require.False(t, strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", line)
			require.Less(t, len(line), 1000)
		}
	}
}

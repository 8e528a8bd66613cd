package dashboard

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// application is a server with a limit of two per hour. Its timeouts are shorter than
// the time that a page is open.
func application(t *testing.T, options ...Option) (*httptest.Server, *Handler, *ratelimiter.RateLimiter) {
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	engine.GET("/search", limiter.RateLimit(2, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-User")),
		ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithShadow())), func(*gin.Context) {})
	h := New(limiter, options...)
	engine.Any("/limits/*any", gin.WrapH(h))
	server := httptest.NewUnstartedServer(engine)
	server.Config.WriteTimeout = 500 * time.Millisecond
	server.Config.ReadTimeout = 500 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(h.Close)
	return server, h, limiter
}

func search(t *testing.T, server *httptest.Server, user string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/search", nil)
	require.NoError(t, err)
	request.Header.Set("X-User", user)
	answer, err := server.Client().Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
}

// listener is an open page.
type listener struct {
	t     *testing.T
	lines *bufio.Scanner
	leave func()
}

func listen(t *testing.T, server *httptest.Server) (l *listener, status int) {
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/limits/events", nil)
	require.NoError(t, err)
	answer, err := server.Client().Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return &listener{t, lines, leave}, answer.StatusCode
}

// next returns the next event; ok is false at the end.
func (l *listener) next() (name string, sent snapshot, ok bool) {
	for l.lines.Scan() {
		line := l.lines.Text()
		if rest, found := strings.CutPrefix(line, "event: "); found {
			name = rest
		}
		if data, found := strings.CutPrefix(line, "data: "); found {
			require.NoError(l.t, json.Unmarshal([]byte(data), &sent))
			return name, sent, true
		}
	}
	return "", snapshot{}, false
}

func TestAPageGetsTheHistoryAndThenEachSecond(t *testing.T) {
	server, _, limiter := application(t)
	for range 4 {
		search(t, server, "a line\u2028and another")
	}
	l, status := listen(t, server)
	require.Equal(t, http.StatusOK, status)
	name, first, ok := l.next()
	require.True(t, ok)
	require.Equal(t, "history", name)
	require.NotEmpty(t, first.Config)
	require.Equal(t, limiter.Keys(), first.Keys)
	require.Equal(t, "Healthy", first.Status.Word)
	require.Len(t, first.Backend.Seconds, shownSeconds)
	require.Len(t, first.Backend.Hour, shownHour/interval)
	require.Len(t, first.Rows, 2)
	require.Equal(t, []bool{false, true}, []bool{first.Rows[0].Shadow, first.Rows[1].Shadow})
	require.Len(t, first.Series, 2)
	require.Len(t, first.Series[0].Seconds, secondsKept)
	require.Len(t, first.Series[0].Hour, shownHour/interval)

	search(t, server, "another")
	sum := tally{}
	for _, one := range first.Series[0].Seconds {
		sum.add(one)
	}
	last := first.At
	for range 3 {
		name, sent, ok := l.next()
		require.True(t, ok, "the stream outlives the timeouts of the server")
		require.Equal(t, "second", name)
		require.Greater(t, sent.At, last)
		last = sent.At
		require.Empty(t, sent.Series[0].Seconds)
		sum.add(sent.Series[0].Second)
		require.Len(t, sent.Rejected.List, 1)
		require.EqualValues(t, 2, sent.Rejected.List[0].Count)
		require.Regexp(t, `^sha#[0-9a-f]{6}$`, sent.Rejected.List[0].Scope, "the limiter hashes what cannot be printed")
	}
	require.Equal(t, tally{3, 2}, sum)
}

func TestScopesAreFullIfTheApplicationWants(t *testing.T) {
	server, _, _ := application(t, WithFullScopes())
	for range 3 {
		search(t, server, "ann")
	}
	l, _ := listen(t, server)
	_, sent, _ := l.next()
	require.Equal(t, "ann", sent.Rejected.List[0].Scope)
}

func TestAnUpdateReachesThePage(t *testing.T) {
	server, _, limiter := application(t)
	l, _ := listen(t, server)
	l.next()
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "7/minute"}))
	for {
		_, sent, ok := l.next()
		require.True(t, ok)
		if strings.Contains(string(sent.Config), "7/minute") {
			return
		}
	}
}

func TestPagesAreBounded(t *testing.T) {
	server, h, _ := application(t)
	var pages []*listener
	for range maxStreams {
		l, status := listen(t, server)
		require.Equal(t, http.StatusOK, status)
		pages = append(pages, l)
	}
	l, status := listen(t, server)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.True(t, l.lines.Scan())
	require.Equal(t, reasonFull, l.lines.Text())

	pages[0].leave()
	require.Eventually(t, func() bool {
		_, status := listen(t, server)
		return status == http.StatusOK
	}, time.Minute, 10*time.Millisecond, "a page that leaves makes room")

	require.True(t, h.record.watched.Load())
	h.Close()
	for _, page := range pages[1:] {
		for {
			if _, _, ok := page.next(); !ok {
				break // Close ends the pages
			}
		}
	}
}

func TestNothingIsWatchedAfterTheLastPageLeft(t *testing.T) {
	server, h, _ := application(t)
	l, _ := listen(t, server)
	l.next()
	search(t, server, "ann")
	require.True(t, h.record.watched.Load())
	l.leave()
	require.Eventually(t, func() (forgotten bool) {
		forgotten = !h.record.watched.Load()
		h.record.each(func(s *series) { forgotten = forgotten && len(s.closest.now(time.Now())) == 0 })
		return forgotten
	}, time.Minute, 10*time.Millisecond, "the clients close to a limit are forgotten")
}

func TestThePageThatDoesNotKeepUpIsDisconnected(t *testing.T) {
	s := streams{watch: func(bool) {}}
	slow, _ := s.add()
	quick, _ := s.add()
	for range 10 {
		s.send([]byte("event"))
		<-quick
	}
	require.Len(t, s.open, 1)
	received := 0
	for range slow {
		received++
	}
	require.Equal(t, 4, received, "then its stream ends")
}

func TestAResetRemovesAClientFromTheListOfTheClosest(t *testing.T) {
	server, h, _ := application(t, WithReset())
	h.record.watch(true)
	search(t, server, "ann")
	search(t, server, "bob")
	require.Len(t, h.snapshot(false).Closest, 4, "two limits for each client")
	request := httptest.NewRequest(http.MethodPost, "/limits/reset", strings.NewReader(`{"scope":"ann"}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(tokenHeader, h.token)
	recorded := httptest.NewRecorder()
	h.ServeHTTP(recorded, request)
	require.Equal(t, http.StatusOK, recorded.Code, recorded.Body.String())
	for _, one := range h.snapshot(false).Closest {
		require.Equal(t, h.mask.Scope("bob"), one.Scope)
	}
	require.Len(t, h.snapshot(false).Closest, 2)
}

package logging_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/logging"
	"github.com/stretchr/testify/require"
)

// output collects what is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *output) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(line)
}

// lines returns the lines since the last call, without hashes.
func (p *output) lines() (lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.text.String()) {
		lines = append(lines, regexp.MustCompile(`#[0-9a-f]{6}`).ReplaceAllString(strings.TrimSuffix(line, "\n"), "#"))
	}
	p.text.Reset()
	return lines
}

// logger returns a logger that writes without the time.
func (p *output) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch {
		case a.Key == slog.TimeKey:
			return slog.Attr{}
		case a.Value.Kind() == slog.KindTime: // virtual time begins in the year 2000
			return slog.String(a.Key, a.Value.Time().UTC().Format("15:04:05"))
		}
		return a
	}}))
}

// open returns a log that is closed at the end of the test.
func open(t *testing.T, options ...logging.Option) (*logging.Log, *output) {
	t.Helper()
	p := &output{}
	log := logging.New(p.logger(slog.LevelDebug), options...)
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	return log, p
}

// about returns an event about a client of a limit of ten a minute.
func about(outcome ratelimiter.Outcome, scope string) ratelimiter.Event {
	e := ratelimiter.Event{Route: "GET /search", Outcome: outcome, Cost: 1, BackendLatency: time.Millisecond}
	e.Info = ratelimiter.Info{Name: "per-minute", Key: "GET /search", Scope: scope, Limit: 10, Per: time.Minute, RetryAfter: 5 * time.Second}
	return e
}

// advance moves the virtual clock.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// virtual runs a test in virtual time. It fails if a goroutine is left running.
func virtual(test func(t *testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, test) }
}

func TestARejectedClientHasOneRecordAndASummary(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t)
		for range 30 {
			log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
			advance(10 * time.Second)
		}
		require.Equal(t, []string{
			`level=INFO msg="rate limit: client rejected" route="GET /search" name=per-minute key="GET /search" scope=192.0.2.x# limit=10 per=1m0s retry_after=5s`,
		}, out.lines())
		advance(49 * time.Second)
		require.Empty(t, out.lines(), "the quiet period is not over")
		advance(time.Second)
		require.Equal(t, []string{
			`level=INFO msg="rate limit: client no longer rejected" route="GET /search" name=per-minute key="GET /search" scope=192.0.2.x# rejected=30 since=00:00:00 until=00:04:50 banned=false`,
		}, out.lines())
		log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
		require.Len(t, out.lines(), 1, "it is reported again")
	})(t)
}

func TestEachLimitKeyAndClientIsTrackedSeparately(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t)
		for _, change := range []func(*ratelimiter.Event){
			func(*ratelimiter.Event) {},
			func(e *ratelimiter.Event) { e.Scope = "192.0.2.8" },
			func(e *ratelimiter.Event) { e.Key = "uploads" },
			func(e *ratelimiter.Event) { e.Name, e.Per = "per-hour", time.Hour },
			func(e *ratelimiter.Event) { e.Outcome = ratelimiter.Shadowed },
		} {
			e := about(ratelimiter.Rejected, "192.0.2.7")
			change(&e)
			log.Observe(e)
			log.Observe(e)
		}
		require.Len(t, out.lines(), 5)
		advance(time.Minute)
		require.Len(t, out.lines(), 4)
		advance(9*time.Minute - time.Second)
		require.Empty(t, out.lines())
		advance(time.Second)
		require.Len(t, out.lines(), 1, "the quiet period of an hourly limit is longer, but not an hour")
	})(t)
}

func TestASummaryHasTheRouteOfTheLastRejection(t *testing.T) {
	log, out := open(t)
	for _, route := range []string{"GET /a", "GET /b"} {
		e := about(ratelimiter.Rejected, "192.0.2.7")
		e.Route, e.RetryAfter = route, -1
		log.Observe(e)
	}
	require.NoError(t, log.Close())
	lines := out.lines()
	require.Contains(t, lines[0], `route="GET /a"`)
	require.NotContains(t, lines[0], "retry_after", "waiting does not help")
	require.Contains(t, lines[1], `route="GET /b"`)
}

func TestABanHasARecordOfItsOwn(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t)
		log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
		for range 3 {
			log.Observe(about(ratelimiter.Banned, "192.0.2.7"))
			log.Observe(about(ratelimiter.Banned, "192.0.2.8"))
		}
		lines := out.lines()
		require.Len(t, lines, 3)
		require.Contains(t, lines[0], "client rejected")
		require.Contains(t, lines[1], `level=WARN msg="rate limit: client banned" route="GET /search"`)
		require.Contains(t, lines[2], "client banned")
		advance(time.Minute)
		lines = out.lines()
		require.Len(t, lines, 2)
		require.Contains(t, strings.Join(lines, ""), "rejected=4 since=00:00:00 until=00:00:00 banned=true")
		require.Contains(t, strings.Join(lines, ""), "rejected=3 since=00:00:00 until=00:00:00 banned=true")
	})(t)
}

func TestAShadowLimitReportsClientsThatWouldBeRejected(t *testing.T) {
	log, out := open(t)
	for range 3 {
		log.Observe(about(ratelimiter.Shadowed, "192.0.2.7"))
	}
	require.NoError(t, log.Close())
	lines := out.lines()
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `level=INFO msg="rate limit: client would be rejected" `)
	require.Contains(t, lines[1], `level=INFO msg="rate limit: client would no longer be rejected" `)
	require.Contains(t, lines[1], " rejected=3 ")
}

func TestAllowedAndSkippedRequestsAreNotLogged(t *testing.T) {
	log, out := open(t)
	log.Observe(about(ratelimiter.Allowed, "192.0.2.7"))
	log.Observe(about(ratelimiter.Skipped, ""))
	require.NoError(t, log.Close())
	require.Empty(t, out.lines())
}

func TestTheQuietPeriodCanBeSet(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{
		5 * time.Second: 5 * time.Second, time.Nanosecond: time.Second, 0: time.Minute, -1: time.Minute, time.Hour: time.Hour,
	} {
		t.Run(set.String(), virtual(func(t *testing.T) {
			log, out := open(t, logging.WithQuietPeriod(set))
			log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
			advance(want - time.Nanosecond)
			require.Len(t, out.lines(), 1)
			advance(time.Nanosecond)
			require.Len(t, out.lines(), 1)
		}))
	}
}

func TestScopesAreMaskedByDefault(t *testing.T) {
	line := func(options ...logging.Option) string {
		p := &output{}
		log := logging.New(p.logger(slog.LevelInfo), options...)
		log.Observe(about(ratelimiter.Rejected, `ann "the admin" level=ERROR`))
		return p.text.String()
	}
	require.Regexp(t, ` scope=ann#[0-9a-f]{6} `, line())
	first, second, third := line(), line(), line(logging.WithSecret(""))
	require.Equal(t, first, second, "all logs of a process mask alike")
	require.Equal(t, second, third, "an empty secret is no secret")
	secret := logging.WithSecret("correct horse")
	first = line(secret)
	require.Equal(t, first, line(secret))
	require.NotEqual(t, first, line(logging.WithSecret("battery staple")))
	require.Contains(t, line(logging.WithFullScopes()), ` scope="ann \"the admin\" level=ERROR" `, "quoted, so that it cannot forge an attribute")
}

func TestScopesWithoutAParticularClientAreNotMasked(t *testing.T) {
	engine := gin.New()
	log, out := open(t)
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_OBSERVER": log})
	require.NoError(t, err)
	engine.GET("/", limiter.RateLimit(0, time.Minute, ratelimiter.WithLimit(0, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone))))
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.RemoteAddr = ""
	engine.ServeHTTP(httptest.NewRecorder(), request)
	lines := out.lines()
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `scope="no address"`)
	require.Contains(t, lines[1], `scope=everyone`)
}

func TestDisabledLevelsUseNoRecords(t *testing.T) {
	p := &output{}
	log := logging.New(p.logger(slog.LevelWarn), logging.WithMaxRecords(2))
	for range 100 {
		log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
	}
	log.Observe(about(ratelimiter.Banned, "192.0.2.7"))
	require.NoError(t, log.Close())
	require.Len(t, p.lines(), 1)
}

func TestWithoutALoggerTheCurrentDefaultIsUsed(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	log := logging.New(nil)
	p := &output{}
	slog.SetDefault(p.logger(slog.LevelInfo))
	log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
	require.NoError(t, log.Close())
	require.Len(t, p.lines(), 2)
}

func TestCloseWritesEverythingPendingAndLaterEventsAreIgnored(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t, logging.WithMaxRecords(4))
		for i := range 5 {
			log.Observe(about(ratelimiter.Rejected, strconv.Itoa(i)))
		}
		require.Len(t, out.lines(), 2)
		require.NoError(t, log.Close())
		lines := out.lines()
		require.Len(t, lines, 3)
		require.Equal(t, 5, rejections(t, lines))
		require.NoError(t, log.Close())
		log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
		failing := about(ratelimiter.BackendError, "192.0.2.7")
		failing.Err = errors.New("failing")
		log.Observe(failing)
		advance(time.Hour)
		require.Empty(t, out.lines())
	})(t)
}

// faulty is a handler that panics or blocks.
type faulty struct {
	slog.Handler
	handle func()
}

func (f faulty) Handle(context.Context, slog.Record) error { f.handle(); return nil }

func TestAPanicOfAHandlerIsHarmless(t *testing.T) {
	virtual(func(t *testing.T) {
		handled := 0
		handler := faulty{slog.DiscardHandler, func() { handled++; panic("a bug") }}
		handler.Handler = slog.NewTextHandler(&output{}, nil) // every level is enabled
		log := logging.New(slog.New(handler), logging.WithMaxRecords(4))
		for _, scope := range []string{"a", "b"} {
			require.Panics(t, func() { log.Observe(about(ratelimiter.Rejected, scope)) }, "for the RateLimiter to count")
		}
		log.Observe(about(ratelimiter.Rejected, "c"))
		advance(time.Minute)
		require.Equal(t, 5, handled, "two first records, two summaries and a sum")
		require.NoError(t, log.Close())
	})(t)
}

func TestASlowHandlerDelaysNoOtherRequest(t *testing.T) {
	virtual(func(t *testing.T) {
		release := make(chan struct{})
		handler := faulty{slog.NewTextHandler(&output{}, nil), func() { <-release }}
		log := logging.New(slog.New(handler), logging.WithQuietPeriod(time.Second))
		go log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
		synctest.Wait()
		log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
		advance(time.Minute) // a summary is being written
		go log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
		synctest.Wait()
		log.Observe(about(ratelimiter.Rejected, "192.0.2.7"))
		advance(time.Minute)
		close(release)
		synctest.Wait()
		require.NoError(t, log.Close())
	})(t)
}

func TestEventsDoNotAllocate(t *testing.T) {
	log, _ := open(t, logging.WithMaxClients(1))
	followed, other := about(ratelimiter.Rejected, "192.0.2.7"), about(ratelimiter.Rejected, "192.0.2.8")
	log.Observe(followed)
	allowed, fallback := about(ratelimiter.Allowed, "192.0.2.7"), about(ratelimiter.Allowed, "192.0.2.7")
	for name, event := range map[string]ratelimiter.Event{"allowed": allowed, "rejected": followed, "another client": other} {
		require.Zero(t, testing.AllocsPerRun(100, func() { log.Observe(event) }), name)
	}
	fallback.Fallback = true
	log.Observe(fallback)
	for name, event := range map[string]ratelimiter.Event{"an outage": fallback, "the end of an outage": allowed} {
		require.Zero(t, testing.AllocsPerRun(100, func() { log.Observe(event) }), name)
	}
}

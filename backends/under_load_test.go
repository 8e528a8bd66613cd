package backends_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// loadTest runs callers that request decisions continuously, and records what they see.
type loadTest struct {
	quota   backends.Quota
	timeout time.Duration
	stop    chan struct{}
	group   sync.WaitGroup
	began   time.Time

	granted, denied, failed atomic.Int64
	worst, lastError        atomic.Int64 // ns: the longest decision, and since began

	mu     sync.Mutex
	errors map[string]int
}

// underLoad starts several callers of each backend, which request one quota with a
// deadline.
func underLoad(t *testing.T, takers []backends.Backend, callers int, timeout time.Duration, quota backends.Quota) *loadTest {
	l := &loadTest{quota: quota, timeout: timeout, stop: make(chan struct{}), began: time.Now(), errors: map[string]int{}}
	for _, backend := range takers {
		for range callers {
			l.group.Go(func() { l.decide(backend) })
		}
	}
	t.Cleanup(l.end)
	return l
}

func (l *loadTest) decide(backend backends.Backend) {
	quotas, verdicts := []backends.Quota{l.quota}, make([]backends.Verdict, 1)
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		start := time.Now()
		err := backend.Take(ctx, quotas, verdicts)
		took := time.Since(start)
		cancel()
		for longest := l.worst.Load(); int64(took) > longest && !l.worst.CompareAndSwap(longest, int64(took)); {
			longest = l.worst.Load()
		}
		switch {
		case err != nil:
			l.fail(err)
			<-time.After(time.Millisecond) // do not busy-loop on errors
		case verdicts[0].Allowed:
			l.granted.Add(1)
		default:
			l.denied.Add(1)
		}
	}
}

func (l *loadTest) fail(err error) {
	l.failed.Add(1)
	l.lastError.Store(int64(time.Since(l.began)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[fmt.Sprintf("%.120v", err)]++
}

// end stops the callers and waits for them.
func (l *loadTest) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.group.Wait()
}

// decided returns the number of decisions.
func (l *loadTest) decided() int64 { return l.granted.Load() + l.denied.Load() }

// goesOn waits until more units have been granted.
func (l *loadTest) goesOn(t *testing.T, units int64) {
	t.Helper()
	before := l.granted.Load()
	redistest.Eventually(t, "more units are granted", func(context.Context) bool { return l.granted.Load() >= before+units })
}

// recovered waits until decisions are made again and no error has occurred for a while. It
// returns the time from since to the last error.
func (l *loadTest) recovered(t *testing.T, quiet time.Duration, since time.Time) time.Duration {
	t.Helper()
	before := l.decided()
	redistest.Eventually(t, "the errors stop", func(context.Context) bool {
		return l.decided() > before && time.Since(l.began)-time.Duration(l.lastError.Load()) > quiet
	})
	return max(0, l.began.Add(time.Duration(l.lastError.Load())).Sub(since))
}

// nobodyWaited checks that no decision exceeded its deadline by more than slack, which
// allows for a busy machine. A client that ignores deadlines waits for 3 s, and tries again.
func (l *loadTest) nobodyWaited(t *testing.T, slack time.Duration) {
	t.Helper()
	require.Less(t, time.Duration(l.worst.Load()), l.timeout+slack)
}

func (l *loadTest) describe() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d granted, %d denied, %d failed, worst latency %v, errors %v",
		l.granted.Load(), l.denied.Load(), l.failed.Load(), time.Duration(l.worst.Load()).Round(time.Millisecond), maps.Clone(l.errors))
}

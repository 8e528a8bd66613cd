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

// load is what callers see who decide all the time, until they are told to stop.
type entriesPerGroup struct {
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

// underLoad lets several callers of each backend ask for one quota, each time
// with a deadline.
func underLoad(t *testing.T, takers []backends.Backend, callers int, timeout time.Duration, quota backends.Quota) *entriesPerGroup {
	l := &entriesPerGroup{quota: quota, timeout: timeout, stop: make(chan struct{}), began: time.Now(), errors: map[string]int{}}
	for _, backend := range takers {
		for range callers {
			l.group.Go(func() { l.decide(backend) })
		}
	}
	t.Cleanup(l.end)
	return l
}

func (l *entriesPerGroup) decide(backend backends.Backend) {
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
			<-time.After(time.Millisecond) // or the machine would do nothing else
		case verdicts[0].Allowed:
			l.granted.Add(1)
		default:
			l.denied.Add(1)
		}
	}
}

func (l *entriesPerGroup) fail(err error) {
	l.failed.Add(1)
	l.lastError.Store(int64(time.Since(l.began)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[fmt.Sprintf("%.120v", err)]++
}

// end stops the callers, and waits for them.
func (l *entriesPerGroup) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.group.Wait()
}

// decided is how many decisions were made.
func (l *entriesPerGroup) decided() int64 { return l.granted.Load() + l.denied.Load() }

// goesOn waits until some more units were granted.
func (l *entriesPerGroup) goesOn(t *testing.T, units int64) {
	t.Helper()
	before := l.granted.Load()
	redistest.Eventually(t, "more is granted", func(context.Context) bool { return l.granted.Load() >= before+units })
}

// recovered waits until decisions are made again and there has been no error for
// some time. It returns how long after the given moment the last error was.
func (l *entriesPerGroup) recovered(t *testing.T, quiet time.Duration, since time.Time) time.Duration {
	t.Helper()
	before := l.decided()
	redistest.Eventually(t, "the errors stop by themselves", func(context.Context) bool {
		return l.decided() > before && time.Since(l.began)-time.Duration(l.lastError.Load()) > quiet
	})
	return max(0, l.began.Add(time.Duration(l.lastError.Load())).Sub(since))
}

// nobodyWaited checks that no decision took much longer than its deadline allows.
// The slack is for a machine that has other things to do.
func (l *entriesPerGroup) nobodyWaited(t *testing.T, slack time.Duration) {
	t.Helper()
	require.Less(t, time.Duration(l.worst.Load()), l.timeout+slack)
}

func (l *entriesPerGroup) describe() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d granted, %d denied, %d failed, worst latency %v, errors %v",
		l.granted.Load(), l.denied.Load(), l.failed.Load(), time.Duration(l.worst.Load()).Round(time.Millisecond), maps.Clone(l.errors))
}

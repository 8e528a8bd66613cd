package logging

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// budget limits the number of records with a token bucket.
type budget struct {
	start     time.Time
	perMinute int64

	mu     sync.Mutex
	bucket window.Bucket
	// spentUntil is how long the budget does not suffice for another client, in µs since
	// start. It saves the lock for the many rejections of an attack.
	spentUntil atomic.Int64
}

func (b *budget) take(now time.Time, records int64) bool {
	at := now.Sub(b.start).Microseconds()
	if records == recordsPerClient && at < b.spentUntil.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	after, verdict := b.bucket.Take(at, &window.Charge{Limit: b.perMinute, Per: time.Minute.Microseconds(), Cost: records})
	b.bucket = after
	if records == recordsPerClient && !verdict.Allowed() {
		b.spentUntil.Store(at + verdict.RetryAfter)
	}
	return verdict.Allowed()
}

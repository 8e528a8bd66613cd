package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
)

// BenchmarkRedis measures how many decisions a second a process gets from one
// real server on loopback, which it starts and stops. Everybody has a go-redis
// client of its own as it comes, with ten connections for each core.
func BenchmarkRedis(b *testing.B) {
	server := redistest.Single(b)
	all := keysOf(100_000)
	for _, row := range []struct {
		name    string
		quota   quota
		keys    keys
		callers []int
	}{
		{"distinct keys", ample, all, []int{1, 16, 64, 256}},
		{"one hot key", ample, all.first(1), []int{1, 16, 64, 256}},
		{"one denied key", usual, all[keySize:].first(1), []int{1, 256}},
	} {
		for _, callers := range row.callers {
			b.Run(label(fmt.Sprintf("%s/%d", row.name, callers)), func(b *testing.B) {
				for _, c := range append(floors(), contenders()...) {
					if c.redis == nil {
						continue
					}
					limiter := c.redis(row.quota, server.Addr)
					if row.quota == usual {
						exhaust(limiter.take(), row.keys.at(0))
					}
					b.Run(label(c.name), func(b *testing.B) { crowd(b, limiter, callers, row.keys) })
					limiter.stop()
				}
			})
		}
	}
}

// crowd shares b.N decisions among callers that each wait for the answer before
// they ask again.
func crowd(b *testing.B, limiter opened, callers int, keys keys) {
	var failed failures
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		take := limiter.take()
		all.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				_, err := take(keys.at(int(i) % keys.len()))
				failed.note(err)
			}
		})
	}
	all.Wait()
	failed.report(b)
}

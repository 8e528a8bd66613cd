package main

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// watcher is an observer that counts rejections, and notes when decisions were made
// without the backend.
type watcher struct {
	rejected  atomic.Uint64
	mu        sync.Mutex
	unwell    []history.Span // in Unix microseconds
	undecided uint64
}

// together is how far apart two failures are that count as one span.
const together = time.Second

// Observe is called by a RateLimiter.
func (w *watcher) Observe(e ratelimiter.Event) {
	if e.Outcome == ratelimiter.Rejected || e.Outcome == ratelimiter.Banned {
		w.rejected.Add(1)
	}
	if !e.Fallback && e.Outcome != ratelimiter.BackendError {
		return
	}
	now := time.Now()
	span := history.Span{From: now.Add(-e.BackendLatency).UnixMicro(), To: now.UnixMicro()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.undecided++
	if n := len(w.unwell); n > 0 && span.From-w.unwell[n-1].To < together.Microseconds() {
		w.unwell[n-1].To = max(w.unwell[n-1].To, span.To)
		w.unwell[n-1].From = min(w.unwell[n-1].From, span.From)
		return
	}
	w.unwell = append(w.unwell, span)
}

// summary is what the watchers know at the end.
func (app *application) summary() map[string]history.Log {
	all := map[string]history.Log{}
	for name, w := range app.watchers {
		w.mu.Lock()
		all[name] = history.Log{Events: w.rejected.Load(), Unwell: w.unwell, UnwellDecisions: w.undecided}
		w.mu.Unlock()
	}
	return all
}

// addOperations adds what operators and monitors call.
func (app *application) addOperations(admin gin.IRoutes, process int) {
	admin.GET("/sample", func(c *gin.Context) { c.JSON(http.StatusOK, app.sample(process, c.Query("collect") != "")) })
	operate := func(path string, operation func(ctx context.Context, c *gin.Context) error) {
		admin.POST(path, func(c *gin.Context) {
			ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Second)
			defer cancel()
			if err := operation(ctx, c); err != nil {
				c.String(http.StatusBadGateway, "%s\n", err)
				return
			}
			c.Status(http.StatusNoContent)
		})
	}
	operate("/reset", func(ctx context.Context, c *gin.Context) error {
		return app.limiters[c.Query("limiter")].Reset(ctx, c.Query("key"), c.Query("scope"))
	})
	operate("/reset-all", func(ctx context.Context, c *gin.Context) error {
		return app.limiters[c.Query("limiter")].ResetAll(ctx)
	})
	operate("/ban", func(ctx context.Context, c *gin.Context) error {
		return app.limiters[c.Query("limiter")].Ban(ctx, c.Query("key"), c.Query("scope"), routes.BanByHand)
	})
	operate("/update", func(_ context.Context, c *gin.Context) error {
		return app.limiters[routes.Shared].Update(ratelimiter.Config{
			ratelimiter.ConfigDefaultLimits:     c.Query("default"),
			ratelimiter.ConfigApplicationLimits: c.Query("application"),
		})
	})
}

// sample is the state of this process.
func (app *application) sample(process int, collect bool) history.Sample {
	if collect {
		runtime.GC()
		runtime.GC() // what finalizers and pools have kept
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s := history.Sample{Process: process, Goroutines: runtime.NumGoroutine(), Heap: memory.HeapAlloc, Collected: collect}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.Files = len(files)
	}
	for _, limiter := range app.limiters {
		stats := limiter.Stats()
		s.Keys += stats.Memory.Keys
		s.Waiting += stats.Waiting
		s.Panics += stats.ObserverPanics
	}
	return s
}

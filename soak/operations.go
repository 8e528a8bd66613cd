package main

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// summary is what the watchers know at the end.
func (app *application) summary() map[string]history.Log {
	all := map[string]history.Log{}
	for name, w := range app.watchers {
		all[name] = w.summary()
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

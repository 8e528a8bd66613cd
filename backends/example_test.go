package backends_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// takeTwice charges a limit of one request per hour twice and prints the verdicts.
func takeTwice(backend backends.Backend) {
	quotas := []backends.Quota{{Key: "GET /search", Scope: "192.0.2.1", Limit: 1, Per: time.Hour, Cost: 1}}
	verdicts := make([]backends.Verdict, len(quotas))
	for range 2 {
		if err := backend.Take(context.Background(), quotas, verdicts); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("allowed:", verdicts[0].Allowed, "remaining:", verdicts[0].Remaining)
	}
}

func ExampleNewMemory() {
	backend, err := backends.NewMemory(map[string]any{"max_keys": 100_000})
	if err != nil {
		log.Fatal(err)
	}
	takeTwice(backend)
	// Output:
	// allowed: true remaining: 0
	// allowed: false remaining: 0
}

func ExampleNewRedis() {
	server, err := miniredis.Run() // or a real Redis
	if err != nil {
		log.Fatal(err)
	}

	backend, err := backends.NewRedis(map[string]any{"addr": server.Addr()})
	if err != nil {
		log.Fatal(err)
	}
	takeTwice(backend)
	_ = backend.Close()
	server.Close()
	// Output:
	// allowed: true remaining: 0
	// allowed: false remaining: 0
}

// unavailable is a backend whose Take always fails.
type unavailable struct{ backends.Backend }

func (unavailable) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	return errors.New("connection refused")
}

func (unavailable) Close() error { return nil }

// After five failures in a row the breaker no longer calls the backend.
func ExampleNewBreaker() {
	breaker := backends.NewBreaker(unavailable{}, 100*time.Millisecond, "breaker")
	defer breaker.Stop()

	quotas := []backends.Quota{{Key: "GET /search", Scope: "192.0.2.1", Limit: 1, Per: time.Hour, Cost: 1}}
	verdicts := make([]backends.Verdict, len(quotas))
	for range 6 {
		err := breaker.Take(context.Background(), quotas, verdicts)
		fmt.Println("open:", errors.Is(err, backends.ErrBreakerOpen))
	}
	fmt.Println("health:", breaker.Health().Open)
	// Output:
	// open: false
	// open: false
	// open: false
	// open: false
	// open: false
	// open: true
	// health: true
}

// While the primary backend fails, the limit is counted in memory.
func ExampleNewFallback() {
	memory, err := backends.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	takeTwice(backends.NewFallback(unavailable{}, memory))
	// Output:
	// allowed: true remaining: 0
	// allowed: false remaining: 0
}

// One of four processes enforces a quarter of the limit.
func ExampleNewScaled() {
	memory, err := backends.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	backend := backends.NewScaled(memory, 0.25)

	quotas := []backends.Quota{{Key: "GET /search", Scope: "192.0.2.1", Limit: 100, Per: time.Hour, Cost: 1}}
	verdicts := make([]backends.Verdict, len(quotas))
	if err := backend.Take(context.Background(), quotas, verdicts); err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdicts[0].Remaining)
	// Output: 24
}

func ExampleStats() {
	backend, err := backends.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	takeTwice(backend)

	stats, inMemory := backends.Stats(backend)
	fmt.Println(inMemory, stats.Keys)
	// Output:
	// allowed: true remaining: 0
	// allowed: false remaining: 0
	// true 1
}

// Package backends holds the places a rate limiter keeps its counters in: the
// memory of the process (NewMemory) and Redis (NewRedis), behind the one
// interface Backend that an application may implement for a store of its own.
package backends

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Limits of what a backend accepts.
const (
	// MaxLimit is the largest Limit, Burst and Cost: ten million million units.
	MaxLimit = window.MaxLimit
	// MinPer and MaxPer are the shortest and the longest period.
	MinPer = time.Millisecond
	MaxPer = time.Duration(window.MaxPeriod) * time.Microsecond
)

var (
	// ErrClosed is returned by a backend that is used after Close.
	ErrClosed = errors.New("the rate limiter's backend is closed")
	// ErrInvalidQuota is wrapped by the error for a quota that makes no sense.
	ErrInvalidQuota = errors.New("invalid quota")
)

// Backend keeps the counters. Every method is safe for use by many goroutines
// at once. The package backendtest holds the tests that a backend must pass.
type Backend interface {
	// Take charges every quota, or none of them if any is exceeded, and writes
	// one verdict for each; verdicts must be at least as long as quotas. On an
	// error no verdict means anything, and units may or may not have been taken.
	//
	// A quota whose Shadow is set is decided and charged by itself: its denial
	// denies nothing, and it is not charged when an enforced quota denies.
	// Two quotas of one key, scope, algorithm, period and Shadow share their
	// counter, and are charged one after the other. What a quota with a Ban counts
	// are denials, and it is charged by them alone.
	Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error

	// Reset forgets every limit of a key and scope. One never seen is no error.
	Reset(ctx context.Context, key, scope string) error

	// Close frees what the backend itself opened. Calling it again does
	// nothing. Take and Reset return ErrClosed from then on.
	Close() error
}

// Factory makes a backend from its options, which come from the configuration
// key RATELIMITER_BACKEND_OPTIONS and may be nil. An unknown option, a wrong
// type or a bad value is an error.
type Factory func(options map[string]any) (Backend, error)

// reader reads the options of a backend, all of which must be known to it.
func newReader(backend string, given map[string]any) *options.Reader {
	return &options.Reader{
		Values:   given,
		Describe: func(name string) string { return fmt.Sprintf("option %q of backend %q", name, backend) },
	}
}

func everyName(string) bool { return true }

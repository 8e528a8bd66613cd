// Package backends stores the counters of a rate limiter: in the memory of the process
// (NewMemory) or in Redis (NewRedis). Both implement the interface Backend, which an
// application can implement for a store of its own.
package backends

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Limits on the fields of a Quota.
const (
	// MaxLimit is the largest Limit and Burst, and the largest absolute Cost: 10^13 units.
	MaxLimit = window.MaxLimit
	// MinPer and MaxPer are the shortest and the longest Per and Ban: a millisecond and 366
	// days.
	MinPer = time.Millisecond
	MaxPer = time.Duration(window.MaxPeriod) * time.Microsecond
)

var (
	// ErrClosed is returned by a backend that is used after Close.
	ErrClosed = errors.New("the backend of the rate limiter is closed")
	// ErrInvalidQuota is wrapped by the error that describes what is wrong with a quota.
	ErrInvalidQuota = errors.New("invalid quota")
)

// Backend stores counters and decides about quotas. All methods are safe for concurrent
// use. Package backendtest contains the tests that an implementation must pass.
type Backend interface {
	// Take charges all quotas, or none of them if any of them is exceeded, and writes one
	// verdict for each quota. verdicts must be at least as long as quotas. After an error
	// the verdicts are undefined, and units may or may not have been taken.
	//
	// A shadow quota is decided and charged independently: its denial does not affect the
	// other quotas, and it is not charged when an enforced quota denies. Quotas with the
	// same key, scope, algorithm, period and Shadow share a counter and are charged in
	// order. A quota with a Ban counts denials instead of units: only a denial by another
	// quota charges it.
	Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error

	// Reset clears all limits of a key and scope. An unknown key or scope is not an error.
	Reset(ctx context.Context, key, scope string) error

	// Close releases what the backend itself opened. Afterwards Take and Reset return
	// ErrClosed. Calling Close again does nothing.
	Close() error
}

// Factory creates a backend from the options in RATELIMITER_BACKEND_OPTIONS, which may be
// nil. An unknown option, a wrong type or a bad value is an error.
type Factory func(options map[string]any) (Backend, error)

// newReader returns a reader for the options of a backend. It rejects unknown names.
func newReader(backend string, given map[string]any) *options.Reader {
	return &options.Reader{
		Values:   given,
		Describe: func(name string) string { return fmt.Sprintf("option %q of backend %q", name, backend) },
	}
}

func everyName(string) bool { return true }

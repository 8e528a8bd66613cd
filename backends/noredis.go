//go:build ratelimiter_noredis

package backends

import (
	"context"
	"errors"
)

// errNoRedis is the answer of a program that was built without Redis.
var errNoRedis = errors.New(`this program was built without Redis, by the build tag ratelimiter_noredis; build it without the tag, or use the backend "memory"`)

// NewRedis returns an error: the build tag ratelimiter_noredis leaves Redis out.
func NewRedis(map[string]any) (Backend, error) { return nil, errNoRedis }

// CheckRedisOptions returns the error of NewRedis.
func CheckRedisOptions(map[string]any) error { return errNoRedis }

// CheckAccess returns nil: no backend is one of NewRedis.
func CheckAccess(context.Context, Backend, string) error { return nil }

// CachedDenials returns 0 and false: no backend is one of NewRedis.
func CachedDenials(Backend) (uint64, bool) { return 0, false }

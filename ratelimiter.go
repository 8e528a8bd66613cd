// Package ratelimiter limits how often the clients of a Gin application may do
// what: one extension object, one configuration map and one middleware. The
// counters live in the process, or in Redis, which any number of processes
// share.
//
//	limiter, err := ratelimiter.New(engine, nil)
//	...
//	engine.GET("/search", limiter.RateLimit(10, time.Minute), search)
package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

var (
	// ErrAlreadyInitialised is returned by InitApp for an engine that it has
	// been called with before, and for a second configuration.
	ErrAlreadyInitialised = errors.New("the rate limiter is already initialised")

	// ErrNotInitialised is reported when a rate limiter is used that has no
	// configuration yet, because InitApp was not called or has failed.
	ErrNotInitialised = errors.New("the rate limiter is not initialised; call InitApp with the engine first")
)

// RateLimiter is the extension object. The zero value is ready: it can be
// declared in one package, used for routes in others, and be initialised with
// InitApp when the application is put together. It must not be copied. All
// methods are safe for use by many goroutines at once.
type RateLimiter struct {
	settings atomic.Pointer[settings] // nil until InitApp has succeeded
	engines  atomic.Pointer[[]*engineTrust]
	routes   routeCache

	observing observing

	mu        sync.Mutex // held while settings or engines change
	unreached int        // routes that were there before InitApp
}

// New makes a rate limiter and initialises it for an engine. See InitApp.
func New(engine *gin.Engine, config Config) (*RateLimiter, error) {
	r := &RateLimiter{}
	if err := r.InitApp(engine, config); err != nil {
		return nil, err
	}
	return r, nil
}

// InitApp initialises the rate limiter for an engine. A nil configuration means
// all defaults; see Config.
//
// Every engine whose routes are limited must be initialised: whom it trusts to
// forward addresses is learnt from it. Further engines join with a nil
// configuration, and share the counters. The
// same engine again, or another one with a configuration, is refused with
// ErrAlreadyInitialised. After an error nothing has changed.
//
// Default and application limits reach the groups and routes made afterwards, so
// with these InitApp must come before the first of them. Routes that are there
// already are an error; a group without routes cannot be seen.
func (r *RateLimiter) InitApp(engine *gin.Engine, config Config) error {
	if engine == nil {
		return errors.New("InitApp needs a *gin.Engine, not nil; make one with gin.New()")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.settings.Load()
	if s != nil {
		if r.knows(engine) {
			return fmt.Errorf("%w for this engine", ErrAlreadyInitialised)
		}
		if config != nil {
			return fmt.Errorf("%w, with another configuration; pass nil to let a second engine join", ErrAlreadyInitialised)
		}
		return r.join(engine, s)
	}
	s, err := config.check()
	if err != nil {
		return err
	}
	s.observing = &r.observing
	if err := r.join(engine, s); err != nil {
		return errors.Join(err, s.close())
	}
	if len(s.observers) > 0 {
		r.observing.add(s.observers...)
	}
	r.settings.Store(s)
	return nil
}

func (r *RateLimiter) knows(engine *gin.Engine) bool {
	for _, known := range r.trusts() {
		if known.engine == engine {
			return true
		}
	}
	return false
}

// join adds an engine, and to it the middleware of default and application limits.
func (r *RateLimiter) join(engine *gin.Engine, s *settings) error {
	routes := len(engine.Routes())
	if routes > 0 && s.limits.Load().any() {
		return fmt.Errorf("the engine has %d routes already, which default and application limits cannot reach; call InitApp before the first route or group", routes)
	}
	if routes == 0 {
		engine.Use(r.configuredLimits(s)) // also where there are none yet; see Update
	}
	r.unreached += routes
	engines := append(slices.Clone(r.trusts()), &engineTrust{engine: engine})
	r.engines.Store(&engines)
	return nil
}

func (r *RateLimiter) trusts() []*engineTrust {
	if engines := r.engines.Load(); engines != nil {
		return *engines
	}
	return nil
}

// Backend is where the counters are kept, nil before InitApp.
func (r *RateLimiter) Backend() backends.Backend {
	if s := r.settings.Load(); s != nil {
		return s.backend
	}
	return nil
}

// Health tells whether the backend is asked, or has failed repeatedly and is
// being probed until it answers, as for a page that shows the application's
// health. It is the zero Health before InitApp, and for a backend that is in the
// process and cannot fail.
func (r *RateLimiter) Health() backends.Health {
	if s := r.settings.Load(); s != nil && s.breaker != nil {
		return s.breaker.Health()
	}
	return backends.Health{}
}

// Reset forgets what a scope has used of every limit on a key, as after a
// captcha or a payment. Key and scope are those of Info, or what key and scope
// functions have returned, without the prefix of the configuration; see Join where
// there are several. A pair that was never seen is no error. Requests of this process
// that wait for one of these limits (see WithWait) need not wait for it any longer.
func (r *RateLimiter) Reset(ctx context.Context, key, scope string) error {
	s := r.settings.Load()
	if s == nil {
		return ErrNotInitialised
	}
	keys := []string{key}
	if short := printable(key); short != key { // a route is stored as it is, however long
		keys = append(keys, short)
	}
	scope = printable(scope)
	var failed error
	for _, key := range keys {
		failed = errors.Join(failed, s.reset(ctx, s.storedKey(key), scope))
	}
	return failed
}

// reset resets all places of a key, each within the time of a decision. What fails
// once fails for all of them: it is one error.
func (s *settings) reset(ctx context.Context, key, scope string) (failed error) {
	for place := 1; place <= maxPlaces; place++ {
		stored := inPlace(key, place)
		bounded, cancel := context.WithTimeout(ctx, s.timeout)
		err := s.decider.Reset(bounded, stored, scope)
		cancel()
		if failed == nil {
			failed = err
		}
		s.lines.freed(stored, scope)
	}
	return failed
}

// Close closes the backend, if it was made from the configuration; one that was
// handed in stays open. Requests are answered 503 from then on. Close before
// InitApp, and a second Close, do nothing.
func (r *RateLimiter) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.settings.Load(); s != nil {
		return s.close()
	}
	return nil
}

// storedKey is a key as backends see it.
func (s *settings) storedKey(key string) string {
	if s.prefix == "" {
		return key
	}
	return s.prefix + "/" + key
}

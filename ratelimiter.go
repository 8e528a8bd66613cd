// Package ratelimiter limits how often each client may call the routes of a Gin
// application: one extension object, one configuration map and one middleware.
// The counters live in the process, or in Redis, which any number of processes
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
	"weak"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/clientip"
)

var (
	// ErrAlreadyInitialised is returned by InitApp for an engine that it has
	// been called with before, and for another configuration.
	ErrAlreadyInitialised = errors.New("the rate limiter is already initialised")

	// ErrNotInitialised is returned and reported when a rate limiter is used before
	// InitApp has succeeded.
	ErrNotInitialised = errors.New("the rate limiter is not initialised; call InitApp with the engine first")
)

// RateLimiter is the extension object. The zero value is ready: it can be
// declared in one package, used for routes in others, and be initialised with
// InitApp when the application is put together. It must not be copied. All
// methods are safe for use by many goroutines at once.
type RateLimiter struct {
	settings  atomic.Pointer[settings] // nil until InitApp has succeeded
	clients   clientip.Finder
	observers observers
	known     knownLimits

	mu         sync.Mutex // held while what follows changes
	engines    []*gin.Engine
	equipped   []weak.Pointer[gin.Engine] // those that have our middleware, also after Close
	registered []*rule                    // see knownLimits.registered
	unreached  int                        // routes that were there before InitApp
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
// Further engines join, and share the counters, with a nil configuration or an
// equal one. The same engine again, or another one with a different configuration,
// is rejected with ErrAlreadyInitialised. After Close, InitApp begins anew, with any
// engine and configuration. After an error nothing has changed.
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
	if s := r.settings.Load(); s != nil && !s.closed.Load() {
		switch {
		case slices.Contains(r.engines, engine):
			return fmt.Errorf("%w for this engine", ErrAlreadyInitialised)
		case config != nil && !sameConfig(config, s.given):
			return fmt.Errorf("%w, with another configuration; pass nil or an equal one to let a second engine join", ErrAlreadyInitialised)
		}
		return r.join(engine, s)
	}
	s, err := config.check()
	if err != nil {
		return err
	}
	if err := r.join(engine, s); err != nil {
		return errors.Join(err, s.close())
	}
	r.observers.replaceConfigured(s.observers)
	r.settings.Store(s)
	r.learnRegistered(s)
	return nil
}

// join adds an engine, and to it the middleware of default and application limits.
func (r *RateLimiter) join(engine *gin.Engine, s *settings) error {
	equipped := slices.Contains(r.equipped, weak.Make(engine))
	routes := 0
	if !equipped {
		routes = len(engine.Routes())
	}
	if routes > 0 && s.limits.Load().any() {
		return fmt.Errorf("the engine has %d routes already, which default and application limits cannot reach; call InitApp before the first route or group", routes)
	}
	if routes == 0 && !equipped {
		engine.Use(r.configuredLimits()) // also where there are none yet; see Update
		r.equipped = slices.DeleteFunc(r.equipped, func(e weak.Pointer[gin.Engine]) bool { return e.Value() == nil })
		r.equipped = append(r.equipped, weak.Make(engine))
	}
	r.unreached += routes
	r.engines = append(r.engines, engine)
	return nil
}

// learnRegistered lets Status know the limits whose keys need no request.
func (r *RateLimiter) learnRegistered(s *settings) {
	for _, rule := range r.registered {
		r.known.registered(s, rule)
	}
	if rule := s.limits.Load().applicationRule; rule != nil {
		r.known.registered(s, rule)
	}
}

// maxRegistered is how many rules are kept for Status to know after each InitApp.
const maxRegistered = 1000

// register takes note of a rule, for Status.
func (r *RateLimiter) register(rule *rule) {
	if !slices.ContainsFunc(rule.limits, func(l limitRule) bool { _, shared := sharedName(l.key); return shared }) {
		return // its keys are those of routes or of requests
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.registered) < maxRegistered {
		r.registered = append(r.registered, rule)
	}
	if s := r.settings.Load(); s != nil {
		r.known.registered(s, rule)
	}
}

// Backend is where the counters are kept, nil before InitApp.
func (r *RateLimiter) Backend() backends.Backend {
	if s := r.settings.Load(); s != nil {
		return s.backend
	}
	return nil
}

// Reset forgets what a scope has used of every limit on a key, as after a
// captcha or a payment. Key and scope are those of Info, or what key and scope
// functions have returned, without the prefix of the configuration; see Join where
// there are several. Of a route it reaches the first nine RateLimits. A pair that was
// never seen is no error. Requests of this process
// that wait for one of these limits (see WithWait) need not wait for it any longer.
func (r *RateLimiter) Reset(ctx context.Context, key, scope string) error {
	s := r.settings.Load()
	if s == nil {
		return ErrNotInitialised
	}
	scope = printable(scope)
	var failed error // what fails once fails for all of them: it is one error
	for _, stored := range s.storedKeys(key) {
		if err := s.reset(ctx, stored, scope); failed == nil {
			failed = err
		}
	}
	return failed
}

// storedKeys are all keys under which backends may know a key that people read.
func (s *settings) storedKeys(key string) []string {
	keys := []string{s.storedKey(ofKey, 1, printable(key)), s.banKey(key)}
	if key == applicationKey {
		keys = append(keys, s.storedKey(ofApplication, 1, key))
	}
	if !isRoute(key) {
		return keys
	}
	keys = append(keys, s.storedKey(ofDefault, 1, key))
	if s.fallbackRule != nil {
		keys = append(keys, s.storedKey(ofFallback, 1, key))
	}
	for position := 1; position <= maxPositions; position++ {
		keys = append(keys, s.storedKey(ofRoute, position, key))
	}
	return keys
}

// maxPositions is how many RateLimits of a route Reset reaches.
const maxPositions = 9

// reset resets one stored key, within the time of a decision.
func (s *settings) reset(ctx context.Context, stored, scope string) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.decider.Reset(bounded, stored, scope)
	s.queues.Free(stored, scope)
	return err
}

// Close closes the backend, if it was made from the configuration; one that was
// handed in stays open. Requests are answered 503 until InitApp is called again. Those in
// progress that hold a place (see Concurrent) keep it, and the backend is closed when
// the last of them has ended. Close
// before InitApp, and a second Close, do nothing.
func (r *RateLimiter) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.settings.Load()
	if s == nil || s.closed.Load() {
		return nil
	}
	r.engines, r.unreached = nil, 0
	err := s.close()
	r.known.forgetAll()
	return err
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

// Stats is what a rate limiter has done since InitApp, in this process. Numbers
// only grow, but for Keys and Waiting.
type Stats struct {
	// Health is that of the backend; the zero Health where it is in the process.
	Health backends.Health

	// Memory is that of the memory backend, or of the memory that is fallen back
	// on; see backends.Stats.
	Memory backends.MemoryStats

	// CachedDenials counts the questions that were denied without asking Redis.
	CachedDenials uint64

	// Waiting is how many requests wait for their turn or for a place now; see WithWait.
	Waiting int

	// ObserverPanics counts what observers have panicked with.
	ObserverPanics uint64
}

// Stats tells what the rate limiter has done, as for metrics. It is the zero Stats
// before InitApp. It locks one part of the memory after the other, for a moment.
func (r *RateLimiter) Stats() Stats {
	s := r.settings.Load()
	if s == nil {
		return Stats{}
	}
	sum := Stats{Health: r.Health(), Waiting: s.queues.Waiting() + s.places.Waiting()}
	sum.CachedDenials, _ = backends.CachedDenials(s.backend)
	counting := s.backend
	if s.local != nil {
		counting = s.local
	}
	sum.Memory, _ = backends.Stats(counting)
	sum.ObserverPanics = r.observers.panics.Load()
	return sum
}

// Routes lists the routes of an engine, sorted, as "GET /users/:id": the default
// keys of its limits. One a line, they are what the command ratelimiter reads
// with plan --routes. It may be called before InitApp.
func (*RateLimiter) Routes(engine *gin.Engine) []string {
	var routes []string
	for _, route := range engine.Routes() {
		routes = append(routes, route.Method+" "+route.Path)
	}
	slices.Sort(routes)
	return routes
}

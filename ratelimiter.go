// Package ratelimiter limits how often each client may call the routes of a Gin
// application. An application needs one RateLimiter, one configuration map and one
// middleware. The counters are kept in memory, or in Redis, where any number of processes
// can share them.
//
//	limiter, err := ratelimiter.New(engine, nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	engine.GET("/search", limiter.RateLimit(10, time.Minute), search)
//
// Every limit has a key, which says what is limited (by default the route), and a scope,
// which says who is limited (by default the client's IP address). Each request costs a
// number of units (by default one). A request is allowed if the limit has enough units
// left, and is then charged. Otherwise it is rejected with status 429, a Retry-After
// header and a problem document, and charged nothing.
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
	// ErrAlreadyInitialised is wrapped by the error of InitApp when it is called again
	// with the same engine, or with another engine and a different configuration.
	ErrAlreadyInitialised = errors.New("the rate limiter is already initialised")

	// ErrNotInitialised is returned when a RateLimiter is used before InitApp has
	// succeeded.
	ErrNotInitialised = errors.New("the rate limiter is not initialised; call InitApp with the engine first")
)

// RateLimiter is the limiter of an application. The zero value is ready to use: declare
// it in one package, register its middlewares in others, and call InitApp when the
// application starts. A RateLimiter must not be copied. All methods are safe for
// concurrent use.
type RateLimiter struct {
	settings  atomic.Pointer[settings] // nil until InitApp has succeeded
	clients   clientip.Finder
	observers observers
	known     knownLimits

	mu          sync.Mutex // guards the fields below
	engines     []*gin.Engine
	prepared    []weak.Pointer[gin.Engine] // engines that have our middleware, even after Close
	registered  []*rule                    // see knownLimits.addRegistered
	earlyRoutes int                        // routes registered before InitApp
}

// New creates a RateLimiter and initialises it for an engine. See InitApp.
func New(engine *gin.Engine, config Config) (*RateLimiter, error) {
	r := &RateLimiter{}
	if err := r.InitApp(engine, config); err != nil {
		return nil, err
	}
	return r, nil
}

// InitApp checks the configuration, opens the backend and adds the default and
// application limits to the engine. A nil configuration means the defaults; see Config.
//
// To use the same limiter and counters for further engines, call InitApp again for each
// of them, with nil or an equal configuration. InitApp returns an error that wraps
// ErrAlreadyInitialised if it is called twice with the same engine, or with a different
// configuration. After Close it can be called again with any engine and configuration. A
// failed call changes nothing.
//
// Default and application limits only apply to groups and routes that are registered
// after InitApp. InitApp returns an error if these limits are configured and the engine
// already has routes. It cannot detect a group that has no routes yet.
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
			return fmt.Errorf("%w, with another configuration; to add an engine, pass nil or an equal configuration", ErrAlreadyInitialised)
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
	r.addRegisteredLimits(s)
	return nil
}

// join adds an engine and registers the middleware of the configured limits on it.
func (r *RateLimiter) join(engine *gin.Engine, s *settings) error {
	equipped := slices.Contains(r.prepared, weak.Make(engine))
	routes := 0
	if !equipped {
		routes = len(engine.Routes())
	}
	if routes > 0 && s.limits.Load().any() {
		return fmt.Errorf("the engine already has %d routes, to which default and application limits cannot apply; call InitApp before the first route or group", routes)
	}
	if routes == 0 && !equipped {
		engine.Use(r.configuredLimits()) // needed even without limits: Update may add some
		r.prepared = slices.DeleteFunc(r.prepared, func(e weak.Pointer[gin.Engine]) bool { return e.Value() == nil })
		r.prepared = append(r.prepared, weak.Make(engine))
	}
	r.earlyRoutes += routes
	r.engines = append(r.engines, engine)
	return nil
}

// addRegisteredLimits makes the limits whose keys are known without a request available
// to Status.
func (r *RateLimiter) addRegisteredLimits(s *settings) {
	for _, rule := range r.registered {
		r.known.addRegistered(s, rule)
	}
	if rule := s.limits.Load().applicationRule; rule != nil {
		r.known.addRegistered(s, rule)
	}
}

// maxRegistered limits how many rules are kept for Status.
const maxRegistered = 1000

// register remembers a rule for Status.
func (r *RateLimiter) register(rule *rule) {
	if !slices.ContainsFunc(rule.limits, func(l limitRule) bool { _, shared := sharedName(l.key); return shared }) {
		return // its keys are only known when a route is bound or a request arrives
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.registered) < maxRegistered {
		r.registered = append(r.registered, rule)
	}
	if s := r.settings.Load(); s != nil {
		r.known.addRegistered(s, rule)
	}
}

// Backend returns the backend that holds the counters, or nil before InitApp.
func (r *RateLimiter) Backend() backends.Backend {
	if s := r.settings.Load(); s != nil {
		return s.backend
	}
	return nil
}

// Reset clears every limit and ban of a scope on a key, for example after a solved
// captcha or a payment. The key and the scope are those in Info, or those that the
// functions of WithKey and WithScope returned; use Join if there were several functions.
// They do not include the configured prefix. Resetting a key and scope that were never
// used is not an error. On a route, Reset covers the first nine RateLimits. Requests in
// this process that wait for one of these limits (see WithWait) no longer have to wait for it.
//
// Reset returns ErrNotInitialised before InitApp, and the error of the backend if the
// backend fails.
func (r *RateLimiter) Reset(ctx context.Context, key, scope string) error {
	s := r.settings.Load()
	if s == nil {
		return ErrNotInitialised
	}
	scope = printable(scope)
	var failed error // a backend that fails once fails for every key, so report it once
	for _, stored := range s.storedKeys(key) {
		if err := s.reset(ctx, stored, scope); failed == nil {
			failed = err
		}
	}
	return failed
}

// storedKeys returns every backend key under which the limits of a public key may be
// stored.
func (s *settings) storedKeys(key string) []string {
	keys := []string{s.storedKey(keyNamespace, 1, printable(key)), s.banKey(key)}
	if key == applicationKey {
		keys = append(keys, s.storedKey(applicationNamespace, 1, key))
	}
	if !isRoute(key) {
		return keys
	}
	keys = append(keys, s.storedKey(defaultNamespace, 1, key))
	if s.fallbackRule != nil {
		keys = append(keys, s.storedKey(fallbackNamespace, 1, key))
	}
	for position := 1; position <= maxPositions; position++ {
		keys = append(keys, s.storedKey(routeNamespace, position, key))
	}
	return keys
}

// maxPositions is how many RateLimits of a route Reset covers.
const maxPositions = 9

// reset resets one stored key, within the configured timeout.
func (s *settings) reset(ctx context.Context, stored, scope string) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.decider.Reset(bounded, stored, scope)
	s.queues.Free(stored, scope)
	return err
}

// Close closes the backend if InitApp opened it. A backend that was passed in stays open.
// From then on requests are answered with 503 until InitApp is called again. Requests
// that hold a slot (see Concurrent) keep it, and the backend is closed when the last of
// them ends. Close does nothing before InitApp or when it is called a second time.
func (r *RateLimiter) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.settings.Load()
	if s == nil || s.closed.Load() {
		return nil
	}
	r.engines, r.earlyRoutes = nil, 0
	err := s.close()
	r.known.forgetAll()
	return err
}

// Health reports the state of the backend, for a health check. After repeated failures
// the backend is no longer called and is probed until it answers. Health returns the zero
// value before InitApp and for a memory backend, which cannot fail.
func (r *RateLimiter) Health() backends.Health {
	if s := r.settings.Load(); s != nil && s.breaker != nil {
		return s.breaker.Health()
	}
	return backends.Health{}
}

// Stats is what a RateLimiter has done in this process since InitApp. All numbers only
// grow, except Memory.Keys and Waiting.
type Stats struct {
	// Health is the state of the backend; zero for a memory backend.
	Health backends.Health

	// Memory describes the memory backend, or the memory that is used during an outage of
	// another backend. See backends.Stats.
	Memory backends.MemoryStats

	// CachedDenials is the number of decisions that were denied without a call to Redis.
	CachedDenials uint64

	// Waiting is the number of requests that are waiting now; see WithWait.
	Waiting int

	// ObserverPanics is the number of panics in observers, which are recovered.
	ObserverPanics uint64
}

// Stats returns what the RateLimiter has done, for metrics. It returns the zero value
// before InitApp. It is cheap enough to call every few seconds: it locks the parts of the
// memory backend briefly, one after the other.
func (r *RateLimiter) Stats() Stats {
	s := r.settings.Load()
	if s == nil {
		return Stats{}
	}
	sum := Stats{Health: r.Health(), Waiting: s.queues.Waiting() + s.slots.Waiting()}
	sum.CachedDenials, _ = backends.CachedDenials(s.backend)
	counting := s.backend
	if s.local != nil {
		counting = s.local
	}
	sum.Memory, _ = backends.Stats(counting)
	sum.ObserverPanics = r.observers.panics.Load()
	return sum
}

// Routes returns the routes of an engine in sorted order, such as "GET /users/:id". These
// are the default keys of the limits. Written one per line, they are the input of the
// command "ratelimiter plan --routes". Routes may be called before InitApp.
func (*RateLimiter) Routes(engine *gin.Engine) []string {
	var routes []string
	for _, route := range engine.Routes() {
		routes = append(routes, route.Method+" "+route.Path)
	}
	slices.Sort(routes)
	return routes
}

package ratelimiter

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

const defaultBackend = "memory"

// registry holds the backends by name. The last two names are those that
// Flask-RateLimiter gives its backends.
var registry = struct {
	sync.RWMutex
	factories map[string]backends.Factory
}{factories: map[string]backends.Factory{
	defaultBackend:           backends.NewMemory,
	"redis":                  backends.NewRedis,
	"SimpleRedisBackend":     backends.NewRedis,
	"FlaskCacheRedisBackend": backends.NewRedis,
}}

// GetBackend returns the factory of a backend by its name, and that of the
// default backend, memory, for a name that is not known. (InitApp refuses a
// name that is not known.)
func GetBackend(name string) backends.Factory {
	registry.RLock()
	defer registry.RUnlock()
	if factory, ok := registry.factories[name]; ok {
		return factory
	}
	return registry.factories[defaultBackend]
}

// RegisterBackend makes a factory known under a name, for use as
// RATELIMITER_BACKEND. A name that is known already gets the new factory; a nil
// factory removes the name, except that of the default backend.
func RegisterBackend(name string, factory backends.Factory) {
	registry.Lock()
	defer registry.Unlock()
	switch {
	case factory != nil:
		registry.factories[name] = factory
	case name != defaultBackend:
		delete(registry.factories, name)
	}
}

func findBackend(name string) (backends.Factory, error) {
	registry.RLock()
	factory, ok := registry.factories[name]
	registry.RUnlock()
	if !ok && strings.Contains(name, "://") {
		return nil, fmt.Errorf(`RATELIMITER_BACKEND is a URL (not shown here); write "redis" there, and the URL as RATELIMITER_BACKEND_OPTIONS, {"url": ...}; known are %s`, backendNames())
	}
	if !ok {
		return nil, fmt.Errorf("RATELIMITER_BACKEND %q is not known; %sknown are %s", name, maybe(name), backendNames())
	}
	return factory, nil
}

// maybe asks whether a slip of the finger was meant to be a name that is known.
func maybe(name string) string {
	if nearest, ok := options.Nearest(name, strings.Split(backendNames(), ", ")); ok {
		return fmt.Sprintf("did you mean %q? ", nearest)
	}
	return ""
}

func backendNames() string {
	registry.RLock()
	defer registry.RUnlock()
	names := make([]string, 0, len(registry.factories))
	for name := range registry.factories {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

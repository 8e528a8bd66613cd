package ratelimiter

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

const defaultBackend = "memory"

// registered is a backend that has a name.
type registered struct {
	factory backends.Factory
	// check checks options without connecting. It is nil if only the factory can.
	check func(options map[string]any) error
}

var redisBackend = registered{backends.NewRedis, backends.CheckRedisOptions}

// registry holds the backends by name. The last two names are those that
// Flask-RateLimiter gives its backends.
var registry = struct {
	sync.RWMutex
	backends map[string]registered
}{backends: map[string]registered{
	defaultBackend:           {backends.NewMemory, checkMemoryOptions},
	"redis":                  redisBackend,
	"SimpleRedisBackend":     redisBackend,
	"FlaskCacheRedisBackend": redisBackend,
}}

func checkMemoryOptions(given map[string]any) error {
	backend, err := backends.NewMemory(given)
	if err != nil {
		return err
	}
	return backend.Close()
}

// GetBackend returns the factory of the backend with a name, and that of the
// default backend, memory, for an unknown name. (InitApp rejects an unknown name.)
func GetBackend(name string) backends.Factory {
	registry.RLock()
	defer registry.RUnlock()
	if known, ok := registry.backends[name]; ok {
		return known.factory
	}
	return registry.backends[defaultBackend].factory
}

// RegisterBackend makes a factory available under a name, for use as
// RATELIMITER_BACKEND. It replaces the factory of a name that is known already. A
// nil factory removes the name, unless it is that of the default backend. It is
// safe for use by many goroutines at once.
func RegisterBackend(name string, factory backends.Factory) {
	registry.Lock()
	defer registry.Unlock()
	switch {
	case factory != nil:
		registry.backends[name] = registered{factory: factory}
	case name != defaultBackend:
		delete(registry.backends, name)
	}
}

func findBackend(name string) (registered, error) {
	registry.RLock()
	known, ok := registry.backends[name]
	registry.RUnlock()
	if !ok && strings.Contains(name, "://") {
		return known, fmt.Errorf(`%s is a URL (not shown here); write "redis" there, and the URL as %s, {"url": ...}; known are %s`, ConfigBackend, ConfigBackendOptions, backendNames())
	}
	if !ok {
		return known, fmt.Errorf("%s %q is not known; %sknown are %s", ConfigBackend, name, didYouMean(name), backendNames())
	}
	return known, nil
}

// didYouMean suggests the known name that is nearest.
func didYouMean(name string) string {
	if nearest, ok := options.Nearest(name, strings.Split(backendNames(), ", ")); ok {
		return fmt.Sprintf("did you mean %q? ", nearest)
	}
	return ""
}

func backendNames() string {
	registry.RLock()
	defer registry.RUnlock()
	return strings.Join(slices.Sorted(maps.Keys(registry.backends)), ", ")
}

// shareOption is given among the options of a backend, but belongs to the memory
// that is its fallback.
const shareOption = "fallback_share"

// backendChoice is what the configuration says about the backend.
type backendChoice struct {
	made    backends.Backend // handed in; nil if one must be made
	name    string           // of the one to make
	absent  bool             // no name was given, so it is the default
	known   registered       // what is registered under the name
	options map[string]any   // for its factory
	share   float64          // fallback_share; 0 if not given
}

// readBackend reads which backend to use. It makes none.
func readBackend(read *options.Reader) (chosen backendChoice) {
	value, given := read.Value(ConfigBackend)
	chosen.options = read.Map(ConfigBackendOptions)
	if _, isNil := read.Values[ConfigBackend]; isNil && !given {
		read.Reject(fmt.Errorf("%s is nil; it must be the name of a backend (%s) or a backends.Backend, or be left out", ConfigBackend, backendNames()))
		return chosen
	}
	if !given {
		value, chosen.absent = defaultBackend, true
	}
	var err error
	switch backend := value.(type) {
	case string:
		chosen.name = backend
		if chosen.known, err = findBackend(backend); err == nil {
			err = chosen.takeShare()
		}
	case backends.Backend:
		chosen.made = backend
		if pointer := reflect.ValueOf(backend); pointer.Kind() == reflect.Pointer && pointer.IsNil() {
			err = fmt.Errorf("%s is a nil %T; make it first", ConfigBackend, backend)
		} else if len(chosen.options) > 0 {
			err = fmt.Errorf("%s cannot change a backend that is made already; leave them out, or give %s a name", ConfigBackendOptions, ConfigBackend)
		}
	default:
		err = fmt.Errorf("%s is a %T; it must be the name of a backend (%s) or a backends.Backend", ConfigBackend, backend, backendNames())
	}
	if err != nil {
		read.Reject(err)
	}
	return chosen
}

// takeShare takes fallback_share out of the options.
func (chosen *backendChoice) takeShare() error {
	if _, has := chosen.options[shareOption]; !has {
		return nil
	}
	read := &options.Reader{
		Values:   chosen.options,
		Describe: func(name string) string { return fmt.Sprintf("option %q of backend %q", name, chosen.name) },
	}
	chosen.share = read.Fraction(shareOption, 0)
	chosen.options = maps.Clone(chosen.options)
	delete(chosen.options, shareOption)
	return chosen.fault(read.Finish(func(string) bool { return false }))
}

// localLimit is what a limit is for this process while the backend is away.
func (chosen *backendChoice) localLimit(limit int64) int64 {
	if chosen.share == 0 {
		return limit
	}
	return backends.ScaledLimit(limit, chosen.share)
}

// fault adds to an error in the options where they were given.
func (chosen *backendChoice) fault(err error) error {
	switch {
	case err == nil:
		return nil
	case chosen.absent:
		return fmt.Errorf("%s is missing, so %s are read as those of %q; if they are not, set it to \"redis\" or another backend: %w", ConfigBackend, ConfigBackendOptions, chosen.name, err)
	}
	return fmt.Errorf("%s: %w", ConfigBackendOptions, err)
}

// check checks the options as far as possible without making the backend.
func (chosen *backendChoice) check() error {
	if chosen.known.check == nil {
		return nil
	}
	return chosen.fault(chosen.known.check(chosen.options))
}

// open makes the backend, or returns the one that was handed in.
func (chosen *backendChoice) open() (backends.Backend, error) {
	if chosen.made != nil {
		return chosen.made, nil
	}
	backend, err := chosen.known.factory(chosen.options)
	if err != nil {
		return nil, chosen.fault(err)
	}
	if backend == nil {
		return nil, fmt.Errorf("the factory of backend %q returned neither a backend nor an error", chosen.name)
	}
	return backend, nil
}

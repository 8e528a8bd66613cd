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

// registered is a backend with a name.
type registered struct {
	factory backends.Factory
	// check validates options without connecting. It is nil if only the factory can do
	// that.
	check func(options map[string]any) error
}

var redisBackend = registered{backends.NewRedis, backends.CheckRedisOptions}

// registry contains the backends by name. The last two are the names of the backends in
// Flask-RateLimiter.
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

// GetBackend returns the factory of the backend with a name. For an unknown name it
// returns the factory of the default backend, "memory". (InitApp returns an error for an
// unknown name.) It is safe for concurrent use.
func GetBackend(name string) backends.Factory {
	registry.RLock()
	defer registry.RUnlock()
	if known, ok := registry.backends[name]; ok {
		return known.factory
	}
	return registry.backends[defaultBackend].factory
}

// RegisterBackend registers a factory under a name for RATELIMITER_BACKEND, and replaces
// a factory with the same name. A nil factory removes the name, except that of the
// default backend. It is safe for concurrent use.
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
		return known, fmt.Errorf(`%s is a URL (not shown here); set it to "redis", and set %s to {"url": ...}; the known backends are %s`, ConfigBackend, ConfigBackendOptions, backendNames())
	}
	if !ok {
		return known, fmt.Errorf("%s %q is not known; %sthe known backends are %s", ConfigBackend, name, didYouMean(name), backendNames())
	}
	return known, nil
}

// didYouMean suggests the nearest known name.
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

// shareOption is given with the backend options, but configures the fallback.
const shareOption = "fallback_share"

// backendChoice is the configuration of the backend.
type backendChoice struct {
	made    backends.Backend // passed in; nil if it has to be created
	name    string           // the name of the backend to create
	absent  bool             // no name was given, so name is the default
	known   registered       // the registration of name
	options map[string]any   // for the factory
	share   float64          // fallback_share; 0 if not given
}

// readBackend reads the configuration of the backend without creating it.
func readBackend(read *options.Reader) (chosen backendChoice) {
	value, given := read.Value(ConfigBackend)
	chosen.options = read.Map(ConfigBackendOptions)
	if _, isNil := read.Values[ConfigBackend]; isNil && !given {
		read.Reject(fmt.Errorf("%s is nil; it must be the name of a backend (%s) or a backends.Backend, or absent", ConfigBackend, backendNames()))
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
			err = fmt.Errorf("%s is a nil %T; create it first", ConfigBackend, backend)
		} else if len(chosen.options) > 0 {
			err = fmt.Errorf("%s do not apply to a backend that was passed in; remove them, or set %s to a name", ConfigBackendOptions, ConfigBackend)
		}
	default:
		err = fmt.Errorf("%s is of type %T; it must be the name of a backend (%s) or a backends.Backend", ConfigBackend, backend, backendNames())
	}
	if err != nil {
		read.Reject(err)
	}
	return chosen
}

// takeShare removes fallback_share from the options.
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

// localLimit returns the part of a limit that this process enforces during an outage.
func (chosen *backendChoice) localLimit(limit int64) int64 {
	if chosen.share == 0 {
		return limit
	}
	return backends.ScaledLimit(limit, chosen.share)
}

// fault adds to an error in the options where they were set.
func (chosen *backendChoice) fault(err error) error {
	switch {
	case err == nil:
		return nil
	case chosen.absent:
		return fmt.Errorf("%s is missing, so %s must be options of the default backend %q; to use another backend, set %[1]s, for example to \"redis\": %[4]w", ConfigBackend, ConfigBackendOptions, chosen.name, err)
	}
	return fmt.Errorf("%s: %w", ConfigBackendOptions, err)
}

// check validates the options, as far as that is possible without creating the backend.
func (chosen *backendChoice) check() error {
	if chosen.known.check == nil {
		return nil
	}
	return chosen.fault(chosen.known.check(chosen.options))
}

// open creates the backend, or returns the one that was passed in.
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

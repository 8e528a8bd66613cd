package clientip

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/gin-gonic/gin"
)

// maxEngines is how many engines are cached. An engine that was dropped is examined again.
// Only test programs have more.
const maxEngines = 32

// engines caches which addresses engines trust. The zero value is empty.
type engines struct {
	known atomic.Pointer[[]*trust]
	mu    sync.Mutex // held while known changes
}

// of returns the trust of the engine of a context.
func (e *engines) of(c *gin.Context) *trust {
	if !engineIsReadable {
		return trustFromContext(c)
	}
	engine := EngineOf(c)
	if known := e.known.Load(); known != nil {
		for _, t := range *known {
			if t.engine == engine {
				return t
			}
		}
	}
	return e.add(engine)
}

func (e *engines) add(engine *gin.Engine) *trust {
	e.mu.Lock()
	defer e.mu.Unlock()
	var known []*trust
	if earlier := e.known.Load(); earlier != nil {
		known = slices.Clone(*earlier)
	}
	if i := slices.IndexFunc(known, func(t *trust) bool { return t.engine == engine }); i >= 0 {
		return known[i] // added by another request
	}
	if len(known) == maxEngines {
		known = known[1:] // the oldest
	}
	t := trustOfEngine(engine)
	known = append(known, t)
	e.known.Store(&known)
	return t
}

// Gin has no method that returns the engine of a context, so it is read from an unexported
// field. For a version of Gin without this field, trustFromContext is the alternative.
var engineOffset, engineIsReadable = findEngine(reflect.TypeFor[gin.Context]())

func findEngine(context reflect.Type) (offset uintptr, found bool) {
	field, found := context.FieldByName("engine")
	found = found && field.Type == reflect.TypeFor[*gin.Engine]() && len(field.Index) == 1
	return field.Offset, found
}

// EngineOf returns the engine of a context, or nil if the context has none or the version
// of Gin does not allow reading it.
func EngineOf(c *gin.Context) *gin.Engine {
	if !engineIsReadable {
		return nil
	}
	return *(**gin.Engine)(unsafe.Add(unsafe.Pointer(c), engineOffset))
}

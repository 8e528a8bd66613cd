package clientip

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/gin-gonic/gin"
)

// maxEngines is how many engines are remembered. One that comes back after it was
// forgotten is asked again. Only test programs have more.
const maxEngines = 32

// engines remembers whom engines believe. The zero value knows none.
type engines struct {
	known atomic.Pointer[[]*trust]
	mu    sync.Mutex // held while known changes
}

// of is whom the engine of a context believes.
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
		return known[i] // another request has been faster
	}
	if len(known) == maxEngines {
		known = known[1:] // the oldest
	}
	t := trustOfEngine(engine)
	known = append(known, t)
	e.known.Store(&known)
	return t
}

// Gin has no method that returns the engine of a context. It is in a field that is
// not exported. Where a version of Gin has no such field, askContext does without.
var engineOffset, engineIsReadable = findEngine(reflect.TypeFor[gin.Context]())

func findEngine(context reflect.Type) (offset uintptr, found bool) {
	field, found := context.FieldByName("engine")
	found = found && field.Type == reflect.TypeFor[*gin.Engine]() && len(field.Index) == 1
	return field.Offset, found
}

// EngineOf is the engine of a context. It is nil for a context that was made without
// one, and for all contexts where a version of Gin does not tell.
func EngineOf(c *gin.Context) *gin.Engine {
	if !engineIsReadable {
		return nil
	}
	return *(**gin.Engine)(unsafe.Add(unsafe.Pointer(c), engineOffset))
}

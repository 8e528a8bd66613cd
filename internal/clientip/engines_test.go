package clientip

import (
	"reflect"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

func TestTheEngineIsFoundInAContext(t *testing.T) {
	engine := newEngine()
	require.Same(t, engine, EngineOf(request(engine, "192.0.2.7:80")))
	require.Same(t, engine, EngineOf(request(engine, "192.0.2.7:80").Copy()))
	require.Nil(t, EngineOf(&gin.Context{}))
}

func TestAnEngineThatTwoRequestsFindUnknownIsAddedOnce(t *testing.T) {
	var known engines
	first, second := newEngine(), newEngine()
	for _, engine := range []*gin.Engine{first, second} {
		added := known.add(engine)
		require.Same(t, added, known.add(engine))
	}
	require.Len(t, *known.known.Load(), 2)
}

func TestAnUnknownEngineFieldIsNotRead(t *testing.T) {
	type embedded struct{ engine *gin.Engine } //nolint:unused // read by reflection
	for name, context := range map[string]reflect.Type{
		"none":            reflect.TypeFor[struct{ Engine *gin.Engine }](),
		"of another type": reflect.TypeFor[struct{ engine gin.Engine }](),
		"further down":    reflect.TypeFor[struct{ embedded }](),
	} {
		_, found := findEngine(context)
		require.False(t, found, name)
	}
	offset, found := findEngine(reflect.TypeFor[struct {
		before int
		engine *gin.Engine
	}]())
	require.True(t, found)
	require.NotZero(t, offset)
}

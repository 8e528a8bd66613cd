package bench

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
)

// sethvargo is github.com/sethvargo/go-limiter. Its Redis store is a module of
// its own, on another client.
var sethvargo = contender{
	name: "sethvargo/go-limiter",
	memory: func(q quota) opened {
		ctx := context.Background()
		store := sethvargoStore(q)
		return shared(func(key string) (bool, error) {
			_, _, _, ok, err := store.Take(ctx, key)
			return ok, err
		}, func() { _ = store.Close(ctx) })
	},
	gin: func(_ *gin.Engine, q quota) (gin.HandlerFunc, func()) {
		store := sethvargoStore(q)
		middleware := must(httplimit.NewMiddleware(store, httplimit.IPKeyFunc()))
		return fromNetHTTP(middleware.Handle), func() { _ = store.Close(context.Background()) }
	},
}

func sethvargoStore(q quota) limiter.Store {
	return must(memorystore.New(&memorystore.Config{Tokens: uint64(q.limit), Interval: q.per}))
}

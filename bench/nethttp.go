package bench

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// fromNetHTTP puts a middleware of net/http into Gin at the lowest price that we
// know: the wrapped handler is made once and only notes that it was reached.
func fromNetHTTP(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	handler := middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(*passage).reached = true
	}))
	return func(c *gin.Context) {
		w := &passage{ResponseWriter: c.Writer}
		handler.ServeHTTP(w, c.Request)
		if !w.reached {
			c.Abort()
		}
	}
}

type passage struct {
	http.ResponseWriter
	reached bool
}

package bench

import (
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/httprate"
)

// httpRate is github.com/go-chi/httprate. Its Redis counter is a module of its
// own.
var httpRate = contender{
	name: "go-chi/httprate",
	memory: func(q quota) opened {
		// Without names it sets no headers, and needs nothing to set them on.
		limiter := httprate.NewRateLimiter(q.limit, q.per, httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
		request := &http.Request{}
		return shared(func(key string) (bool, error) {
			return !limiter.OnLimit(nil, request, key), nil
		}, nothing)
	},
	gin: func(_ *gin.Engine, q quota) (gin.HandlerFunc, func()) {
		limiter := httprate.NewRateLimiter(q.limit, q.per)
		return func(c *gin.Context) {
			host, _, err := net.SplitHostPort(c.Request.RemoteAddr)
			if err != nil {
				host = c.Request.RemoteAddr
			}
			if limiter.RespondOnLimit(c.Writer, c.Request, httprate.CanonicalizeIP(host)) {
				c.Abort()
			}
		}, nothing
	},
}

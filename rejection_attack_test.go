package ratelimiter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Clients send texts that would add a header, end a document or become a script.
func TestARejectionHoldsNoTextOfAClient(t *testing.T) {
	texts := []string{
		"quiet", "a\r\nSet-Cookie: admin=1\r\n\r\n<script>alert(1)</script>", `"};alert(1);{"`, "</title><script>alert(1)</script>", `";r=1000, "x`,
		"\x00\x1b[2J", "\u2028\u202e", strings.Repeat("é\"\\", 1<<18),
	}
	sent := ratelimiter.ByHeader("X-Sent")
	for _, accept := range []string{"application/json", "text/html"} {
		engine, limiter := application(t, nil)
		engine.GET("/*path", limiter.RateLimit(0, time.Hour, ratelimiter.WithKey(sent, ratelimiter.ByPath), ratelimiter.WithScope(sent)), ok)
		rejection := func(text string) (header map[string][]string, body string) {
			response := get(engine, "/", withHeader("Accept", accept), withHeader("X-Sent", text))
			require.Equal(t, 429, response.Code)
			return response.Header(), response.Body.String()
		}
		header, body := rejection(texts[0])
		delete(header, "X-Ratelimit-Reset") // the current second
		for _, text := range texts[1:] {
			other, document := rejection(text)
			require.Regexp(t, `^\d+$`, other["X-Ratelimit-Reset"][0])
			delete(other, "X-Ratelimit-Reset")
			require.Equal(t, header, other, "%.30q", text)
			require.Equal(t, body, document, "%.30q", text)
		}
	}
}

// A request that a later limit rejects costs the earlier ones nothing, so it can repeat what
// the application does in between.
func TestWorkBetweenTwoLimitsIsNotLimitedWhereTheSecondRejects(t *testing.T) {
	work := 0
	between := func(*gin.Context) { work++ }
	engine, limiter := application(t, nil)
	first := limiter.RateLimit(5, time.Hour)
	engine.GET("/between", first, between, limiter.RateLimit(1, time.Hour), ok)
	engine.GET("/behind", first, limiter.RateLimit(1, time.Hour), between, ok)
	statuses(engine, "/between", 100)
	require.Equal(t, 100, work)
	work = 0
	statuses(engine, "/behind", 100)
	require.Equal(t, 1, work)
}

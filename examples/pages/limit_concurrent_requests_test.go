package pages_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestExportsAreLimitedForEachCustomerAndInTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		export := func(c *gin.Context) {
			pass(5 * time.Second)
			ok(c)
		}

		perCustomer := limiter.Concurrent(2,
			ratelimiter.WithKey(ratelimiter.Shared("exports")), ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")))
		inAll := limiter.Concurrent(20,
			ratelimiter.WithKey(ratelimiter.Shared("all exports")), ratelimiter.WithScope(ratelimiter.ByEveryone),
			ratelimiter.WithWait(10*time.Second))

		engine.POST("/exports", perCustomer, inAll, limiter.RateLimit(10, time.Minute), export)

		began := time.Now()
		answered := map[string]int{}
		done := make(chan string)
		for customer := range 11 {
			address := from(fmt.Sprintf("192.0.2.%d:1", customer))
			for range 3 {
				go func() {
					response := ask(engine, http.MethodPost, "/exports", with("X-API-Key", fmt.Sprint("customer ", customer)), address)
					done <- http.StatusText(response.Code) + " after " + time.Since(began).String()
				}()
			}
		}
		for range 33 {
			answered[<-done]++
		}
		require.Equal(t, map[string]int{"OK after 5s": 20, "OK after 10s": 2, "Too Many Requests after 0s": 11}, answered)
	})
}

func TestAnExportEndsWhenItsClientDisconnects(t *testing.T) {
	engine, limiter := application(t, nil)
	parts := strings.SplitAfter("one,two,three,", ",")

	export := func(c *gin.Context) {
		for _, part := range parts {
			if c.Request.Context().Err() != nil {
				return // the client has disconnected
			}
			_, _ = c.Writer.WriteString(part)
			c.Writer.Flush()
		}
	}

	engine.GET("/export", limiter.Concurrent(1), export)
	for range 3 {
		require.Equal(t, "one,two,three,", ask(engine, http.MethodGet, "/export").Body.String())
	}
	ctx, leave := context.WithCancel(t.Context())
	engine.GET("/left", limiter.Concurrent(1), func(*gin.Context) { leave() }, export)
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/left", nil)
	response := httptest.NewRecorder()
	engine.ServeHTTP(response, request)
	require.Empty(t, response.Body.String())
	require.Equal(t, 200, ask(engine, http.MethodGet, "/left").Code, "the slot is free")
}

func TestTheResponseShowsTheConcurrencyLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	entered, leave := make(chan struct{}), make(chan struct{})
	engine.Any("/busy", limiter.Concurrent(2, ratelimiter.WithKey(ratelimiter.ByPath), ratelimiter.WithScope(ratelimiter.ByEveryone)), func(*gin.Context) {
		entered <- struct{}{}
		<-leave
	})
	for range 2 {
		go ask(engine, http.MethodGet, "/busy")
		<-entered
	}
	typed(t, "limit-concurrent-requests.md", engine)
	close(leave)
}

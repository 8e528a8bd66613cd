package main

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// estimate is what a chat is charged before its cost is known.
const estimate = 5

// The headers in which a handler says when it began and ended, in Unix microseconds.
const (
	startedHeader = "X-Soak-Started"
	endedHeader   = "X-Soak-Ended"
)

func number(c *gin.Context, name string) int {
	n, _ := strconv.Atoi(c.Query(name)) // the clients write numbers
	return n
}

// handlerOf is what a route does for those it admits.
func handlerOf(r *routes.Route) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header(startedHeader, now())
		status := http.StatusOK
		switch {
		case r.Slots > 0:
			hold(c, time.Duration(number(c, "hold"))*time.Millisecond)
		case r.Path == "/upload":
			_, _ = io.Copy(io.Discard, c.Request.Body) // the client may leave
		case r.Path == "/login" && c.Query("password") != "right":
			status = http.StatusUnauthorized
		case r.Path == "/chat":
			if err := ratelimiter.SetCost(c, number(c, "actual")); err != nil {
				_ = c.Error(err) // the estimate stays
			}
		}
		c.Header(endedHeader, now())
		c.String(status, "done\n")
	}
}

func now() string { return strconv.FormatInt(time.Now().UnixMicro(), 10) }

// hold keeps a request in progress, as long as its client stays.
func hold(c *gin.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.Request.Context().Done():
	}
}

package ratelimiter_test

import (
	"fmt"
	"log"
	"net/http"
	"time"
	_ "time/tzdata"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// This example allows two exports per calendar month in Zurich.
func ExampleWithCalendar() {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		log.Fatal(err)
	}
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/exports", limiter.RateLimit(2, ratelimiter.Month, ratelimiter.WithCalendar(zurich)), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		reset := info.Reset.Round(time.Second).In(zurich)
		fmt.Println("until the", reset.Day(), "at", reset.Format(time.TimeOnly))
		c.Status(http.StatusOK)
	})
	fmt.Println(statuses(engine, "/exports", 3))
	// Output:
	// until the 1 at 00:00:00
	// until the 1 at 00:00:00
	// [200 200 429]
}

// Tour is an API with a limit of every kind. The client sends its plan and its account in
// headers here; a real application reads them from a verified token.
package main

import (
	"cmp"
	"fmt"
	"log"
	"maps"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// plans are lists of limits. A month is that of the calendar in Zurich; see settings.
var plans = map[string][]ratelimiter.Limit{
	"free": {{Limit: 10, Per: time.Minute}, {Limit: 1_000, Per: ratelimiter.Month}},
	"team": {{Limit: 100, Per: time.Minute}, {Limit: 100_000, Per: ratelimiter.Month}},
}

func limitsOfPlan(c *gin.Context) []ratelimiter.Limit {
	if limits, known := plans[c.GetHeader("Plan")]; known {
		return limits
	}
	return plans["free"]
}

var (
	planKey    = ratelimiter.WithKey(ratelimiter.Shared("plan")) // one counter for all routes
	perAccount = ratelimiter.WithScope(ratelimiter.ByHeader("Account"))
	isCheck    = func(c *gin.Context) bool { return c.FullPath() == "/health" }
)

var settings = ratelimiter.Config{
	ratelimiter.ConfigTimeZone:           "Europe/Zurich",
	ratelimiter.ConfigHeaders:            "x, draft-11",
	ratelimiter.ConfigDefaultLimits:      "60/minute",
	ratelimiter.ConfigDefaultOptions:     []ratelimiter.Option{perAccount},
	ratelimiter.ConfigApplicationLimits:  "1000/minute",
	ratelimiter.ConfigApplicationOptions: []ratelimiter.Option{ratelimiter.WithSkip(isCheck)},
	ratelimiter.ConfigFallbackLimits:     "600/minute",
	ratelimiter.ConfigOverLimit: gin.HandlerFunc(func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.JSON(http.StatusTooManyRequests, gin.H{"error": "too many requests", "limit": info})
	}),
	ratelimiter.ConfigOnUnavailable: gin.HandlerFunc(func(c *gin.Context) {
		c.JSON(http.StatusServiceUnavailable, gin.H{"error": "try again in a moment"})
	}),
}

func newEngine(config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter, error) {
	all := maps.Clone(settings)
	maps.Copy(all, config)
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, all)
	if err != nil {
		return nil, nil, err
	}

	api := engine.Group("/", limiter.RateLimits(limitsOfPlan, perAccount, planKey))
	api.GET("/orders", answer)
	api.GET("/search", limiter.RateLimits("5/second; 1000/day", perAccount, ratelimiter.WithDefaults()), answer)
	api.GET("/report", limiter.RateLimit(3, ratelimiter.Week, perAccount, ratelimiter.WithCalendar(time.UTC)), answer)
	api.GET("/export", limiter.Concurrent(2, perAccount, ratelimiter.WithWait(5*time.Second), ratelimiter.WithLease(10*time.Second)), answer)
	api.GET("/query", limiter.RateLimit(1_000, time.Hour, perAccount, ratelimiter.WithName("rows"), ratelimiter.WithCost(10)), query)
	api.GET("/chat", limiter.RateLimit(2_000, time.Hour, perAccount, ratelimiter.WithName("tokens"), ratelimiter.WithCost(1)), chat)
	api.GET("/health", limiter.RateLimit(ratelimiter.Unlimited, time.Minute, ratelimiter.WithoutGroup(), ratelimiter.WithoutDefaults()), answer)
	// Five rejections in an hour ban a client: for a minute, then for an hour, then for a day.
	engine.GET("/login", limiter.RateLimit(3, time.Minute, ratelimiter.WithoutApplication(),
		ratelimiter.WithBan(5, time.Hour, time.Minute, time.Hour, ratelimiter.Day)), answer)

	// Two e-mails an hour to one address, whoever asks for them.
	engine.POST("/mail/:address", func(c *gin.Context) {
		info, err := limiter.Take(c.Request.Context(), ratelimiter.Limit{Limit: 2, Per: time.Hour}, "mail", c.Param("address"), 1)
		if err == nil && info.Exceeded {
			c.JSON(http.StatusTooManyRequests, gin.H{"error": "too many e-mails", "limit": info})
			return
		}
		reply(c, err)
	})
	admin := engine.Group("/admin", gin.BasicAuth(gin.Accounts{"admin": cmp.Or(os.Getenv("ADMIN_PASSWORD"), "tour")}), limiter.Exempt())
	admin.POST("/ban/:account", func(c *gin.Context) {
		reply(c, limiter.Ban(c.Request.Context(), "plan", c.Param("account"), ratelimiter.Day))
	})
	admin.POST("/pardon/:account", func(c *gin.Context) { reply(c, limiter.Reset(c.Request.Context(), "plan", c.Param("account"))) })
	admin.POST("/reset", func(c *gin.Context) { reply(c, limiter.ResetAll(c.Request.Context())) })
	return engine, limiter, nil
}

func answer(c *gin.Context) { c.String(http.StatusOK, "ok\n") }

// query was charged 10 rows before it ran, and has found 250.
func query(c *gin.Context) { reply(c, ratelimiter.SetCost(c, 250)) }

// chat streams three parts, each of which costs 100 tokens more.
func chat(c *gin.Context) {
	for part := 1; part <= 3 && ratelimiter.AddCost(c, 100) == nil; part++ {
		c.String(http.StatusOK, "part %d\n", part)
		c.Writer.Flush()
	}
}

func reply(c *gin.Context, err error) {
	if err != nil {
		_ = c.AbortWithError(http.StatusInternalServerError, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func main() {
	gin.SetMode(gin.ReleaseMode)
	config, err := ratelimiter.ConfigFromEnv() // RATELIMITER_BACKEND=redis shares the counters
	if err != nil {
		log.Fatal(err)
	}
	engine, _, err := newEngine(config)
	if err != nil {
		log.Fatal(err)
	}
	address := "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080")
	fmt.Printf("Try: curl -i -H 'Plan: team' -H 'Account: ann' http://%s/search\n", address)
	log.Fatal(engine.Run(address))
}

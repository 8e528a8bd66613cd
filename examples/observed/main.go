// Observed is a server with a log, Prometheus metrics and a dashboard for its limits. It
// generates traffic to look at: visitors, a client without back-off, a client that guesses
// passwords, and customers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/gin-ratelimiter/ratelimiter/logging"
	rlprometheus "github.com/gin-ratelimiter/ratelimiter/metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var (
	port  = flag.Int("port", 8080, "port to listen on; 0 selects a free one")
	quiet = flag.Bool("quiet", false, "generate no traffic")
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "observed:", err)
		os.Exit(1)
	}
}

// application holds the parts that have to be closed.
type application struct {
	engine  *gin.Engine
	limiter *ratelimiter.RateLimiter
	log     *logging.Log
	page    *dashboard.Handler
}

// newApplication sets up the log, the metrics and the dashboard.
func newApplication(config ratelimiter.Config, logger *slog.Logger) (*application, error) {
	engine := gin.New()
	// The generated requests have the client in X-Forwarded-For.
	if err := engine.SetTrustedProxies([]string{"127.0.0.1"}); err != nil {
		return nil, err
	}
	log := logging.New(logger)
	config["RATELIMITER_OBSERVER"] = log
	limiter, err := ratelimiter.New(engine, config)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(rlprometheus.New(limiter))
	page := dashboard.New(limiter, dashboard.WithReset())

	admin := engine.Group("/admin", limiter.Exempt(), gin.BasicAuth(gin.Accounts{"admin": "secret"}))
	admin.Any("/limits/*any", gin.WrapH(page))
	engine.GET("/metrics", limiter.Exempt(), gin.WrapH(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	addShop(engine, limiter)
	return &application{engine, limiter, log, page}, nil
}

func (a *application) close() error {
	a.page.Close()
	return errors.Join(a.limiter.Close(), a.log.Close())
}

// run serves until Ctrl-C.
func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := ratelimiter.ConfigFromEnv()
	if err != nil {
		return err
	}
	if config["RATELIMITER_APPLICATION_LIMITS"] == nil {
		config["RATELIMITER_APPLICATION_LIMITS"] = "3000/minute"
	}
	app, err := newApplication(config, slog.Default())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.close()) }()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return fmt.Errorf("%w\nChoose a free port with -port", err)
	}
	fmt.Printf(`Listening on http://%[1]s:

    http://%[1]s/admin/limits/    the dashboard; user admin, password secret
    http://%[1]s/metrics          metrics for Prometheus

To see an outage, keep the counters in Redis and stop Redis while you watch:

    redis-server --port 6380
    RATELIMITER_BACKEND=redis RATELIMITER_BACKEND_OPTIONS=redis://127.0.0.1:6380 go run .

Press Ctrl-C to stop the server.
`, listener.Addr())
	server := &http.Server{Handler: app.engine, ReadHeaderTimeout: 5 * time.Second}
	server.RegisterOnShutdown(app.page.Close) // open pages would delay the shutdown
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	var traffic sync.WaitGroup
	if !*quiet {
		traffic.Go(func() { makeTraffic(ctx, "http://"+listener.Addr().String()) })
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	traffic.Wait()
	http.DefaultClient.CloseIdleConnections()
	// Shutdown treats an unused connection as busy for five seconds.
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(patience)
}

// Quickstart is a server that allows each client three requests a second. It reads its
// configuration from the environment: with RATELIMITER_BACKEND=redis, any number of these
// servers share the limit.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// newEngine contains everything that a limited application needs.
func newEngine(config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter, error) {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	if err != nil {
		return nil, nil, err
	}
	engine.GET("/", limiter.RateLimit(3, time.Second), func(c *gin.Context) {
		c.String(http.StatusOK, "Hello!\n")
	})
	return engine, limiter, nil
}

// run serves until Ctrl-C.
func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := ratelimiter.ConfigFromEnv()
	if err != nil {
		return err
	}
	engine, limiter, err := newEngine(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, limiter.Close()) }()

	address := "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080")
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w\nSet PORT to a free port; PORT=0 selects one", address, err)
	}
	server := &http.Server{Handler: engine, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	explain(listener.Addr(), cmp.Or(os.Getenv("RATELIMITER_BACKEND"), "memory"))
	// Reset checks the backend without charging a limit.
	if err := limiter.Reset(ctx, "startup check", "quickstart"); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe backend does not answer. Until it does, RATELIMITER_ON_ERROR decides:\n%v\n", err)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(patience)
}

func explain(address net.Addr, backend string) {
	fmt.Printf(`Listening on http://%[1]s: three requests a second, counted in %[2]s.
Try this in another terminal:

    for i in 1 2 3 4; do curl -s -o /dev/null -w '%%{http_code}\n' http://%[1]s/; done
    curl -i http://%[1]s/

The first line prints 200 three times, then 429. The second shows the headers.
Press Ctrl-C to stop the server.
`, address, backend)
}

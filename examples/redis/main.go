// Redis is a server that shares its limit with other instances of itself: start it twice, on
// two ports. The limiter uses the application's own connection to Redis.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/redis/go-redis/v9"
)

var (
	port  = flag.Int("port", 8081, "port to listen on; 0 selects a free one")
	addr  = flag.String("redis", "127.0.0.1:6379", "address of Redis")
	limit = flag.Int("limit", 10, "requests per period that all servers together allow each client")
	per   = flag.Duration("per", time.Minute, "period of the limit")
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "redis:", err)
		os.Exit(1)
	}
}

// newEngine passes the application's connection to the limiter, which never closes it. With
// the option "url" instead, the limiter would open its own connection.
func newEngine(config ratelimiter.Config, client redis.UniversalClient, limit int, per time.Duration) (*gin.Engine, *ratelimiter.RateLimiter, error) {
	config["RATELIMITER_BACKEND"] = "redis"
	config["RATELIMITER_BACKEND_OPTIONS"] = map[string]any{"client": client}
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	if err != nil {
		return nil, nil, err
	}
	engine.GET("/", limiter.RateLimit(limit, per), func(c *gin.Context) {
		c.String(http.StatusOK, "ok\n")
	})
	return engine, limiter, nil
}

// run serves until Ctrl-C.
func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client := redis.NewClient(&redis.Options{Addr: *addr})
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("no Redis at %s: %w\nStart redis-server first, or set its address with -redis", *addr, err)
	}
	config, err := ratelimiter.ConfigFromEnv() // for other keys, such as RATELIMITER_ON_ERROR
	if err != nil {
		return err
	}
	engine, limiter, err := newEngine(config, client, *limit, *per)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, limiter.Close()) }()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return fmt.Errorf("%w\nChoose a free port with -port", err)
	}
	fmt.Printf(`Listening on http://%s: %d requests in %v, shared by all servers on this Redis.
Start a second one and send requests to both in turn; they share the limit:

    go run ./examples/redis -port 8082
    for i in 1 2 3 4 5 6; do for port in 8081 8082; do
        curl -s -o /dev/null -w "$port %%{http_code}\n" http://127.0.0.1:$port/; done; done

Press Ctrl-C to stop the server.
`, listener.Addr(), *limit, *per)
	server := &http.Server{Handler: engine, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(patience)
}

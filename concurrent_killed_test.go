package ratelimiter_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// shopVariable is set in the environment of the processes that these tests start. It
// contains the address of Redis.
const shopVariable = "RATELIMITER_TEST_SHOP"

const (
	shopPlaces = 3
	shopLease  = 2 * time.Second
)

// TestShop is not a test. It is the process that serves requests until it is killed.
func TestShop(t *testing.T) {
	addr := os.Getenv(shopVariable)
	if addr == "" {
		t.Skip("it is run by TestAKilledProcessFreesItsSlotsWithinOneLease")
	}
	engine := shop(t, addr)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	fmt.Println("http://" + listener.Addr().String()) // for the one who has started it
	require.NoError(t, http.Serve(listener, engine))
}

// shop is an application with a request that never ends and one that ends at once.
func shop(t *testing.T, addr string) *gin.Engine {
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": addr}, "RATELIMITER_ON_ERROR": "deny",
		"RATELIMITER_TIMEOUT": time.Minute,
	})
	few := limiter.Concurrent(shopPlaces, ratelimiter.WithLease(shopLease),
		ratelimiter.WithKey(ratelimiter.Shared("exports")), ratelimiter.WithScope(ratelimiter.ByEveryone))
	engine.GET("/long", few, func(c *gin.Context) {
		c.Writer.Flush()
		<-c.Request.Context().Done()
	})
	engine.GET("/short", few, ok)
	return engine
}

// startShop starts a process and returns its URL.
func startShop(t *testing.T, addr string) (url string, kill func()) {
	command := exec.Command(os.Args[0], "-test.run=^TestShop$", "-test.timeout=5m")
	command.Env = append(os.Environ(), shopVariable+"="+addr)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	kill = sync.OnceFunc(func() {
		_ = command.Process.Kill() // SIGKILL
		_ = command.Wait()         // returns "killed"
	})
	t.Cleanup(kill)
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "http://") {
			return line, kill
		}
	}
	t.Fatal("the process has not started")
	return "", nil
}

// visitShop returns the status of a request. A long request stays in progress until the
// test ends.
func visitShop(t *testing.T, url string) int {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response.StatusCode
}

func TestAKilledProcessFreesItsSlotsWithinOneLease(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: leases of a real server take seconds to end")
	}
	server := redistest.Single(t)
	first, kill := startShop(t, server.Addr)
	second, _ := startShop(t, server.Addr)
	require.Equal(t, []int{200, 200}, []int{visitShop(t, first+"/long"), visitShop(t, first+"/long")})
	require.Equal(t, []int{200, 429}, []int{visitShop(t, second+"/long"), visitShop(t, second+"/long")})
	client := server.Client()
	key, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, key, 1)
	renewed := 0
	redistest.Eventually(t, "the leases were renewed beyond their length", func(ctx context.Context) bool {
		before, _ := client.Get(ctx, key[0]).Result()
		<-time.After(shopLease / 8)
		after, _ := client.Get(ctx, key[0]).Result()
		if before != after {
			renewed++
		}
		require.Equal(t, 429, visitShop(t, second+"/short"))
		return renewed > 6
	})

	kill()
	killed := time.Now()
	redistest.Eventually(t, "a slot is free", func(context.Context) bool { return visitShop(t, second+"/short") == 200 })
	t.Logf("a slot of the killed process was free after %v; the lease is %v", time.Since(killed).Round(time.Millisecond), shopLease)
	require.Equal(t, 200, visitShop(t, second+"/long"))
	redistest.Eventually(t, "the other slot is free", func(context.Context) bool { return visitShop(t, second+"/long") == 200 })
	require.Equal(t, 429, visitShop(t, second+"/long"))
	left, err := client.PTTL(t.Context(), key[0]).Result()
	require.NoError(t, err)
	require.LessOrEqual(t, left, shopLease, "Redis promises that no lease is longer")
}

func TestProcessesRegisterTheirRequestsAgainAfterARestartOfRedis(t *testing.T) {
	server := redistest.Single(t)
	first, _ := startShop(t, server.Addr)
	second, _ := startShop(t, server.Addr)
	require.Equal(t, []int{200, 200}, []int{visitShop(t, first+"/long"), visitShop(t, first+"/long")})
	server.Kill()
	server.Start()
	redistest.Eventually(t, "the first process has registered its requests", func(ctx context.Context) bool {
		keys, err := server.Client().Keys(ctx, "*exports*").Result()
		return err == nil && len(keys) == 1
	})
	redistest.Eventually(t, "the second process gets the last slot", func(context.Context) bool { return visitShop(t, second+"/long") == 200 })
	require.Equal(t, []int{429, 429}, []int{visitShop(t, first+"/short"), visitShop(t, second+"/short")})
}

//go:build unix

package bench

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var (
	rounds = flag.Int("rounds", 0, "how many rounds TestRedisRounds measures; 0 skips it")
	only   = flag.String("rows", "", "measure the rows whose names contain this")
)

// roundRows are what TestRedisRounds measures, each with so many callers.
var roundRows = []struct {
	name  string
	keys  int
	delay time.Duration
}{
	{"distinct keys", 100_000, 0},
	{"one hot key", 1, 0},
	{"a million keys", million, 0},
	{"distinct keys, 1 ms away", 100_000, time.Millisecond},
}

var roundCallers = []int{1, 16, 64, 256}

// TestRedisRounds prints how many decisions a second everybody makes, as ratios of
// medians, and what they cost. Contenders take turns in short bursts, so that what
// disturbs the machine disturbs all of them:
//
//	go test -run RedisRounds -rounds 11 -v
func TestRedisRounds(t *testing.T) {
	if *rounds == 0 {
		t.Skip("it measures, and checks nothing")
	}
	server := redistest.Single(t)
	for _, row := range roundRows {
		if !strings.Contains(row.name, *only) {
			continue
		}
		ratios, costs := newRoundTable(), newRoundTable()
		for _, callers := range roundCallers {
			list := measureRounds(t, server.Addr, row.delay, callers, keysOf(row.keys))
			for i, c := range list {
				ratios[i] += fmt.Sprintf(" %.2f |", c.rate/list[0].rate)
				costs[i] += fmt.Sprintf(" %.1f + %.1f |", c.client, c.server)
			}
		}
		t.Logf("%s, callers %v, decisions a second, a plain loop = 1:\n%s\n", row.name, roundCallers, strings.Join(ratios, "\n"))
		t.Logf("%s, µs of a processor, client + server:\n%s\n", row.name, strings.Join(costs, "\n"))
	}
}

func newRoundTable() (lines []string) {
	for _, c := range roundContenders() {
		lines = append(lines, "| "+c.name+" |")
	}
	return lines
}

// roundContenders have a client each, as it comes.
func roundContenders() []contender {
	return []contender{
		floors()[1], oursSlidingWindow, oursTokenBucket,
		handedIn("ours, a client handed in", 0),
		handedIn("ours, a client handed in, with a deadline", time.Second),
		ulule, redisRate,
	}
}

// handedIn is ours on the client of an application, whose requests may have a
// deadline, as those of the middleware do.
func handedIn(name string, timeout time.Duration) contender {
	return contender{name: name, redis: func(q quota, addr string) opened {
		client := redis.NewClient(&redis.Options{Addr: addr})
		backend := must(backends.NewRedis(map[string]any{"client": client}))
		limiter := oursOn(backend, backends.SlidingWindow, q)
		if timeout > 0 {
			limiter = oursOn(impatient{backend, timeout}, backends.SlidingWindow, q)
		}
		return opened{limiter.take, func() { limiter.stop(); _ = client.Close() }}
	}}
}

// impatient gives every decision a deadline.
type impatient struct {
	backends.Backend
	timeout time.Duration
}

func (i impatient) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	return i.Backend.Take(ctx, quotas, verdicts)
}

// cost is what a burst took.
type cost struct {
	rate           float64 // decisions a second
	client, server float64 // µs of a processor for each decision
}

// measureRounds returns the medians of each contender's bursts.
func measureRounds(t *testing.T, addr string, delay time.Duration, callers int, keys keys) (medians []cost) {
	admin := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = admin.Close() }()
	if delay > 0 {
		proxy := redistest.NewProxy(t, addr)
		proxy.Delay(delay)
		addr = proxy.Addr
	}
	var limiters []opened
	for _, c := range roundContenders() {
		limiters = append(limiters, c.redis(ample, addr))
	}
	costs := make([][]cost, len(limiters))
	for round := range *rounds + 1 {
		for i, limiter := range limiters {
			c := burst(t, admin, limiter, callers, keys)
			if round > 0 { // the first fills pools and keys
				costs[i] = append(costs[i], c)
			}
		}
	}
	for i := range limiters {
		limiters[i].stop()
		medians = append(medians, cost{
			middle(costs[i], func(c cost) float64 { return c.rate }),
			middle(costs[i], func(c cost) float64 { return c.client }),
			middle(costs[i], func(c cost) float64 { return c.server }),
		})
	}
	return medians
}

func middle(costs []cost, of func(cost) float64) float64 {
	values := make([]float64, len(costs))
	for i := range costs {
		values[i] = of(costs[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// burst lets callers decide for a moment.
func burst(t *testing.T, admin *redis.Client, limiter opened, callers int, keys keys) cost {
	var next atomic.Int64
	var all sync.WaitGroup
	var over atomic.Bool
	first := rand.IntN(keys.len())
	start, client, server := time.Now(), processorTime(t), serverTime(t, admin)
	for range callers {
		take := limiter.take()
		all.Go(func() {
			for !over.Load() {
				if _, err := take(keys.at((first + int(next.Add(1))) % keys.len())); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	time.AfterFunc(150*time.Millisecond, func() { over.Store(true) })
	all.Wait()
	n := float64(next.Load())
	return cost{
		n / time.Since(start).Seconds(),
		(processorTime(t) - client) / n, (serverTime(t, admin) - server) / n,
	}
}

// processorTime is what this process has used, in µs.
func processorTime(t *testing.T) float64 {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1000
}

// serverTime is what the server has used, in µs.
func serverTime(t *testing.T, admin *redis.Client) float64 {
	info, err := admin.InfoMap(t.Context(), "cpu").Result()
	require.NoError(t, err)
	var sum float64
	for _, name := range []string{"used_cpu_sys", "used_cpu_user"} {
		seconds, err := strconv.ParseFloat(info["CPU"][name], 64)
		require.NoError(t, err)
		sum += seconds * 1e6
	}
	return sum
}

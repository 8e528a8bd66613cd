package backends

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// slowConn delays the data from a server, like a network.
type slowConn struct {
	net.Conn
	delay time.Duration
}

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.delay > 0 {
		<-time.After(c.delay)
	}
	return n, err
}

func clientAt(b *testing.B, addr string, delay time.Duration) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			connection, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return slowConn{connection, delay}, err
		},
	})
	b.Cleanup(func() { _ = client.Close() })
	return client
}

// transport is one way to send decisions to Redis.
type transport struct {
	name string
	take func(context.Context, []Quota) error
}

// transports returns the backend's own transport, and those of the client, which send one
// script call per decision.
func transports(b *testing.B, addr string, delay time.Duration) []transport {
	backend, err := NewRedis(map[string]any{"client": clientAt(b, addr, delay)})
	require.NoError(b, err)
	list := []transport{
		{"a-call-each", scripted(clientAt(b, addr, delay).Process)},
		{"ours", func(ctx context.Context, quotas []Quota) error {
			return backend.Take(ctx, quotas, make([]Verdict, len(quotas)))
		}},
	}
	for name, options := range map[string]*redis.AutoPipelineOptions{
		"go-redis-ordered":     {},
		"go-redis-unordered":   {Unordered: true, MaxConcurrentBatches: 4},
		"go-redis-full-duplex": {FullDuplex: true},
	} {
		pipeline, err := clientAt(b, addr, delay).AutoPipelineWithOptions(options)
		require.NoError(b, err)
		list = append(list, transport{name, scripted(pipeline.Process)})
	}
	return list
}

// scripted sends a decision as one script call.
func scripted(send func(context.Context, redis.Cmder) error) func(context.Context, []Quota) error {
	return func(ctx context.Context, quotas []Quota) error {
		c := newCall(ctx, quotas, false)
		words := plainArgs(mergeCalls(c.alone[:]))
		words[0], words[1] = "evalsha", plainScript.Hash()
		command := redis.NewStringCmd(ctx, words...)
		if err := send(ctx, command); err != nil {
			return err
		}
		return command.Err()
	}
}

// BenchmarkRedisCallers measures the throughput of concurrent callers, each of which waits
// for its answer before the next call. It also reports the median and the 99th percentile
// of the latency.
func BenchmarkRedisCallers(b *testing.B) {
	server := redistest.Single(b)
	require.NoError(b, plainScript.Load(b.Context(), server.Client()).Err())
	for _, delay := range []time.Duration{0, time.Millisecond} {
		for _, keys := range []int{100_000, 1} {
			for _, callers := range []int{1, 16, 64, 256, 1024} {
				b.Run(fmt.Sprintf("delay=%v/keys=%d/callers=%d", delay, keys, callers), func(b *testing.B) {
					for _, way := range transports(b, server.Addr, delay) {
						b.Run(way.name, func(b *testing.B) { crowd(b, callers, keys, way.take) })
					}
				})
			}
		}
	}
}

func crowd(b *testing.B, callers, keys int, take func(context.Context, []Quota) error) {
	var next atomic.Int64
	var all sync.WaitGroup
	waits := make([]time.Duration, b.N)
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				quotas := []Quota{{Key: "GET /", Scope: strconv.Itoa(int(i) % keys), Limit: 1_000_000, Per: time.Minute, Cost: 1}}
				start := time.Now()
				if err := take(b.Context(), quotas); err != nil {
					b.Error(err)
					return
				}
				waits[i-1] = time.Since(start)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(waits)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "µs-p99")
}

// BenchmarkRedisServer measures the server time of a decision, from the command statistics
// of the server, when callers do not share script calls.
func BenchmarkRedisServer(b *testing.B) {
	server := redistest.Single(b)
	client := server.Client()
	backend := &redisBackend{client: client}
	decide(b, backend, SlidingWindow, 1, 1, 0) // from here on the server knows both scripts
	decide(b, backend, SlidingWindow, 2, 1, 0)
	b.Run("INCR", func(b *testing.B) {
		require.NoError(b, client.ConfigResetStat(b.Context()).Err())
		for i := range b.N {
			require.NoError(b, client.Incr(b.Context(), strconv.Itoa(i%1000)).Err())
		}
		b.ReportMetric(spent(b, client, "incr"), "server-µs/op")
	})
	for algorithm := range algorithmCount {
		for _, limits := range []int{1, 3, 10} {
			for _, decisions := range []int{1, 64} {
				if limits*decisions > 3*64 {
					continue
				}
				b.Run(fmt.Sprintf("%v/limits=%d/decisions=%d", algorithm, limits, decisions), func(b *testing.B) {
					require.NoError(b, client.ConfigResetStat(b.Context()).Err())
					for i := range b.N {
						decide(b, backend, algorithm, limits, decisions, i)
					}
					b.ReportMetric(spent(b, client, "evalsha")/float64(decisions), "server-µs/op")
				})
			}
		}
	}
}

// decide makes decisions for different clients in one script call.
func decide(b *testing.B, backend *redisBackend, algorithm Algorithm, limits, decisions, round int) {
	calls := make([]*call, decisions)
	for i := range calls {
		quotas := make([]Quota, limits)
		for k := range quotas {
			quotas[k] = Quota{
				Key: fmt.Sprint(algorithm, limits), Scope: strconv.Itoa((round*decisions + i) % 1000), Algorithm: algorithm,
				Limit: 100, Per: time.Duration(k+1) * time.Minute, Cost: 1,
			}
		}
		calls[i] = newCall(b.Context(), quotas, false)
	}
	backend.send(b.Context(), calls)
	for _, c := range calls {
		require.NoError(b, c.err)
	}
}

// spent returns the average time of a command in microseconds, as measured by the server.
func spent(b *testing.B, client *redis.Client, command string) float64 {
	stats, err := client.InfoMap(b.Context(), "commandstats").Result()
	require.NoError(b, err)
	_, after, found := strings.Cut(stats["Commandstats"]["cmdstat_"+command], "usec_per_call=")
	require.True(b, found)
	number, _, _ := strings.Cut(after, ",")
	micros, err := strconv.ParseFloat(number, 64)
	require.NoError(b, err)
	return micros
}

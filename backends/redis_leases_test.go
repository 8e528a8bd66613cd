package backends_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func leasing(addr string, lease int) map[string]any {
	return map[string]any{"addr": addr, "lease": lease}
}

func TestALeaseIsSpentWithoutCallingRedis(t *testing.T) {
	for _, algorithm := range []backends.Algorithm{backends.SlidingWindow, backends.FixedWindow} {
		server := miniredis.RunT(t)
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		backend := open(t, map[string]any{"client": client, "lease": 10})
		quota := hourly("k", 100)
		quota.Algorithm = algorithm
		hook := &counting{}
		client.AddHook(hook)
		for i := range 100 {
			v := take(t, backend, quota)[0]
			require.True(t, v.Allowed, "%v, unit %d", algorithm, i)
			require.EqualValues(t, 99-i, v.Remaining)
			require.Positive(t, v.ResetAfter)
		}
		require.EqualValues(t, 11, hook.commands.Load(), "ten leases and one to load the script")
		require.False(t, take(t, backend, quota)[0].Allowed, "not a unit more")
	}
}

func TestALeaseIsAtMostATenthOfTheLimit(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	one, other := open(t, leasing(addr, 1000)), open(t, at(addr))
	require.True(t, take(t, one, hourly("k", 50))[0].Allowed)
	require.EqualValues(t, 44, take(t, other, hourly("k", 50))[0].Remaining)
	require.True(t, take(t, one, hourly("small", 19))[0].Allowed)
	require.EqualValues(t, 17, take(t, other, hourly("small", 19))[0].Remaining, "a small limit has no lease")
}

// Only single units of aligned windows are leased.
func TestOnlySingleUnitsOfAlignedWindowsAreLeased(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	one, other := open(t, leasing(addr, 5)), open(t, at(addr))
	for name, change := range map[string]func(*backends.Quota){
		"token-bucket": func(q *backends.Quota) { q.Algorithm = backends.TokenBucket },
		"sliding-log":  func(q *backends.Quota) { q.Algorithm = backends.SlidingLog },
		"forced":       func(q *backends.Quota) { q.Forced = true },
		"shadow":       func(q *backends.Quota) { q.Shadow = true },
	} {
		quota := hourly(name, 100)
		change(&quota)
		require.True(t, take(t, one, quota)[0].Allowed)
		quota.Cost = 0
		require.EqualValues(t, 99, take(t, other, quota)[0].Remaining, name)
	}
	quota := hourly("dear", 100)
	quota.Cost = 2
	take(t, one, quota)
	quota.Cost = 0
	require.EqualValues(t, 98, take(t, other, quota)[0].Remaining, "a cost over one")
}

func TestALeaseEndsWithItsWindow(t *testing.T) {
	server := miniredis.RunT(t)
	now := time.Date(2026, 2, 3, 4, 59, 59, 900_000_000, time.UTC)
	server.SetTime(now)
	one, other := open(t, leasing(server.Addr(), 10)), open(t, at(server.Addr()))
	take(t, one, hourly("k", 100)) // the window ends in a tenth of a second
	redistest.Eventually(t, "the lease has expired", func(context.Context) bool {
		server.SetTime(now.Add(time.Second)) // in the next window
		before := take(t, other, costless())[0].Remaining
		take(t, one, hourly("k", 100))
		return take(t, other, costless())[0].Remaining < before
	})
}

func costless() backends.Quota {
	quota := hourly("k", 100)
	quota.Cost = 0
	return quota
}

func TestALeaseDoesNotOutliveAResetOrAChangedLimit(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	one, other := open(t, leasing(addr, 10)), open(t, at(addr))
	take(t, one, hourly("k", 100))
	require.NoError(t, one.Reset(t.Context(), "k", "somebody"))
	take(t, one, hourly("k", 100))
	require.EqualValues(t, 90, take(t, other, costless())[0].Remaining, "it was charged again")

	require.False(t, take(t, one, hourly("k", 10))[0].Allowed, "a lower limit applies at once")
	require.True(t, take(t, one, hourly("k", 100))[0].Allowed)
}

func TestCloseRefundsUnspentUnits(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		one, err := backends.NewRedis(leasing(addr, 10))
		require.NoError(t, err)
		other := open(t, at(addr))
		for range 3 {
			take(t, one, hourly("k", 100))
		}
		require.EqualValues(t, 90, take(t, other, costless())[0].Remaining)
		require.NoError(t, one.Close())
		require.EqualValues(t, 97, take(t, other, costless())[0].Remaining)
	})
}

func TestCloseRefundsTheLeasesOfAnyNumberOfClients(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	one, err := backends.NewRedis(leasing(addr, 10))
	require.NoError(t, err)
	for n := range 300 {
		take(t, one, hourly(strconv.Itoa(n), 100))
	}
	require.NoError(t, one.Close())
	other := open(t, at(addr))
	for n := range 300 {
		quota := hourly(strconv.Itoa(n), 100)
		quota.Cost = 0
		require.EqualValues(t, 99, take(t, other, quota)[0].Remaining)
	}
}

// A refund in the next window would return units that others have taken.
func TestCloseRefundsNothingOnceTheWindowHasEnded(t *testing.T) {
	server := miniredis.RunT(t)
	now := time.Date(2026, 2, 3, 4, 59, 59, 0, time.UTC)
	server.SetTime(now)
	synctest.Test(t, func(t *testing.T) {
		one, err := backends.NewRedis(leasing(server.Addr(), 10))
		require.NoError(t, err)
		other, err := backends.NewRedis(at(server.Addr()))
		require.NoError(t, err)
		quota := hourly("k", 100)
		quota.Algorithm = backends.FixedWindow
		take(t, one, quota)
		<-time.After(time.Second)
		server.SetTime(now.Add(time.Second))
		quota.Cost = 20
		take(t, other, quota)
		require.NoError(t, one.Close())
		quota.Cost = 0
		require.EqualValues(t, 80, take(t, other, quota)[0].Remaining)
		require.NoError(t, other.Close())
	})
}

func TestManyGoroutinesSpendLeasesExactly(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		takers := []backends.Backend{open(t, leasing(addr, 7)), open(t, leasing(addr, 7)), open(t, leasing(addr, 7))}
		granted := spend(t, takers, 20, hourly("k", 400))
		require.LessOrEqual(t, granted, int64(400))
		require.GreaterOrEqual(t, granted, int64(400-2*3*6), "each process holds less than two leases")
	})
}

// leaseAddr is set in the processes started by the test below.
const leaseAddr = "RATELIMITER_TEST_LEASE_ADDR"

// Processes that lease never admit more than the limit in total. If one of them is killed,
// at most its lease remains unused.
func TestProcessesWithLeasesNeverExceedTheLimit(t *testing.T) {
	const limit, lease, processes = 5000, 50, 3
	quota := backends.Quota{Key: "processes", Limit: limit, Per: 300 * 24 * time.Hour, Cost: 1}
	if addr := os.Getenv(leaseAddr); addr != "" {
		spendAsAProcess(t, addr, lease, quota)
		return
	}
	server := redistest.Single(t)
	var admitted [processes]int
	var all sync.WaitGroup
	for i := range processes {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		command.Env = append(os.Environ(), leaseAddr+"="+server.Addr)
		output, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		all.Go(func() {
			lines := bufio.NewScanner(output)
			for lines.Scan() {
				if lines.Text() != "admitted" {
					continue
				}
				admitted[i]++
				if i == 0 && admitted[i] == limit/10 {
					_ = command.Process.Kill()
				}
			}
			_ = command.Wait() // one of them was killed
		})
	}
	all.Wait()
	total := admitted[0] + admitted[1] + admitted[2]
	t.Logf("limit %d, lease %d: admitted %d, %d of them by the killed process", limit, lease, total, admitted[0])
	require.LessOrEqual(t, total, limit)
	require.GreaterOrEqual(t, total, limit-lease, "the lease of the killed process, and a unit it did not report")
}

// spendAsAProcess prints a line for each granted unit, until it is denied.
func spendAsAProcess(t *testing.T, addr string, lease int, quota backends.Quota) {
	backend, err := backends.NewRedis(leasing(addr, lease))
	require.NoError(t, err)
	for take(t, backend, quota)[0].Allowed {
		fmt.Println("admitted")
	}
	require.NoError(t, backend.Close())
}

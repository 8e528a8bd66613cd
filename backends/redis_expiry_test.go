package backends_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var everyAlgorithm = []backends.Algorithm{backends.SlidingWindow, backends.FixedWindow, backends.SlidingLog, backends.TokenBucket}

func TestAKeyExpiresWhenItsFullLimitIsAvailableRoundedUp(t *testing.T) {
	server := miniredis.RunT(t)
	backend := open(t, at(server.Addr()))
	start := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, fraction := range []time.Duration{0, time.Microsecond, 999 * time.Microsecond, time.Millisecond} {
		for _, algorithm := range everyAlgorithm {
			server.FlushAll()
			server.SetTime(start.Add(fraction))
			quota := hourly("k", 7)
			quota.Algorithm = algorithm
			reset := take(t, backend, quota)[0].ResetAfter
			whole := (reset + time.Millisecond - 1).Truncate(time.Millisecond)
			require.Equal(t, whole, server.TTL(server.Keys()[0]), "%v at %v", algorithm, fraction)
		}
	}
}

func TestAKeyExpiresWhenTheLastOfItsLimitsIsFullyAvailable(t *testing.T) {
	server := miniredis.RunT(t)
	server.SetTime(time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC))
	backend := open(t, at(server.Addr()))
	hour, day := hourly("k", 7), hourly("k", 7)
	hour.Algorithm, day.Algorithm = backends.SlidingLog, backends.SlidingLog
	day.Per = 24 * time.Hour
	take(t, backend, day)
	take(t, backend, hour)
	require.Equal(t, 24*time.Hour, server.TTL(server.Keys()[0]), "a shorter period does not shorten it")
	day.Cost = -1
	take(t, backend, day)
	require.Equal(t, time.Hour, server.TTL(server.Keys()[0]), "until the remaining one")
	hour.Cost = -1
	take(t, backend, hour)
	require.Empty(t, server.Keys(), "refunded units leave nothing behind")
}

// Redis keeps a key until the end of the millisecond in which it expires, and reads its
// clock again when it sets the expiry. Neither may end a key too early.
func TestARealServerExpiresNoKeyTooEarly(t *testing.T) {
	server := redistest.Single(t)
	backend, client := open(t, at(server.Addr)), server.Client()
	for i := range 200 {
		quota := hourly(strconv.Itoa(i), 7)
		quota.Algorithm = backends.TokenBucket
		take(t, backend, quota)
		key := client.Keys(t.Context(), quota.Key+":*").Val()[0]
		_, state, _ := strings.Cut(client.Get(t.Context(), key).Val(), "=")
		time, _, _ := strings.Cut(state, ",")
		full, err := strconv.ParseInt(time, 10, 64)
		require.NoError(t, err)
		expires := client.PExpireTime(t.Context(), key).Val().Microseconds()
		require.Greater(t, expires+1000, full)
		require.Less(t, expires, full+100_000, "and not much too late")
	}
}

func TestADeniedTakeChangesNeitherValueNorExpiry(t *testing.T) {
	server := redistest.Single(t)
	backend, client := open(t, at(server.Addr)), server.Client()
	for _, algorithm := range everyAlgorithm {
		wide, narrow := hourly(algorithm.String(), 10), hourly(algorithm.String(), 1)
		wide.Algorithm, narrow.Algorithm = algorithm, algorithm
		wide.Per = 2 * time.Hour
		require.True(t, take(t, backend, wide, narrow)[1].Allowed)
		key := client.Keys(t.Context(), algorithm.String()+":*").Val()[0]
		before := stored(t, client, key)
		for range 5 {
			verdicts := take(t, backend, wide, narrow)
			require.True(t, verdicts[0].Allowed)
			require.False(t, verdicts[1].Allowed)
			require.EqualValues(t, 9, verdicts[0].Remaining)
		}
		wide.Cost = 0
		require.EqualValues(t, 9, take(t, backend, wide)[0].Remaining, "a peek changes nothing either")
		require.Equal(t, before, stored(t, client, key))
	}
}

// stored returns the value and the expiry of a key.
func stored(t *testing.T, client *redis.Client, key string) [2]string {
	t.Helper()
	return [2]string{client.Get(t.Context(), key).Val(), client.PExpireTime(t.Context(), key).Val().String()}
}

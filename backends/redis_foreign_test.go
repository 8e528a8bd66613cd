package backends_test

import (
	"sync"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// If the value of a Redis key was written by another application, decisions on that key
// fail, but not the other decisions in the same flight.
func TestAForeignValueAffectsNoOtherDecision(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		client := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		backend := open(t, at(addr))
		for name, foreign := range map[string]any{
			"a word": "hello", "nothing": "", "words": "hello you;", "a number": 17, "words and a time": "a b 1234567890123456",
			"not a state": "s3600000000=here;", "half a state": "s3600000000=1,2", "a corrupt log": "l3600000000=1,x,;",
		} {
			require.NoError(t, client.Set(t.Context(), "foreign:somebody:7", foreign, 0).Err())
			var group sync.WaitGroup
			for _, key := range []string{"foreign", "ours"} {
				for range 8 {
					group.Go(func() {
						quota := hourly(key, 1000)
						if name == "a corrupt log" {
							quota.Algorithm = backends.SlidingLog
						}
						err := backend.Take(t.Context(), []backends.Quota{quota}, make([]backends.Verdict, 1))
						if (err != nil) != (key == "foreign") {
							t.Errorf("%s, key %s: %v", name, key, err)
						}
					})
				}
			}
			group.Wait()
			require.NoError(t, backend.Reset(t.Context(), "ours", "somebody"))
		}
		require.NoError(t, client.Del(t.Context(), "foreign:somebody:7").Err())
		require.NoError(t, client.HSet(t.Context(), "foreign:somebody:7", "a", "b").Err())
		require.Error(t, backend.Take(t.Context(), []backends.Quota{hourly("foreign", 9)}, make([]backends.Verdict, 1)))
	})
}

package dashboard

import (
	"fmt"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestTheClientsClosestToALimitAreListed(t *testing.T) {
	var c closest
	now := time.Now()
	note := func(client int, remaining int64, reset time.Duration) {
		c.note(uint64(client), &ratelimiter.Info{Scope: fmt.Sprint(client), Limit: 100, Remaining: remaining, Reset: now.Add(reset)})
	}
	for client := range 10 {
		note(client, int64(100-10*client), time.Duration(client)*time.Minute)
	}
	scopes := func(at time.Time) (scopes []string) {
		for _, one := range c.now(at) {
			scopes = append(scopes, one.scope.String())
		}
		return scopes
	}
	require.Equal(t, []string{"9", "8", "7", "6", "5"}, scopes(now))
	note(5, 1, time.Hour)
	note(4, 50, time.Hour) // all others have less left
	require.Equal(t, []string{"5", "9", "8", "7", "6"}, scopes(now))
	require.Equal(t, []string{"5", "9", "8"}, scopes(now.Add(7*time.Minute)), "a client leaves when its full limit is available again")
	c.forget(9)
	require.Equal(t, []string{"5", "8"}, scopes(now))
	note(5, 0, time.Hour)
	require.Equal(t, []string{"8"}, scopes(now), "nor is a client listed that has nothing left")
	c.note(7, &ratelimiter.Info{Scope: "7", Limit: 100, Reset: now.Add(time.Hour), Shadow: true})
	require.Equal(t, []string{"7", "8"}, scopes(now), "unless the limit is a shadow")
	c.clear()
	require.Empty(t, scopes(now))
}

func TestTheShareOfALimit(t *testing.T) {
	for _, test := range []struct {
		limit, remaining int64
		share            float64
	}{
		{100, 100, 0}, {100, 25, 0.75}, {100, 0, 1},
		{0, 0, 1},    // every request is rejected
		{10, 100, 0}, // a burst above the limit
	} {
		require.Equal(t, test.share, shareOf(test.limit, test.remaining), "%d of %d left", test.remaining, test.limit)
	}
}

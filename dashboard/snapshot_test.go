package dashboard

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestThePageKnowsWhenCountingBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(&ratelimiter.RateLimiter{})
		defer h.Close()
		began := time.Now().Unix()
		<-time.After(time.Hour)
		s := h.snapshot(true)
		require.Equal(t, began, s.Since, "the charts have a gap before it")
		h.record.advance(time.Now().Add(-2 * time.Hour)) // the clock is set back
		require.Equal(t, time.Now().Add(-2*time.Hour).Unix(), h.snapshot(true).Since)
	})
}

func TestThePageKnowsItsProcess(t *testing.T) {
	h := New(&ratelimiter.RateLimiter{})
	defer h.Close()
	host, err := os.Hostname()
	require.NoError(t, err)
	got := h.snapshot(false).Instance
	require.Equal(t, host, got.Host)
	require.Equal(t, os.Getpid(), got.PID)
	uptime := time.Now().Unix() - got.Started
	require.GreaterOrEqual(t, uptime, int64(0))
	require.Less(t, uptime, int64(600), "seconds; this test began within ten minutes")
}

package backends

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// nodes is a backend of several nodes, of which those that are away answer nothing, or
// fail at once.
type nodes struct {
	Backend
	away sync.Map // of func(context.Context) error, by the key of a quota
}

func newNodes(t *testing.T) *nodes {
	local, err := NewMemory(nil)
	require.NoError(t, err)
	return &nodes{Backend: local}
}

func (n *nodes) hasSeveralNodes() bool { return true }

func (n *nodes) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if fails, away := n.away.Load(quotas[0].Key); away {
		return fails.(func(context.Context) error)(ctx)
	}
	return n.Backend.Take(ctx, quotas, verdicts)
}

var refused = func(context.Context) error { return errLost }

func takeKey(breaker *Breaker, key string) error {
	quota := Quota{Key: key, Scope: "s", Limit: 1 << 40, Per: time.Hour, Cost: 1}
	return breaker.Take(context.Background(), []Quota{quota}, make([]Verdict, 1))
}

func TestOneNodeOfSeveralThatFailsDoesNotOpenTheBreaker(t *testing.T) {
	for what, fails := range map[string]func(context.Context) error{"refuses connections": refused, "does not answer": late} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newNodes(t)
				backend.away.Store("second", fails)
				breaker := NewBreaker(backend, patience, "probe key")
				defer func() { require.NoError(t, breaker.Close()) }()
				for range 100 {
					require.NoError(t, takeKey(breaker, "first"))
					for range 2 * breakerFailures { // in a row, by chance
						go func() { _ = takeKey(breaker, "second") }()
					}
					advance(patience / 2)
				}
				require.NoError(t, takeKey(breaker, "first"))
				advance(patience) // all that hang have failed
				require.False(t, breaker.Health().Open)
				require.EqualValues(t, 100*2*breakerFailures, breaker.Health().Failures)
			})
		})
	}
}

func TestAllNodesThatFailOpenTheBreakerAfterATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newNodes(t)
		breaker := NewBreaker(backend, patience, "probe key")
		defer func() { require.NoError(t, breaker.Close()) }()
		require.NoError(t, takeKey(breaker, "first"))
		for _, key := range []string{"first", "second", "probe key"} {
			backend.away.Store(key, refused)
		}
		advance(patience - time.Microsecond)
		for range 2 * breakerFailures {
			require.ErrorIs(t, takeKey(breaker, "first"), errLost)
		}
		require.False(t, breaker.Health().Open, "another node may have charged a moment ago")
		advance(time.Microsecond)
		for range breakerFailures {
			require.ErrorIs(t, takeKey(breaker, "second"), errLost)
		}
		require.True(t, breaker.Health().Open)
		backend.away.Delete("probe key")
		advance(probeInterval)
		require.False(t, breaker.Health().Open)
	})
}

func TestNodesThatNeverAnsweredOpenTheBreakerAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newNodes(t)
		backend.away.Store("first", refused)
		breaker := NewBreaker(backend, patience, "probe key")
		defer func() { require.NoError(t, breaker.Close()) }()
		for range breakerFailures {
			require.ErrorIs(t, takeKey(breaker, "first"), errLost)
		}
		require.True(t, breaker.Health().Open)
	})
}

// probedNodes is a backend of several nodes. The node of the first probe answers nothing.
type probedNodes struct {
	nodes
	lost string // scope of the first probe
}

func (n *probedNodes) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if q := &quotas[0]; q.Key == "probe key" {
		if n.lost == "" {
			n.lost = q.Scope
		}
		if q.Scope == n.lost {
			return late(ctx)
		}
	}
	return n.nodes.Take(ctx, quotas, verdicts)
}

func TestANodeThatFailsDoesNotKeepTheBreakerOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &probedNodes{nodes: nodes{Backend: newNodes(t).Backend}}
		backend.away.Store("lost", refused)
		breaker := NewBreaker(backend, patience, "probe key")
		defer func() { require.NoError(t, breaker.Close()) }()
		for range breakerFailures {
			require.ErrorIs(t, takeKey(breaker, "lost"), errLost)
		}
		advance(probeInterval + patience)
		require.True(t, breaker.Health().Open, "the first probe has failed")
		advance(2 * probeInterval)
		require.False(t, breaker.Health().Open, "another node has answered")
		require.NoError(t, takeKey(breaker, "first"))
	})
}

// noResets is a backend of several nodes, none of which can reset.
type noResets struct{ *nodes }

func (noResets) Reset(context.Context, string, string) error { return errLost }

func TestResetsThatFailOnAllNodesOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := NewBreaker(noResets{newNodes(t)}, patience, "probe key")
		defer breaker.Stop()
		for range breakerFailures {
			require.ErrorIs(t, breaker.Reset(t.Context(), "k", "s"), errLost)
		}
		require.True(t, breaker.Health().Open)
	})
}

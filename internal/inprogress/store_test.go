package inprogress

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func quota(limit int64) *backends.Quota {
	return &backends.Quota{Key: "key", Scope: "scope", Algorithm: backends.SlidingLog, Limit: limit, Per: 30 * time.Second, Cost: 1, Tentative: true}
}

// store is a backend that records its calls.
type store struct {
	backends.Backend
	mu       sync.Mutex
	recorded [][]backends.Quota
	fails    error
	during   func() // runs in the next call, before the decision
}

func newStore(t testing.TB) *store {
	memory, err := backends.NewMemory(nil)
	require.NoError(t, err)
	return &store{Backend: memory}
}

// share runs a test in virtual time, with slots that are leases in a store. localLimit is
// that of Share.
func share(t *testing.T, localLimit func(int64) int64, test func(t *testing.T, cs *Counters, store *store)) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, localLimit)
		test(t, &cs, store)
	})
}

func (s *store) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	s.mu.Lock()
	s.recorded = append(s.recorded, slices.Clone(quotas))
	during, fails := s.during, s.fails
	s.during = nil
	s.mu.Unlock()
	if during != nil {
		during()
	}
	if fails != nil {
		return fails
	}
	err := s.Backend.Take(ctx, quotas, verdicts)
	for i := range verdicts {
		if !verdicts[i].Allowed {
			verdicts[i].Receipt = 0 // a backend need not return one if it charges nothing
		}
	}
	return err
}

func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

// duringNextCall runs a function while the next call is on its way.
func (s *store) duringNextCall(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.during = f
}

// taken returns the number of slots that the store knows of.
func (s *store) taken(t *testing.T, limit int64) int64 {
	peek, verdicts := *quota(limit), make([]backends.Verdict, 1)
	peek.Cost = 0
	require.NoError(t, s.Backend.Take(t.Context(), []backends.Quota{peek}, verdicts))
	return limit - verdicts[0].Remaining
}

// calls returns the calls since it was last used.
func (s *store) calls() (asked [][]backends.Quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, s.recorded = s.recorded, nil
	return asked
}

// callsIn returns the calls of the next period of this length.
func (s *store) callsIn(d time.Duration) [][]backends.Quota {
	s.calls()
	advance(d)
	return s.calls()
}

// advance moves the virtual clock.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// take takes a free slot.
func take(t *testing.T, cs *Counters, q *backends.Quota) *Slot {
	var v backends.Verdict
	slot, _, err := cs.Take(t.Context(), q, &v, 0)
	require.NoError(t, err)
	require.NotNil(t, slot)
	return slot
}

// fill takes n slots at different times.
func fill(t *testing.T, cs *Counters, n int, limit int64) (list []*Slot) {
	for range n {
		list = append(list, take(t, cs, quota(limit)))
		<-time.After(time.Millisecond)
	}
	return list
}

// guest is a request that waits for a slot, and its result.
type guest struct {
	slot    *Slot
	verdict backends.Verdict
	waited  time.Duration
	err     error
}

// send sends a request that may wait, and returns once it waits or has a result.
func send(t *testing.T, cs *Counters, q *backends.Quota, longest time.Duration) *guest {
	g := &guest{}
	go func() { g.slot, g.waited, g.err = cs.Take(t.Context(), q, &g.verdict, longest) }()
	synctest.Wait()
	return g
}

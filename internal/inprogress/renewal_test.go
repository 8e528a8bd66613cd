package inprogress

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// countersCode begins the name of every method of Counters in a stack.
const countersCode = "inprogress.(*Counters)."

// stacks returns the stacks of the goroutines of the caller's bubble. Those of earlier tests
// may still be ending.
func stacks() string {
	text := make([]byte, 1<<20)
	goroutines := strings.Split(string(text[:runtime.Stack(text, true)]), "\n\n")
	_, bubble, _ := strings.Cut(goroutines[0], "synctest bubble ") // the first is the caller
	bubble, _, _ = strings.Cut(bubble, "]")
	return strings.Join(slices.DeleteFunc(goroutines[1:], func(stack string) bool {
		return !strings.Contains(stack, "synctest bubble "+bubble+"]")
	}), "\n\n")
}

func TestRenewalsRunOnlyWhileThereAreSlots(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		slots := fill(t, cs, 9, 9)
		synctest.Wait()
		require.NotContains(t, stacks(), countersCode, "a timer is set, no goroutine runs")
		store.calls()
		for range 5 {
			advance(10 * time.Second)
			require.Len(t, store.calls(), 1)
			require.NotContains(t, stacks(), countersCode)
		}
		for _, slot := range slots {
			slot.Free()
		}
		require.Empty(t, store.callsIn(time.Hour))
		require.True(t, cs.renewal.at.IsZero(), "no renewal is scheduled")
		require.Zero(t, store.taken(t, 9))
	})
}

func TestARenewalRefundsAndChargesInOneCall(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		fill(t, cs, 3, 9)
		store.calls()
		for _, refunds := range []int{3, 1, 1} { // slots renewed together share a receipt
			advance(10 * time.Second)
			asked := store.calls()
			require.Len(t, asked, 1)
			require.Len(t, asked[0], refunds+1)
			charge := asked[0][refunds]
			require.EqualValues(t, 3, charge.Cost)
			require.True(t, charge.Forced)
			for _, refund := range asked[0][:refunds] {
				require.EqualValues(t, -3/refunds, refund.Cost)
				require.NotZero(t, refund.Receipt)
			}
			require.EqualValues(t, 3, store.taken(t, 9))
		}
	})
}

func TestTheSizeOfARenewalIsBounded(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		slots := fill(t, cs, 16*maxRefunds, 2000)
		asked := store.callsIn(10 * time.Second)
		require.Len(t, asked, 16)
		for _, quotas := range asked {
			require.LessOrEqual(t, len(quotas), maxRefunds+1)
		}
		require.EqualValues(t, 16*maxRefunds, store.taken(t, 2000))
		for _, slot := range slots {
			slot.Free()
		}
		require.Zero(t, store.taken(t, 2000))
	})
}

func TestDifferentLimitsOfOneCounterAreRenewedTogether(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		var slots []*Slot
		for _, limit := range []int64{5, 500, 6, 1000, 7} { // limits over 128 merge cells
			slots = append(slots, fill(t, cs, 1, limit)...)
		}
		for i := range 10 {
			advance(7 * time.Second)
			taken := store.taken(t, 1000)
			require.GreaterOrEqual(t, taken, int64(5))
			if i > 5 { // the first slots were merged under one limit, and are not found under another
				require.EqualValues(t, 5, taken)
			}
		}
		for i, slot := range slots {
			slot.Free()
			require.EqualValues(t, 4-i, store.taken(t, 1000))
		}
	})
}

func TestEachCounterIsRenewedAThirdOfALeaseAfterItsFirstSlot(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		ann, bob := quota(9), quota(9)
		bob.Scope = "bob"
		began := time.Now()
		take(t, cs, ann)
		require.Empty(t, store.callsIn(4*time.Second))
		take(t, cs, ann)
		require.Empty(t, store.callsIn(time.Second))
		take(t, cs, bob)
		for _, want := range []struct {
			at    time.Duration
			scope string
			cost  int64
		}{
			{10 * time.Second, ann.Scope, 2}, {15 * time.Second, bob.Scope, 1}, {20 * time.Second, ann.Scope, 2}, {25 * time.Second, bob.Scope, 1},
		} {
			require.Empty(t, store.callsIn(want.at-time.Since(began)-1), want.at)
			calls := store.callsIn(1)
			require.Len(t, calls, 1, want.at)
			charge := calls[0][len(calls[0])-1]
			require.Equal(t, want.scope, charge.Scope)
			require.Equal(t, want.cost, charge.Cost)
		}
	})
}

func TestAShortRequestCallsTheBackendAtItsStartAndItsEnd(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		take(t, cs, quota(9)) // a long request
		for range 3 {
			store.calls()
			for range 3 {
				short := take(t, cs, quota(9))
				advance(time.Millisecond)
				short.Free()
			}
			require.Len(t, store.calls(), 2*3)
			require.Len(t, store.callsIn(10*time.Second), 1, "the renewal of the long request")
		}
	})
}

func TestASlotIsNotRenewedBeforeTheBackendHasGrantedIt(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		take(t, cs, quota(9))
		advance(9 * time.Second)
		slow := quota(9)
		slow.Scope = "slow"
		store.duringNextCall(func() { <-time.After(2 * time.Second) })
		store.calls()
		send(t, cs, slow, 0)
		advance(time.Second)
		require.Len(t, store.calls(), 2, "the slow call, and the renewal of the other counter")
		require.Empty(t, store.callsIn(9*time.Second-1))
		require.Len(t, store.callsIn(1), 1, "a third of a lease after the slow call began")
	})
}

func TestAFailedRenewalIsRepeatedSoon(t *testing.T) {
	for lease, pause := range map[time.Duration]time.Duration{
		30 * time.Second:        time.Second,
		1500 * time.Millisecond: 500 * time.Millisecond, // a third of the lease
	} {
		synctest.Test(t, func(t *testing.T) {
			var cs Counters
			store := newStore(t)
			cs.Share(store, nil)
			q := quota(1)
			q.Per = lease
			take(t, &cs, q)
			store.fail(errors.New("failing"))
			require.Len(t, store.callsIn(lease/3), 1)
			for range 3 {
				require.Empty(t, store.callsIn(pause-1))
				require.Len(t, store.callsIn(1), 1)
			}
			store.fail(nil)
			require.Len(t, store.callsIn(pause), 1)
			require.Empty(t, store.callsIn(lease/3-1))
			require.Len(t, store.callsIn(1), 1)
		})
	}
}

func TestAFailedRenewalChargesNoSlotTwice(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		take(t, cs, quota(9))
		store.fail(errors.New("failing"))
		advance(10 * time.Second)
		store.fail(nil)
		advance(time.Second)
		require.EqualValues(t, 1, store.taken(t, 9))
	})
}

package backends

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkInBubble is rapid.Check for virtual time, without a deadline in real time. Rapid ends
// early, as if all were well, where checks take too much of a day of the bubble, so it is
// called until it has made all of them.
func checkInBubble(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	checks, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	require.NoError(t, err)
	for done := 0; done < checks; {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			property(rt)
			done++
		})
	}
}

// fakeServer holds flights until a test lets them land. It belongs to the bubble in which
// it was created.
type fakeServer struct {
	started chan flight
}

// errPanic makes a flight panic.
var errPanic = errors.New("panic")

type flight struct {
	ctx   context.Context
	calls []*call
	land  chan error // the answer of the server
}

func newFakeServer() *fakeServer { return &fakeServer{started: make(chan flight, 100)} }

// send implements queue.send.
func (r *fakeServer) send(ctx context.Context, calls []*call) {
	f := flight{ctx, slices.Clone(calls), make(chan error)}
	r.started <- f
	err := <-f.land
	if errors.Is(err, errPanic) {
		panic("in a hook")
	}
	for _, c := range calls {
		c.err = err
		for i := range c.verdicts {
			c.verdicts[i] = Verdict{Allowed: true, Remaining: c.quotas[i].Limit - c.quotas[i].Cost}
		}
	}
}

// next returns the flight that has started, which must exist.
func (r *fakeServer) next(t require.TestingT) flight {
	synctest.Wait()
	require.NotEmpty(t, r.started, "a flight has started")
	return <-r.started
}

// none checks that no flight has started.
func (r *fakeServer) none(t require.TestingT) {
	synctest.Wait()
	require.Empty(t, r.started, "no flight has started")
}

// onBoth runs a test with a client that respects contexts and with one that does not.
func onBoth(t *testing.T, test func(t *testing.T, q *queue, r *fakeServer)) {
	for name, patient := range map[string]bool{"client that respects contexts": false, "client that ignores contexts": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left running
				r := newFakeServer()
				q := newQueue(r.send, patient)
				test(t, q, r)
				close(q.closed)
				synctest.Wait()
				require.Zero(t, q.flights)
				require.Empty(t, q.waiting)
				require.Empty(t, r.started)
			})
		})
	}
}

// pending is a call with the name of its key and its result.
type pending struct {
	*call
	result chan error
}

// startCall starts a call with a timeout; 0 means none.
func startCall(q *queue, name string, quotas int, patience time.Duration) pending {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if patience > 0 {
		ctx, cancel = context.WithTimeout(ctx, patience)
	}
	p := pending{newCall(ctx, slices.Repeat([]Quota{{Key: name, Limit: 9, Per: time.Hour, Cost: 1}}, quotas), false), make(chan error, 1)}
	go func() {
		defer cancel()
		p.result <- q.wait(ctx, p.call)
	}()
	synctest.Wait() // keeps the order of arrival
	return p
}

func names(f flight) (list []string) {
	for _, c := range f.calls {
		list = append(list, c.quotas[0].Key)
	}
	return list
}

func TestASingleCallIsSentAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		start := time.Now()
		p := startCall(q, "alone", 1, time.Second)
		f := r.next(t)
		require.Equal(t, []string{"alone"}, names(f))
		f.land <- nil
		require.NoError(t, <-p.result)
		require.Zero(t, time.Since(start))
	})
}

func TestCallsThatArriveDuringAllFlightsShareTheNextOne(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		first, second := startCall(q, "first", 1, 0), startCall(q, "second", 1, 0)
		flights := []flight{r.next(t), r.next(t)}
		require.Equal(t, []string{"first"}, names(flights[0]))
		require.Equal(t, []string{"second"}, names(flights[1]))
		var rest []pending
		for i := range 5 {
			rest = append(rest, startCall(q, "rest"+strconv.Itoa(i), 1, 0))
		}
		r.none(t)
		flights[1].land <- nil
		require.NoError(t, <-second.result)
		together := r.next(t)
		require.Equal(t, []string{"rest0", "rest1", "rest2", "rest3", "rest4"}, names(together))
		lost := errors.New("lost")
		together.land <- lost
		for _, p := range rest {
			require.Equal(t, lost, <-p.result)
		}
		flights[0].land <- nil
		require.NoError(t, <-first.result)
	})
}

func TestACallWhoseDeadlinePassesInTheQueueIsNeverSent(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		busy := []pending{startCall(q, "busy", 1, 0), startCall(q, "busy", 1, 0)}
		flights := []flight{r.next(t), r.next(t)}
		start := time.Now()
		hasty, other := startCall(q, "hasty", 1, 10*time.Millisecond), startCall(q, "other", 1, time.Second)
		require.ErrorIs(t, <-hasty.result, context.DeadlineExceeded)
		require.Equal(t, 10*time.Millisecond, time.Since(start))
		for i := range flights {
			flights[i].land <- nil
			require.NoError(t, <-busy[i].result)
		}
		f := r.next(t)
		require.Equal(t, []string{"other"}, names(f))
		f.land <- nil
		require.NoError(t, <-other.result)
		require.False(t, hasty.verdicts[0].Allowed, "it was not answered")
		r.none(t)
	})
}

func TestNothingIsSentWhenAllCallersHaveLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		busy := []pending{startCall(q, "busy", 1, 0), startCall(q, "busy", 1, 0)}
		flights := []flight{r.next(t), r.next(t)}
		for range 3 {
			require.ErrorIs(t, <-startCall(q, "hasty", 1, time.Millisecond).result, context.DeadlineExceeded)
		}
		for i := range flights {
			flights[i].land <- nil
			require.NoError(t, <-busy[i].result)
		}
		r.none(t)
	})
}

// The race detector checks that what an early caller has left behind is not accessed.
func TestACallerThatLeavesDuringAFlightDoesNotAffectTheOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		backend := &redisBackend{denials: newDenials(), ignoresContext: q.ignoresContext}
		backend.queues.Store("", q)
		busy := []pending{startCall(q, "busy", 1, 0), startCall(q, "busy", 1, 0)}
		flights := []flight{r.next(t), r.next(t)}

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		quotas, verdicts := []Quota{{Key: "hasty", Limit: 5, Per: time.Hour, Cost: 1}}, make([]Verdict, 1)
		result := make(chan error)
		go func() {
			err := backend.Take(ctx, quotas, verdicts)
			quotas[0], verdicts[0] = Quota{}, Verdict{Remaining: 77} // they belong to the caller again
			result <- err
		}()
		synctest.Wait()
		other := startCall(q, "other", 1, time.Second)
		flights[0].land <- nil
		together := r.next(t)
		require.Equal(t, []string{"hasty", "other"}, names(together))
		require.ErrorIs(t, <-result, context.DeadlineExceeded)
		require.NoError(t, together.ctx.Err(), "others are still waiting")
		together.land <- nil
		require.NoError(t, <-other.result)
		require.True(t, other.verdicts[0].Allowed)
		require.EqualValues(t, 77, verdicts[0].Remaining)
		flights[1].land <- nil
		for i := range busy {
			require.NoError(t, <-busy[i].result)
		}
	})
}

func TestAFlightLastsUntilItsLastDeadline(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		for _, test := range []struct {
			patience []time.Duration
			lasts    time.Duration // 0 means no deadline
		}{
			{[]time.Duration{3 * time.Second, 5 * time.Second, 4 * time.Second}, 5 * time.Second},
			{[]time.Duration{3 * time.Second, 0, 4 * time.Second}, 0},
		} {
			first, second := startCall(q, "first", 1, 2*time.Second), startCall(q, "second", 1, 0)
			flights := []flight{r.next(t), r.next(t)}
			requireLasts(t, 2*time.Second, flights[0])
			requireLasts(t, 0, flights[1])
			var rest []pending
			for _, patience := range test.patience {
				rest = append(rest, startCall(q, "rest", 1, patience))
			}
			flights[0].land <- nil
			together := r.next(t)
			requireLasts(t, test.lasts, together)
			together.land <- nil
			for _, p := range append(rest, first) {
				require.NoError(t, <-p.result)
			}
			flights[1].land <- nil
			require.NoError(t, <-second.result)
			synctest.Wait()
		}
	})
}

func requireLasts(t *testing.T, want time.Duration, f flight) {
	t.Helper()
	deadline, ok := f.ctx.Deadline()
	require.Equal(t, want > 0, ok)
	if ok {
		require.Equal(t, want, time.Until(deadline))
	}
}

func TestAPanicInAFlightIsAnErrorAndDoesNotBlockOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		for range 3 * maxFlights {
			p := startCall(q, "unlucky", 1, 0)
			r.next(t).land <- errPanic
			require.ErrorContains(t, <-p.result, "in a hook")
		}
		p := startCall(q, "lucky", 1, 0)
		r.next(t).land <- nil
		require.NoError(t, <-p.result)
	})
}

func TestAFlightHoldsUpToAFullBatchOfQuotas(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		calls := []pending{startCall(q, "busy", 1, 0), startCall(q, "busy", 1, 0)}
		flights := []flight{r.next(t), r.next(t)}
		for name, quotas := range []int{maxBatch - 1, 1, 1} {
			calls = append(calls, startCall(q, strconv.Itoa(name), quotas, 0))
		}
		flights[0].land <- nil
		full := r.next(t)
		require.Equal(t, []string{"0", "1"}, names(full))
		full.land <- nil
		rest := r.next(t)
		require.Equal(t, []string{"2"}, names(rest))
		rest.land <- nil
		flights[1].land <- nil
		for _, p := range calls {
			require.NoError(t, <-p.result)
		}
	})
}

// Every call is sent exactly once and in order, and no batch is too large.
func TestEveryCallIsSentOnceInBoundedBatches(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *fakeServer) {
		checkInBubble(t, func(rt *rapid.T) {
			busy := []pending{startCall(q, "busy", 1, 0), startCall(q, "busy", 1, 0)}
			flights := []flight{r.next(rt), r.next(rt)}
			var rest []pending
			var want, sent []string
			for i, quotas := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 3), rapid.IntRange(1, 2*maxBatch)), 0, 12).Draw(rt, "quotas") {
				rest = append(rest, startCall(q, strconv.Itoa(i), quotas, 0))
				want = append(want, strconv.Itoa(i))
			}
			flights[0].land <- nil
			for len(sent) < len(want) {
				f := r.next(rt)
				size := 0
				for _, c := range f.calls {
					size += len(c.quotas)
				}
				require.True(rt, size <= maxBatch || len(f.calls) == 1, "%d quotas in %d calls", size, len(f.calls))
				sent = append(sent, names(f)...)
				f.land <- nil
			}
			require.Equal(rt, want, sent)
			flights[1].land <- nil
			for _, p := range append(rest, busy...) {
				require.NoError(rt, <-p.result)
			}
			synctest.Wait()
		})
	})
}

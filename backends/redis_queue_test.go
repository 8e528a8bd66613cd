package backends

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkInBubble is rapid.Check for a test on a virtual clock, which has no deadline
// on the real one.
func checkInBubble(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	rapid.Check(struct{ rapid.TB }{t}, property)
}

// runway is where flights start, and stay until they are let land. It belongs to
// the bubble that it was made in.
type runway struct {
	started chan flight
}

// errPanic makes a flight crash.
var errPanic = errors.New("panic")

type flight struct {
	ctx   context.Context
	calls []*call
	land  chan error // what the server answers
}

func newRunway() *runway { return &runway{started: make(chan flight, 100)} }

// send is that of a queue.
func (r *runway) send(ctx context.Context, calls []*call) {
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

// next is the flight that has started, which there must be.
func (r *runway) next(t require.TestingT) flight {
	synctest.Wait()
	require.NotEmpty(t, r.started, "a flight is under way")
	return <-r.started
}

// none checks that no flight has started.
func (r *runway) none(t require.TestingT) {
	synctest.Wait()
	require.Empty(t, r.started, "no flight is under way")
}

// onBoth runs a test on the queue of either kind of client.
func onBoth(t *testing.T, test func(t *testing.T, q *queue, r *runway)) {
	for name, patient := range map[string]bool{"client that heeds contexts": false, "client that outlasts them": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it fails when a goroutine is left
				r := newRunway()
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

// passenger is a call with the name of its key, and what became of it.
type passenger struct {
	*call
	told chan error
}

// board lets somebody ask with so much time; 0 is for ever.
func board(q *queue, name string, quotas int, patience time.Duration) passenger {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if patience > 0 {
		ctx, cancel = context.WithTimeout(ctx, patience)
	}
	p := passenger{newCall(ctx, slices.Repeat([]Quota{{Key: name, Limit: 9, Per: time.Hour, Cost: 1}}, quotas), false), make(chan error, 1)}
	go func() {
		defer cancel()
		p.told <- q.wait(ctx, p.call)
	}()
	synctest.Wait() // so that they come in order
	return p
}

func names(f flight) (list []string) {
	for _, c := range f.calls {
		list = append(list, c.quotas[0].Key)
	}
	return list
}

func TestALoneCallWaitsForNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		start := time.Now()
		p := board(q, "alone", 1, time.Second)
		f := r.next(t)
		require.Equal(t, []string{"alone"}, names(f))
		f.land <- nil
		require.NoError(t, <-p.told)
		require.Zero(t, time.Since(start))
	})
}

func TestWhatComesWhileAllFlightsAreUnderWayGoesWithTheNext(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		first, second := board(q, "first", 1, 0), board(q, "second", 1, 0)
		flights := []flight{r.next(t), r.next(t)}
		require.Equal(t, []string{"first"}, names(flights[0]))
		require.Equal(t, []string{"second"}, names(flights[1]))
		var rest []passenger
		for i := range 5 {
			rest = append(rest, board(q, "rest"+strconv.Itoa(i), 1, 0))
		}
		r.none(t)
		flights[1].land <- nil
		require.NoError(t, <-second.told)
		together := r.next(t)
		require.Equal(t, []string{"rest0", "rest1", "rest2", "rest3", "rest4"}, names(together))
		lost := errors.New("lost")
		together.land <- lost
		for _, p := range rest {
			require.Equal(t, lost, <-p.told)
		}
		flights[0].land <- nil
		require.NoError(t, <-first.told)
	})
}

func TestACallWhoseTimeIsOverBeforeItWasSentNeverIs(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		busy := []passenger{board(q, "busy", 1, 0), board(q, "busy", 1, 0)}
		flights := []flight{r.next(t), r.next(t)}
		start := time.Now()
		hasty, other := board(q, "hasty", 1, 10*time.Millisecond), board(q, "other", 1, time.Second)
		require.ErrorIs(t, <-hasty.told, context.DeadlineExceeded)
		require.Equal(t, 10*time.Millisecond, time.Since(start))
		for i := range flights {
			flights[i].land <- nil
			require.NoError(t, <-busy[i].told)
		}
		f := r.next(t)
		require.Equal(t, []string{"other"}, names(f))
		f.land <- nil
		require.NoError(t, <-other.told)
		require.False(t, hasty.verdicts[0].Allowed, "nobody has answered it")
		r.none(t)
	})
}

func TestWhenNobodyWaitsAnyMoreNothingIsSent(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		busy := []passenger{board(q, "busy", 1, 0), board(q, "busy", 1, 0)}
		flights := []flight{r.next(t), r.next(t)}
		for range 3 {
			require.ErrorIs(t, <-board(q, "hasty", 1, time.Millisecond).told, context.DeadlineExceeded)
		}
		for i := range flights {
			flights[i].land <- nil
			require.NoError(t, <-busy[i].told)
		}
		r.none(t)
	})
}

// The race detector looks whether what one has left behind is read or written.
func TestWhoLeavesDuringTheFlightDoesNotSpoilItForTheOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		backend := &redisBackend{denials: newDenials(), ignoresContext: q.ignoresContext}
		backend.queues.Store("", q)
		busy := []passenger{board(q, "busy", 1, 0), board(q, "busy", 1, 0)}
		flights := []flight{r.next(t), r.next(t)}

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		quotas, verdicts := []Quota{{Key: "hasty", Limit: 5, Per: time.Hour, Cost: 1}}, make([]Verdict, 1)
		told := make(chan error)
		go func() {
			err := backend.Take(ctx, quotas, verdicts)
			quotas[0], verdicts[0] = Quota{}, Verdict{Remaining: 77} // they are the caller's again
			told <- err
		}()
		synctest.Wait()
		other := board(q, "other", 1, time.Second)
		flights[0].land <- nil
		together := r.next(t)
		require.Equal(t, []string{"hasty", "other"}, names(together))
		require.ErrorIs(t, <-told, context.DeadlineExceeded)
		require.NoError(t, together.ctx.Err(), "others wait still")
		together.land <- nil
		require.NoError(t, <-other.told)
		require.True(t, other.verdicts[0].Allowed)
		require.EqualValues(t, 77, verdicts[0].Remaining)
		flights[1].land <- nil
		for i := range busy {
			require.NoError(t, <-busy[i].told)
		}
	})
}

func TestAFlightLastsAsLongAsItsMostPatientMember(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		for _, test := range []struct {
			patience []time.Duration
			lasts    time.Duration // 0 is for ever
		}{
			{[]time.Duration{3 * time.Second, 5 * time.Second, 4 * time.Second}, 5 * time.Second},
			{[]time.Duration{3 * time.Second, 0, 4 * time.Second}, 0},
		} {
			first, second := board(q, "first", 1, 2*time.Second), board(q, "second", 1, 0)
			flights := []flight{r.next(t), r.next(t)}
			requireLasts(t, 2*time.Second, flights[0])
			requireLasts(t, 0, flights[1])
			var rest []passenger
			for _, patience := range test.patience {
				rest = append(rest, board(q, "rest", 1, patience))
			}
			flights[0].land <- nil
			together := r.next(t)
			requireLasts(t, test.lasts, together)
			together.land <- nil
			for _, p := range append(rest, first) {
				require.NoError(t, <-p.told)
			}
			flights[1].land <- nil
			require.NoError(t, <-second.told)
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

func TestAFlightThatPanicsIsAnErrorAndLeavesItsPlaceToOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		for range 3 * maxFlights {
			p := board(q, "unlucky", 1, 0)
			r.next(t).land <- errPanic
			require.ErrorContains(t, <-p.told, "in a hook")
		}
		p := board(q, "lucky", 1, 0)
		r.next(t).land <- nil
		require.NoError(t, <-p.told)
	})
}

// Whatever comes in whatever pieces, all of it is sent once, in order, and never
// too much of it at once.
func TestEveryCallIsSentOnceAndABatchIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, q *queue, r *runway) {
		checkInBubble(t, func(rt *rapid.T) {
			busy := []passenger{board(q, "busy", 1, 0), board(q, "busy", 1, 0)}
			flights := []flight{r.next(rt), r.next(rt)}
			var rest []passenger
			var want, sent []string
			for i, quotas := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 3), rapid.IntRange(1, 2*maxBatch)), 0, 12).Draw(rt, "quotas") {
				rest = append(rest, board(q, strconv.Itoa(i), quotas, 0))
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
				require.NoError(rt, <-p.told)
			}
			synctest.Wait()
		})
	})
}

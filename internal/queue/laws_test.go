package queue

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const never = time.Duration(1 << 60)

// arrival is a request as the reference sees it: when it arrives, the deadline for its
// turn, when it leaves without having passed, and when it passes. All times are relative to
// the beginning.
type arrival struct {
	cost                 int64
	comes, until, leaves time.Duration
	turn, passes         time.Duration
}

// reference defines waiting as a list of events: the first request calls the backend when
// it becomes the first, and again at its turn.
type reference struct {
	limits limits
	began  int64 // µs
}

// read returns the arrivals with the times at which they pass.
func (r reference) read(arrivals []arrival) []arrival {
	arrivals, limits := slices.Clone(arrivals), r.limits.clone()
	var line []*arrival
	for now, come := time.Duration(0), 0; ; {
		for ; come < len(arrivals) && arrivals[come].comes <= now; come++ {
			arrivals[come].turn, arrivals[come].passes = now, never
			line = append(line, &arrivals[come])
		}
		line = slices.DeleteFunc(line, func(g *arrival) bool { return g.leaves <= now })
		if len(line) > 0 && line[0].turn <= now {
			wait := limits.take(r.began+now.Microseconds(), line[0].cost)
			if wait == 0 {
				line[0].passes = now
				line = line[1:]
				continue
			}
			line[0].turn = now + min(wait, never-now)
		}
		next := never
		if come < len(arrivals) {
			next = arrivals[come].comes
		}
		for _, g := range line {
			next = min(next, line[0].turn, g.leaves)
		}
		if next == never {
			return arrivals
		}
		now = next
	}
}

// take charges a cost, or returns how long to wait for it.
func (l limits) take(now, cost int64) (wait time.Duration) {
	for _, m := range l {
		at := m.next(now, cost)
		if at < 0 {
			return never
		}
		wait = max(wait, time.Duration(at-now)*time.Microsecond)
	}
	for _, m := range l {
		if wait == 0 {
			m.charge(now, cost)
		}
	}
	return wait
}

// drawArrivals draws requests and the times of their arrival.
func (r reference) drawArrivals(t *rapid.T, longest time.Duration) (arrivals []arrival) {
	largest := rapid.Int64Range(1, r.limits[0].limit+1).Draw(t, "largest")
	var at time.Duration
	for i := range rapid.IntRange(1, 25).Draw(t, "requests") {
		if rapid.Bool().Draw(t, "later") {
			at += time.Duration(rapid.IntRange(0, 1500).Draw(t, "gap")) * time.Millisecond
		}
		g := arrival{comes: at, until: at + longest, leaves: never, cost: rapid.Int64Range(1, largest).Draw(t, "cost")}
		if rapid.IntRange(0, 4).Draw(t, "leaves") == 0 {
			// No two requests leave at the same time, nor at a whole microsecond, when
			// turns come.
			g.leaves = at + time.Duration(rapid.IntRange(0, 20_000).Draw(t, "patience"))*time.Millisecond + time.Duration(i)*time.Microsecond + 500
		}
		arrivals = append(arrivals, g)
	}
	return arrivals
}

// Requests that are not rejected pass at the time of the reference. Rejected ones could not
// have passed in time if all requests ahead had stayed.
func TestRequestsPassInOrderAndInTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var r reference
		for range rapid.IntRange(1, 2).Draw(rt, "limits") {
			r.limits = append(r.limits, &model{
				algorithm: rapid.SampledFrom(algorithms).Draw(rt, "algorithm"),
				limit:     rapid.Int64Range(1, 6).Draw(rt, "limit"),
				per:       rapid.Int64Range(1, 10).Draw(rt, "per") * 1_000_000,
			})
		}
		longest := time.Duration(rapid.IntRange(1, 40).Draw(rt, "longest")) * time.Second
		offset := time.Duration(rapid.IntRange(0, 10_000).Draw(rt, "offset")) * time.Millisecond
		arrivals := r.drawArrivals(rt, longest)
		var h *harness
		synctest.Test(t, func(t *testing.T) {
			advance(offset)
			h = newHarness(longest, r.limits.clone()...)
			r.began = h.began.UnixMicro()
			for _, g := range arrivals {
				advance(g.comes - time.Since(h.began))
				visit := h.send(g.cost)
				time.AfterFunc(g.leaves-g.comes, visit.leave)
			}
			h.results(t)
		})
		r.check(rt, arrivals, h.visits)
	})
}

func (r reference) check(t *rapid.T, arrivals []arrival, visits []*visit) {
	for i, v := range visits {
		if v.outcome == "denied" || v.outcome == "rejected" {
			arrivals[i].leaves = min(arrivals[i].leaves, v.at)
		}
	}
	for i, g := range r.read(arrivals) {
		v := visits[i]
		estimate := fmt.Sprintf("request %d: %+v, %s at %v", i, g, v.outcome, v.at)
		switch v.outcome {
		case "passed":
			require.Equal(t, g.passes, v.at, estimate)
			require.LessOrEqual(t, g.passes, g.until, estimate)
		case "ended":
			require.Equal(t, g.leaves, v.at, estimate)
		default:
			require.LessOrEqual(t, v.at, g.until, estimate)
			require.Equal(t, v.at, g.leaves, estimate)
			require.Greater(t, r.ifAllStayed(arrivals, i), g.until, estimate)
		}
	}
}

// ifAllStayed returns when an arrival would pass if no request ahead left after its
// arrival.
func (r reference) ifAllStayed(arrivals []arrival, i int) time.Duration {
	stay := slices.Clone(arrivals[:i+1])
	for j := range stay {
		if j == i || stay[j].leaves > arrivals[i].leaves {
			stay[j].leaves = never
		}
	}
	return r.read(stay)[i].passes
}

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

// arrival is a request as the reference sees it: when it comes, until when its turn must
// be, when it goes without having passed, and when it passes. All times count from the
// beginning.
type arrival struct {
	cost               int64
	comes, until, goes time.Duration
	turn, passes       time.Duration
}

// reference is what waiting means, written as a list of all that happens: the first asks
// when it becomes the first, and when it was told to.
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
		line = slices.DeleteFunc(line, func(g *arrival) bool { return g.goes <= now })
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
			next = min(next, line[0].turn, g.goes)
		}
		if next == never {
			return arrivals
		}
		now = next
	}
}

// take charges a cost, or returns how long it has to wait.
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

// drawArrivals draws who comes when.
func (r reference) drawArrivals(t *rapid.T, longest time.Duration) (arrivals []arrival) {
	largest := rapid.Int64Range(1, r.limits[0].limit+1).Draw(t, "largest")
	var at time.Duration
	for i := range rapid.IntRange(1, 25).Draw(t, "requests") {
		if rapid.Bool().Draw(t, "later") {
			at += time.Duration(rapid.IntRange(0, 1500).Draw(t, "gap")) * time.Millisecond
		}
		g := arrival{comes: at, until: at + longest, goes: never, cost: rapid.Int64Range(1, largest).Draw(t, "cost")}
		if rapid.IntRange(0, 4).Draw(t, "leaves") == 0 {
			// Never just when another goes, nor at a whole microsecond when turns come.
			g.goes = at + time.Duration(rapid.IntRange(0, 20_000).Draw(t, "patience"))*time.Millisecond + time.Duration(i)*time.Microsecond + 500
		}
		arrivals = append(arrivals, g)
	}
	return arrivals
}

// Requests that are not rejected pass when the reference says. Those that are could not have
// passed in time, had all before them stayed.
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
			pass(offset)
			h = newHarness(longest, r.limits.clone()...)
			r.began = h.began.UnixMicro()
			for _, g := range arrivals {
				pass(g.comes - time.Since(h.began))
				visit := h.send(g.cost)
				time.AfterFunc(g.goes-g.comes, visit.leave)
			}
			h.results(t)
		})
		r.check(rt, arrivals, h.visits)
	})
}

func (r reference) check(t *rapid.T, arrivals []arrival, visits []*visit) {
	for i, v := range visits {
		if v.outcome == "denied" || v.outcome == "rejected" {
			arrivals[i].goes = min(arrivals[i].goes, v.at)
		}
	}
	for i, g := range r.read(arrivals) {
		v := visits[i]
		told := fmt.Sprintf("request %d: %+v, %s at %v", i, g, v.outcome, v.at)
		switch v.outcome {
		case "passed":
			require.Equal(t, g.passes, v.at, told)
			require.LessOrEqual(t, g.passes, g.until, told)
		case "ended":
			require.Equal(t, g.goes, v.at, told)
		default:
			require.LessOrEqual(t, v.at, g.until, told)
			require.Equal(t, v.at, g.goes, told)
			require.Greater(t, r.ifAllStayed(arrivals, i), g.until, told)
		}
	}
}

// ifAllStayed is when an arrival would pass, had nobody gone after it has.
func (r reference) ifAllStayed(arrivals []arrival, i int) time.Duration {
	stay := slices.Clone(arrivals[:i+1])
	for j := range stay {
		if j == i || stay[j].goes > arrivals[i].goes {
			stay[j].goes = never
		}
	}
	return r.read(stay)[i].passes
}

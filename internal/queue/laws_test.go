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

// guest is a request as the diary sees it: when it comes, until when its turn must be,
// when it goes without having passed, and when it passes. All times count from the
// beginning.
type guest struct {
	cost               int64
	comes, until, goes time.Duration
	turn, passes       time.Duration
}

// diary is what waiting means, written as a list of all that happens: the first asks
// when it becomes the first, and when it was told to.
type diary struct {
	limits limits
	began  int64 // µs
}

// read returns the guests with the times at which they pass.
func (d diary) read(guests []guest) []guest {
	guests, limits := slices.Clone(guests), d.limits.clone()
	var line []*guest
	for now, come := time.Duration(0), 0; ; {
		for ; come < len(guests) && guests[come].comes <= now; come++ {
			guests[come].turn, guests[come].passes = now, never
			line = append(line, &guests[come])
		}
		line = slices.DeleteFunc(line, func(g *guest) bool { return g.goes <= now })
		if len(line) > 0 && line[0].turn <= now {
			wait := limits.take(d.began+now.Microseconds(), line[0].cost)
			if wait == 0 {
				line[0].passes = now
				line = line[1:]
				continue
			}
			line[0].turn = now + min(wait, never-now)
		}
		next := never
		if come < len(guests) {
			next = guests[come].comes
		}
		for _, g := range line {
			next = min(next, line[0].turn, g.goes)
		}
		if next == never {
			return guests
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

// drawGuests draws who comes when.
func (d diary) drawGuests(t *rapid.T, longest time.Duration) (guests []guest) {
	dearest := rapid.Int64Range(1, d.limits[0].limit+1).Draw(t, "dearest")
	var at time.Duration
	for i := range rapid.IntRange(1, 25).Draw(t, "requests") {
		if rapid.Bool().Draw(t, "later") {
			at += time.Duration(rapid.IntRange(0, 1500).Draw(t, "gap")) * time.Millisecond
		}
		g := guest{comes: at, until: at + longest, goes: never, cost: rapid.Int64Range(1, dearest).Draw(t, "cost")}
		if rapid.IntRange(0, 4).Draw(t, "leaves") == 0 {
			// Never just when another goes, nor at a whole microsecond when turns come.
			g.goes = at + time.Duration(rapid.IntRange(0, 20_000).Draw(t, "patience"))*time.Millisecond + time.Duration(i)*time.Microsecond + 500
		}
		guests = append(guests, g)
	}
	return guests
}

// Requests that are not rejected pass when the diary says. Those that are could not have
// passed in time, had all before them stayed.
func TestRequestsPassInOrderAndInTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var d diary
		for range rapid.IntRange(1, 2).Draw(rt, "limits") {
			d.limits = append(d.limits, &model{
				algorithm: rapid.SampledFrom(algorithms).Draw(rt, "algorithm"),
				limit:     rapid.Int64Range(1, 6).Draw(rt, "limit"),
				per:       rapid.Int64Range(1, 10).Draw(rt, "per") * 1_000_000,
			})
		}
		longest := time.Duration(rapid.IntRange(1, 40).Draw(rt, "longest")) * time.Second
		offset := time.Duration(rapid.IntRange(0, 10_000).Draw(rt, "offset")) * time.Millisecond
		guests := d.drawGuests(rt, longest)
		var c *crowd
		synctest.Test(t, func(t *testing.T) {
			pass(offset)
			c = newCrowd(longest, d.limits.clone()...)
			d.began = c.began.UnixMicro()
			for _, g := range guests {
				pass(g.comes - time.Since(c.began))
				visit := c.come(g.cost)
				time.AfterFunc(g.goes-g.comes, visit.leave)
			}
			c.results(t)
		})
		d.check(rt, guests, c.visits)
	})
}

func (d diary) check(t *rapid.T, guests []guest, visits []*visit) {
	for i, v := range visits {
		if v.outcome == "denied" || v.outcome == "rejected" {
			guests[i].goes = min(guests[i].goes, v.at)
		}
	}
	for i, g := range d.read(guests) {
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
			require.Greater(t, d.ifAllStayed(guests, i), g.until, told)
		}
	}
}

// ifAllStayed is when a guest would pass, had nobody gone after it has.
func (d diary) ifAllStayed(guests []guest, i int) time.Duration {
	stay := slices.Clone(guests[:i+1])
	for j := range stay {
		if j == i || stay[j].goes > guests[i].goes {
			stay[j].goes = never
		}
	}
	return d.read(stay)[i].passes
}

package ratelimiter_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/window"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const never = time.Duration(1 << 60)

// guest is a request: when it arrives and when it leaves without having passed, how long
// it may wait, and when it passes according to the book. All times are in microseconds
// from the same start.
type guest struct {
	cost               int64
	comes, until, goes time.Duration
	turn, passes       time.Duration
}

// book is the specification of a queue, written as a list of events: the first request
// calls the backend when it becomes the first and at the time of the last answer.
type book struct {
	algorithm ratelimiter.Algorithm
	limit     int64
	per       time.Duration
	began     int64 // µs

	fixed   window.Fixed
	sliding window.Sliding
	log     window.Log
	bucket  window.Bucket
}

func (b *book) take(now time.Duration, cost int64) (v window.Verdict) {
	at, charge := b.began+now.Microseconds(), &window.Charge{Limit: b.limit, Per: b.per.Microseconds(), Cost: cost}
	switch b.algorithm {
	case ratelimiter.FixedWindow:
		b.fixed, v = b.fixed.Take(at, charge)
	case ratelimiter.SlidingLog:
		b.log, v = b.log.Take(at, charge)
	case ratelimiter.TokenBucket:
		b.bucket, v = b.bucket.Take(at, charge)
	default:
		b.sliding, v = b.sliding.Take(at, charge)
	}
	return v
}

// read returns the guests with the times at which they pass.
func (b book) read(guests []guest) []guest {
	guests = slices.Clone(guests)
	var line []*guest
	for now, come := time.Duration(0), 0; ; {
		for ; come < len(guests) && guests[come].comes <= now; come++ {
			guests[come].turn, guests[come].passes = now, never
			line = append(line, &guests[come])
		}
		line = slices.DeleteFunc(line, func(g *guest) bool { return g.goes <= now })
		next := never
		if come < len(guests) {
			next = guests[come].comes
		}
		if len(line) > 0 && line[0].turn <= now {
			first := line[0]
			v := b.take(now, first.cost)
			switch first.turn = now + time.Duration(v.RetryAfter)*time.Microsecond; {
			case v.Allowed():
				first.passes = now
				line = line[1:]
				continue
			case v.RetryAfter < 0:
				first.turn = never
			}
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

// plan draws the arrivals.
func plan(t *rapid.T, b *book, longest time.Duration) (guests []guest) {
	dearest := rapid.Int64Range(1, b.limit+1).Draw(t, "maximum cost")
	var at time.Duration
	for i := range rapid.IntRange(1, 25).Draw(t, "requests") {
		if rapid.Bool().Draw(t, "later") {
			at += time.Duration(rapid.IntRange(0, 1500).Draw(t, "gap")) * time.Millisecond
		}
		g := guest{comes: at, until: at + longest, goes: never, cost: rapid.Int64Range(1, dearest).Draw(t, "cost")}
		if rapid.IntRange(0, 4).Draw(t, "leaves") == 0 {
			// Never at the same time as another event, and never at a whole microsecond,
			// when turns come.
			g.goes = at + time.Duration(rapid.IntRange(0, 20_000).Draw(t, "patience"))*time.Millisecond + time.Duration(i)*time.Microsecond + 500
		}
		guests = append(guests, g)
	}
	return guests
}

// Requests that are not rejected pass when the book says, and never more than the bound
// of the algorithm. Rejected requests could not have passed in time if all requests ahead
// of them had stayed.
func TestWaitingRequestsPassInOrderAndOnTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := &book{
			algorithm: rapid.SampledFrom(algorithms).Draw(rt, "algorithm"),
			limit:     rapid.Int64Range(1, 6).Draw(rt, "limit"),
			per:       time.Duration(rapid.IntRange(1, 10).Draw(rt, "per")) * time.Second,
		}
		longest := time.Duration(rapid.IntRange(1, 40).Draw(rt, "max")) * time.Second
		offset := time.Duration(rapid.IntRange(0, 10_000).Draw(rt, "offset")) * time.Millisecond
		guests := plan(rt, b, longest)
		var crowd *crowd
		synctest.Test(t, func(t *testing.T) {
			engine, limiter := application(t, nil)
			engine.GET("/", limiter.RateLimit(int(b.limit), b.per, ratelimiter.WithAlgorithm(b.algorithm), byHeader, ratelimiter.WithWait(longest)), ok)
			pass(offset)
			crowd, b.began = newCrowd(), time.Now().UnixMicro()
			for _, g := range guests {
				pass(g.comes - time.Since(crowd.began))
				visit := crowd.send(engine, "/", ofCost(int(g.cost)))
				time.AfterFunc(g.goes-g.comes, visit.leave)
			}
			crowd.all.Wait()
			require.Zero(t, limiter.Queues())
			require.Zero(t, limiter.Stats().Waiting)
		})
		b.check(rt, guests, crowd.sent)
	})
}

func (b book) check(t *rapid.T, guests []guest, visits []*visit) {
	for i, v := range visits {
		if v.response.Code == 429 {
			guests[i].goes = min(guests[i].goes, v.at)
		}
	}
	for i, g := range b.read(guests) {
		v := visits[i]
		told := fmt.Sprintf("request %d: %+v, answered %d at %v", i, g, v.response.Code, v.at)
		switch v.response.Code {
		case 200:
			require.Equal(t, g.passes, v.at, told)
			require.LessOrEqual(t, g.passes, g.until, told)
		case 499:
			require.Equal(t, g.goes, v.at, told)
		default:
			require.LessOrEqual(t, v.at, g.until, told)
			require.Equal(t, v.at, g.goes, told)
			require.Greater(t, b.ifAllStayed(guests, i), g.until, told)
		}
	}
	bound := map[ratelimiter.Algorithm]int64{
		ratelimiter.FixedWindow: 2 * b.limit, ratelimiter.SlidingWindow: 2 * b.limit, ratelimiter.SlidingLog: b.limit, ratelimiter.TokenBucket: 2 * b.limit,
	}[b.algorithm]
	for _, first := range visits {
		var units int64
		for i, v := range visits {
			// The clock of the memory backend counts in microseconds.
			if at, from := v.at.Truncate(time.Microsecond), first.at.Truncate(time.Microsecond); v.response.Code == 200 && at >= from && at < from+b.per {
				units += guests[i].cost
			}
		}
		require.LessOrEqual(t, units, bound)
	}
}

// ifAllStayed returns when a guest would pass if nobody ahead of it left.
func (b book) ifAllStayed(guests []guest, i int) time.Duration {
	stay := slices.Clone(guests[:i+1])
	for j := range stay {
		if j == i || stay[j].goes > guests[i].goes {
			stay[j].goes = never
		}
	}
	return b.read(stay)[i].passes
}

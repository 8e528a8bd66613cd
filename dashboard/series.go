package dashboard

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

const (
	outcomes = int(ratelimiter.Banned) + 1

	mean          = 10                     // seconds that a rate is the mean of
	shownSeconds  = 300                    // seconds in the chart of 5 minutes
	secondsKept   = shownSeconds + mean    // enough for the mean of the oldest one
	interval      = mean                   // seconds of a point in the chart of 1 hour
	shownHour     = 3600                   // seconds in that chart
	intervalsKept = shownHour/interval + 1 // and the interval in progress

	everyone       = "everyone"    // the scope of ratelimiter.ByEveryone
	applicationKey = "application" // the key of application limits
	severalKeys    = "\x00"        // in place of a key; no key can be this
	unknown        = -1            // the limit of a series before its first decision
)

// seriesKey identifies a limit on a route. Several middlewares of a route may give their
// limits the same name, so period and shadow are part of it.
type seriesKey struct {
	route, name string
	per         time.Duration
	shadow      bool
}

// traits are what a series has seen that makes its limit differ from its rate of requests.
type traits uint32

const (
	perClient traits = 1 << iota // a scope other than "everyone"
	weighted                     // a cost other than 1
	bursty                       // a burst other than the limit
)

// counts is how often each outcome occurred, indexed by ratelimiter.Outcome.
type counts [outcomes]uint32

// series is the history of a limit on a route.
type series struct {
	counts [outcomes]atomic.Uint64 // since the start
	limit  atomic.Int64            // of the latest decision
	varies atomic.Bool             // the limit changed in this interval
	active atomic.Int64            // the latest second with a decision
	traits atomic.Uint32
	shared atomic.Pointer[string] // the key of the decisions, if it is not the route

	key     seriesKey
	id      int // identifies the series to a page
	closest closest

	// record.mu guards the rest.
	varied    bool             // varies, of the interval before
	moved     [outcomes]uint64 // the part of counts that is in the rings
	seconds   [secondsKept]counts
	intervals [intervalsKept]counts
}

func newSeries(key seriesKey, id int) *series {
	s := &series{key: key, id: id}
	s.limit.Store(unknown)
	return s
}

// describe notes what the event of a decision says about its limit.
func (s *series) describe(e *ratelimiter.Event) {
	if s.limit.Load() != e.Limit && s.limit.Swap(e.Limit) != unknown {
		s.varies.Store(true)
	}
	known := traits(s.traits.Load())
	seen := known
	if e.Scope != everyone {
		seen |= perClient
	}
	if e.Cost != 1 {
		seen |= weighted
	}
	if e.Burst != 0 {
		seen |= bursty
	}
	if seen != known {
		s.traits.Or(uint32(seen))
	}
	if e.Key != s.key.route || s.shared.Load() != nil {
		s.describeKey(e.Key)
	}
}

func (s *series) describeKey(key string) {
	switch known := s.shared.Load(); {
	case known == nil:
		key = strings.Clone(key) // it may be a part of the request
		s.shared.CompareAndSwap(nil, &key)
	case *known != key && *known != severalKeys:
		several := severalKeys
		s.shared.Store(&several)
	}
}

func (s *series) has(trait traits) bool { return traits(s.traits.Load())&trait != 0 }

// hasSeveralKeys reports whether the limit has a counter for each of several keys.
func (s *series) hasSeveralKeys() bool {
	shared := s.shared.Load()
	return shared != nil && *shared == severalKeys
}

func (s *series) pending() bool {
	for i := range s.counts {
		if s.counts[i].Load() != s.moved[i] {
			return true
		}
	}
	return false
}

// move adds new counts to a second, and reports whether there were any.
func (s *series) move(second int64) (moved bool) {
	for i := range s.counts {
		all := s.counts[i].Load()
		fresh := uint32(min(all-s.moved[i], 1<<31))
		if fresh == 0 {
			continue
		}
		s.moved[i] = all
		s.seconds[second%secondsKept][i] += fresh
		s.intervals[second/interval%intervalsKept][i] += fresh
		s.active.Store(second)
		moved = true
	}
	return moved
}

// tally is a sum of counts.
type tally [outcomes]uint64

func (t *tally) add(more counts) {
	for i, n := range more {
		t[i] += uint64(n)
	}
}

func (t *tally) merge(more tally) {
	for i, n := range more {
		t[i] += n
	}
}

func (t *tally) requests() (sum uint64) {
	for _, n := range t {
		sum += n
	}
	return sum
}

func (t *tally) rejected() uint64 { return t[ratelimiter.Rejected] + t[ratelimiter.Banned] }

// last sums the last seconds up to one, at most secondsKept.
func (s *series) last(seconds, upTo int64) (sum tally) {
	for at := upTo - seconds + 1; at <= upTo; at++ {
		sum.add(s.seconds[at%secondsKept])
	}
	return sum
}

// lastHour sums an hour and the interval in progress.
func (s *series) lastHour() (sum tally) {
	for _, one := range s.intervals {
		sum.add(one)
	}
	return sum
}

// clearBetween empties the places of a ring after one time and up to another.
func clearBetween[T any](ring []T, after, upTo int64) {
	size := int64(len(ring))
	for at := max(after+1, upTo-size+1); at <= upTo; at++ {
		ring[at%size] = *new(T)
	}
}

// unrolled lists a ring from the oldest place to that of upTo.
func unrolled[T any](ring []T, upTo int64) []T {
	size := int64(len(ring))
	list := make([]T, 0, size)
	for at := upTo - size + 1; at <= upTo; at++ {
		list = append(list, ring[at%size])
	}
	return list
}

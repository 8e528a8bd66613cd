package dashboard

import (
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

const (
	outcomes = int(ratelimiter.Banned) + 1

	minutesSeconds = 300  // how many seconds are remembered one by one
	hourSeconds    = 3600 // and how many in quarters of a minute
	quarter        = 15
	quarterPlaces  = hourSeconds/quarter + 1 // and one that is being counted
)

// seriesKey is a limit on a route. Names tell the limits of a RateLimit apart; the other
// two tell apart what several middlewares have called the same.
type seriesKey struct {
	route, name string
	per         time.Duration
	shadow      bool
}

// unknown is the limit of a series of which only skips were seen, whose events do not
// always tell it.
const unknown = -1

func newSeries(key seriesKey, id int) *series {
	s := &series{key: key, id: id}
	s.limit.Store(unknown)
	return s
}

// counts is how often each outcome has come, by its number.
type counts [outcomes]uint32

// series is what is remembered of a limit on a route.
type series struct {
	counts [outcomes]atomic.Uint64 // since the beginning
	limit  atomic.Int64            // of the last decision; unknown before
	varies atomic.Bool             // it was another one before, in this quarter of a minute
	active atomic.Int64            // the last second that something was counted in

	key     seriesKey
	id      int // tells a page that a limit is still the same
	closest closest

	// The rest is guarded by record.mu.
	varied   bool             // varies, of the quarter before
	moved    [outcomes]uint64 // what of counts is in the rings
	seconds  [minutesSeconds]counts
	quarters [quarterPlaces]counts
}

func (s *series) pending() bool {
	for i := range s.counts {
		if s.counts[i].Load() != s.moved[i] {
			return true
		}
	}
	return false
}

// move counts what is new to a second, and returns whether there was anything.
func (s *series) move(second int64) (moved bool) {
	for i := range s.counts {
		all := s.counts[i].Load()
		fresh := uint32(min(all-s.moved[i], 1<<31))
		if fresh == 0 {
			continue
		}
		s.moved[i] = all
		s.seconds[second%minutesSeconds][i] += fresh
		s.quarters[second/quarter%quarterPlaces][i] += fresh
		s.active.Store(second)
		moved = true
	}
	return moved
}

// clearBetween empties the places of a ring after one time up to another.
func clearBetween[T any](ring []T, after, upTo int64) {
	size := int64(len(ring))
	for at := max(after+1, upTo-size+1); at <= upTo; at++ {
		ring[at%size] = *new(T)
	}
}

// unrolled is a ring in the order of time, the last place the one of upTo.
func unrolled[T any](ring []T, upTo int64) []T {
	size := int64(len(ring))
	list := make([]T, 0, size)
	for at := upTo - size + 1; at <= upTo; at++ {
		list = append(list, ring[at%size])
	}
	return list
}

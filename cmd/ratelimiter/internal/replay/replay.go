package replay

import (
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// Outcome is the result of a replay with one algorithm.
type Outcome struct {
	Algorithm  string
	Clients    []Rejected // clients that were ever rejected, the most rejected first
	Requests   int64      // rejected
	Rejections []int64    // in each interval of the timeline of the census
}

// Rejected is a rejected client.
type Rejected struct {
	ID          uint32
	Requests    int64 // rejected
	First, Last int64 // when, µs
	LongestWait int64 // µs; negative for endless
}

// Run replays the same limits for every client. See RunEach.
func Run(census *traffic.Census, algorithm string, limits []ratelimiter.Limit) *Outcome {
	return RunEach(census, algorithm, func(uint32) []ratelimiter.Limit { return limits })
}

// RunEach replays separate limits for each client. It skips clients that cannot be rejected,
// which most clients are.
func RunEach(census *traffic.Census, algorithm string, limitsOf func(id uint32) []ratelimiter.Limit) *Outcome {
	o := &Outcome{Algorithm: algorithm, Rejections: make([]int64, len(census.Timeline.Counts))}
	suspects := suspects(census, algorithm, limitsOf)
	limiters := make([]*Limiter, len(suspects))
	rejected := map[uint32]*Rejected{}
	cursor := census.History.Cursor()
	for cursor.Next() {
		id := cursor.ID
		if !suspects[id] {
			continue
		}
		if limiters[id] == nil {
			limiters[id] = NewLimiter(algorithm, limitsOf(id))
		}
		allowed, wait := limiters[id].Take(cursor.Time)
		if allowed {
			continue
		}
		r := rejected[id]
		if r == nil {
			r = &Rejected{ID: id, First: cursor.Time}
			rejected[id] = r
		}
		r.note(cursor.Time, wait)
		o.Requests++
		o.Rejections[census.Timeline.Place(cursor.Time)]++
	}
	for _, r := range rejected {
		o.Clients = append(o.Clients, *r)
	}
	slices.SortFunc(o.Clients, func(a, b Rejected) int {
		if a.Requests != b.Requests {
			return int(b.Requests - a.Requests)
		}
		return int(a.ID) - int(b.ID)
	})
	return o
}

func (r *Rejected) note(now, wait int64) {
	r.Last = now
	r.Requests++
	r.LongestWait = longer(r.LongestWait, wait)
}

// suspects marks the clients that may be rejected. A limit whose period the census has not
// measured marks all clients.
func suspects(census *traffic.Census, algorithm string, limitsOf func(id uint32) []ratelimiter.Limit) []bool {
	list := make([]bool, census.Clients())
	for id := range list {
		list[id] = slices.ContainsFunc(limitsOf(uint32(id)), func(limit ratelimiter.Limit) bool {
			period := slices.Index(census.Periods, int64(limit.Per/time.Microsecond))
			return period < 0 || mayReject(algorithm, limit.Limit, census.Most(uint32(id), period))
		})
	}
	return list
}

// exactLog is the highest limit up to which the sliding log is exact.
const exactLog = 128

// mayReject reports whether an algorithm can reject a client with at most this many units in
// any rolling period. The sliding window treats the units of the previous period as evenly
// spread, and a coarse log keeps some for longer than a period: both count at most the units
// of two periods. The other algorithms count the units of one.
func mayReject(algorithm string, limit, most int64) bool {
	if algorithm == "sliding-window" || algorithm == "sliding-log" && limit > exactLog {
		return 2*most > limit
	}
	return most > limit
}

// Peak is the most requests of all clients together that a limit on each client allows in any
// rolling period. It stops at the first number above enough.
func Peak(census *traffic.Census, algorithm string, limit ratelimiter.Limit, enough int64) (most int64) {
	limiters := make([]*Limiter, census.Clients())
	per := int64(limit.Per / time.Microsecond)
	var admitted []int64 // times in the window
	cursor := census.History.Cursor()
	for most <= enough && cursor.Next() {
		l := limiters[cursor.ID]
		if l == nil {
			l = NewLimiter(algorithm, []ratelimiter.Limit{limit})
			limiters[cursor.ID] = l
		}
		if allowed, _ := l.Take(cursor.Time); !allowed {
			continue
		}
		gone := 0
		for gone < len(admitted) && admitted[gone]+per <= cursor.Time {
			gone++
		}
		admitted = append(admitted[gone:], cursor.Time)
		most = max(most, int64(len(admitted)))
	}
	return most
}

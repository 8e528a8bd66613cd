package traffic

import (
	"bytes"
	"math"
	"math/bits"
	"time"
)

// Census counts the events of a log in order of time. For each client and period it finds the
// exact maximum of units in any rolling window [t, t+period).
//
// A window grows when an event arrives and shrinks when an event is a period old. Events are
// not stored by client for that: for each period, a cursor follows one period behind in the
// history and decrements the counters. A client therefore needs only two numbers per period,
// however many requests it sends.
type Census struct {
	Periods []int64 // µs
	History *History

	clients clients
	rows    []uint32 // per client: the units in the window of each period, then the maxima
	stats   []Client
	noRow   []uint32 // the row of a new client
	behind  []*Cursor
	pending []bool // the cursor is at an event that is still in the window

	all, allMost []uint32  // as in rows, for all clients together
	ends         []int64   // for each period, the end of the one with the last event; periods start at the epoch
	busy         []int64   // for each period, how many of them have events
	firstEnd     int64     // the earliest of ends
	ranks        []ranking // for each period
	Timeline     Timeline
	First, Last  int64 // µs
	Fine         bool  // some times are not whole seconds
}

// Client holds the statistics of a client.
type Client struct {
	Requests    uint32
	Assets      uint32
	Faults      uint32
	First, Last int64 // µs
}

// NewCensus makes a census for some periods of a microsecond or more.
func NewCensus(periods []time.Duration) *Census {
	c := &Census{History: NewHistory()}
	for _, per := range periods {
		c.Periods = append(c.Periods, per.Microseconds())
		c.behind = append(c.behind, c.History.Cursor())
	}
	c.noRow = make([]uint32, 2*len(periods))
	c.pending = make([]bool, len(periods))
	c.all, c.allMost = make([]uint32, len(periods)), make([]uint32, len(periods))
	c.ranks = make([]ranking, len(periods))
	c.ends, c.busy = make([]int64, len(periods)), make([]int64, len(periods))
	return c
}

// ID is the number of a client. It is safe to call while another goroutine adds events. The
// other methods are not safe for concurrent use.
func (c *Census) ID(key []byte, hash uint64) uint32 { return c.clients.id(key, hash) }

// Add counts an event. It must not be older than the previous one.
func (c *Census) Add(now int64, id uint32, traits Traits) {
	for int(id) >= len(c.stats) {
		c.stats = append(c.stats, Client{})
		c.rows = append(c.rows, c.noRow...)
	}
	c.expire(now)
	periods := len(c.Periods)
	row := c.rows[int(id)*2*periods:][:2*periods]
	for k := range periods {
		row[k]++
		c.ranks[k].add(row[k])
		row[periods+k] = max(row[periods+k], row[k])
		c.all[k]++
		c.allMost[k] = max(c.allMost[k], c.all[k])
	}
	if now >= c.firstEnd {
		c.beginPeriods(now)
	}
	c.stats[id].add(now, traits)
	if c.History.Events == 0 {
		c.First = now
	}
	c.Last = now
	c.Fine = c.Fine || now%1_000_000 != 0
	c.Timeline.add(now)
	c.History.Add(now, id)
}

// beginPeriods counts the periods whose first event this is.
func (c *Census) beginPeriods(now int64) {
	c.firstEnd = math.MaxInt64
	for k, per := range c.Periods {
		if now >= c.ends[k] {
			c.ends[k] = now - now%per + per
			c.busy[k]++
		}
		c.firstEnd = min(c.firstEnd, c.ends[k])
	}
}

// expire removes events that are a whole period old from the windows.
func (c *Census) expire(now int64) {
	periods := len(c.Periods)
	for k, per := range c.Periods {
		cursor := c.behind[k]
		for c.pending[k] || cursor.Next() {
			c.pending[k] = cursor.Time+per > now
			if c.pending[k] {
				break
			}
			c.rows[int(cursor.ID)*2*periods+k]--
			c.all[k]--
		}
	}
}

func (s *Client) add(now int64, traits Traits) {
	if s.Requests == 0 {
		s.First = now
	}
	s.Last = now
	s.Requests++
	if traits&Asset != 0 {
		s.Assets++
	}
	if traits&Fault != 0 {
		s.Faults++
	}
}

// Clients is the number of clients.
func (c *Census) Clients() int { return len(c.stats) }

// Client returns the statistics of a client.
func (c *Census) Client(id uint32) *Client { return &c.stats[id] }

// Name is the name of a client, and its route if clients are counted by route.
func (c *Census) Name(id uint32) (client, route string) {
	who, what, _ := bytes.Cut(c.clients.name(id), []byte{routeSeparator})
	return string(who), string(what)
}

// Most is the most units of a client in any rolling window of a period, which is an index of
// Periods.
func (c *Census) Most(id uint32, period int) int64 {
	return int64(c.rows[int(id)*2*len(c.Periods)+len(c.Periods)+period])
}

// AllMost is the same for all clients together.
func (c *Census) AllMost(period int) int64 { return int64(c.allMost[period]) }

// Busy is the number of periods with events. Periods start at multiples of their length.
func (c *Census) Busy(period int) int64 { return c.busy[period] }

// Over is the number of events that arrive after a limit is used up, counting all earlier
// events, rejected or not. An exact limiter rejects at most that many, because its rejected
// events do not count.
func (c *Census) Over(period int, limit int64) int64 { return c.ranks[period].over(limit) }

// ranking is a histogram of the units in the window after each event. Values up to 65,535 have
// their own bin; above, each power of two has 32,768 bins.
type ranking []int64

const rankBits = 16

func rankPlace(n uint32) int {
	shift := max(0, bits.Len32(n)-rankBits)
	return shift<<(rankBits-1) + int(n>>shift)
}

func (r *ranking) add(n uint32) {
	place := rankPlace(n)
	if place >= len(*r) {
		*r = append(*r, make([]int64, place+1-len(*r))...)
	}
	(*r)[place]++
}

func (r *ranking) over(limit int64) (events int64) {
	if limit >= 1<<32-1 {
		return 0
	}
	for place := rankPlace(uint32(limit)) + 1; place < len(*r); place++ {
		events += (*r)[place]
	}
	return events
}

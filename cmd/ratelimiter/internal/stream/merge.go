package stream

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// merger merges the requests of several logs by time. Logs that overlap are read at the same
// time; a later log is opened when its first request is due.
type merger struct {
	mill    *mill
	tally   *Tally
	census  *traffic.Census
	order   *order
	waiting []*source // not yet open, the earliest first
	active  []*source // open, each at a request
}

func byFirst(sources []*source) []*source {
	sources = slices.DeleteFunc(slices.Clone(sources), func(s *source) bool { return s.format.NewParser == nil })
	slices.SortStableFunc(sources, func(a, b *source) int { return cmp.Compare(a.first, b.first) })
	return sources
}

func (m *merger) run(ctx context.Context) {
	for ctx.Err() == nil {
		m.begin(ctx)
		if len(m.active) == 0 {
			return
		}
		earliest, until := m.earliest()
		if !m.take(ctx, earliest, until) {
			m.active = slices.DeleteFunc(m.active, func(s *source) bool { return s == earliest })
		}
	}
}

// begin opens the logs whose first request is due.
func (m *merger) begin(ctx context.Context) {
	for len(m.waiting) > 0 {
		next := m.waiting[0]
		if len(m.active) > 0 {
			if first, _ := m.earliest(); first.now() < next.first {
				return
			}
		}
		m.waiting = m.waiting[1:]
		next.queue = make(chan *piece, aheadPieces)
		go m.mill.feed(ctx, next, next.queue)
		if m.refill(ctx, next) {
			m.active = append(m.active, next)
		}
	}
}

// earliest returns the log with the earliest request, and the time of the next request in
// another log.
func (m *merger) earliest() (first *source, until int64) {
	until = math.MaxInt64
	if len(m.waiting) > 0 {
		until = m.waiting[0].first
	}
	first = m.active[0]
	for _, other := range m.active[1:] {
		if other.now() < first.now() {
			first, other = other, first
		}
		until = min(until, other.now())
	}
	return first, until
}

// now is the time of the current request of a log.
func (s *source) now() int64 { return s.batch.batch.Events[s.at].Time }

// take processes requests of a log until another log is earlier. It returns false at the end
// of the log.
func (m *merger) take(ctx context.Context, s *source, until int64) bool {
	for {
		b := &s.batch.batch
		for s.at < len(b.Events) {
			event := &b.Events[s.at]
			if event.Time > until {
				return true
			}
			s.at++
			if m.order.admits(event.Time) {
				m.order.add(event.Time, m.census.ID(b.KeyOf(event), event.Hash), event.Traits)
			}
		}
		if !m.refill(ctx, s) {
			return false
		}
		if ctx.Err() != nil {
			return true
		}
	}
}

// refill advances to the next piece of a log that contains a request.
func (m *merger) refill(ctx context.Context, s *source) bool {
	for {
		if s.batch != nil {
			m.mill.free.Put(s.batch)
			s.batch = nil
		}
		if len(s.next) == 0 && !s.takeNext(ctx) {
			return false
		}
		s.batch, s.at, s.next = s.next[0], 0, s.next[1:]
		m.note(s)
		if !m.order.whole {
			m.tally.Ahead += s.dropStrays(ctx, m.order.reach())
		}
		if len(s.batch.batch.Events) > 0 {
			return true
		}
	}
}

// takeNext waits for one more piece. It returns false at the end of the log.
func (s *source) takeNext(ctx context.Context) bool {
	select {
	case p, ok := <-s.queue:
		if !ok {
			return false
		}
		<-p.done
		s.next = append(s.next, p)
		return true
	case <-ctx.Done():
		return false
	}
}

// note adds the counts of a piece to the tally.
func (m *merger) note(s *source) {
	b := &s.batch.batch
	for i := range b.First {
		if len(m.tally.First) < shownFaults {
			fault := &b.First[i]
			m.tally.First = append(m.tally.First, Fault{s.file.Name, s.lines + fault.Line, fault.Reason.Error(), fault.Text})
		}
	}
	for reason, count := range b.Reasons {
		m.tally.Reasons[reason.Error()] += count
	}
	s.lines += b.Lines
	s.file.Lines += b.Lines
	if s.batch.err != nil {
		s.file.Short = s.batch.err
	}
	m.tally.Lines += b.Lines
	m.tally.Faults += b.Faults
	m.tally.Passed += b.Passed
	m.tally.Filtered += b.Filtered
	m.tally.Hostless += b.Hostless
	m.tally.Named += b.Named
	m.tally.Throttled += b.Throttled
	m.tally.Robots.Add(b.Robots)
}

package model

import (
	"fmt"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// clocks is how far the clocks of the harness and of a store may be apart at the end of a
// window.
const clocks = 50 * time.Millisecond

// alignedBounds checks that no window of a fixed window, or day of a calendar limit, has more
// than the limit. What was reset or lost in it begins the count anew.
func (m *model) alignedBounds() *Finding {
	f := &Finding{Name: "No fixed window, and no day of a calendar limit, has more than the limit"}
	full, days := 0, 0
	for i := range m.series {
		s := &m.series[i]
		if !isAligned(s.route) {
			continue
		}
		forgotten := m.forgotten(s)
		for count, units := range m.countsOf(s, forgotten) {
			allowed := s.route.Limits[0].Units
			if count.forgotten > 0 && forgotten[count.forgotten-1].To >= m.windowFrom(s.route, count.window) {
				// Servers may hold what they leased before it was forgotten.
				allowed += processes * s.route.Unspent()
			}
			f.Examined++
			if s.route.Midnight > 0 {
				days++
			}
			if units == allowed {
				full++
			}
			if units > allowed {
				f.violated("%s %s: %d units in window %d after %d resets and losses, at most %d allowed", s.route.Path, s.scope, units, count.window, count.forgotten, allowed)
			}
		}
	}
	f.Closest = fmt.Sprintf("%d were full; %d were of days", full, days)
	return f
}

func isAligned(route *routes.Route) bool {
	return len(route.Limits) == 1 && route.Limits[0].Algorithm == ratelimiter.FixedWindow
}

// counter is what counts in a window, until it is forgotten.
type counter struct {
	window    int64
	forgotten int // how often that was, since the beginning of the run
}

// countsOf are the units that were certainly admitted by each counter.
func (m *model) countsOf(s *series, forgotten []history.Span) map[counter]int {
	counts := map[counter]int{}
	for i := range s.requests {
		r := &s.requests[i]
		if !r.Admitted() || !m.shared(r) {
			continue
		}
		span := m.between(r)
		window, certain := m.windowOf(s.route, span)
		if certain && !overlapsAny(forgotten, span) {
			before := slices.IndexFunc(forgotten, func(f history.Span) bool { return f.From > span.To })
			if before < 0 {
				before = len(forgotten)
			}
			counts[counter{window, before}] += r.Units()
		}
	}
	return counts
}

// windowOf is the number of the window that has a span, if only one can have it.
func (m *model) windowOf(route *routes.Route, span history.Span) (window int64, certain bool) {
	first, last := m.windowAt(route, span.From-micros(clocks)), m.windowAt(route, span.To+micros(clocks))
	return first, first == last
}

// windowAt is the number of the window at a time: the days of a calendar limit before and
// after its midnight, or periods since the Unix epoch.
func (m *model) windowAt(route *routes.Route, at int64) int64 {
	if route.Midnight == 0 {
		return (m.h.Started.UnixMicro() + at) / micros(route.Limits[0].Per)
	}
	if at < m.midnight(route) {
		return 0
	}
	return 1
}

// windowFrom is when a window begins; the day before midnight has begun before the run.
func (m *model) windowFrom(route *routes.Route, window int64) int64 {
	switch {
	case route.Midnight == 0:
		return window*micros(route.Limits[0].Per) - m.h.Started.UnixMicro()
	case window == 0:
		return 0
	}
	return m.midnight(route)
}

func (m *model) midnight(route *routes.Route) int64 {
	return route.MidnightIn(m.h.Started, m.h.Duration).UnixMicro() - m.h.Started.UnixMicro()
}

// forgotten are the times when the counter of a client was reset or lost, or may have been.
func (m *model) forgotten(s *series) []history.Span {
	list := slices.Concat(m.losses[s.domain], m.resets[subject{s.route.Limiter, s.route.Key(), s.scope}], m.resets[subject{limiter: s.route.Limiter}])
	if s.route.Limiter == routes.Local && s.process == routes.Victim {
		list = append(list, m.kills...)
	}
	return merged(list)
}

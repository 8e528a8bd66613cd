package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// decisionTime is how long before the handler begins a request is decided at the most. A
// decision takes the time-out at most.
const decisionTime = routes.Timeout + 2*leastMargin

// between is when an admitted request was decided. A server that was stopped in between may
// have decided before.
func (m *model) between(r *history.Request) history.Span {
	return history.Span{From: max(r.Sent, r.Started-micros(decisionTime+m.stopped(r))), To: r.Started}
}

// sharedBounds checks that no rolling window has more than the bound of the algorithm,
// plus the limit for each time that the counter was lost or reset in it. Requests in
// outages are left out: they may have been decided by a process alone.
func (m *model) sharedBounds() *Finding {
	f := &Finding{Name: "A counter admits no more in any rolling window than the bound of the algorithm"}
	fullest := map[string]float64{}
	for i := range m.series {
		s := &m.series[i]
		for _, limit := range s.route.Limits {
			admitted := admittedOf(s, limit, m.shared)
			name := limit.Algorithm.String()
			for _, w := range m.windows(admitted, limit.Per, unitsOn(s.route)) {
				forgotten := m.lost(s, w.Span) + m.reset(s, w.Span)
				allowed := boundOn(s.route, limit) + forgotten*(limit.Units+s.route.Overrun) + m.leasedBefore(s, w.Span, limit.Per)
				f.Examined++
				if forgotten == 0 {
					fullest[name] = max(fullest[name], float64(w.units)/float64(allowed))
				}
				if w.units > allowed {
					f.violated("%s %s: %d units in %v from %s on, at most %d allowed", s.route.Path, s.scope, w.units, limit.Per, at(w.From), allowed)
				}
			}
		}
	}
	var parts []string
	for _, name := range sortedKeys(fullest) {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", name, 100*fullest[name]))
	}
	f.Closest = "of the bound, the fullest windows had: " + strings.Join(parts, ", ")
	return f
}

// wholeBounds checks all that was admitted, in outages too. Each process may admit the
// bound of the algorithm by itself then.
func (m *model) wholeBounds() *Finding {
	f := &Finding{Name: "In outages, Redis and the processes that decide by themselves admit no more than their bounds together"}
	fullest := 0.0
	for i := range m.series {
		s := &m.series[i]
		if s.route.Limiter == routes.Allow || s.route.Limiter == routes.Local {
			continue // one admits everybody in an outage, the other has none
		}
		for _, limit := range s.route.Limits {
			admitted := admittedOf(s, limit, func(*history.Request) bool { return true })
			for _, w := range m.windows(admitted, limit.Per, leastUnitsOn(s.route)) {
				memories := m.memories(s, w.Span)
				one := limit.Units + s.route.Overrun
				allowed := (1+memories)*boundOn(s.route, limit) + m.lost(s, w.Span)*one + m.reset(s, w.Span)*2*one + m.leasedBefore(s, w.Span, limit.Per)
				f.Examined++
				if memories > 0 {
					fullest = max(fullest, float64(w.units)/float64(allowed))
				}
				if w.units > allowed {
					f.violated("%s %s: %d units in %v from %s on, at most %d allowed", s.route.Path, s.scope, w.units, limit.Per, at(w.From), allowed)
				}
			}
		}
	}
	f.Closest = fmt.Sprintf("the fullest window that an outage touched had %.0f %% of the bounds", 100*fullest)
	return f
}

// leasedBefore is how many units servers may spend in a window although they leased them
// before the counter was reset or lost, shortly before the window. What is leased and
// forgotten within it is counted there.
func (m *model) leasedBefore(s *series, window history.Span, per time.Duration) int {
	before := history.Span{From: window.From - micros(per), To: window.From}
	return (m.lost(s, before) + m.reset(s, before)) * processes * s.route.Unspent()
}

// memories is how many memories have decided on a counter beside Redis. That of a server that
// is killed is followed by another.
func (m *model) memories(s *series, span history.Span) int {
	if s.route.Limiter == routes.Deny {
		return 0
	}
	if overlapsAny(m.outages[s.domain], span) {
		return processes + count(m.kills, span)
	}
	n := 0
	for process := range processes {
		if overlapsAny(m.alone[place{s.domain, process}], span) {
			n++
			if process == routes.Victim {
				n += count(m.kills, span)
			}
		}
	}
	return n
}

// boundOn is the bound of a limit on a route. What a request costs beyond its estimate may
// be over the limit, and counts as a limit that is higher by as much.
func boundOn(route *routes.Route, limit routes.Limit) int {
	limit.Units += route.Overrun
	return limit.Bound()
}

// admittedOf are the admitted requests that were charged to a limit.
func admittedOf(s *series, limit routes.Limit, counts func(*history.Request) bool) (list []history.Request) {
	for i := range s.requests {
		r := &s.requests[i]
		counted := (s.route.Path != "/login" || r.Status == 401) && hasLimit(limitsOf(s.route, r), limit)
		if r.Admitted() && counted && counts(r) {
			list = append(list, *r)
		}
	}
	return list
}

// unitsOn is what a request was charged.
func unitsOn(route *routes.Route) func(*history.Request) int {
	if route.Overrun > 0 {
		return func(r *history.Request) int { return r.Actual }
	}
	return (*history.Request).Units
}

// leastUnitsOn is what a request was charged at the least: a correction may be lost in an outage.
func leastUnitsOn(route *routes.Route) func(*history.Request) int {
	if route.Overrun > 0 {
		return func(r *history.Request) int { return min(r.Actual, r.Cost) }
	}
	return (*history.Request).Units
}

// rolling is a window, and what was certainly admitted in it.
type rolling struct {
	history.Span
	units int
}

// windows are those that begin with each request.
func (m *model) windows(admitted []history.Request, per time.Duration, units func(*history.Request) int) (list []rolling) {
	decided := make([]history.Span, len(admitted))
	for i := range admitted {
		decided[i] = m.between(&admitted[i])
	}
	start := 0
	for i := range admitted {
		first := decided[i].From
		w := rolling{Span: history.Span{From: first, To: first + micros(per)}}
		// Requests that wait are not decided in the order in which they were sent.
		for admitted[start].Sent < admitted[i].Sent-micros(lookBack) {
			start++
		}
		for j := start; j < len(admitted) && admitted[j].Sent <= w.To; j++ {
			if decided[j].From >= w.From && decided[j].To < w.To {
				w.units += units(&admitted[j])
			}
		}
		list = append(list, w)
	}
	return list
}

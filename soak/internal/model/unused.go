package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// usedUp checks that no request is rejected while there are units left: those of the window
// must have been charged, or may have been. Only windows that count each unit in full are
// looked at. What servers have leased and not spent is used up too, and what one had that was
// killed.
func (m *model) usedUp() *Finding {
	f := &Finding{Name: "No request is rejected while its window has units left"}
	unspent := 0
	for i := range m.series {
		s := &m.series[i]
		if !countsInFull(s.route) {
			continue
		}
		for j := range s.requests {
			r := &s.requests[j]
			if !r.Rejected() || r.Banned || !m.shared(r) {
				continue
			}
			least, charged := m.nearest(s, r)
			if least < 0 {
				continue
			}
			f.Examined++
			if s.route.Leased > 0 {
				unspent = max(unspent, s.route.Limits[0].Units-charged)
			}
			if charged < least {
				f.violated("%d units charged at most, and rejections begin at %d: %s", charged, least, describe(r))
			}
		}
	}
	f.Closest = fmt.Sprintf("at most %d of %d units were leased and not spent", unspent, 10*routes.LeaseUnits)
	return f
}

func countsInFull(route *routes.Route) bool {
	return route.Wait == 0 && (isAligned(route) || route.Plans != nil || len(route.Limits) == 1 && route.Limits[0].Algorithm == ratelimiter.SlidingLog)
}

// nearest compares how many units must have been charged for a rejection, and how many may
// have been, on the limit that is nearest to it. least is -1 if that is not known.
func (m *model) nearest(s *series, r *history.Request) (least, charged int) {
	least = -1
	for _, limit := range limitsOf(s.route, r) {
		window := history.Span{From: r.Sent - micros(limit.Per+2*clocks), To: r.Received}
		if isAligned(s.route) {
			number, certain := m.windowOf(s.route, window.WithFrom(r.Sent))
			if !certain {
				return -1, 0
			}
			window.From = m.windowFrom(s.route, number)
		}
		window.From = max(window.From, m.rememberedFrom(s, r))
		need := limit.Units - r.Units() + 1 - (processes+count(m.kills, window))*s.route.Unspent()
		if have := m.mayBeCharged(s, r, limit, window); least < 0 || have-need > charged-least {
			least, charged = need, have
		}
	}
	return least, charged
}

// limitsOf are the limits that a request meets.
func limitsOf(route *routes.Route, r *history.Request) []routes.Limit {
	if route.Plans != nil {
		return route.Plans[r.Plan]
	}
	return route.Limits
}

// rememberedFrom is since when units count for a rejection: since the last time that they
// were certainly forgotten, if no server can remember more.
func (m *model) rememberedFrom(s *series, r *history.Request) (from int64) {
	forget := func(spans []history.Span, notice time.Duration) {
		for _, span := range spans {
			if span.To+micros(notice) < r.Sent {
				from = max(from, span.From)
			}
		}
	}
	if s.route.Limiter == routes.Local {
		if s.process == routes.Victim {
			forget(m.kills, 0)
		}
		return from
	}
	forget(m.emptied[s.domain], remembered)
	for _, c := range m.h.Changes {
		of := subject{c.Limiter, c.Key, c.Scope}
		if strings.HasPrefix(c.Kind, "reset") && c.Failure == "" && (of == subject{s.route.Limiter, s.route.Key(), s.scope} || of == subject{limiter: s.route.Limiter}) {
			forget([]history.Span{c.Span}, remembered)
		}
	}
	return from
}

// mayBeCharged are the most units that a window has, but for those of a request. A request
// that a server decided by itself may have been charged all the same, and later.
func (m *model) mayBeCharged(s *series, but *history.Request, limit routes.Limit, window history.Span) (units int) {
	for i := s.from(window.From - micros(lookBack)); i < len(s.requests) && s.requests[i].Sent <= window.To; i++ {
		r := &s.requests[i]
		shared := m.shared(r)
		if r == but || shared && r.Rejected() || !hasLimit(limitsOf(s.route, r), limit) {
			continue
		}
		may, most := history.Span{From: r.Sent, To: r.Received}, r.Units()
		if !shared {
			may.To += micros(recovery)
		}
		if s.route.Leased > 0 && (!shared || r.Status == history.Broken) {
			most = s.route.Leased // of which nothing was heard
		}
		if may.Overlaps(window) {
			units += most
		}
	}
	return units
}

func hasLimit(limits []routes.Limit, wanted routes.Limit) bool {
	for _, limit := range limits {
		if limit.Per == wanted.Per {
			return true
		}
	}
	return false
}

// plans checks that a request is admitted by the limits of its own plan, at once, with all
// that was counted under another.
func (m *model) plans() *Finding {
	f := &Finding{Name: "A list of limits that changes applies at once, and loses nothing"}
	full := 0
	for i := range m.series {
		s := &m.series[i]
		for j := range s.requests {
			r := &s.requests[j]
			if s.route.Plans == nil || !r.Admitted() || !m.shared(r) {
				continue
			}
			for _, limit := range limitsOf(s.route, r) {
				decided := m.between(r)
				window := history.Span{From: decided.To - micros(limit.Per), To: decided.From}
				if whole := decided.WithFrom(window.From); m.lost(s, whole) > 0 || m.reset(s, whole) > 0 {
					continue
				}
				n := 1 + m.certainlyAdmitted(s, limit, window)
				f.Examined++
				if n == limit.Units {
					full++
				}
				if n > limit.Units {
					f.violated("%d units in %v, at most %d allowed on plan %d: %s", n, limit.Per, limit.Units, r.Plan, describe(r))
				}
			}
		}
	}
	f.Closest = fmt.Sprintf("%d took the last unit", full)
	return f
}

func (m *model) certainlyAdmitted(s *series, limit routes.Limit, window history.Span) (n int) {
	for i := s.from(window.From); i < len(s.requests) && s.requests[i].Sent <= window.To; i++ {
		r := &s.requests[i]
		decided := m.between(r)
		if r.Admitted() && m.shared(r) && hasLimit(limitsOf(s.route, r), limit) && decided.From >= window.From && decided.To <= window.To {
			n++
		}
	}
	return n
}

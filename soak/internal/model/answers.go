package model

import (
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// waits checks that nobody waits longer than WithWait says.
func (m *model) waits() *Finding {
	f := &Finding{Name: "No request waits longer than WithWait says"}
	var longest time.Duration
	waited := 0
	for i := range m.h.Requests {
		r := &m.h.Requests[i]
		route := routes.ByPath(r.Path)
		if route.Wait == 0 || r.Status <= 0 {
			continue
		}
		took := time.Duration(r.Decided()-r.Sent) * time.Microsecond
		allowed := route.Wait + routes.Timeout + m.margin
		if !m.calm(route, r.Whole()) {
			allowed += time.Duration(route.Questions()) * routes.Timeout
		}
		f.Examined++
		if took > 100*time.Millisecond {
			waited++
		}
		longest = max(longest, took-route.Wait)
		if took > allowed {
			f.violated("%v, allowed %v: %s", took.Round(time.Millisecond), allowed, describe(r))
		}
	}
	f.Closest = fmt.Sprintf("%d waited for more than 100 ms; the longest wait was %v beyond the maximum", waited, longest.Round(time.Millisecond))
	return f
}

// statuses checks that requests end as is documented.
func (m *model) statuses() *Finding {
	f := &Finding{Name: "No status but 200, 401 and 429, and 503 where the configuration says so, in outages"}
	unavailable := 0
	for i := range m.h.Requests {
		r := &m.h.Requests[i]
		f.Examined++
		switch r.Status {
		case 200, 429, history.Left:
			continue
		case 401:
			if r.Path == "/login" {
				continue
			}
		case 503:
			unavailable++
			route := routes.ByPath(r.Path)
			if route.Limiter == routes.Deny && r.RetryAfter == 1 && !m.calm(route, r.Whole()) {
				continue
			}
		}
		f.violated("%s %s", describe(r), r.Failure)
	}
	f.Closest = fmt.Sprintf("%d were answered 503", unavailable)
	return f
}

// answersInTime checks that no decision takes longer than the time-out says, in outages
// too. A request needs one for each RateLimit that it meets.
func (m *model) answersInTime() *Finding {
	f := &Finding{Name: "Every decision comes within RATELIMITER_TIMEOUT"}
	var calm, outage time.Duration
	slow, late := 0, 0
	for i := range m.h.Requests {
		r := &m.h.Requests[i]
		route := routes.ByPath(r.Path)
		if route.Wait > 0 || r.Status <= 0 || r.Kind == "slow" && !r.Admitted() {
			continue
		}
		took := time.Duration(r.Decided()-r.Sent) * time.Microsecond
		f.Examined++
		if m.calm(route, r.Whole()) && m.calm(routes.ByPath("/sliding"), r.Whole()) {
			calm = max(calm, took)
		} else {
			outage = max(outage, took)
		}
		if took > routes.Timeout+20*time.Millisecond {
			slow++ // than one decision
		}
		allowed := time.Duration(route.Questions())*routes.Timeout + m.margin
		if took > allowed-m.margin+leastMargin {
			late++
		}
		if took > allowed && !m.stalled(r.Whole()) {
			f.violated("%v: %s", took.Round(time.Millisecond), describe(r))
		}
	}
	f.Closest = fmt.Sprintf("the slowest took %v in calm and %v in outages; %d took more than 120 ms, and %d more than 250 ms beyond their time-outs",
		rounded(calm), rounded(outage), slow, late)
	return f
}

// placesAreBack checks that all places are free when all requests have ended.
func (m *model) placesAreBack() *Finding {
	f := &Finding{Name: "All places of Concurrent are free at the end"}
	for i := range m.h.Requests {
		if r := &m.h.Requests[i]; r.Kind == "last" {
			f.Examined++
			if !r.Admitted() {
				f.violated("%s", describe(r))
			}
		}
	}
	return f
}

// stalled reports whether the machine stood still for a while around a time.
func (m *model) stalled(span history.Span) bool {
	return overlapsAny(m.h.Stalls, history.Span{From: span.From - micros(time.Second/2), To: span.To + micros(time.Second/2)})
}

// inProgress checks that no request begins while all places are taken. Processes count by
// themselves in an outage, and until a third of a lease after it, or after Redis has lost its data.
func (m *model) inProgress() *Finding {
	f := &Finding{Name: "No more requests are in progress at once than Concurrent says"}
	most, inOutages := 0, 0
	for i := range m.series {
		s := &m.series[i]
		if s.route.Places == 0 {
			continue
		}
		for j := range s.requests {
			begun := &s.requests[j]
			if !begun.Admitted() {
				continue
			}
			n := 0
			for k := s.from(begun.Started - micros(lookBack)); k < len(s.requests) && s.requests[k].Sent <= begun.Started; k++ {
				if r := &s.requests[k]; r.Admitted() && r.Started <= begun.Started && begun.Started < r.Ended {
					n++
				}
			}
			span := between(begun)
			before := history.Span{From: span.From - micros(s.route.Lease/3+time.Second), To: span.To}
			allowed := s.route.Places
			if !m.calm(s.route, before) || m.lost(s.route, before) > 0 || m.reset(s, before) > 0 {
				allowed *= processes
				inOutages = max(inOutages, n)
			} else {
				f.Examined++
				most = max(most, n-s.route.Places)
			}
			if n > allowed {
				f.violated("%d in progress, at most %d allowed: %s", n, allowed, describe(begun))
			}
		}
	}
	f.Closest = fmt.Sprintf("%+d of the limit in calm; at most %d at once in outages", most, inOutages)
	return f
}

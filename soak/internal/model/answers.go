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
		allowed := route.Wait + routes.Timeout + m.margin + m.delayed(r)
		if !m.shared(r) {
			allowed += time.Duration(route.Questions()) * routes.Timeout
		}
		f.Examined++
		if took > 100*time.Millisecond {
			waited++
		}
		longest = max(longest, took-route.Wait)
		if took > allowed && !m.stalled(r.Whole()) {
			f.violated("%v, allowed %v: %s", took.Round(time.Millisecond), allowed, describe(r))
		}
	}
	f.Closest = fmt.Sprintf("%d waited for more than 100 ms; the longest wait was %v beyond the maximum", waited, longest.Round(time.Millisecond))
	return f
}

// statuses checks that requests end as is documented.
func (m *model) statuses() *Finding {
	f := &Finding{Name: "No status but 200, 401 and 429, and 503 where the configuration says so, in outages; no broken connection but to a server that was killed"}
	unavailable, broken := 0, 0
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
			if route.Limiter == routes.Deny && r.RetryAfter == 1 && !m.shared(r) {
				continue
			}
		case history.Broken:
			broken++
			if r.Process == routes.Victim && overlapsAny(m.kills, r.Whole()) {
				continue
			}
		}
		f.violated("%s %s", describe(r), r.Failure)
	}
	f.Closest = fmt.Sprintf("%d were answered 503, %d connections were broken", unavailable, broken)
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
		if m.shared(r) && m.stopped(r) == 0 {
			calm = max(calm, took)
		} else {
			outage = max(outage, took)
		}
		if took > routes.Timeout+20*time.Millisecond {
			slow++ // than one decision
		}
		allowed := time.Duration(route.Questions())*routes.Timeout + m.margin + m.delayed(r)
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

// stalled reports whether the machine stood still for a while around a time.
func (m *model) stalled(span history.Span) bool {
	return overlapsAny(m.h.Stalls, history.Span{From: span.From - micros(time.Second/2), To: span.To + micros(time.Second/2)})
}

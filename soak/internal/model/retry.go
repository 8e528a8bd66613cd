package model

import (
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// polite checks that clients which keep to the limit are not rejected outside of outages. A
// question that Redis did not answer in time may have been charged, as late as at the end of
// the outage. That shortens the distance to the next request, so a period is excused as well.
func (m *model) polite() *Finding {
	f := &Finding{Name: "Clients that keep to the limit are not rejected"}
	inOutages, rejected := 0, 0
	for i := range m.series {
		s := &m.series[i]
		for j := range s.requests {
			r := &s.requests[j]
			if r.Kind != "polite" || r.Status == history.Broken {
				continue
			}
			whole := r.Whole()
			calm := !overlapsAny(m.outages[s.domain], whole) && !s.decidedAlone(whole.WithFrom(whole.From-micros(s.route.Limits[0].Per+lateCharge)))
			switch {
			case !calm && r.Rejected():
				inOutages, rejected = inOutages+1, rejected+1
			case !calm:
				inOutages++
			case r.Rejected():
				f.Examined++
				f.violated("%s", describe(r))
			default:
				f.Examined++
			}
		}
	}
	f.Closest = fmt.Sprintf("of %d further requests in outages, %d were rejected", inOutages, rejected)
	return f
}

// lateCharge is how long after the time-out of a question Redis may still charge it, if the
// machine is too busy for both.
const lateCharge = time.Second

// lookBack is how long before a rejection an admitted request may have been sent that was
// decided after it.
const lookBack = 15 * time.Second

// obeyed checks that a client that comes back after Retry-After is admitted, if no other
// request was admitted in between.
func (m *model) obeyed() *Finding {
	f := &Finding{Name: "A client that waits for Retry-After is admitted"}
	soonest := int64(1 << 62)
	for i := range m.series {
		s := &m.series[i]
		if !promisesAdmission(s.route) {
			continue
		}
		for j := range s.requests {
			rejected := &s.requests[j]
			if !rejected.Rejected() || rejected.RetryAfter == 0 {
				continue
			}
			due := rejected.Received + int64(rejected.RetryAfter)*1e6
			next := s.from(due)
			if next == len(s.requests) || !m.isNext(s, rejected, next) {
				continue
			}
			back := &s.requests[next]
			f.Examined++
			soonest = min(soonest, back.Sent-due)
			if back.Rejected() {
				f.violated("%s; came back: %s", describe(rejected), describe(back))
			}
		}
	}
	if f.Examined > 0 {
		f.Closest = fmt.Sprintf("the earliest came back %v after that time", time.Duration(soonest)*time.Microsecond)
	}
	return f
}

// promisesAdmission reports whether Retry-After says when a client is admitted: not where it is
// no promise, and not where others wait before.
func promisesAdmission(route *routes.Route) bool {
	return route.Slots == 0 && route.Wait == 0
}

// isNext reports whether the client has come back and taken nothing before, in calm.
func (m *model) isNext(s *series, rejected *history.Request, next int) bool {
	back := &s.requests[next]
	whole := history.Span{From: rejected.Sent, To: back.Decided()}
	if back.Status <= 0 || back.Plan != rejected.Plan || back.Units() > rejected.Units() || !m.calm(s, whole) || !m.agreed(s, whole) ||
		m.banned(s, whole) || s.route.Default && overlapsAny(m.updates, whole) {
		return false
	}
	for i := s.from(rejected.Sent - micros(max(lookBack, s.route.LongestRetry(false)))); i < len(s.requests) && s.requests[i].Sent <= back.Decided(); i++ {
		other := &s.requests[i]
		if other.Plan != rejected.Plan && other.Admitted() {
			return false // a server that remembers a rejection does not know of it
		}
		if other.Status <= 0 || i != next && other.Admitted() && other.Decided() >= rejected.Sent {
			return false
		}
		if s.route.Ban != nil && i != next && other.Rejected() && other.Sent > rejected.Sent {
			return false // and was rejected once more, which may have led to a ban
		}
	}
	return true
}

// early checks that nobody is admitted more than a second before the time of Retry-After,
// which is rounded up to a second.
func (m *model) early() *Finding {
	f := &Finding{Name: "No client is admitted before the time of Retry-After"}
	for i := range m.series {
		s := &m.series[i]
		if !promisesAdmission(s.route) || s.route.Refunds || s.route.Leased > 0 || s.route.Plans != nil {
			continue // another server may have leased units, another plan may have some left
		}
		for j := range s.requests {
			rejected := &s.requests[j]
			if rejected.Rejected() && rejected.RetryAfter > 1 {
				m.earlyAfter(f, s, rejected)
			}
		}
	}
	return f
}

func (m *model) earlyAfter(f *Finding, s *series, rejected *history.Request) {
	turn := rejected.Sent + int64(rejected.RetryAfter-1)*1e6
	for i := s.from(rejected.Received); i < len(s.requests) && s.requests[i].Sent < turn; i++ {
		next := &s.requests[i]
		if next.Decided() >= turn || next.Status <= 0 || next.Units() < rejected.Units() {
			continue
		}
		whole := history.Span{From: rejected.Sent, To: next.Decided()}
		if !m.steady(s, whole) || m.banned(s, whole) {
			return
		}
		f.Examined++
		if next.Admitted() {
			f.violated("%s; admitted: %s", describe(rejected), describe(next))
		}
	}
}

// retryHeaders checks that every rejection has a Retry-After that can be.
func (m *model) retryHeaders() *Finding {
	f := &Finding{Name: "Each rejection has a Retry-After, no longer than the period or the ban"}
	for i := range m.h.Requests {
		r := &m.h.Requests[i]
		if !r.Rejected() {
			continue
		}
		f.Examined++
		if longest := routes.ByPath(r.Path).LongestRetry(r.Banned); r.RetryAfter < 1 || time.Duration(r.RetryAfter)*time.Second > longest+time.Second {
			f.violated("%s; at most %v", describe(r), longest)
		}
	}
	return f
}

// bans checks that nobody is rejected more often than the ban allows without being banned.
// That a ban holds until its end is checked with Retry-After, which says it.
func (m *model) bans() *Finding {
	f := &Finding{Name: "A client that is rejected too often is banned"}
	most, banned := 0, 0
	for i := range m.series {
		s := &m.series[i]
		if s.route.Ban == nil {
			continue
		}
		var strikes []history.Request // since the last ban
		for _, r := range s.requests {
			switch {
			case r.Banned:
				banned, strikes = banned+1, nil
				continue
			case !r.Rejected():
				continue
			}
			strikes = append(strikes, r)
			n := 0
			for _, earlier := range strikes {
				if r.Received-earlier.Sent < micros(s.route.Ban.Per) {
					n++
				}
			}
			if !m.steady(s, history.Span{From: r.Sent - micros(s.route.Ban.Per), To: r.Received}) {
				continue
			}
			f.Examined++
			most = max(most, n)
			if n >= s.route.Ban.After {
				f.violated("%d rejections in %v, and no ban: %s", n, s.route.Ban.Per, describe(&r))
			}
		}
	}
	f.Closest = fmt.Sprintf("at most %d rejections without a ban; %d were rejected by bans", most, banned)
	return f
}

// bansByHand checks that a client is rejected while an operator has banned it: from a second
// after the ban on in the other process too.
func (m *model) bansByHand() *Finding {
	f := &Finding{Name: "A client that is banned by hand is rejected until the ban ends"}
	for _, c := range m.h.Changes {
		if c.Kind != "ban" || c.Failure != "" {
			continue
		}
		for i := range m.series {
			if s := &m.series[i]; s.route.Limiter == c.Limiter && s.route.Key() == c.Key && s.scope == c.Scope {
				m.bannedByHand(f, s, &c)
			}
		}
	}
	return f
}

func (m *model) bannedByHand(f *Finding, s *series, c *history.Change) {
	over := c.From + micros(routes.BanByHand)
	for i := s.from(c.To); i < len(s.requests) && s.requests[i].Sent < over; i++ {
		r := &s.requests[i]
		unnoticed := r.Process != c.Process && r.Sent < c.To+micros(noticed)
		if unnoticed || s.route.Limiter == routes.Local && r.Process != c.Process || r.Decided() >= over || r.Status <= 0 {
			continue
		}
		whole := history.Span{From: c.From, To: r.Decided()}
		if !m.calm(s, whole) || m.lost(s, whole) > 0 || m.reset(s, whole) > 0 {
			return
		}
		f.Examined++
		if r.Admitted() {
			f.violated("banned by process %d at %s: %s", c.Process, at(c.From), describe(r))
		}
	}
}

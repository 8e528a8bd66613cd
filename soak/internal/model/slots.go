package model

import (
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// inProgress checks that no request begins while all slots are taken. Processes count by
// themselves in an outage, and until a third of a lease after it, or after Redis has lost its data.
func (m *model) inProgress() *Finding {
	f := &Finding{Name: "No more requests are in progress at once than Concurrent says"}
	most, inOutages := 0, 0
	for i := range m.series {
		s := &m.series[i]
		if s.route.Slots == 0 {
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
			span := m.between(begun)
			before := history.Span{From: span.From - micros(s.route.Lease/3+time.Second), To: span.To}
			allowed := s.route.Slots
			if !m.calm(s, before) || m.expired(before) || m.lost(s, before) > 0 || m.reset(s, before) > 0 {
				allowed *= processes
				inOutages = max(inOutages, n)
			} else {
				f.Examined++
				most = max(most, n-s.route.Slots)
			}
			if n > allowed {
				f.violated("%d in progress, at most %d allowed: %s", n, allowed, describe(begun))
			}
		}
	}
	f.Closest = fmt.Sprintf("%+d of the limit in calm; at most %d at once in outages", most, inOutages)
	return f
}

// expired reports whether leases of slots may have ended because a server was stopped.
func (m *model) expired(span history.Span) bool {
	for _, stop := range m.stops {
		if stop.To-stop.From > micros(routes.Lease/2) && stop.Overlaps(span) {
			return true
		}
	}
	return false
}

// slotsAreTaken checks that a request is rejected only while all slots may be taken. Those
// of a server that was killed are taken for one lease more.
func (m *model) slotsAreTaken() *Finding {
	f := &Finding{Name: "No request is rejected while a slot of Concurrent is free"}
	killed := 0
	for i := range m.series {
		s := &m.series[i]
		if s.route.Slots == 0 || s.route.Wait > 0 {
			continue
		}
		for j := range s.requests {
			r := &s.requests[j]
			lease := history.Span{From: r.Sent - micros(s.route.Lease+time.Second), To: r.Received}
			if !r.Rejected() || !m.quiet(s.domain, lease) || m.lost(s, lease) > 0 || m.reset(s, lease) > 0 || m.stalled(lease) {
				continue // an answer that was lost, also to a release, may take a slot for one lease
			}
			taken, ofKilled := m.mayBeTaken(s, r)
			f.Examined++
			if taken < s.route.Slots+ofKilled {
				killed++
			}
			if taken < s.route.Slots {
				f.violated("at most %d slots of %d taken: %s", taken, s.route.Slots, describe(r))
			}
		}
	}
	f.Closest = fmt.Sprintf("%d were rejected because of slots of a killed server", killed)
	return f
}

// quiet reports whether no server has decided anything by itself.
func (d *disturbances) quiet(is domain, span history.Span) bool {
	for process := range processes {
		if overlapsOrdered(d.alone[place{is, process}], span) {
			return false
		}
	}
	return !overlapsOrdered(d.outages[is], span)
}

// mayBeTaken are the most slots that are taken when a request is rejected, and how many of
// them belong to a server that was killed.
func (m *model) mayBeTaken(s *series, rejected *history.Request) (taken, ofKilled int) {
	for i := s.from(rejected.Sent - micros(lookBack)); i < len(s.requests) && s.requests[i].Sent <= rejected.Received; i++ {
		r := &s.requests[i]
		until := r.Received
		switch {
		case r == rejected || r.Rejected():
			continue
		case r.Status == history.Broken:
			until += micros(s.route.Lease + time.Second)
		case r.Status == history.Left: // the server notices it later
			until += micros(routes.Timeout + leastMargin)
		default:
			until += micros(routes.Timeout)
		}
		if until < rejected.Sent {
			continue
		}
		if taken++; r.Status == history.Broken {
			ofKilled++
		}
	}
	return taken, ofKilled
}

// slotsAreBack checks that all slots are free when all requests have ended.
func (m *model) slotsAreBack() *Finding {
	f := &Finding{Name: "All slots of Concurrent are free at the end"}
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

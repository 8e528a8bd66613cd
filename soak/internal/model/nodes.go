package model

import (
	"fmt"
	"sort"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// mostBeside is the part of a fault of a node for which a busy machine may keep a server from
// another node, and leastBeside is how long that has to be to count.
const (
	mostBeside  = 0.5
	leastBeside = time.Second
)

// otherNodes checks that a node of the Cluster that fails does not disturb the others.
func (m *model) otherNodes() *Finding {
	f := &Finding{Name: "If a node of the Cluster fails, the others decide"}
	var longest time.Duration
	for _, fault := range m.h.Faults {
		if !fault.Outage || !routes.IsOn(routes.Cluster, fault.Store) {
			continue
		}
		for is, decisions := range m.decisions {
			if is.limiter != routes.Cluster || is.store == fault.Store {
				continue
			}
			f.Examined++
			beside := total(within(m.unexplainedOf(is, decisions), fault.Span))
			longest = max(longest, beside)
			if most := time.Duration(mostBeside*float64(fault.To-fault.From)) * time.Microsecond; beside > max(most, leastBeside) {
				f.violated("process %d decided without %s for %v of %q of %s at %s", is.process, is.store, rounded(beside), fault.Kind, fault.Store, at(fault.From))
			}
		}
	}
	opened := m.breakers(f)
	f.Closest = fmt.Sprintf("in one fault, a server has decided without another node for %v at most; the breaker has opened %d times", rounded(longest), opened)
	return f
}

// breakers checks that the breaker of a Cluster opens only if no node has charged within the
// time-out. It leaves out what was charged so shortly before that the server may not have
// known of it.
func (m *model) breakers(f *Finding) (opened int) {
	const shortly = routes.Timeout / 2
	for _, log := range m.h.Logs {
		if log.Limiter != routes.Cluster {
			continue
		}
		for _, at := range log.Opened {
			opened++
			f.Examined++
			first := at - micros(routes.Timeout)
			for i := sort.Search(len(m.bySent), func(i int) bool { return m.bySent[i].Sent > first }); i < len(m.bySent) && m.bySent[i].Sent < at; i++ {
				r := m.bySent[i]
				if r.Process == log.Process && r.Admitted() && r.Started < at-micros(shortly) && m.chargedOnNode(r) {
					f.violated("the breaker has opened at %v, and a node has charged: %s", time.Duration(at)*time.Microsecond, describe(r))
					break
				}
			}
		}
	}
	return opened
}

// chargedOnNode reports whether a node of the Cluster has charged a request.
func (m *model) chargedOnNode(r *history.Request) bool {
	is := domainOf(routes.ByPath(r.Path), r.Scope)
	return is.limiter == routes.Cluster && !overlapsOrdered(m.outages[is], r.Whole()) && !overlapsAny(m.decisions[place{is, r.Process}], r.Whole())
}

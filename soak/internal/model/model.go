// Package model checks what a soak test has seen against what the documentation says.
package model

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

const (
	// recovery is how long after a fault the limit may not be shared yet, by the table of
	// docs/redis.md: five seconds at most, as the tests behind the table require.
	recovery = 5 * time.Second

	// leastMargin is what the machine may add to any time: it runs three servers, nine
	// Redis processes and all clients. To it comes the longest time that the harness itself did
	// not run.
	leastMargin = 250 * time.Millisecond

	// processes is how many servers decide by themselves in an outage.
	processes = routes.Processes
)

// Check checks a whole run.
func Check(h *history.History) *Report {
	m := newModel(h)
	report := &Report{}
	for _, check := range []func(*model) *Finding{
		(*model).sharedBounds, (*model).wholeBounds, (*model).alignedBounds, (*model).plans, (*model).usedUp, (*model).polite, (*model).obeyed, (*model).early, (*model).retryHeaders,
		(*model).waits, (*model).statuses, (*model).answersInTime, (*model).inProgress, (*model).slotsAreTaken, (*model).slotsAreBack,
		(*model).bans, (*model).bansByHand,
		(*model).recoveries, (*model).otherNodes, (*model).resources, (*model).logs, (*model).stores, (*model).exits, (*model).polls,
	} {
		report.Findings = append(report.Findings, check(m))
	}
	report.Figures, report.Faults = m.figures(), m.faults()
	return report
}

// model is a run, sorted for the checks.
type model struct {
	h *history.History
	*disturbances
	series []series
	bySent []*history.Request
	margin time.Duration
}

func newModel(h *history.History) *model {
	m := &model{h: h, disturbances: newDisturbances(h), margin: leastMargin}
	if h.Race { // which makes the servers several times slower
		m.margin = 4 * leastMargin
	}
	m.series = m.seriesOf(h.Requests)
	longest := time.Duration(0)
	for _, stall := range h.Stalls {
		longest = max(longest, time.Duration(stall.To-stall.From)*time.Microsecond)
	}
	m.margin += longest
	m.bySent = make([]*history.Request, len(h.Requests))
	for i := range h.Requests {
		m.bySent[i] = &h.Requests[i]
	}
	slices.SortFunc(m.bySent, func(a, b *history.Request) int { return int(a.Sent - b.Sent) })
	return m
}

// series are the requests on one counter, in the order in which they were sent.
type series struct {
	route *routes.Route
	scope string
	domain
	process  int // of a counter in memory
	requests []history.Request
	alone    []bool // which of them a server decided by itself
}

func (m *model) seriesOf(requests []history.Request) (all []series) {
	type id struct {
		path, scope string
		process     int
	}
	at := map[id]int{}
	for _, r := range requests {
		is, route := id{path: r.Path, scope: r.Scope}, routes.ByPath(r.Path)
		if route.Limiter == routes.Local {
			is.process = r.Process
		}
		i, known := at[is]
		if !known {
			i = len(all)
			at[is] = i
			all = append(all, series{route: route, scope: r.Scope, domain: domainOf(route, r.Scope), process: is.process})
		}
		all[i].requests = append(all[i].requests, r)
	}
	for i := range all {
		s := &all[i]
		slices.SortFunc(s.requests, func(a, b history.Request) int { return int(a.Sent - b.Sent) })
		s.alone = make([]bool, len(s.requests))
		for j := range s.requests {
			r := &s.requests[j]
			s.alone[j] = overlapsOrdered(m.alone[place{s.domain, r.Process}], r.Whole())
		}
	}
	return all
}

// from returns the position of the first request that was sent at a time or later.
func (s *series) from(at int64) int {
	return sort.Search(len(s.requests), func(i int) bool { return s.requests[i].Sent >= at })
}

// Finding is what a check has found.
type Finding struct {
	Name       string
	Examined   int    // how many cases it has looked at
	Closest    string // how close the worst case has come
	Violations []string
	count      int
}

// mostShown is how many violations of a check are kept.
const mostShown = 20

// violated notes a violation.
func (f *Finding) violated(format string, args ...any) {
	f.count++
	if len(f.Violations) < mostShown {
		f.Violations = append(f.Violations, fmt.Sprintf(format, args...))
	}
}

// at shows a time of the run.
func at(micros int64) string {
	return (time.Duration(micros) * time.Microsecond).Round(time.Millisecond).String()
}

func micros(d time.Duration) int64 { return d.Microseconds() }

func describe(r *history.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s at %s, answered %s: %d", r.Kind, r.Path, r.Scope, at(r.Sent), at(r.Received), r.Status)
	if r.RetryAfter > 0 {
		fmt.Fprintf(&b, ", Retry-After %d", r.RetryAfter)
	}
	if r.Admitted() {
		fmt.Fprintf(&b, ", begun %s", at(r.Started))
	}
	fmt.Fprintf(&b, ", process %d", r.Process)
	return b.String()
}

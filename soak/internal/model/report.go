package model

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// Report is what all checks have found.
type Report struct {
	Findings []*Finding
	Figures  []Figure
	Faults   []Effect
}

// Figure is something that was counted.
type Figure struct{ Name, Value string }

// Effect is what faults of one kind have done.
type Effect struct {
	Kind    string
	Times   int
	Longest time.Duration // fault
	Slowest time.Duration // answer to a request that does not wait for its turn
	Back    time.Duration // after which no process decided by itself, at the latest
	Median  time.Duration // of that
	Alone   bool          // whether any process has decided by itself
}

// Violations is how many there are.
func (r *Report) Violations() (n int) {
	for _, f := range r.Findings {
		n += f.count
	}
	return n
}

// String is the report as Markdown.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | |\n|---|--:|\n")
	for _, figure := range r.Figures {
		fmt.Fprintf(&b, "| %s | %s |\n", figure.Name, figure.Value)
	}
	fmt.Fprintf(&b, "\n| fault | times | longest | slowest answer | shared again after, median | at the latest |\n|---|--:|--:|--:|--:|--:|\n")
	for _, e := range r.Faults {
		back := "no decision failed | "
		if e.Alone {
			back = fmt.Sprintf("%s | %s", rounded(e.Median), rounded(e.Back))
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", e.Kind, e.Times, rounded(e.Longest), rounded(e.Slowest), back)
	}
	fmt.Fprintf(&b, "\n| checked | cases | violations | how close |\n|---|--:|--:|---|\n")
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "| %s | %d | %d | %s |\n", f.Name, f.Examined, f.count, f.Closest)
	}
	for _, f := range r.Findings {
		if f.count == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s: %d violations\n\n", f.Name, f.count)
		for _, violation := range f.Violations {
			fmt.Fprintf(&b, "- %s\n", violation)
		}
	}
	return b.String()
}

// figures counts what has happened.
func (m *model) figures() (list []Figure) {
	h := m.h
	add := func(name, format string, args ...any) {
		list = append(list, Figure{name, fmt.Sprintf(format, args...)})
	}
	add("duration", "%v", h.Duration)
	add("seed, clients", "%d, %d", h.Seed, h.Clients)
	add("race detector", "%v", h.Race)
	add("versions", "%s", h.Version)
	add("requests", "%d", len(h.Requests))
	statuses := map[int]int{}
	for i := range h.Requests {
		statuses[h.Requests[i].Status]++
	}
	for _, status := range sortedKeys(statuses) {
		switch status {
		case history.Left:
			add("clients that left", "%d", statuses[status])
		case history.Broken:
			add("broken connections", "%d", statuses[status])
		default:
			add(fmt.Sprintf("answered %d", status), "%d", statuses[status])
		}
	}
	kinds := map[string]int{}
	for _, f := range h.Faults {
		kinds[kindOf(&f)]++
	}
	for _, kind := range sortedKeys(kinds) {
		add("fault, "+kind, "%d", kinds[kind])
	}
	changes := map[string]int{}
	for _, c := range h.Changes {
		changes[c.Kind]++
	}
	for _, kind := range sortedKeys(changes) {
		add("operation, "+kind, "%d", changes[kind])
	}
	for _, is := range []domain{{routes.Shared, routes.Single}, {routes.HA, routes.Sentinel}, {routes.Cluster, routes.NodeStore(0)}} {
		away := total(within(m.outages[is], history.Span{To: micros(h.Duration)}))
		add("time in faults and five seconds after them, "+is.store, "%.0f %%", 100*float64(away)/float64(h.Duration))
	}
	undecided := uint64(0)
	for _, log := range h.Logs {
		undecided += log.UnwellDecisions
	}
	add("decisions without Redis", "%d", undecided)
	var stalled time.Duration
	for _, s := range h.Stalls {
		stalled = max(stalled, time.Duration(s.To-s.From)*time.Microsecond)
	}
	add("times when the harness itself stood still for over 120 ms", "%d, the longest %v", len(h.Stalls), stalled.Round(time.Millisecond))
	add("drift of the wall clock", "%v", h.ClockDrift.Round(time.Microsecond))
	return list
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// kindOf names a kind of faults. All nodes of the Cluster count together.
func kindOf(f *history.Fault) string {
	store := f.Store
	if routes.IsOn(routes.Cluster, store) {
		store = "node of the Cluster"
	}
	return store + ": " + f.Kind
}

// faults sums up the effects of faults, by their kind.
func (m *model) faults() (list []Effect) {
	effects, backs := map[string]*Effect{}, map[string][]time.Duration{}
	for _, fault := range m.h.Faults {
		kind := kindOf(&fault)
		e := effects[kind]
		if e == nil {
			e = &Effect{Kind: kind}
			effects[kind] = e
		}
		e.Times++
		e.Longest = max(e.Longest, time.Duration(fault.To-fault.From)*time.Microsecond)
		for is := range m.alone {
			if last, alone := m.aloneUntil(is, fault); alone && is.feels(fault) {
				e.Alone = true
				e.Back = max(e.Back, last)
				backs[kind] = append(backs[kind], last)
			}
		}
		e.Slowest = max(e.Slowest, m.slowestDuring(&fault))
	}
	for _, kind := range sortedKeys(effects) {
		if all := backs[kind]; len(all) > 0 {
			slices.Sort(all)
			effects[kind].Median = all[len(all)/2]
		}
		list = append(list, *effects[kind])
	}
	return list
}

// slowestDuring is how long the slowest request took during a fault, of those that wait
// for nobody's turn.
func (m *model) slowestDuring(fault *history.Fault) (slowest time.Duration) {
	for i := sort.Search(len(m.bySent), func(i int) bool { return m.bySent[i].Sent >= fault.From-micros(time.Second) }); i < len(m.bySent) && m.bySent[i].Sent <= fault.To; i++ {
		r := m.bySent[i]
		route := routes.ByPath(r.Path)
		if r.Status > 0 && r.Kind != "slow" && route.Wait == 0 && (place{domainOf(route, r.Scope), r.Process}).feels(*fault) && r.Whole().Overlaps(fault.Span) {
			slowest = max(slowest, time.Duration(r.Decided()-r.Sent)*time.Microsecond)
		}
	}
	return slowest
}

func sortedKeys[K cmp.Ordered, V any](counts map[K]V) (keys []K) {
	for key := range counts {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// merged joins spans that overlap.
func merged(spans []history.Span) (list []history.Span) {
	sorted := slices.SortedFunc(slices.Values(spans), func(a, b history.Span) int { return int(a.From - b.From) })
	for _, s := range sorted {
		if n := len(list); n > 0 && s.From <= list[n-1].To {
			list[n-1].To = max(list[n-1].To, s.To)
			continue
		}
		list = append(list, s)
	}
	return list
}

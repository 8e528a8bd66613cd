package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// mostUnexplained is the part of the time for which a busy machine may keep a process from
// Redis without a fault, beside a few seconds. Above it, the run says too little.
const mostUnexplained = 0.1

// recoveries checks that the limit is shared again after each fault, as soon as
// docs/redis.md says.
func (m *model) recoveries() *Finding {
	f := &Finding{Name: "Limits are shared again within five seconds of a fault"}
	var slowest, alone time.Duration
	times := 0
	for is, list := range m.unexplained {
		times += len(list)
		sum := total(list)
		alone = max(alone, sum)
		if allowed := 5*time.Second + time.Duration(mostUnexplained*float64(m.h.Duration)); sum > allowed {
			f.violated("for %v, process %d has decided on %s without Redis outside of faults, at most %v allowed", rounded(sum), is.process, is.limiter, rounded(allowed))
		}
	}
	for is := range m.alone {
		for _, fault := range m.h.Faults {
			if !fault.Outage || !is.feels(fault) {
				continue
			}
			f.Examined++
			late, _ := m.aloneUntil(is, fault)
			slowest = max(slowest, late)
			if late > recovery {
				f.violated("%s in process %d decided without Redis until %v after %q at %s", is.limiter, is.process, late, fault.Kind, at(fault.From))
			}
		}
	}
	f.Closest = fmt.Sprintf("the slowest was %v; %d times, for at most %v with one limiter, a process has decided without Redis outside of faults", rounded(slowest), times, rounded(alone))
	return f
}

func total(spans []history.Span) (sum time.Duration) {
	for _, span := range merged(spans) {
		sum += time.Duration(span.To-span.From) * time.Microsecond
	}
	return sum
}

// feels reports whether a fault may keep a server from a store.
func (is place) feels(fault history.Fault) bool {
	return fault.Store == is.store || fault.Store == routes.Server && is.process == routes.Victim
}

// aloneUntil is how long after a fault a limiter of a server has decided by itself. A fault
// that ends later ends the time.
func (m *model) aloneUntil(is place, fault history.Fault) (last time.Duration, alone bool) {
	for _, span := range m.alone[is] {
		if span.Overlaps(fault.Span) && !m.nextFault(is, span, fault) {
			last, alone = max(last, time.Duration(span.To-fault.To)*time.Microsecond), true
		}
	}
	return last, alone
}

// nextFault reports whether another fault explains that decisions went on without Redis.
func (m *model) nextFault(is place, unwell history.Span, fault history.Fault) bool {
	for _, other := range m.h.Faults {
		if other.To > fault.To && other.Outage && is.feels(other) && other.Overlaps(unwell) {
			return true
		}
	}
	return false
}

// within are the parts of spans in another.
func within(spans []history.Span, of history.Span) (parts []history.Span) {
	for _, span := range spans {
		if span.Overlaps(of) {
			parts = append(parts, history.Span{From: max(span.From, of.From), To: min(span.To, of.To)})
		}
	}
	return parts
}

const (
	// moreGoroutines is what a server may have more than at the beginning: what was made
	// for an outage once and stays, as the client that listens to a Sentinel.
	moreGoroutines = 4
	// moreFiles are the connections to Redis that the pools of eight limiters and nodes keep.
	moreFiles = 8*10 + 6
	// moreHeap is by how much the heap may grow from the middle of a run to its end. In
	// the first half, tables and lists that are bounded fill up.
	moreHeap = 8 << 20
)

// resources checks that a server has no more at the end than at the beginning.
func (m *model) resources() *Finding {
	f := &Finding{Name: "Goroutines, files and memory are back or bounded at the end"}
	var parts []string
	for _, first := range m.h.Baseline {
		for _, last := range m.h.Final {
			if first.Process != last.Process {
				continue
			}
			f.Examined++
			middle := m.heapInTheMiddle(first)
			parts = append(parts, fmt.Sprintf("process %d: goroutines %d, then %d; files %d, then %d; heap %.1f MB, %.1f in the middle, %.1f at the end",
				first.Process, first.Goroutines, last.Goroutines, first.Files, last.Files, megabytes(first.Heap), megabytes(middle), megabytes(last.Heap)))
			if last.Goroutines > first.Goroutines+moreGoroutines {
				f.violated("process %d has %d goroutines, and had %d", first.Process, last.Goroutines, first.Goroutines)
			}
			if last.Files > first.Files+moreFiles {
				f.violated("process %d has %d files open, and had %d", first.Process, last.Files, first.Files)
			}
			if last.Heap > middle+moreHeap {
				f.violated("process %d uses %d bytes, and in the middle of the run %d", first.Process, last.Heap, middle)
			}
			if last.Waiting > 0 || last.Panics > 0 {
				f.violated("process %d: %d requests wait, %d panics of observers", first.Process, last.Waiting, last.Panics)
			}
		}
	}
	if f.Examined != processes-1 {
		f.violated("there are samples of %d processes", f.Examined)
	}
	f.Closest = strings.Join(parts, "; ")
	return f
}

// heapInTheMiddle is the most that a process used after a garbage collection in the first
// half of the run.
func (m *model) heapInTheMiddle(first history.Sample) uint64 {
	most := first.Heap
	for _, s := range m.h.Samples {
		if s.Process == first.Process && s.Collected && s.At < micros(m.h.Duration/2) {
			most = max(most, s.Heap)
		}
	}
	return most
}

func megabytes(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// logs checks the promises of the package logging: how many records there are at most, and
// that each rejection is in one of them.
func (m *model) logs() *Finding {
	f := &Finding{Name: "The logs keep to their bounds, and count each rejection once"}
	minutes := int(m.h.Duration/time.Minute) + 2 // the one before the first, and what is left of one
	records, bytes := 0, int64(0)
	for _, log := range m.h.Logs {
		f.Examined++
		records, bytes = records+log.Clients+log.Others+log.Fails+log.Answers, bytes+log.Bytes
		name := fmt.Sprintf("the log of %s in process %d", log.Limiter, log.Process)
		if log.Clients > 60*minutes {
			f.violated("%s has %d records about clients in %d minutes", name, log.Clients, minutes)
		}
		if log.Others > minutes {
			f.violated("%s has %d sums of other clients in %d minutes", name, log.Others, minutes)
		}
		outages := 0
		for _, spans := range log.Unwell {
			outages += len(spans)
		}
		if log.Fails > outages || log.Answers > log.Fails {
			f.violated("%s has %d outages and %d ends of them; there were %d", name, log.Fails, log.Answers, outages)
		}
		if log.Rejected != log.Events {
			f.violated("%s has %d rejections; an observer has counted %d", name, log.Rejected, log.Events)
		}
		if seen := m.rejectionsSeen(&log); uint64(seen) > log.Events {
			f.violated("clients of %s were rejected %d times by process %d, and an observer has counted %d", log.Limiter, seen, log.Process, log.Events)
		}
	}
	f.Closest = fmt.Sprintf("%d records, %.1f MB in all", records, float64(bytes)/(1<<20))
	return f
}

// rejectionsSeen is how many rejections clients have seen that a process has written about.
func (m *model) rejectionsSeen(log *history.Log) (n int) {
	for i := range m.h.Requests {
		r := &m.h.Requests[i]
		if r.Rejected() && r.Process == log.Process && r.Sent >= log.From && routes.ByPath(r.Path).Limiter == log.Limiter {
			n++
		}
	}
	return n
}

// exits checks how the servers have ended.
func (m *model) exits() *Finding {
	f := &Finding{Name: "The servers end in time, without a race, a panic or other output"}
	var parts []string
	killed := 0
	for _, exit := range m.h.Exits {
		if exit.Killed {
			killed++
		} else {
			f.Examined++
			parts = append(parts, fmt.Sprintf("process %d in %v", exit.Process, exit.Took.Round(time.Millisecond)))
		}
		if exit.Code != 0 && !exit.Killed || exit.Races > 0 || exit.Panics > 0 || exit.Output != "" {
			f.violated("process %d ended with %d, %d races and %d panics, and said %q", exit.Process, exit.Code, exit.Races, exit.Panics, exit.Output)
		}
	}
	if f.Examined != processes {
		f.violated("%d servers have ended", f.Examined)
	}
	if killed != len(m.kills) {
		f.violated("%d servers were killed, and %d by the harness", killed, len(m.kills))
	}
	f.Closest = strings.Join(parts, ", ")
	return f
}

// stores checks that Redis keeps nothing for ever.
func (m *model) stores() *Finding {
	f := &Finding{Name: "Every key in Redis expires"}
	for _, store := range m.h.Stores {
		f.Examined += store.Keys
		for _, key := range store.Eternal {
			f.violated("%s in %s does not expire", key, store.Name)
		}
		for _, key := range store.Astray {
			f.violated("%s is in %s, and the model takes it for a key of another node", key, store.Name)
		}
	}
	return f
}

// polls checks what monitors and operators have asked.
func (m *model) polls() *Finding {
	f := &Finding{Name: "Metrics, dashboards and operations answer", Examined: m.h.Polls + len(m.h.Changes)}
	for _, failure := range m.h.PollFailures {
		f.violated("%s", failure)
	}
	refused := 0
	for _, c := range m.h.Changes {
		switch {
		case c.Failure == "":
		case c.Kind != "update" && m.unreachable(&c):
			refused++ // Reset says that it could not
		default:
			f.violated("%s of %s at %s: %s", c.Kind, c.Limiter, at(c.From), c.Failure)
		}
	}
	f.Closest = fmt.Sprintf("%d resets failed in outages, and said so", refused)
	return f
}

// unreachable reports whether a store that an operation needs was in an outage.
func (m *model) unreachable(c *history.Change) bool {
	for is := range m.outages {
		if is.limiter == c.Limiter && overlapsAny(m.outages[is], c.Span) {
			return true
		}
	}
	for is := range m.alone {
		if is.limiter == c.Limiter && is.process == c.Process && overlapsAny(m.alone[is], c.Span) {
			return true
		}
	}
	return false
}

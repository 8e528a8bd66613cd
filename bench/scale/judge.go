package scale

import (
	"math/bits"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// judge is one limiter that sees every request as it comes. It counts by how much the
// decisions on each client differ from its own.
type judge struct {
	charge  window.Charge
	states  []window.Sliding
	more    []int32 // requests admitted beyond its own, of each client, in this phase
	touched []int32 // the clients of this phase
}

func newJudge(clients int, charge window.Charge) judge {
	return judge{charge: charge, states: make([]window.Sliding, clients), more: make([]int32, clients)}
}

// admits decides on a request that comes now.
func (j *judge) admits(client int32, now int64) bool {
	next, verdict := j.states[client].Take(now, &j.charge)
	j.states[client] = next
	return verdict.Allowed()
}

// compare records a decision beside its own.
func (j *judge) compare(client int32, admitted, own bool) {
	if admitted == own {
		return
	}
	if j.more[client] == 0 {
		j.touched = append(j.touched, client)
	}
	if admitted {
		j.more[client]++
	} else {
		j.more[client]--
	}
}

// settle sums up the differences, and begins anew.
func (j *judge) settle() (tooMany, wrongly int64) {
	for _, client := range j.touched {
		if more := int64(j.more[client]); more > 0 {
			tooMany += more
		} else {
			wrongly -= more
		}
		j.more[client] = 0
	}
	j.touched = j.touched[:0]
	return tooMany, wrongly
}

// Latencies count how long decisions took, in steps of an eighth.
type Latencies struct {
	steps [8 * 40]int64
	all   int64
}

func (l *Latencies) add(micros int64) {
	l.steps[step(micros)]++
	l.all++
}

// step is 0 to 7 for 0 to 7 µs, and then eight for each doubling.
func step(micros int64) int {
	if micros < 8 {
		return int(max(0, micros))
	}
	doublings := bits.Len64(uint64(micros)) - 4
	return 8*doublings + int(micros>>doublings)
}

// Quantile is the latency that a part of the decisions did not exceed, rounded up to a step.
func (l *Latencies) Quantile(part float64) time.Duration {
	seen, want := int64(0), int64(part*float64(l.all))
	for i, n := range l.steps {
		if seen += n; n > 0 && seen >= want {
			return upTo(i)
		}
	}
	return 0
}

// upTo is the longest time in a step.
func upTo(i int) time.Duration {
	if i < 8 {
		return time.Duration(i) * time.Microsecond
	}
	doublings := i/8 - 1
	return (time.Duration(i-8*doublings+1)<<doublings - 1) * time.Microsecond
}

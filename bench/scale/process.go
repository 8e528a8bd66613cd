package scale

import "github.com/gin-ratelimiter/ratelimiter/internal/window"

const (
	maxFlights      = 2
	maxDecisions    = 128
	breakerFailures = 5
	probeInterval   = 500_000 // microseconds
)

// process is an application process.
type process struct {
	*simulation
	queues  []queue         // one for each node
	denied  map[int32]int64 // until when a client is known to be denied
	open    bool            // the circuit breaker
	failed  int             // failures since the last charge
	charged int64           // when that was
	own     map[int32]window.Sliding
}

// queue is what waits for one node.
type queue struct {
	waiting []*call
	flights int
}

// call is a request that waits for its decision.
type call struct {
	request
	deadline int64
	admitted bool
	retryAt  int64
	answered bool
}

// flight is a call to a node, with the decisions for one request or more.
type flight struct {
	calls     []*call
	decisions int // of different clients
	deadline  int64
}

func newProcess(s *simulation) process {
	return process{simulation: s, queues: make([]queue, s.Nodes), denied: map[int32]int64{}, own: map[int32]window.Sliding{}}
}

func (p *process) serve(r request) {
	until, known := p.denied[r.client]
	switch {
	case known && p.now < until:
		p.phase.KnownDenied++
		p.decided(r, false)
		return
	case known:
		delete(p.denied, r.client)
	}
	if p.open {
		p.fallBack(r, p.now)
		return
	}
	node := int(r.client) % p.Nodes
	q := &p.queues[node]
	c := &call{request: r, deadline: p.now + p.Timeout.Microseconds()}
	if q.waiting = append(q.waiting, c); p.isAway(node, p.now) {
		p.at(c.deadline, func() { p.giveUp(c) })
	}
	if q.flights < maxFlights {
		q.flights++
		p.fly(node)
	}
}

// fly sends what waits for a node, or ends a flight where nothing does.
func (p *process) fly(node int) {
	f := p.next(node)
	if f == nil {
		p.queues[node].flights--
		return
	}
	arrives := p.now + p.RoundTrip.Microseconds()/2
	p.at(arrives, func() {
		if p.isAway(node, p.now) {
			p.lose(node, f)
			return
		}
		done := p.work(node, f)
		back := done + p.RoundTrip.Microseconds()/2
		if p.isAway(node, done) || back > f.deadline {
			p.lose(node, f)
			return
		}
		p.at(back, func() { p.land(node, f) })
	})
}

// next takes the calls of the next flight. Who has waited too long is answered by the process.
func (p *process) next(node int) *flight {
	q := &p.queues[node]
	f := &flight{}
	seen := map[int32]bool{}
	taken := 0
	for _, c := range q.waiting {
		if !seen[c.client] && f.decisions == maxDecisions {
			break
		}
		taken++
		if c.answered || c.deadline <= p.now {
			p.giveUp(c)
			continue
		}
		if !seen[c.client] {
			seen[c.client] = true
			f.decisions++
		}
		f.calls = append(f.calls, c)
		f.deadline = max(f.deadline, c.deadline)
	}
	q.waiting = append(q.waiting[:0], q.waiting[taken:]...)
	if len(f.calls) == 0 {
		return nil
	}
	return f
}

// land answers the requests of a flight.
func (p *process) land(node int, f *flight) {
	for _, c := range f.calls {
		if c.deadline < p.now {
			p.giveUp(c)
		}
		if c.answered {
			continue
		}
		switch c.answered = true; {
		case c.admitted:
			p.failed, p.charged = 0, p.now
			p.decided(c.request, true)
		default:
			p.denied[c.client] = c.retryAt
			p.decided(c.request, false)
		}
	}
	p.fly(node)
}

// lose lets each request of a flight wait until its time is over, and the flight end with the
// last of them.
func (p *process) lose(node int, f *flight) {
	for _, c := range f.calls {
		p.at(c.deadline, func() { p.giveUp(c) })
	}
	p.at(f.deadline, func() { p.fly(node) })
}

// giveUp decides on a request without the node that has not answered.
func (p *process) giveUp(c *call) {
	if c.answered {
		return
	}
	c.answered = true
	p.fail()
	p.fallBack(c.request, c.deadline)
}

// fallBack decides in the memory of the process.
func (p *process) fallBack(r request, at int64) {
	limit := p.Limit
	if p.Share > 0 {
		limit = max(1, int64(p.Share*float64(limit)))
	}
	charge := p.charge(limit)
	next, verdict := p.own[r.client].Take(at, &charge)
	if verdict.Allowed() {
		p.own[r.client] = next
	}
	p.phase.Fallback++
	p.decided(r, verdict.Allowed())
}

// fail counts a failure, and opens the breaker.
func (p *process) fail() {
	if p.Nodes > 1 && p.now-p.charged < p.Timeout.Microseconds() {
		return // another node is well
	}
	p.failed++
	if p.failed < breakerFailures || p.open {
		return
	}
	p.open = true
	p.at(p.now+probeInterval, p.probe)
}

// probe closes the breaker once the node that keeps the key of the probe has answered. That
// is the first one, which is away only where there is no other.
func (p *process) probe() {
	if p.isAway(0, p.now) {
		p.at(p.now+probeInterval+p.Timeout.Microseconds(), p.probe)
		return
	}
	p.at(p.now+p.RoundTrip.Microseconds(), func() { p.open, p.failed = false, 0 })
}

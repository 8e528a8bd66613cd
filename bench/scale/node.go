package scale

import "github.com/gin-ratelimiter/ratelimiter/internal/window"

// node is a Redis server: it works on one call after the other.
type node struct {
	states  []window.Sliding // of each client
	free    int64            // when it is done with what it has
	worked  int64            // microseconds of processor time in this phase
	written []write          // since the replica has seen the last write
}

// write is a state before it was written.
type write struct {
	at     int64
	client int32
	before window.Sliding
}

func newNode(clients int) node { return node{states: make([]window.Sliding, clients)} }

// charge is one request under a limit.
func (s *simulation) charge(limit int64) window.Charge {
	return window.Charge{Limit: limit, Per: s.Per.Microseconds(), Cost: 1}
}

// work makes the decisions of a flight, and returns when they are made.
func (s *simulation) work(n int, f *flight) (done int64) {
	at := &s.nodes[n]
	cost := s.CallCost.Microseconds() + int64(f.decisions)*s.DecisionCost.Microseconds()
	at.free = max(at.free, s.now) + cost
	at.worked += cost
	s.phase.Trips++
	s.phase.Decisions += int64(f.decisions)
	for _, c := range f.calls {
		charge := s.charge(s.Limit)
		before := at.states[c.client]
		next, verdict := before.Take(s.now, &charge)
		c.admitted, c.retryAt = verdict.Allowed(), s.now+verdict.RetryAfter
		if c.admitted {
			at.states[c.client] = next
			at.remember(s, c.client, before)
		}
	}
	return at.free
}

// remember keeps what a replica may lack.
func (n *node) remember(s *simulation, client int32, before window.Sliding) {
	if s.ReplicaLag == 0 || s.now >= s.FailAt.Microseconds() || s.now < (s.FailAt-s.ReplicaLag).Microseconds() {
		return
	}
	n.written = append(n.written, write{s.now, client, before})
}

// failOver puts the replica in the place of the node.
func (n *node) failOver() {
	for i := len(n.written) - 1; i >= 0; i-- {
		n.states[n.written[i].client] = n.written[i].before
	}
	n.written, n.free = nil, 0
}

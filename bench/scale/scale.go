// Package scale simulates many processes that limit together, through a few Redis nodes, in
// virtual time. The counters are those of internal/window. The way of a decision to its node
// and back is a model of package backends: one queue for each process and node, two flights
// at once in a queue, at most 128 decisions in a flight, equal keys decided together, denials
// remembered, and a circuit breaker for each process.
package scale

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Config is one simulation. Rates are for all processes together.
type Config struct {
	Processes int // application processes; a load balancer picks one at random for each request
	Nodes     int // Redis nodes; each client belongs to one of them
	Polite    int // clients that send PoliteRate requests a second together
	Greedy    int // clients that send GreedyRate requests a second together

	PoliteRate, GreedyRate float64

	Limit int64         // requests of one client in a sliding window of Per
	Per   time.Duration // of the limit
	Share float64       // fallback_share: the part of the limit that a process allows by itself; 0 for all of it

	RoundTrip    time.Duration // between a process and a node
	Timeout      time.Duration // RATELIMITER_TIMEOUT
	CallCost     time.Duration // processor time of a node for one call
	DecisionCost time.Duration // processor time of a node for one decision

	// One node fails at FailAt and answers nothing until a replica takes over FailFor later.
	// The replica lacks what was written in the last ReplicaLag. FailFor 0 means no failure.
	FailAt, FailFor, ReplicaLag time.Duration

	Duration time.Duration // simulated
	Seed     uint64
}

// Validate reports values that make no simulation.
func (c *Config) Validate() error {
	switch {
	case c.Processes < 1 || c.Nodes < 1 || c.Polite < 0 || c.Greedy < 0 || c.Polite+c.Greedy < 1:
		return fmt.Errorf("%d processes, %d nodes and %d clients: there must be one of each at least", c.Processes, c.Nodes, c.Polite+c.Greedy)
	case c.PoliteRate > 0 && c.Polite == 0, c.GreedyRate > 0 && c.Greedy == 0, c.PoliteRate+c.GreedyRate <= 0:
		return fmt.Errorf("rates of %g and %g for %d and %d clients: somebody must send requests, and nobody else can", c.PoliteRate, c.GreedyRate, c.Polite, c.Greedy)
	case c.Limit < 1 || c.Per < time.Millisecond || c.Duration <= 0:
		return fmt.Errorf("a limit of %d in %v, for %v: each must be over zero", c.Limit, c.Per, c.Duration)
	case c.Share < 0 || c.Share > 1:
		return fmt.Errorf("a share of %g must be from 0 to 1", c.Share)
	}
	return nil
}

// Phase is what has happened in a part of the time.
type Phase struct {
	Name     string
	From, To time.Duration

	Requests, Admitted int64
	KnownDenied        int64           // without asking a node
	Fallback           int64           // decided by the process alone
	Trips              int64           // calls to nodes
	Decisions          int64           // made by nodes
	Busy               []time.Duration // processor time of each node
	Latency            Latencies

	// Compared with one limiter that sees every request as it comes, without delay or failure.
	TooMany int64 // requests that were admitted beyond it, summed over the clients
	Wrongly int64 // requests that were rejected although it would admit them, likewise
}

// simulation is a Config at work.
type simulation struct {
	Config
	now     int64   // microseconds
	arrival float64 // of the next request, in microseconds
	events  events
	random  *rand.Rand

	processes []process
	nodes     []node
	judge     judge
	phases    []Phase
	phase     *Phase
}

// Run simulates, and returns what happened before, while and after the node failed.
func Run(c Config) ([]Phase, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &simulation{Config: c, random: rand.New(rand.NewPCG(c.Seed, 1))}
	clients := c.Polite + c.Greedy
	s.nodes = make([]node, c.Nodes)
	for i := range s.nodes {
		s.nodes[i] = newNode(clients)
	}
	s.processes = make([]process, c.Processes)
	for i := range s.processes {
		s.processes[i] = newProcess(s)
	}
	s.judge = newJudge(clients, s.charge(c.Limit))
	if c.FailFor > 0 {
		s.at((c.FailAt + c.FailFor).Microseconds(), s.nodes[c.Nodes-1].failOver)
	}
	s.drawArrival()
	s.phases = c.split()
	for i := range s.phases {
		s.run(&s.phases[i])
	}
	return s.phases, nil
}

// split divides the time into what is before, while and after the failure.
func (c *Config) split() (phases []Phase) {
	ends := []time.Duration{c.Duration}
	names := []string{"all well"}
	if c.FailFor > 0 {
		ends = []time.Duration{c.FailAt, c.FailAt + c.FailFor, c.Duration}
		names = []string{"before", "one node away", "after"}
	}
	from := time.Duration(0)
	for i, end := range ends {
		phases = append(phases, Phase{Name: names[i], From: from, To: end, Busy: make([]time.Duration, c.Nodes)})
		from = end
	}
	return phases
}

// run simulates one phase. Flights that are under way at its end belong to the next.
func (s *simulation) run(p *Phase) {
	s.phase = p
	end := p.To.Microseconds()
	for {
		happens := len(s.events) > 0 && s.events[0].at <= int64(s.arrival)
		switch {
		case happens && s.events[0].at < end:
			e := s.events.pop()
			s.now = e.at
			e.do()
			continue
		case !happens && int64(s.arrival) < end:
			s.now = int64(s.arrival)
			s.arrive()
			s.drawArrival()
			continue
		}
		break
	}
	s.now = end
	p.TooMany, p.Wrongly = s.judge.settle()
	for i := range s.nodes {
		p.Busy[i] = time.Duration(s.nodes[i].worked) * time.Microsecond
		s.nodes[i].worked = 0
	}
}

// drawArrival draws when the next request comes: at random, independently of the others.
func (s *simulation) drawArrival() {
	s.arrival += s.random.ExpFloat64() / (s.PoliteRate + s.GreedyRate) * 1e6
}

// arrive lets a client send a request.
func (s *simulation) arrive() {
	client := int32(0)
	if s.random.Float64()*(s.PoliteRate+s.GreedyRate) < s.GreedyRate {
		client = int32(s.random.IntN(s.Greedy))
	} else {
		client = int32(s.Greedy + s.random.IntN(s.Polite))
	}
	s.phase.Requests++
	s.processes[s.random.IntN(len(s.processes))].serve(request{client, s.now, s.judge.admits(client, s.now)})
}

// request is one of a client.
type request struct {
	client   int32
	arrived  int64
	mayEnter bool // as the judge decides
}

// decided records the answer to a request.
func (s *simulation) decided(r request, admitted bool) {
	if admitted {
		s.phase.Admitted++
	}
	s.judge.compare(r.client, admitted, r.mayEnter)
	s.phase.Latency.add(s.now - r.arrived)
}

// isAway reports whether a node is away at a time. It is the last one.
func (s *simulation) isAway(node int, at int64) bool {
	return s.FailFor > 0 && node == s.Nodes-1 && at >= s.FailAt.Microseconds() && at < (s.FailAt+s.FailFor).Microseconds()
}

// Scale simulates many processes, clients and Redis nodes, and prints what it costs and how
// many answers are wrong. See docs/scale.md.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/bench/scale"
)

func main() {
	log.SetFlags(0)
	var c scale.Config
	flag.IntVar(&c.Processes, "processes", 1000, "application processes")
	flag.IntVar(&c.Nodes, "nodes", 3, "Redis nodes")
	flag.IntVar(&c.Polite, "clients", 10_000_000, "clients that keep to the limit")
	flag.Float64Var(&c.PoliteRate, "rate", 100_000, "requests a second of these clients together")
	flag.IntVar(&c.Greedy, "greedy", 1000, "clients that do not keep to the limit")
	flag.Float64Var(&c.GreedyRate, "greedy-rate", 50_000, "requests a second of these clients together")
	flag.Int64Var(&c.Limit, "limit", 100, "requests of one client in each -per")
	flag.DurationVar(&c.Per, "per", time.Minute, "the period of the limit")
	flag.Float64Var(&c.Share, "share", 0, "the part of the limit that a process allows by itself, 0 for all of it")
	flag.DurationVar(&c.RoundTrip, "round-trip", 500*time.Microsecond, "time to a node and back")
	flag.DurationVar(&c.Timeout, "timeout", 100*time.Millisecond, "the longest wait for a decision")
	flag.DurationVar(&c.CallCost, "call-cost", 10*time.Microsecond, "processor time of a node for a call")
	flag.DurationVar(&c.DecisionCost, "decision-cost", 5*time.Microsecond, "processor time of a node for a decision")
	flag.DurationVar(&c.FailAt, "fail-at", 20*time.Second, "when one node fails")
	flag.DurationVar(&c.FailFor, "fail-for", 5*time.Second, "how long until a replica takes over, 0 for no failure")
	flag.DurationVar(&c.ReplicaLag, "lag", 10*time.Millisecond, "the last writes that the replica lacks")
	flag.DurationVar(&c.Duration, "duration", 40*time.Second, "the time to simulate")
	flag.Uint64Var(&c.Seed, "seed", 1, "of the random numbers")
	flag.Parse()
	phases, err := scale.Run(c)
	if err != nil {
		log.Fatalf("scale: %v", err)
	}
	if err := report(os.Stdout, phases); err != nil {
		log.Fatalf("scale: %v", err)
	}
}

// report writes a line for each measure, with a column for each phase.
func report(out io.Writer, phases []scale.Phase) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(title string, of func(*scale.Phase) string) {
		cells := []string{title}
		for i := range phases {
			cells = append(cells, of(&phases[i]))
		}
		fmt.Fprintf(w, "%s\n", strings.Join(cells, "\t"))
	}
	perSecond := func(p *scale.Phase, n int64) string { return fmt.Sprintf("%.0f", float64(n)/(p.To-p.From).Seconds()) }
	ofAll := func(p *scale.Phase, n int64) string {
		return fmt.Sprintf("%.3g %%", 100*float64(n)/float64(max(1, p.Requests)))
	}
	line("", func(p *scale.Phase) string { return p.Name })
	line("requests a second", func(p *scale.Phase) string { return perSecond(p, p.Requests) })
	line("  admitted", func(p *scale.Phase) string { return ofAll(p, p.Admitted) })
	line("  rejected from memory", func(p *scale.Phase) string { return ofAll(p, p.KnownDenied) })
	line("  decided by the process alone", func(p *scale.Phase) string { return ofAll(p, p.Fallback) })
	line("  allowed beyond the limit", func(p *scale.Phase) string { return ofAll(p, p.TooMany) })
	line("  rejected wrongly", func(p *scale.Phase) string { return ofAll(p, p.Wrongly) })
	line("trips a second", func(p *scale.Phase) string { return perSecond(p, p.Trips) })
	line("  decisions in a trip", func(p *scale.Phase) string {
		return fmt.Sprintf("%.2f", float64(p.Decisions)/float64(max(1, p.Trips)))
	})
	line("busy, each node", busy)
	for _, part := range []float64{0.5, 0.99, 0.999} {
		line(fmt.Sprintf("latency p%g", 100*part), func(p *scale.Phase) string { return p.Latency.Quantile(part).String() })
	}
	return w.Flush()
}

func busy(p *scale.Phase) string {
	var parts []string
	for _, b := range p.Busy {
		parts = append(parts, fmt.Sprintf("%.0f %%", 100*b.Seconds()/(p.To-p.From).Seconds()))
	}
	return strings.Join(parts, ", ")
}

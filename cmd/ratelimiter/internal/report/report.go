// Package report says what was found out about a log: as a table for a terminal,
// as JSON, and as a page of HTML.
package report

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/plan"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/stream"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// Report is all that is told. Its JSON is for scripts: names stay, and new ones
// may come.
type Report struct {
	Files       []File         `json:"files"`
	Lines       int            `json:"lines"`
	Requests    int            `json:"requests"`
	Filtered    int            `json:"filtered"`
	Unreadable  int            `json:"unreadable"`
	FirstFaults []string       `json:"first_unreadable,omitempty"`
	Reasons     map[string]int `json:"unreadable_reasons,omitempty"`
	Late        int            `json:"out_of_order"`  // by more than --reorder, and left out
	Ahead       int            `json:"dated_ahead"`   // of the requests around them, and left out
	Unnamed     int            `json:"without_field"` // counted by their address, as --who was not in them
	Interrupted bool           `json:"interrupted"`
	Clients     int            `json:"clients"`
	From        time.Time      `json:"from"`
	To          time.Time      `json:"to"`
	ByRoute     bool           `json:"by_route"`
	Notes       []string       `json:"notes"`

	Target    string      `json:"target"`
	Meaning   string      `json:"target_meaning"`
	Periods   []Period    `json:"periods"`
	Limits    string      `json:"limits"` // replayed: given, or recommended
	Given     bool        `json:"limits_given"`
	Algorithm string      `json:"algorithm"`
	Replays   []Replay    `json:"replays"`
	Headroom  []Headroom  `json:"headroom"`
	Above     []Client    `json:"refused_clients"`  // under Algorithm, the most refused first
	Routes    []Route     `json:"routes,omitempty"` // with by_route: the busiest, each by itself
	Config    string      `json:"config,omitempty"` // absent where only Go can say it
	GoLine    string      `json:"go"`
	Timeline  Timeline    `json:"timeline"`
	Curve     []CurveStep `json:"curve"`

	OverThreshold bool `json:"over_threshold"`
}

// File is one log that was read.
type File struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Lines  int    `json:"lines"`
	Short  string `json:"ended_early,omitempty"`
}

// Period is what was measured of one rolling period, in units of each client.
type Period struct {
	Per     string  `json:"per"`
	Seconds float64 `json:"seconds"`
	Median  int64   `json:"median"`
	P99     int64   `json:"p99"`
	Most    int64   `json:"most"`
	Server  int64   `json:"all_clients"`   // the most of all clients together
	Fit     int64   `json:"fit,omitempty"` // the lowest limit that meets a target of a share
	Above   int     `json:"clients_above"` // Fit
	// RequestsAbove is the most requests that an exact limiter refuses at Fit.
	RequestsAbove int64 `json:"requests_above"`
	// Prices are the lowest limits that leave out at most the shares of Shares.
	Prices []int64 `json:"limits_for_shares"`
}

// Shares are the shares of clients, in per cent, that Prices are for.
var Shares = []float64{0, 0.1, 0.5, 1, 2, 5, 10}

// Replay is what one algorithm would have done.
type Replay struct {
	Algorithm string `json:"algorithm"`
	Clients   int    `json:"clients"`
	Requests  int64  `json:"requests"`
}

// Headroom tells how much of a limit the clients who were never refused have
// used at most.
type Headroom struct {
	Limit  string `json:"limit"`
	Median int64  `json:"median"`
	P99    int64  `json:"p99"`
	Most   int64  `json:"most"`
}

// Client is one that was refused.
type Client struct {
	Name        string    `json:"client"`
	Route       string    `json:"route,omitempty"`
	Kind        string    `json:"kind"`
	Requests    int64     `json:"requests"`
	Refused     int64     `json:"refused"`
	First       time.Time `json:"first_refused"`
	Last        time.Time `json:"last_refused"`
	LongestWait float64   `json:"longest_wait_seconds"` // negative for ever
}

// Timeline is requests and refusals in equal stretches of time.
type Timeline struct {
	Start    int64   `json:"start"` // Unix seconds
	Width    int64   `json:"width"` // seconds
	Requests []int64 `json:"requests"`
	Refused  []int64 `json:"refused"`
}

// CurveStep is, for a limit, the shares above it in each period, in per cent:
// clients that had more, and the most requests that an exact limiter refuses.
type CurveStep struct {
	Limit    int64     `json:"limit"`
	Clients  []float64 `json:"clients_above"`
	Requests []float64 `json:"requests_above"`
}

// Route is the recommendation for one route by itself.
type Route struct {
	Name     string `json:"route"`
	Clients  int    `json:"clients"`
	Requests int64  `json:"requests"`
	Limits   string `json:"limits"`

	RefusedClients  int   `json:"refused_clients"`
	RefusedRequests int64 `json:"refused_requests"`

	GoLine string `json:"go,omitempty"`
}

// adviseRoutes is how many routes get a recommendation of their own.
const adviseRoutes = 20

// Question is what was asked.
type Question struct {
	Target    plan.Target
	Limits    []ratelimiter.Limit // to replay; none to recommend some
	Advise    []time.Duration     // the periods to recommend limits for
	Algorithm string
	ByRoute   bool

	Who              string // the field that tells the client; empty for the address
	Prefix4, Prefix6 int    // how many bits of an address make a client
}

// Build answers a question.
func Build(census *traffic.Census, tally *stream.Tally, q Question) (*Report, error) {
	r := &Report{
		Lines: tally.Lines, Requests: tally.Requests, Filtered: tally.Filtered, Unreadable: tally.Faults,
		Reasons: tally.Reasons, Late: tally.Late, Ahead: tally.Ahead, Interrupted: tally.Interrupted, Clients: census.Clients(), ByRoute: q.ByRoute,
		From: time.UnixMicro(census.First).UTC(), To: time.UnixMicro(census.Last).UTC(),
		Algorithm: q.Algorithm, Given: len(q.Limits) > 0, Target: q.Target.Text,
		Meaning: q.Target.Meaning(census.Clients(), census.History.Events),
	}
	if q.Who != "" {
		r.Unnamed = max(0, tally.Requests-tally.Named)
	}
	r.describeInput(tally)
	curves := plan.Curves(census)
	r.measure(census, curves, q.Target)
	limits := q.Limits
	var chosen *replay.Outcome
	if len(limits) == 0 {
		advice, err := plan.Recommend(census, curves, q.Advise, q.Target, q.Algorithm)
		if err != nil {
			return nil, err
		}
		limits, chosen = advice.Limits, advice.Outcome
	}
	r.replay(census, limits, chosen)
	r.Limits = LimitsText(limits)
	r.paste(q, limits)
	if q.ByRoute && !r.Given && q.Target.IsShare() {
		r.adviseRoutes(census, q)
	}
	r.curve(census, curves)
	r.Notes = r.notes(census, tally, q)
	return r, census.History.Err()
}

func (r *Report) describeInput(tally *stream.Tally) {
	for _, file := range tally.Files {
		f := File{Name: Plain(file.Name), Format: Plain(file.Format), Lines: file.Lines}
		if file.Short != nil {
			f.Short = Plain(file.Short.Error())
		}
		r.Files = append(r.Files, f)
	}
	for _, fault := range tally.First {
		r.FirstFaults = append(r.FirstFaults, fmt.Sprintf("%s:%d: %s: %s", Plain(fault.File), fault.Line, fault.Reason, Plain(fault.Text)))
	}
}

// replay runs the limits through every algorithm.
func (r *Report) replay(census *traffic.Census, limits []ratelimiter.Limit, chosen *replay.Outcome) {
	outcomes := make([]*replay.Outcome, len(replay.Algorithms))
	var running sync.WaitGroup
	for i, algorithm := range replay.Algorithms {
		if chosen != nil && algorithm == chosen.Algorithm {
			outcomes[i] = chosen
			continue
		}
		running.Go(func() { outcomes[i] = replay.Run(census, algorithm, limits) })
	}
	running.Wait()
	for _, o := range outcomes {
		r.Replays = append(r.Replays, Replay{o.Algorithm, len(o.Clients), o.Requests})
		if o.Algorithm == r.Algorithm {
			chosen = o
		}
	}
	refused := map[uint32]bool{}
	for _, c := range chosen.Clients {
		refused[c.ID] = true
		name, route := census.Name(c.ID)
		wait := float64(c.LongestWait) / 1e6
		r.Above = append(r.Above, Client{
			Name: Plain(name), Route: Plain(route), Kind: plan.KindOf(census, c.ID), Requests: int64(census.Client(c.ID).Requests),
			Refused: c.Requests, First: time.UnixMicro(c.First).UTC(), Last: time.UnixMicro(c.Last).UTC(), LongestWait: wait,
		})
	}
	r.Headroom = headroom(census, limits, refused)
	t := census.Timeline
	r.Timeline = Timeline{t.Start / 1e6, t.Width / 1e6, t.Counts, chosen.Refusals}
}

// adviseRoutes recommends limits for the busiest routes.
func (r *Report) adviseRoutes(census *traffic.Census, q Question) {
	for _, route := range plan.EachRoute(census, q.Advise, q.Target, q.Algorithm, adviseRoutes) {
		r.Routes = append(r.Routes, Route{
			Name: Plain(route.Name), Clients: route.Clients, Requests: route.Requests, Limits: LimitsText(route.Limits),
			RefusedClients: route.RefusedClients, RefusedRequests: route.RefusedRequests, GoLine: routeLine(q, route),
		})
	}
}

func (r *Report) notes(census *traffic.Census, tally *stream.Tally, q Question) (notes []string) {
	if tally.Interrupted {
		notes = append(notes, "Interrupted: this is about what was read until then.")
	}
	if tally.Late > 0 {
		notes = append(notes, fmt.Sprintf("%d requests came out of order by more than --reorder, the worst by %s, and are left out.", tally.Late, tally.LateWorst))
	}
	if tally.Ahead > 0 {
		notes = append(notes, fmt.Sprintf("%d requests are dated ahead of those behind them by more than --reorder, as by a wrong clock, and are left out.", tally.Ahead))
	}
	if r.Unnamed > 0 {
		notes = append(notes, fmt.Sprintf("%d requests have no %s. They are counted by their address, as the library does when a scope is empty.", r.Unnamed, q.Who))
	}
	if q.Who != "" && !strings.HasPrefix(q.Who, "http_") {
		notes = append(notes, fmt.Sprintf("The Go line takes %s from the context, where a middleware before must have put it.", q.Who))
	}
	if !census.Fine {
		notes = append(notes, "The log tells whole seconds. Periods of a few seconds are counted as they are written: a real second can hold up to what two of the log do.")
	}
	if !r.Given {
		notes = append(notes, "What is recommended is the lowest that meets the target in this log, at a round number. Leave room for busier days.")
	}
	return append(notes,
		"A replay cannot know how clients would have backed off: refused ones here go on asking as they did.",
		"Whoever attacked during the log is a client like any other, and may be among those that the target spares.")
}

// Exceeds tells whether the chosen algorithm refuses more than a share.
func (r *Report) Exceeds(share plan.Target) bool {
	for _, p := range r.Replays {
		if p.Algorithm == r.Algorithm {
			return share.Exceeded(p.Clients, r.Clients, p.Requests, int64(r.Requests))
		}
	}
	return false
}

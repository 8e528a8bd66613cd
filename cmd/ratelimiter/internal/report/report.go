// Package report writes the findings about a log: as tables for a terminal, as JSON, and
// as an HTML page.
package report

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/plan"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/stream"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// Report is the complete report. Its JSON is for scripts: field names never change, but
// new fields may be added.
type Report struct {
	Files       []File         `json:"files"`
	Lines       int            `json:"lines"`
	Requests    int            `json:"requests"`
	Passed      int            `json:"no_requests"` // lines of the log that are not requests
	Filtered    int            `json:"filtered"`
	Unreadable  int            `json:"unreadable"`
	FirstFaults []string       `json:"first_unreadable,omitempty"`
	Reasons     map[string]int `json:"unreadable_reasons,omitempty"`
	Late        int            `json:"out_of_order"`  // by more than --reorder, and ignored
	Ahead       int            `json:"dated_ahead"`   // of the requests around them, and ignored
	Unnamed     int            `json:"without_field"` // without the field of --client-field, and counted by address
	Skipped     float64        `json:"skipped_share"` // percentage of the requests that are unreadable, out of order or dated ahead
	Incomplete  bool           `json:"incomplete"`    // Skipped exceeds --max-skipped
	Sorted      bool           `json:"sorted"`
	Throttled   int            `json:"answered_429"`
	Crawlers    int            `json:"crawler_requests"` // estimated
	Checks      int            `json:"health_checks"`    // estimated
	Interrupted bool           `json:"interrupted"`
	Clients     int            `json:"clients"`
	From        time.Time      `json:"from"`
	To          time.Time      `json:"to"`
	ByRoute     bool           `json:"by_route"`
	Warnings    []string       `json:"warnings"` // reasons to doubt the figures
	Notes       []string       `json:"notes"`

	Target     string      `json:"target"`
	Meaning    string      `json:"target_meaning"`
	Periods    []Period    `json:"periods"`
	Limits     string      `json:"limits"`              // replayed: given or recommended; empty if none are recommended
	NoLimits   string      `json:"no_limits,omitempty"` // the reason
	TooShort   bool        `json:"too_short"`           // for any recommendation
	LeftOut    []LeftOut   `json:"periods_left_out,omitempty"`
	Given      bool        `json:"limits_given"`
	Algorithm  string      `json:"algorithm"`
	Replays    []Replay    `json:"replays"`
	Candidates []Candidate `json:"candidates,omitempty"` // if more than one limit is given
	Headroom   []Headroom  `json:"headroom"`
	Heaviest   []Heavy     `json:"heaviest_clients"`
	Above      []Client    `json:"rejected_clients"` // under Algorithm, the most rejected first
	Routes     []Route     `json:"routes,omitempty"` // with by_route: the busiest routes
	Config     string      `json:"config,omitempty"` // absent if only Go code can express it
	GoLine     string      `json:"go"`
	Timeline   Timeline    `json:"timeline"`
	Curve      []CurveStep `json:"curve"`

	OverThreshold bool   `json:"over_threshold"`
	Verdict       string `json:"verdict,omitempty"` // the allowance of --max-rejected, and the rejections
}

// LeftOut is a period without a recommended limit.
type LeftOut struct {
	Per string `json:"per"`
	Why string `json:"why"`
}

// Candidate is one of several given limits, with the chosen algorithm.
type Candidate struct {
	Limits   string `json:"limits"`
	Clients  int    `json:"clients"`  // rejected
	Requests int64  `json:"requests"` // rejected
}

// Heavy is one of the clients with the most requests.
type Heavy struct {
	Name     string  `json:"client"`
	Route    string  `json:"route,omitempty"`
	Kind     string  `json:"kind"`
	Requests int64   `json:"requests"`
	Most     []int64 `json:"most"` // in any rolling period, in the order of the periods
	Rejected int64   `json:"rejected"`
}

// File is one log that was read.
type File struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Lines  int    `json:"lines"`
	Short  string `json:"ended_early,omitempty"`
}

// Period is the measurement of one rolling period, in requests per client.
type Period struct {
	Per     string  `json:"per"`
	Seconds float64 `json:"seconds"`
	Median  int64   `json:"median"`
	P99     int64   `json:"p99"`
	Most    int64   `json:"most"`
	Server  int64   `json:"all_clients"`   // maximum of all clients together
	Fit     int64   `json:"fit,omitempty"` // the lowest limit that meets a percentage target
	Above   int     `json:"clients_above"` // above Fit
	// RequestsAbove is the most requests that an exact limiter rejects at Fit.
	RequestsAbove int64 `json:"requests_above"`
	// Prices are the lowest limits that at most the shares in Shares exceed.
	Prices []int64 `json:"limits_for_shares"`
}

// Shares are the percentages of clients that belong to Prices.
var Shares = []float64{0, 0.1, 0.5, 1, 2, 5, 10}

// Replay is the number of rejections by one algorithm.
type Replay struct {
	Algorithm string `json:"algorithm"`
	Clients   int    `json:"clients"`
	Requests  int64  `json:"requests"`
}

// Headroom is the most that clients that were never rejected have used of a limit.
type Headroom struct {
	Limit  string `json:"limit"`
	Median int64  `json:"median"`
	P99    int64  `json:"p99"`
	Most   int64  `json:"most"`
}

// Client is a rejected client.
type Client struct {
	Name        string    `json:"client"`
	Route       string    `json:"route,omitempty"`
	Kind        string    `json:"kind"`
	Requests    int64     `json:"requests"`
	Rejected    int64     `json:"rejected"`
	First       time.Time `json:"first_rejected"`
	Last        time.Time `json:"last_rejected"`
	LongestWait float64   `json:"longest_wait_seconds"` // negative for never
}

// Timeline is the number of requests and rejections in equal intervals.
type Timeline struct {
	Start    int64   `json:"start"` // Unix seconds
	Width    int64   `json:"width"` // seconds
	Requests []int64 `json:"requests"`
	Rejected []int64 `json:"rejected"`
}

// CurveStep holds, for one limit, the percentages above it in each period: clients that
// exceeded it, and the most requests that an exact limiter rejects.
type CurveStep struct {
	Limit    int64     `json:"limit"`
	Clients  []float64 `json:"clients_above"`
	Requests []float64 `json:"requests_above"`
}

// Route is the recommendation for one route.
type Route struct {
	Name     string `json:"route"`
	Clients  int    `json:"clients"`
	Requests int64  `json:"requests"`
	Limits   string `json:"limits"`

	RejectedClients  int   `json:"rejected_clients"`
	RejectedRequests int64 `json:"rejected_requests"`

	GoLine string `json:"go,omitempty"`
}

// recommendedRoutes is the number of routes with their own recommendation.
const recommendedRoutes = 20

// Question describes what the report is to answer.
type Question struct {
	Target    plan.Target
	Limits    [][]ratelimiter.Limit // to replay and compare; empty for a recommendation
	Recommend []time.Duration       // periods to recommend limits for
	Algorithm string
	ByRoute   bool

	ClientField      string // field that identifies the client; empty for the address
	Prefix4, Prefix6 int    // prefix lengths that identify a client
}

// Build makes the report.
func Build(census *traffic.Census, tally *stream.Tally, q Question) (*Report, error) {
	r := &Report{
		Clients: census.Clients(), ByRoute: q.ByRoute,
		From: time.UnixMicro(census.First).UTC(), To: time.UnixMicro(census.Last).UTC(),
		Algorithm: q.Algorithm, Given: len(q.Limits) > 0, Target: q.Target.Text,
		Meaning: q.Target.Meaning(census.Clients(), census.History.Events),
	}
	r.describeInput(tally, q)
	curves := plan.Curves(census)
	r.measure(census, curves, q.Target)
	limits, chosen, err := r.chooseLimits(census, curves, &q)
	if err != nil {
		return nil, err
	}
	r.timeline(census)
	if len(limits) > 0 {
		r.replay(census, limits, chosen)
		r.Limits = LimitsText(limits)
		r.paste(q, limits)
	}
	heaviest := busiest(census, shownHeavy)
	r.heaviest(census, heaviest)
	if q.ByRoute && !r.Given && q.Target.IsShare() && len(q.Recommend) > 0 {
		r.recommendRoutes(census, q)
	}
	r.curve(census, curves)
	r.Warnings = append(tooShortFor(census, q.Limits), r.warnings(census, tally, heaviest[0])...)
	r.Notes = r.notes(census, tally, q)
	return r, census.History.Err()
}

// chooseLimits returns the given limits, or recommends some for the periods that the log
// covers. If it returns none, it sets NoLimits.
func (r *Report) chooseLimits(census *traffic.Census, curves []plan.Curve, q *Question) ([]ratelimiter.Limit, *replay.Outcome, error) {
	if r.Given {
		r.compare(census, q)
		return q.Limits[0], nil, nil
	}
	if r.NoLimits = needless(census, q.Target); r.NoLimits != "" {
		q.Recommend = nil
		return nil, nil, nil
	}
	q.Recommend = slices.DeleteFunc(q.Recommend, func(per time.Duration) bool {
		why := plan.NotCovered(census, per)
		if why != "" {
			r.LeftOut = append(r.LeftOut, LeftOut{PerText(per), why})
		}
		return why != ""
	})
	server := q.Target.Server.Per
	if len(q.Recommend) == 0 || server > 0 && !slices.Contains(q.Recommend, server) {
		r.NoLimits, r.TooShort = "the log is too short.", true
		for _, out := range r.LeftOut {
			r.NoLimits += fmt.Sprintf(" For a limit per %s, %s.", out.Per, out.Why)
		}
		q.Recommend = nil
		return nil, nil, nil
	}
	advice, err := plan.Recommend(census, curves, q.Recommend, q.Target, q.Algorithm)
	if err != nil {
		return nil, nil, err
	}
	return advice.Limits, advice.Outcome, nil
}

// needless explains that a server never exceeds its capacity; empty if it does.
func needless(census *traffic.Census, target plan.Target) string {
	if target.IsShare() {
		return ""
	}
	most := census.AllMost(slices.Index(census.Periods, plan.Micros(target.Server.Per)))
	if most > target.Server.Limit {
		return ""
	}
	return fmt.Sprintf("none is needed. All clients together never sent more than %d requests in any %s, and the target is %s.",
		most, PerText(target.Server.Per), LimitsText([]ratelimiter.Limit{target.Server}))
}

// compare replays several given limits.
func (r *Report) compare(census *traffic.Census, q *Question) {
	if len(q.Limits) < 2 {
		return
	}
	for _, limits := range q.Limits {
		o := replay.Run(census, q.Algorithm, limits)
		r.Candidates = append(r.Candidates, Candidate{LimitsText(limits), len(o.Clients), o.Requests})
	}
}

func (r *Report) describeInput(tally *stream.Tally, q Question) {
	r.Lines, r.Requests, r.Passed, r.Filtered = tally.Lines, tally.Requests, tally.Passed, tally.Filtered
	r.Unreadable, r.Reasons = tally.Faults, tally.Reasons
	r.Late, r.Ahead, r.Sorted, r.Skipped = tally.Late, tally.Ahead, tally.Sorted, tally.LostShare()
	r.Throttled, r.Crawlers, r.Checks = tally.Throttled, min(tally.Crawlers, tally.Requests), min(tally.HealthChecks, tally.Requests)
	r.Interrupted = tally.Interrupted
	if q.ClientField != "" {
		r.Unnamed = max(0, tally.Requests-tally.Named)
	}
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

// replay runs the limits with every algorithm.
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
	rejected := map[uint32]bool{}
	for _, c := range chosen.Clients {
		rejected[c.ID] = true
		name, route := census.Name(c.ID)
		wait := float64(c.LongestWait) / 1e6
		r.Above = append(r.Above, Client{
			Name: Plain(name), Route: Plain(route), Kind: plan.KindOf(census, c.ID), Requests: int64(census.Client(c.ID).Requests),
			Rejected: c.Requests, First: time.UnixMicro(c.First).UTC(), Last: time.UnixMicro(c.Last).UTC(), LongestWait: wait,
		})
	}
	r.Headroom = headroom(census, limits, rejected)
	r.Timeline.Rejected = chosen.Rejections
}

// recommendRoutes recommends limits for the busiest routes.
func (r *Report) recommendRoutes(census *traffic.Census, q Question) {
	for _, route := range plan.EachRoute(census, q.Recommend, q.Target, q.Algorithm, recommendedRoutes) {
		r.Routes = append(r.Routes, Route{
			Name: Plain(route.Name), Clients: route.Clients, Requests: route.Requests, Limits: LimitsText(route.Limits),
			RejectedClients: route.RejectedClients, RejectedRequests: route.RejectedRequests, GoLine: routeLine(q, route),
		})
	}
}

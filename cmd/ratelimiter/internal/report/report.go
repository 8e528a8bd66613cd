// Package report says what was found out about a log: as a table for a terminal,
// as JSON, and as a page of HTML.
package report

import (
	"fmt"
	"slices"
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
	Files       []File    `json:"files"`
	Lines       int       `json:"lines"`
	Requests    int       `json:"requests"`
	Filtered    int       `json:"filtered"`
	Unreadable  int       `json:"unreadable"`
	FirstFaults []string  `json:"first_unreadable,omitempty"`
	Late        int       `json:"out_of_order"`
	Interrupted bool      `json:"interrupted"`
	Clients     int       `json:"clients"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	ByRoute     bool      `json:"by_route"`
	Notes       []string  `json:"notes"`

	Target    string      `json:"target,omitempty"`
	Periods   []Period    `json:"periods"`
	Limits    string      `json:"limits"` // replayed: given, or recommended
	Given     bool        `json:"limits_given"`
	Algorithm string      `json:"algorithm"`
	Replays   []Replay    `json:"replays"`
	Headroom  []Headroom  `json:"headroom"`
	Above     []Client    `json:"refused_clients"` // under Algorithm, the most refused first
	Config    string      `json:"config"`
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
	Per     string `json:"per"`
	Seconds float64
	Median  int64 `json:"median"`
	P99     int64 `json:"p99"`
	Most    int64 `json:"most"`
	Server  int64 `json:"all_clients"` // the most of all clients together
	Fit     int64 `json:"fit"`         // the lowest limit that meets the target
	Above   int   `json:"clients_above"`
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

// CurveStep is, for a limit, the share of clients above it in each period, in
// per cent.
type CurveStep struct {
	Limit int64     `json:"limit"`
	Over  []float64 `json:"over"`
}

// Question is what was asked.
type Question struct {
	Target    plan.Target
	Limits    []ratelimiter.Limit // to replay; none to recommend some
	Advise    []time.Duration     // the periods to recommend limits for
	Algorithm string
	ByRoute   bool
}

// Build answers a question.
func Build(census *traffic.Census, tally *stream.Tally, q Question) (*Report, error) {
	r := &Report{
		Lines: tally.Lines, Requests: tally.Requests, Filtered: tally.Filtered, Unreadable: tally.Faults,
		Late: tally.Late, Interrupted: tally.Interrupted, Clients: census.Clients(), ByRoute: q.ByRoute,
		From: time.UnixMicro(census.First).UTC(), To: time.UnixMicro(census.Last).UTC(),
		Algorithm: q.Algorithm, Given: len(q.Limits) > 0, Target: q.Target.Text,
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
	r.paste(limits)
	r.curve(curves)
	r.Notes = r.notes(census, tally)
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

func (r *Report) measure(census *traffic.Census, curves []plan.Curve, target plan.Target) {
	for k, c := range curves {
		fit := plan.TightestFor(census, c, k, target)
		var prices []int64
		for _, share := range Shares {
			prices = append(prices, c.Tightest(int(share/100*float64(census.Clients()))))
		}
		r.Periods = append(r.Periods, Period{
			Per: PerText(c.Period), Seconds: c.Period.Seconds(), Median: c.At(0.5), P99: c.At(0.99), Most: c.Tightest(0),
			Server: census.AllMost(k), Fit: fit, Above: c.Over(fit), RequestsAbove: census.Over(k, fit), Prices: prices,
		})
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

func headroom(census *traffic.Census, limits []ratelimiter.Limit, refused map[uint32]bool) (list []Headroom) {
	for _, limit := range limits {
		k := slices.Index(census.Periods, plan.Micros(limit.Per))
		var most []int64
		for id := range uint32(census.Clients()) {
			if !refused[id] {
				most = append(most, census.Most(id, k))
			}
		}
		slices.Sort(most)
		c := plan.Curve{Most: most}
		h := Headroom{Limit: LimitsText([]ratelimiter.Limit{limit}), Median: c.At(0.5), P99: c.At(0.99)}
		if len(most) > 0 {
			h.Most = most[len(most)-1]
		}
		list = append(list, h)
	}
	return list
}

// paste writes the configuration, and the line of Go that does the same.
func (r *Report) paste(limits []ratelimiter.Limit) {
	key, options := "RATELIMITER_APPLICATION_LIMITS", []string{}
	if r.ByRoute {
		key = "RATELIMITER_DEFAULT_LIMITS"
	} else {
		options = append(options, `ratelimiter.WithKey(ratelimiter.Shared("all"))`)
	}
	r.Config = fmt.Sprintf("%q: %q", key, LimitsText(limits))
	if r.Algorithm != replay.Algorithms[0] {
		r.Config += fmt.Sprintf(", \"RATELIMITER_ALGORITHM\": %q", r.Algorithm)
	}
	for _, l := range limits[1:] {
		options = append(options, fmt.Sprintf("ratelimiter.WithLimit(%d, %s)", l.Limit, goDuration(l.Per)))
	}
	args := append([]string{fmt.Sprint(limits[0].Limit), goDuration(limits[0].Per)}, options...)
	r.GoLine = "limiter.RateLimit(" + strings.Join(args, ", ") + ")"
}

func goDuration(per time.Duration) string {
	for _, unit := range []struct {
		name string
		per  time.Duration
	}{{"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second}, {"Millisecond", time.Millisecond}} {
		if per%unit.per == 0 {
			if per == unit.per {
				return "time." + unit.name
			}
			return fmt.Sprintf("%d*time.%s", per/unit.per, unit.name)
		}
	}
	return fmt.Sprintf("%d*time.Microsecond", per.Microseconds())
}

// curve evaluates all periods at limits that are evenly spread on a logarithmic
// scale.
func (r *Report) curve(curves []plan.Curve) {
	most := int64(1)
	for _, c := range curves {
		most = max(most, c.Tightest(0))
	}
	for limit := int64(1); ; limit = max(limit+1, limit*21/20) {
		step := CurveStep{Limit: min(limit, most)}
		for _, c := range curves {
			step.Over = append(step.Over, 100*float64(c.Over(step.Limit))/float64(max(1, len(c.Most))))
		}
		r.Curve = append(r.Curve, step)
		if limit >= most {
			return
		}
	}
}

func (r *Report) notes(census *traffic.Census, tally *stream.Tally) (notes []string) {
	if tally.Interrupted {
		notes = append(notes, "Interrupted: this is about what was read until then.")
	}
	if tally.Late > 0 {
		notes = append(notes, fmt.Sprintf("%d requests came out of order by more than --reorder, the worst by %s, and are left out.", tally.Late, tally.LateWorst))
	}
	if !census.Fine {
		notes = append(notes, "The log tells whole seconds. Periods of a few seconds are counted as they are written: a real second can hold up to what two of the log do.")
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

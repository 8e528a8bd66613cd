package dashboard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// A row of the page is a limit: one on a route, or one that routes share, with all of its
// routes. Kinds of rows.
const (
	ofRoute       = "route"
	ofApplication = "application" // an application limit
	ofSharedKey   = "shared"      // a limit whose key is the same on all of its routes
	ofCalls       = "calls"       // a limit of RateLimiter.Take, outside requests
	ofOther       = "other"       // the limits beyond maxSeries
)

// row is a limit as the page shows it. Rates and sums are indexed by ratelimiter.Outcome.
type row struct {
	ID     int     `json:"id"` // that of its first series
	Kind   string  `json:"kind"`
	Title  string  `json:"title"` // a route or a key
	Name   string  `json:"name"`
	Limit  string  `json:"limit,omitempty"` // as "100/minute"
	Line   float64 `json:"line,omitempty"`  // the limit in requests/s, if it is comparable
	Series []int   `json:"series"`

	Varies bool `json:"varies,omitempty"` // requests have different limits
	Shadow bool `json:"shadow,omitempty"`
	Global bool `json:"global,omitempty"` // all clients share the limit
	Units  bool `json:"units,omitempty"`  // the limit counts units, not requests

	Rate    [outcomes]float64 `json:"rate"`    // per second, the mean of the last 10 s
	Minutes tally             `json:"minutes"` // in the last 5 minutes
	Hour    tally             `json:"hour"`    // in the last hour
}

// rowKey identifies a limit that routes share. Its name is not part of it, because a route
// with several limits of one name numbers them.
type rowKey struct {
	kind, key string
	per       time.Duration
	shadow    bool
}

// kind is the kind of the row of a series, and the key that its routes share, if any.
func (s *series) kind() (kind, key string) {
	if s.id == 0 {
		return ofOther, ""
	}
	if shared := s.shared.Load(); shared != nil && *shared != severalKeys {
		key = *shared
	}
	switch {
	case s.key.route == "":
		return ofCalls, key
	case key == "":
		return ofRoute, ""
	case key == applicationKey && strings.HasPrefix(s.key.name, applicationKey+"-"):
		return ofApplication, key
	}
	return ofSharedKey, key
}

// rows lists the limits, those that rejected most in the last 5 minutes first. r.mu is held.
func (r *record) rows() []row {
	groups := map[rowKey][]*series{}
	list := []row{}
	r.each(func(s *series) {
		if s == r.other && s.active.Load() == 0 {
			return
		}
		kind, key := s.kind()
		if key == "" {
			list = append(list, r.row(kind, "", []*series{s}))
			return
		}
		group := rowKey{kind, key, s.key.per, s.key.shadow}
		groups[group] = append(groups[group], s)
	})
	for group, members := range groups {
		slices.SortFunc(members, func(a, b *series) int { return cmp.Compare(a.id, b.id) })
		list = append(list, r.row(group.kind, group.key, members))
	}
	slices.SortFunc(list, compareRows)
	return list
}

func compareRows(a, b row) int {
	last := map[string]int{ofOther: 1} // it is not one limit
	return cmp.Or(
		cmp.Compare(last[a.Kind], last[b.Kind]),
		cmp.Compare(b.Minutes.rejected(), a.Minutes.rejected()),
		cmp.Compare(b.Minutes[ratelimiter.Shadowed], a.Minutes[ratelimiter.Shadowed]),
		cmp.Compare(b.Minutes.requests(), a.Minutes.requests()),
		cmp.Compare(b.Hour.requests(), a.Hour.requests()),
		cmp.Compare(a.ID, b.ID),
	)
}

// row describes a limit by its series, of which there is at least one. r.mu is held.
func (r *record) row(kind, key string, members []*series) row {
	first := members[0]
	made := row{
		ID: first.id, Kind: kind, Title: cmp.Or(key, first.key.route), Name: first.key.name, Shadow: first.key.shadow,
	}
	var now tally
	for _, s := range members {
		made.Series = append(made.Series, s.id)
		now.merge(s.last(mean, r.at))
		made.Minutes.merge(s.last(shownSeconds, r.at))
		made.Hour.merge(s.lastHour())
	}
	for i, n := range now {
		made.Rate[i] = float64(n) / float64(r.span())
	}
	if kind != ofOther {
		made.describe(members, r.at)
	}
	return made
}

// describe says what the limit is, according to the latest decision.
func (made *row) describe(members []*series, at int64) {
	latest := slices.MaxFunc(members, func(a, b *series) int { return cmp.Compare(a.active.Load(), b.active.Load()) })
	limit := latest.limit.Load()
	if limit == unknown {
		return
	}
	made.Limit = limitText(limit, latest.key.per)
	made.Global = true
	oneCounter := true
	for _, s := range members {
		recent := s.active.Load() > at-mean
		made.Varies = made.Varies || s.varied || s.varies.Load() || recent && s.limit.Load() != limit
		made.Units = made.Units || s.has(weighted)
		made.Global = made.Global && !s.has(perClient)
		oneCounter = oneCounter && !s.has(bursty) && !s.hasSeveralKeys()
	}
	if made.Global && oneCounter && !made.Units && !made.Varies {
		made.Line = line(limit, latest.key.per)
	}
}

// line is a limit in requests per second, 0 if the chart cannot show it honestly: a point
// of the chart is a mean of 10 s, which may exceed the average of a longer period.
func line(limit int64, per time.Duration) float64 {
	if per <= 0 || per > mean*time.Second {
		return 0
	}
	return float64(limit) / per.Seconds()
}

// span is how many seconds the mean of the last 10 is made of: fewer after a start. r.mu
// is held.
func (r *record) span() int64 { return max(1, min(mean, r.at-r.since+1)) }

// totals are the rates of all requests that meet a limit, per second, means of 10 s.
type totals struct {
	Requests  float64 `json:"requests"`
	Rejected  float64 `json:"rejected"`
	Shadowed  float64 `json:"shadowed"`
	Undecided float64 `json:"undecided"`
}

// totals adds up the routes. r.mu is held.
func (r *record) totals() totals {
	routes := map[string][]tally{}
	r.each(func(s *series) {
		route := s.key.route
		if s.id == 0 || route == "" { // different calls, which meet one limit each
			route = fmt.Sprint("series ", s.id)
		}
		routes[route] = append(routes[route], s.last(mean, r.at))
	})
	var sum totals
	for _, limits := range routes {
		requests, rejected := routeTotal(limits)
		sum.Requests += float64(requests)
		sum.Rejected += float64(rejected)
		sum.Shadowed += float64(highest(limits, ratelimiter.Shadowed))
		sum.Undecided += float64(highest(limits, ratelimiter.BackendError))
	}
	span := float64(r.span())
	return totals{sum.Requests / span, sum.Rejected / span, sum.Shadowed / span, sum.Undecided / span}
}

// routeTotal is how many requests met the limits of a route, and how many of them were
// rejected. A limit counts each request once, and a rejected request meets no later
// RateLimit. So the requests that are missing at the last limits were rejected earlier,
// and the last limits rejected as many as the strictest of them did. That is exact if every
// limit meets every request that arrives at it; otherwise the result still lies between the
// rejections of the strictest limit and those of all limits together.
func routeTotal(limits []tally) (requests, rejected uint64) {
	var sum, most, last uint64
	least := uint64(math.MaxUint64)
	for i := range limits {
		met, denied := limits[i].requests(), limits[i].rejected()
		requests, sum, most = max(requests, met), sum+denied, max(most, denied)
		switch {
		case met < least:
			least, last = met, denied
		case met == least:
			last = max(last, denied)
		}
	}
	return requests, min(max(requests-least+last, most), sum)
}

func highest(limits []tally, outcome ratelimiter.Outcome) (n uint64) {
	for i := range limits {
		n = max(n, limits[i][outcome])
	}
	return n
}

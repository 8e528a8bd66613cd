package report

import (
	"cmp"
	"slices"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/plan"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

func (r *Report) measure(census *traffic.Census, curves []plan.Curve, target plan.Target) {
	for k, c := range curves {
		p := Period{
			Per: PerText(c.Period), Seconds: c.Period.Seconds(),
			Median: c.At(0.5), P99: c.At(0.99), Most: c.Tightest(0), Server: census.AllMost(k),
		}
		if target.IsShare() {
			p.Fit = plan.TightestFor(census, c, k, target)
			p.Above, p.RequestsAbove = c.Over(p.Fit), census.Over(k, p.Fit)
		}
		for _, share := range Shares {
			p.Prices = append(p.Prices, c.Tightest(int(plan.PartOf(share, int64(census.Clients())))))
		}
		r.Periods = append(r.Periods, p)
	}
}

// shownHeavy is the number of busiest clients in the report.
const shownHeavy = 20

// heaviest adds the clients with the most requests, rejected or not.
func (r *Report) heaviest(census *traffic.Census, ids []uint32) {
	rejected := map[[2]string]int64{}
	for _, c := range r.Above {
		rejected[[2]string{c.Name, c.Route}] = c.Rejected
	}
	for _, id := range ids {
		name, route := census.Name(id)
		h := Heavy{Name: Plain(name), Route: Plain(route), Kind: plan.KindOf(census, id), Requests: int64(census.Client(id).Requests)}
		for k := range census.Periods {
			h.Most = append(h.Most, census.Most(id, k))
		}
		h.Rejected = rejected[[2]string{h.Name, h.Route}]
		r.Heaviest = append(r.Heaviest, h)
	}
}

// busiest returns the clients with the most requests, in descending order, without sorting
// all clients.
func busiest(census *traffic.Census, most int) (ids []uint32) {
	less := func(a, b uint32) int {
		return cmp.Or(cmp.Compare(census.Client(b).Requests, census.Client(a).Requests), cmp.Compare(a, b))
	}
	for id := range uint32(census.Clients()) {
		if len(ids) == most && less(id, ids[most-1]) > 0 {
			continue
		}
		place, _ := slices.BinarySearchFunc(ids, id, less)
		ids = slices.Insert(ids[:min(len(ids), most-1)], min(place, most-1), id)
	}
	return ids
}

// timeline copies the requests; a replay adds the rejections.
func (r *Report) timeline(census *traffic.Census) {
	t := census.Timeline
	r.Timeline = Timeline{t.Start / 1e6, t.Width / 1e6, t.Counts, make([]int64, len(t.Counts))}
}

func headroom(census *traffic.Census, limits []ratelimiter.Limit, rejected map[uint32]bool) (list []Headroom) {
	for _, limit := range limits {
		k := slices.Index(census.Periods, plan.Micros(limit.Per))
		var most []int64
		for id := range uint32(census.Clients()) {
			if !rejected[id] {
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

// curve evaluates all periods at limits that are evenly spaced on a logarithmic scale.
func (r *Report) curve(census *traffic.Census, curves []plan.Curve) {
	most := int64(1)
	for _, c := range curves {
		most = max(most, c.Tightest(0))
	}
	for limit := int64(1); ; limit = max(limit+1, limit*21/20) {
		step := CurveStep{Limit: min(limit, most)}
		for k, c := range curves {
			step.Clients = append(step.Clients, percent(int64(c.Over(step.Limit)), int64(len(c.Most))))
			step.Requests = append(step.Requests, percent(census.Over(k, step.Limit), census.History.Events))
		}
		r.Curve = append(r.Curve, step)
		if limit >= most {
			return
		}
	}
}

func percent(part, whole int64) float64 { return 100 * float64(part) / float64(max(1, whole)) }

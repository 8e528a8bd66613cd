package report

import (
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

// curve evaluates all periods at limits that are evenly spread on a logarithmic
// scale.
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

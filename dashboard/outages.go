package dashboard

import "github.com/gin-ratelimiter/ratelimiter/backends"

// unsteady is how many seconds may lie between the failures of one outage.
const unsteady = 10

// outage is a time in which the backend did not answer all of its calls.
type outage struct {
	From int64 `json:"from"` // the first second, since 1970
	To   int64 `json:"to"`   // the last second
}

// noteOutage records whether the backend failed in the latest second: a call failed, or
// the breaker was open. r.mu is held.
func (r *record) noteOutage(failed bool, health backends.Health) {
	for len(r.outages) > 0 && r.outages[0].To <= r.at-shownHour {
		r.outages = r.outages[1:]
	}
	from := r.at
	if health.Open && health.Since.Unix() <= r.at {
		failed, from = true, health.Since.Unix()
	}
	if !failed {
		return
	}
	if last := r.lastOutage(); last != nil && last.To >= from-unsteady {
		last.To = r.at
		return
	}
	r.outages = append(r.outages, outage{from, r.at})
}

// lastOutage is the latest outage, nil if there was none. r.mu is held.
func (r *record) lastOutage() *outage {
	if len(r.outages) == 0 {
		return nil
	}
	return &r.outages[len(r.outages)-1]
}

// failing is the outage that the last seconds belong to, nil if there is none. r.mu is held.
func (r *record) failing() *outage {
	if last := r.lastOutage(); last != nil && last.To > r.at-unsteady {
		return last
	}
	return nil
}

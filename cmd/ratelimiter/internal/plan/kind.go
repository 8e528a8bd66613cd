package plan

import "github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"

// KindOf says what a client looks like. These are rules of thumb, in this order:
//
//	scanning  a third or more of ten or more requests were answered 400 or above
//	page      over half were style sheets, scripts, images and fonts, and half of
//	          all came within a minute: what a browser fetches for one page
//	bursty    the busiest minute held over ten times the average of a minute
//	steady    all others
func KindOf(census *traffic.Census, id uint32) string {
	c := census.Client(id)
	minute := busiest(census, id)
	minutes := max(1, float64(c.Last-c.First)/60e6)
	switch {
	case c.Requests >= 10 && 3*c.Faults >= c.Requests:
		return "scanning"
	case 2*c.Assets > c.Requests && 2*minute >= int64(c.Requests):
		return "page"
	case float64(minute) > 10*float64(c.Requests)/minutes:
		return "bursty"
	}
	return "steady"
}

// busiest is the most in a minute, or in the longest period below.
func busiest(census *traffic.Census, id uint32) (most int64) {
	for k, per := range census.Periods {
		if per <= 60e6 {
			most = max(most, census.Most(id, k))
		}
	}
	return most
}

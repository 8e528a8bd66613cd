package plan

import "github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"

// KindOf classifies a client by its traffic. These are rules of thumb, in this order:
//
//	scanning  ten requests or more, of which a third or more got status 400 or above
//	page      more than half of the requests were for style sheets, scripts, images and
//	          fonts, and half of all came within a minute: a browser loading one page
//	bursty    the busiest minute had more than ten times the requests of an average one
//	steady    all other clients
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

// busiest is the most in a minute, or in the longest measured period below a minute.
func busiest(census *traffic.Census, id uint32) (most int64) {
	for k, per := range census.Periods {
		if per <= 60e6 {
			most = max(most, census.Most(id, k))
		}
	}
	return most
}

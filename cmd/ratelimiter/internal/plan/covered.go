package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// enoughPeriods is how many periods a log must cover before it says anything about
// what is usual in one.
const enoughPeriods = 3

// NotCovered says why a log is too short to recommend a limit for a period, which
// the census has measured. It is empty when the log is long enough: its requests
// fall into three periods or more, and not only at the edges of two.
func NotCovered(census *traffic.Census, per time.Duration) string {
	busy := census.Busy(slices.Index(census.Periods, Micros(per)))
	span := time.Duration(census.Last-census.First) * time.Microsecond
	switch {
	case span <= (enoughPeriods-1)*per:
		return fmt.Sprintf("the log would have to cover %s, and covers %s", spanText(enoughPeriods*per), spanText(span))
	case busy < enoughPeriods:
		return fmt.Sprintf("the log would have to have requests in %d such periods, and has some in %d", enoughPeriods, busy)
	}
	return ""
}

// spanText writes a length of time in its greatest unit.
func spanText(span time.Duration) string {
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if span < unit.size {
			continue
		}
		number := fmt.Sprintf("%.3g", span.Seconds()/unit.size.Seconds())
		if number == "1" {
			return "1 " + unit.name
		}
		return number + " " + unit.name + "s"
	}
	return span.Round(time.Millisecond).String()
}

package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// enoughPeriods is the number of periods that a log must cover to show what is usual in one.
const enoughPeriods = 3

// NotCovered explains why a log is too short to recommend a limit for a measured period. It
// returns an empty text if the log is long enough: its requests fall into three periods or
// more, and not only around the edges of two.
func NotCovered(census *traffic.Census, per time.Duration) string {
	busy := census.Busy(slices.Index(census.Periods, Micros(per)))
	span := time.Duration(census.Last-census.First) * time.Microsecond
	switch {
	case span <= (enoughPeriods-1)*per:
		return fmt.Sprintf("the log covers %s, and needs to cover %s", spanText(span), spanText(enoughPeriods*per))
	case busy < enoughPeriods:
		return fmt.Sprintf("the log has requests in %d such periods, and needs them in %d", busy, enoughPeriods)
	}
	return ""
}

// spanText formats a duration in its largest unit.
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

package headers

import (
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/period"
)

// PolicyPrefix is the beginning of every name returned by PolicyName.
const PolicyPrefix = "per-"

// PolicyName returns the name of a limit that was not given one: "per-minute", "per-5m",
// "per-1h30m".
func PolicyName(per time.Duration) string { return PolicyPrefix + period.Name(per) }

// count formats a number of things: "1 request", "3 requests".
func count(number int64, things string) string {
	if number == 1 {
		things = strings.TrimSuffix(things, "s")
	}
	return strconv.FormatInt(number, 10) + " " + things
}

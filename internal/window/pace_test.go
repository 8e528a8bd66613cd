package window

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawPace draws a limit, a period and a time within the period.
func drawPace(t *rapid.T) (c Charge, now int64) {
	c = Charge{Limit: rapid.Int64Range(1, 1000).Draw(t, "limit"), Cost: 1}
	c.Per = rapid.OneOf(
		rapid.Int64Range(1000, 100_000),
		rapid.Int64Range(1000, MaxPeriod),
		rapid.SampledFrom([]int64{1000, second, 60 * second, day, MaxPeriod}),
	).Draw(t, "per")
	return c, 1<<50 + rapid.Int64Range(0, 2*c.Per).Draw(t, "phase")
}

// spacing returns per/limit in microseconds, rounded up. A log too coarse to keep every
// charge needs 1/128 more.
func (a algorithm) spacing(c Charge) int64 {
	if a.name == "log" && c.Limit > exactLimit {
		return mulDivCeil(c.Per, exactLimit+1, c.Limit*exactLimit)
	}
	return mulDivCeil(c.Per, 1, c.Limit)
}

func TestAClientWithinTheLimitIsNeverDenied(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		c, now := drawPace(t)
		c.Burst = rapid.SampledFrom([]int64{0, 1, 5}).Draw(t, "burst") // only a bucket has one
		spacing := a.spacing(c)
		longest := rapid.SampledFrom([]int64{0, 0, 1, spacing / 10, c.Per}).Draw(t, "longest pause")
		for i := range 4*c.Limit + 20 {
			require.True(t, a.take(now, c).Allowed(), "request %d, %d µs apart", i, spacing)
			now += spacing
			if longest > 0 && i%7 == 0 {
				now += rapid.Int64Range(0, longest).Draw(t, "pause")
			}
		}
	})
}

// A client that retries as soon as RetryAfter allows gets the whole limit in every period,
// whenever it begins. A coarse log holds units up to 1/128 of the period too long.
func TestAClientThatWaitsForRetryAfterGetsTheWholeLimit(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		c, now := drawPace(t)
		per := c.Per
		if a.name == "log" && c.Limit > exactLimit {
			per += (c.Per + exactLimit - 1) / exactLimit
		}
		const periods = 5
		begin, granted := now, int64(0)
		for now < begin+periods*per {
			v := a.take(now, c)
			if v.Allowed() {
				granted++
			}
			now += v.RetryAfter
		}
		require.GreaterOrEqual(t, granted, periods*c.Limit)
	})
}

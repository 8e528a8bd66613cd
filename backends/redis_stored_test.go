package backends_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// Processes of two versions share limits during an update. If a value here has to change,
// CHANGELOG.md has to say that the new version needs another key prefix.
func TestValuesInRedisHaveTheFormOfEarlierVersions(t *testing.T) {
	charge := func(algorithm backends.Algorithm, shadow bool) backends.Quota {
		quota := hourly("k", 7)
		quota.Algorithm, quota.Shadow, quota.Cost = algorithm, shadow, 3
		return quota
	}
	daily := charge(backends.FixedWindow, false)
	daily.Per = 24 * time.Hour
	calendar := daily
	calendar.Calendar = time.UTC
	ban := charge(backends.FixedWindow, false)
	ban.Ban, ban.Limit, ban.Cost = time.Hour, 4, 1
	over := charge(backends.FixedWindow, false)
	over.Limit = 2

	for stored, quotas := range map[string][]backends.Quota{
		"f3600000000=1770091200000000,3,;":                                                  {charge(backends.FixedWindow, false)},
		"s3600000000=1770091200000000,0,3,;":                                                {charge(backends.SlidingWindow, false)},
		"l3600000000=1770091506000789,3,;":                                                  {charge(backends.SlidingLog, false)},
		"t3600000000=1770093048857931,6,;":                                                  {charge(backends.TokenBucket, false)},
		"F3600000000=1770091200000000,3,;":                                                  {charge(backends.FixedWindow, true)},
		"f3600000000=1770091200000000,3,;f86400000000=1770076800000000,3,;1770163200000000": {charge(backends.FixedWindow, false), daily},
		"c86400000000@UTC=1770076800000000,1770163200000000,3,;":                            {calendar},
		"b3600000000=1770091506000789,1,;":                                                  {over, ban},
	} {
		t.Run(stored, func(t *testing.T) {
			server := miniredis.RunT(t)
			server.SetTime(time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC))
			backend := open(t, at(server.Addr()))
			take(t, backend, quotas...)
			value, err := server.Get("k:somebody:1")
			require.NoError(t, err)
			require.Equal(t, stored, value)
		})
	}
}

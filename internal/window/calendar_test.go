package window_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const (
	aDay   = 24 * time.Hour
	aWeek  = 7 * aDay
	aMonth = 30 * aDay
	aYear  = 365 * aDay
)

// Times are local to the zone, with their offset, in the format of RFC 3339.
func TestCalendarWindows(t *testing.T) {
	for _, c := range []struct {
		what, zone string
		per        time.Duration
		now        string
		start, end string
		hours      int
	}{
		{"a day", "UTC", aDay, "2026-06-10T12:00:00Z", "2026-06-10T00:00:00Z", "2026-06-11T00:00:00Z", 24},
		{"the first moment of a day", "UTC", aDay, "2026-06-10T00:00:00Z", "2026-06-10T00:00:00Z", "2026-06-11T00:00:00Z", 24},
		{"a day whose date differs from that of UTC", "America/New_York", aDay, "2026-06-10T23:00:00-04:00", "2026-06-10T00:00:00-04:00", "2026-06-11T00:00:00-04:00", 24},

		{"clocks go forward in Zurich", "Europe/Zurich", aDay, "2026-03-29T12:00:00+02:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 23},
		{"clocks go back in Zurich", "Europe/Zurich", aDay, "2026-10-25T02:30:00+01:00", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", 25},
		{"clocks go forward in New York", "America/New_York", aDay, "2026-03-08T01:59:00-05:00", "2026-03-08T00:00:00-05:00", "2026-03-09T00:00:00-04:00", 23},
		{"clocks go back in New York", "America/New_York", aDay, "2026-11-01T01:30:00-05:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00", 25},

		{"a day without midnight in São Paulo", "America/Sao_Paulo", aDay, "2018-11-04T01:00:00-02:00", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00", 23},
		{"the day before it", "America/Sao_Paulo", aDay, "2018-11-03T23:59:59-03:00", "2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00", 24},
		{"a day without midnight in Beirut", "Asia/Beirut", aDay, "2024-03-31T12:00:00+03:00", "2024-03-31T01:00:00+03:00", "2024-04-01T00:00:00+03:00", 23},
		{"a day whose last hour comes twice", "America/Sao_Paulo", aDay, "2019-02-16T23:30:00-03:00", "2019-02-16T00:00:00-02:00", "2019-02-17T00:00:00-03:00", 25},
		{"a day with two midnights in Havana", "America/Havana", aDay, "2026-11-01T00:30:00-05:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00", 25},
		{"a date that comes back after midnight", "America/St_Johns", aDay, "2010-11-06T23:30:00-03:30", "2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30", 25},
		{"a month whose last date comes back", "America/St_Johns", aMonth, "2009-10-31T23:30:00-03:30", "2009-11-01T00:00:00-02:30", "2009-12-01T00:00:00-03:30", 30*24 + 1},
		{"the day before one that was left out", "Pacific/Apia", aDay, "2011-12-29T12:00:00-10:00", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", 24},

		{"a week from Monday", "UTC", aWeek, "2026-06-10T12:00:00Z", "2026-06-08T00:00:00Z", "2026-06-15T00:00:00Z", 168},
		{"its Monday", "UTC", aWeek, "2026-06-08T00:00:00Z", "2026-06-08T00:00:00Z", "2026-06-15T00:00:00Z", 168},
		{"its Sunday", "UTC", aWeek, "2026-06-14T23:59:59Z", "2026-06-08T00:00:00Z", "2026-06-15T00:00:00Z", 168},
		{"a week in which clocks change", "Europe/Zurich", aWeek, "2026-03-25T00:00:00+01:00", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 167},
		{"a week over New Year", "UTC", aWeek, "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z", 168},

		{"February", "UTC", aMonth, "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", 28 * 24},
		{"February of a leap year", "UTC", aMonth, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", 29 * 24},
		{"a month in which clocks change", "Europe/Zurich", aMonth, "2026-10-31T23:59:59+01:00", "2026-10-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00", 31*24 + 1},
		{"December", "America/New_York", aMonth, "2026-12-31T23:59:59-05:00", "2026-12-01T00:00:00-05:00", "2027-01-01T00:00:00-05:00", 31 * 24},

		{"a year", "Europe/Zurich", aYear, "2026-07-01T00:00:00+02:00", "2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00", 365 * 24},
		{"the last day of a leap year", "America/New_York", aDay, "2040-12-31T12:00:00-05:00", "2040-12-31T00:00:00-05:00", "2041-01-01T00:00:00-05:00", 24},
		{"the day before it", "America/New_York", aDay, "2040-12-30T12:00:00-05:00", "2040-12-30T00:00:00-05:00", "2040-12-31T00:00:00-05:00", 24},
		{"a leap year", "America/New_York", aYear, "2028-12-31T23:59:59-05:00", "2028-01-01T00:00:00-05:00", "2029-01-01T00:00:00-05:00", 366 * 24},
	} {
		t.Run(c.what, func(t *testing.T) {
			start, end := window.CalendarWindow(at(t, c.now).UnixMicro(), c.per.Microseconds(), zone(t, c.zone))
			require.Equal(t, at(t, c.start).UTC(), time.UnixMicro(start).UTC())
			require.Equal(t, at(t, c.end).UTC(), time.UnixMicro(end).UTC())
			require.Equal(t, time.Duration(c.hours)*time.Hour, time.Duration(end-start)*time.Microsecond)
		})
	}
}

func TestCalendarWindowsFollowEachOtherWithoutGaps(t *testing.T) {
	zones := []string{
		"UTC", "Europe/Zurich", "America/New_York", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "America/St_Johns",
		"Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll", "Asia/Kathmandu", "Pacific/Kiritimati", "Australia/Lord_Howe",
	}
	rapid.Check(t, func(r *rapid.T) {
		in := zone(t, rapid.SampledFrom(zones).Draw(r, "zone"))
		per := rapid.SampledFrom([]time.Duration{aDay, aWeek, aMonth, aYear}).Draw(r, "per").Microseconds()
		now := rapid.Int64Range(0, 1<<52).Draw(r, "now")
		start, end := window.CalendarWindow(now, per, in)
		require.LessOrEqual(r, start, now)
		require.Less(r, now, end)
		for _, other := range []int64{start, end - 1, rapid.Int64Range(start, end-1).Draw(r, "another time of it")} {
			again, stop := window.CalendarWindow(other, per, in)
			require.Equal(r, []int64{start, end}, []int64{again, stop})
		}
		next, _ := window.CalendarWindow(end, per, in)
		require.Equal(r, end, next)
	})
}

func TestACalendarVerdictReportsTheEndOfItsWindow(t *testing.T) {
	zurich := zone(t, "Europe/Zurich")
	charge := window.Charge{Limit: 2, Per: aMonth.Microseconds(), Cost: 2, Tentative: true, Zone: zurich}
	begin, now := at(t, "2026-10-01T00:00:00+02:00").UnixMicro(), at(t, "2026-10-31T23:00:00+01:00").UnixMicro()
	end := now + time.Hour.Microseconds()

	full, v := window.Calendar{}.Take(now, &charge)
	require.Equal(t, window.Calendar{Start: begin, End: end, Count: 2}, full)
	require.Equal(t, window.Verdict{ResetAfter: end - now, Receipt: begin}, v)
	require.Equal(t, end, full.Expires())

	same, v := full.Take(end-1, &charge)
	require.Equal(t, full, same)
	require.EqualValues(t, 1, v.RetryAfter)
	next, v := full.Take(end, &charge)
	require.True(t, v.Allowed())
	require.Equal(t, end, next.Start)

	refund := charge
	refund.Cost, refund.Receipt = -1, begin
	kept, _ := next.Take(end+1, &refund)
	require.EqualValues(t, 2, kept.Count, "a past month has no units to refund")
	less, v := full.Take(now, &refund)
	require.EqualValues(t, 1, less.Count)
	require.EqualValues(t, 1, v.Remaining)

	back, v := next.Take(now, &charge)
	require.False(t, v.Allowed(), "the clock ran backwards past the end of the month")
	require.Equal(t, next, back)
}

func TestOnlyDaysWeeksMonthsAndYearsAreCalendarPeriods(t *testing.T) {
	for _, per := range []time.Duration{aDay, aWeek, aMonth, aYear} {
		require.True(t, window.IsCalendarPeriod(per.Microseconds()), per)
		require.False(t, window.IsCalendarPeriod(per.Microseconds()+1), per)
	}
	require.False(t, window.IsCalendarPeriod(time.Hour.Microseconds()))
}

func TestAPeekAtACalendarDayChangesNothing(t *testing.T) {
	day := window.Calendar{Start: aDay.Microseconds(), End: 2 * aDay.Microseconds(), Count: 3}
	peek := window.Charge{Limit: 2, Per: aDay.Microseconds()}
	for _, hour := range []int64{24, 47, 48, 100} { // over the limit in the first two
		same, v := day.Take(hour*time.Hour.Microseconds(), &peek)
		require.Equal(t, day, same, "after %d hours", hour)
		require.Equal(t, hour >= 48, v.Allowed(), "after %d hours", hour)
	}
}

func zone(t *testing.T, name string) *time.Location {
	location, err := time.LoadLocation(name)
	require.NoError(t, err)
	return location
}

func at(t *testing.T, text string) time.Time {
	parsed, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return parsed
}

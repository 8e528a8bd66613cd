package window

import "time"

// Calendar counts in the windows of a calendar: days from midnight, weeks from Monday,
// months from the 1st and years from the 1st of January, in a time zone.
//
//	allowed  if  Count + cost <= limit
//
// It is Fixed with windows whose lengths differ: a day has 23 to 25 hours where clocks
// change, a month 28 to 31 days. So the state holds the end of its window as well. Any
// rolling window that is no longer than the shortest of them meets at most two, and
// admits at most 2 × limit.
type Calendar struct {
	Start, End int64 // of the window that Count belongs to, [Start, End)
	Count      int64
}

// Take charges c at time now.
func (s Calendar) Take(now int64, c *Charge) (next Calendar, v Verdict) {
	next = s.at(now, c)
	next.Count, v = countIn(next.Start, next.End, next.Count, now, c)
	if c.Cost == 0 || !v.Allowed() {
		return s, v
	}
	return next, v
}

// Expires is the time from which s is like the zero value.
func (s Calendar) Expires() int64 {
	if s.Count > 0 {
		return s.End
	}
	return s.Start
}

// at is s as seen at time now. A clock that ran back to before the window stays in it.
func (s Calendar) at(now int64, c *Charge) Calendar {
	if now < s.End {
		return s
	}
	start, end := CalendarWindow(now, c.Per, c.Zone)
	return Calendar{Start: start, End: end}
}

// Periods that a calendar has windows for, in microseconds.
const (
	perDay   int64 = 24 * 3600 * 1_000_000
	perWeek        = 7 * perDay
	perMonth       = 30 * perDay
	perYear        = 365 * perDay
)

// IsCalendarPeriod reports whether a calendar has windows of a period.
func IsCalendarPeriod(per int64) bool {
	return per == perDay || per == perWeek || per == perMonth || per == perYear
}

// CalendarWindow is the window [start, end) that a time is in: the day, week, month or
// year of a zone, nil for UTC. A period that IsCalendarPeriod is not true of is a day.
func CalendarWindow(now, per int64, zone *time.Location) (start, end int64) {
	if zone == nil {
		zone = time.UTC
	}
	local := time.UnixMicro(now).In(zone)
	y, m, d := local.Date()
	years, months, days := 0, time.Month(0), 0 // how long the window is
	switch per {
	case perWeek:
		d -= (int(local.Weekday()) + 6) % 7 // to Monday
		days = 7
	case perMonth:
		d, months = 1, 1
	case perYear:
		m, d, years = 1, 1, 1
	default:
		days = 1
	}
	start, end = begin(y, m, d, zone), begin(y+years, m+months, d+days, zone)
	if now >= end { // clocks went back over midnight, so the date is that of the day before again
		start, end = end, begin(y+2*years, m+2*months, d+2*days, zone)
	}
	return max(0, start), end
}

// begin is when a date begins in a zone: the first moment at which the clocks there show
// its midnight or later. Where clocks go forward at midnight they never show it, and
// where they go back over it they show it twice.
func begin(y int, m time.Month, d int, zone *time.Location) int64 {
	const before = 4 * 24 * 3600 // more than any clock differs from UTC, or is ever changed
	const quarter = 15 * 60      // of an hour; clocks change at nothing less
	midnight := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()
	from := midnight - before
	for {
		at := time.Unix(from, 0).In(zone)
		_, offset := at.Zone()
		_, change := at.ZoneBounds()              // the clocks have this offset until then
		until := max(change.Unix(), from+quarter) // ZoneBounds returns the time itself on some 31 Decembers
		begins := max(from, midnight-int64(offset))
		if change.IsZero() || begins < until {
			return begins * 1_000_000
		}
		from = until
	}
}

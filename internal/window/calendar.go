package window

import "time"

// Calendar counts in calendar windows of a time zone: days from midnight, weeks from
// Monday, months from the 1st and years from January 1st.
//
//	allowed  if  Count + cost <= limit
//
// It is Fixed with windows of different lengths: a day has 23 to 25 hours where the clocks
// change, a month has 28 to 31 days. That is why the state includes the end of its window.
// A rolling window no longer than the shortest calendar window overlaps at most two of them
// and admits at most 2 × limit.
type Calendar struct {
	Start, End int64 // window of Count: [Start, End)
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

// Expires returns the time from which s is equivalent to the zero value.
func (s Calendar) Expires() int64 {
	if s.Count > 0 {
		return s.End
	}
	return s.Start
}

// at returns s as seen at time now. If the clock ran backwards past the start of the
// window, the window stays.
func (s Calendar) at(now int64, c *Charge) Calendar {
	if now < s.End {
		return s
	}
	start, end := CalendarWindow(now, c.Per, c.Zone)
	return Calendar{Start: start, End: end}
}

// Periods that have calendar windows, in microseconds.
const (
	perDay   int64 = 24 * 3600 * 1_000_000
	perWeek        = 7 * perDay
	perMonth       = 30 * perDay
	perYear        = 365 * perDay
)

// IsCalendarPeriod reports whether per is a period that has calendar windows.
func IsCalendarPeriod(per int64) bool {
	return per == perDay || per == perWeek || per == perMonth || per == perYear
}

// CalendarWindow returns the window [start, end) that contains now: the day, week, month or
// year of a time zone. A nil zone means UTC. Any per for which IsCalendarPeriod is false
// means a day.
func CalendarWindow(now, per int64, zone *time.Location) (start, end int64) {
	if zone == nil {
		zone = time.UTC
	}
	local := time.UnixMicro(now).In(zone)
	y, m, d := local.Date()
	years, months, days := 0, time.Month(0), 0 // length of the window
	switch per {
	case perWeek:
		d -= (int(local.Weekday()) + 6) % 7 // back to Monday
		days = 7
	case perMonth:
		d, months = 1, 1
	case perYear:
		m, d, years = 1, 1, 1
	default:
		days = 1
	}
	start, end = begin(y, m, d, zone), begin(y+years, m+months, d+days, zone)
	if now >= end { // the clocks went back past midnight, so the previous date repeats
		start, end = end, begin(y+2*years, m+2*months, d+2*days, zone)
	}
	return max(0, start), end
}

// begin returns when a date begins in a zone: the first moment at which local clocks show
// its midnight or later. Clocks that go forward at midnight never show it, and clocks that
// go back past it show it twice.
func begin(y int, m time.Month, d int, zone *time.Location) int64 {
	const before = 4 * 24 * 3600 // more than any offset from UTC or any change of it
	const quarter = 15 * 60      // of an hour: the smallest step of a clock change
	midnight := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()
	from := midnight - before
	for {
		at := time.Unix(from, 0).In(zone)
		_, offset := at.Zone()
		_, change := at.ZoneBounds()              // the offset is valid until then
		until := max(change.Unix(), from+quarter) // on some December 31sts ZoneBounds returns the time itself
		begins := max(from, midnight-int64(offset))
		if change.IsZero() || begins < until {
			return begins * 1_000_000
		}
		from = until
	}
}

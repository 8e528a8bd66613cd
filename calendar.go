package ratelimiter

import (
	"fmt"
	"slices"
	"time"
)

// WithCalendar counts a limit per Day, Week, Month or Year in calendar windows of a time
// zone instead of periods of a fixed length. A window begins at midnight, on Monday, on
// the 1st of the month or on January 1st.
//
//	limiter.RateLimit(10_000, ratelimiter.Month, ratelimiter.WithCalendar(zurich))
//
// If location is nil, it is RATELIMITER_TIME_ZONE, which is UTC by default. The limit is
// a fixed window, so a client can use up the limit at the end of a window and again at
// the beginning of the next. A day on which the clocks change has 23 or 25 hours.
// Info.Reset and X-RateLimit-Reset are the end of the window. Info.Per and the parameter
// w of RateLimit-Policy are still 30 days for a Month and 365 days for a Year.
//
// The option applies to the limit that it is given to; WithLimit needs its own
// WithCalendar. In a list (RateLimits, RATELIMITER_DEFAULT_OPTIONS and
// RATELIMITER_APPLICATION_OPTIONS), it applies to the days, weeks, months and years. A
// list such as "100/minute; 10000/month" follows the calendar even without this option if
// RATELIMITER_TIME_ZONE is set; see ConfigTimeZone.
//
// RateLimit and WithLimit panic if the period is another one. The option also panics
// together with WithBurst, and with WithAlgorithm unless it selects FixedWindow.
//
// The name of the time zone is part of the counter, so processes that share counters
// should use a named zone and not time.Local. The clock is that of the backend. Take has
// no options and cannot charge these counters.
func WithCalendar(location *time.Location) Option {
	return func(r *rule) { r.limits[0].calendar, r.limits[0].zone = true, location }
}

// checkCalendar panics if the first limit cannot be counted by the calendar.
func (r *rule) checkCalendar() {
	first := &r.limits[0]
	switch {
	case !first.calendar:
	case first.algorithm != nil && *first.algorithm != FixedWindow:
		panic(fmt.Sprintf("ratelimiter: WithCalendar requires fixed windows, not %s; remove WithAlgorithm and WithBurst", *first.algorithm))
	case (r.function == "RateLimit" || r.function == "WithLimit") && !hasCalendar(first.per):
		panic(fmt.Sprintf("ratelimiter: WithCalendar requires a period of ratelimiter.Day, Week, Month or Year, not %v; change the period or remove WithCalendar", first.per))
	}
}

// spreadCalendar copies the option to all limits of a list, the first n of the rule.
func (r *rule) spreadCalendar(n int) {
	for i := range n {
		r.limits[i].calendar, r.limits[i].zone = r.limits[0].calendar, r.limits[0].zone
	}
}

// hasCalendar reports whether a period has calendar windows.
func hasCalendar(per time.Duration) bool {
	return slices.Contains([]time.Duration{Day, Week, Month, Year}, per)
}

// calendarZone returns the time zone of a calendar limit, or nil for another limit.
func (l *limitRule) calendarZone(s *settings) *time.Location {
	switch {
	case !l.mayFollowCalendar(s) || !hasCalendar(l.per):
		return nil
	case l.zone != nil:
		return l.zone
	}
	return s.timeZone
}

// mayFollowCalendar reports whether a limit follows the calendar if its period is a Day,
// Week, Month or Year. In a list, an algorithm that was selected explicitly takes
// precedence.
func (l *limitRule) mayFollowCalendar(s *settings) bool {
	return l.calendar || l.inList && s.timeZoneGiven && (l.algorithm == nil || *l.algorithm == FixedWindow)
}

// sameZone reports whether two limits have the same time zone, or both have none.
func sameZone(a, b *time.Location) bool {
	return a == b || a != nil && b != nil && a.String() == b.String()
}

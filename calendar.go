package ratelimiter

import (
	"fmt"
	"slices"
	"time"
)

// WithCalendar counts a limit of a Day, Week, Month or Year in the windows of the calendar
// in a time zone, and not in periods of one length: from midnight, Monday, the 1st of the
// month, or the 1st of January.
//
//	limiter.RateLimit(10_000, ratelimiter.Month, ratelimiter.WithCalendar(zurich))
//
// A nil location means RATELIMITER_TIME_ZONE, which is UTC by default. The limit is a
// fixed window: a client can use all of it late in one window and again early in the next.
// Days on which clocks change have their 23 or 25 hours. Info.Reset and X-RateLimit-Reset
// are the end of the window. Info.Per, and the w of RateLimit-Policy, stay the 30 days of a
// Month and the 365 of a Year.
//
// The option changes the limit that it is given to: WithLimit takes a WithCalendar of its
// own. In a list, as of RateLimits, RATELIMITER_DEFAULT_OPTIONS and
// RATELIMITER_APPLICATION_OPTIONS, it changes the days, weeks, months and years, and the
// other limits stay as they are. Lists such as "100/minute; 10000/month" follow the calendar
// without this option too, where RATELIMITER_TIME_ZONE is set; see ConfigTimeZone.
//
// RateLimit and WithLimit panic for any other period, and all of them for WithAlgorithm, other
// than FixedWindow, and for WithBurst.
//
// Counters are kept apart by the name of the zone, so processes that share them should name
// it, and not use time.Local. The time is that of the backend. Take, which has no options,
// does not charge these counters.
func WithCalendar(location *time.Location) Option {
	return func(r *rule) { r.limits[0].calendar, r.limits[0].zone = true, location }
}

// checkCalendar panics where the first limit cannot be counted by the calendar.
func (r *rule) checkCalendar() {
	first := &r.limits[0]
	switch {
	case !first.calendar:
	case first.algorithm != nil && *first.algorithm != FixedWindow:
		panic(fmt.Sprintf("ratelimiter: WithCalendar counts in fixed windows, not by %s; leave WithAlgorithm and WithBurst out", *first.algorithm))
	case (r.function == "RateLimit" || r.function == "WithLimit") && !hasCalendar(first.per):
		panic(fmt.Sprintf("ratelimiter: WithCalendar is for a period of ratelimiter.Day, Week, Month or Year, not of %v; write one of these, or leave it out", first.per))
	}
}

// spreadCalendar makes the option on a list one on all its limits, the first n.
func (r *rule) spreadCalendar(n int) {
	for i := range n {
		r.limits[i].calendar, r.limits[i].zone = r.limits[0].calendar, r.limits[0].zone
	}
}

// hasCalendar reports whether the calendar has windows of a period.
func hasCalendar(per time.Duration) bool {
	return slices.Contains([]time.Duration{Day, Week, Month, Year}, per)
}

// calendarZone is the zone of a limit that is counted by the calendar, nil for any other.
func (l *limitRule) calendarZone(s *settings) *time.Location {
	switch {
	case !l.mayFollowCalendar(s) || !hasCalendar(l.per):
		return nil
	case l.zone != nil:
		return l.zone
	}
	return s.timeZone
}

// mayFollowCalendar reports whether a limit is counted by the calendar if its period is a
// Day, Week, Month or Year. An algorithm that was chosen for a list stays.
func (l *limitRule) mayFollowCalendar(s *settings) bool {
	return l.calendar || l.inList && s.timeZoneGiven && (l.algorithm == nil || *l.algorithm == FixedWindow)
}

// sameZone reports whether two limits share the windows of a calendar, or both have none.
func sameZone(a, b *time.Location) bool {
	return a == b || a != nil && b != nil && a.String() == b.String()
}

// Package window holds the rate limiting algorithms as pure arithmetic: no
// clock, no lock, no I/O. A state, the time and a [Charge] go in; the next state
// and a [Verdict] come out. Whoever keeps the states decides where they live and
// what time it is.
//
//	algorithm  state                           most in any rolling window of Per
//	Fixed      one counter, aligned windows    2 × Limit
//	Calendar   one counter, a zone's windows   2 × Limit
//	Sliding    two counters, aligned windows   2 × Limit
//	Log        at most MaxCells (time, units)  Limit
//	Bucket     one time                        Burst + Limit
//
// [Strikes] are no limit: they count rejections, and ban whoever has too many.
//
// A rolling window is the half-open interval [t, t+Per), for every t. The bounds
// are for a limit that stays and for charges that are not forced.
//
// Times and durations are int64 microseconds, amounts are int64 units. Only
// products need more than 53 bits, and all of those are in mulDiv, so that the
// same formulas give the same answers in a language whose numbers are doubles.
//
// What holds for every algorithm:
//
//   - The zero value of a state is one that was never charged.
//   - A charge that does not fit changes nothing, and RetryAfter is exact: the
//     same charge is still denied one microsecond earlier.
//   - Cost 0 peeks: the state comes back as it was, and Allowed says whether what
//     is used is within the limit.
//   - A negative cost gives units back, the newest first, and is always allowed.
//   - A forced charge is always allowed and counts, even past the limit.
//   - A clock that runs back never admits more. A decision is taken at the time
//     the state has reached, while RetryAfter and ResetAfter are counted from the
//     time that was given, so that they are right for a caller with that clock.
//   - Limit and Burst may differ from one call to the next. Per may not: a state
//     belongs to one period for life.
package window

// Package window implements the rate limiting algorithms as pure arithmetic: no clock, no
// lock, no I/O. A state, the time and a [Charge] go in; the next state and a [Verdict] come
// out. The caller stores the states and supplies the time.
//
//	algorithm  state                           most in any rolling window of Per
//	Fixed      one counter, aligned windows    2 × Limit
//	Calendar   one counter, calendar windows   2 × Limit
//	Sliding    two counters, aligned windows   2 × Limit
//	Log        at most MaxCells (time, units)  Limit
//	Bucket     one time                        Burst + Limit
//
// [Rejections] is not a limit: it counts rejections and bans clients that have too many.
//
// A rolling window is the half-open interval [t, t+Per), for every t. The bounds hold for a
// limit that does not change and for charges that are not forced.
//
// Times and durations are int64 microseconds, amounts are int64 units. Only products need
// more than 53 bits, and all of them are computed by mulDiv, so the same formulas give the
// same results in a language whose numbers are doubles.
//
// Every algorithm guarantees:
//
//   - The zero value of a state is one that was never charged.
//   - A denied charge changes nothing, and RetryAfter is exact: the same charge is
//     still denied one microsecond earlier.
//   - Cost 0 peeks: the state does not change, and Allowed reports whether the
//     used units are within the limit.
//   - A negative cost refunds units, the newest first, and is always allowed.
//   - A forced charge is always allowed and counts, even past the limit.
//   - A clock that runs backwards never admits more. The decision is made at the
//     latest time the state has seen. RetryAfter and ResetAfter count from the
//     time that was passed in, so they are right for a caller with that clock.
//   - Limit and Burst may differ from one call to the next. Per may not: a state
//     belongs to one period.
package window

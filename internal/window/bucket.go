package window

// Bucket is a token bucket, kept as the generic cell rate algorithm (GCRA, ATM
// Forum Traffic Management 4.0, section 4.4.2): not tokens, but the "theoretical
// arrival time" TAT at which the bucket will be full again. What it owes until
// then is its debt.
//
//	debt      =  max(0, TAT + Frac/limit - now)
//	price     =  cost × per / limit
//	capacity  =  burst × per / limit, which is per when burst is 0 or limit
//	allowed  if  debt + price <= capacity
//
// A price is rarely a whole number of microseconds. The quotient goes into TAT and
// the remainder into Frac, counted in 1/limit µs, so nothing is ever rounded and
// there is no drift: three charges at 3 per second are paid back in exactly one
// second.
//
// A first charge at t or later leaves TAT at t or later, and a last one before
// t+per leaves it before t+per + capacity. So the prices in a rolling window sum
// to less than capacity + per: less than burst + limit units.
//
// Units are paid for in the order in which they were charged. The receipt of a
// charge is the TAT it has led to: what is left until then is what time has not
// paid yet, and all that can be given back. (If others have given units back
// meanwhile, time paid this charge sooner than its receipt says.)
//
// What a bucket remembers is time, so a new limit reprices the units it owes: one
// that was empty is empty, and fills at the new pace. Frac then counts in parts of
// the new size, by which the debt can shift, by less than a microsecond a change.
type Bucket struct {
	TAT  int64 // µs
	Frac int64 // in 1/limit µs, less than limit
}

// Take charges c at time now.
func (s Bucket) Take(now int64, c *Charge) (next Bucket, v Verdict) {
	owed := s.debt(now, c.Limit)
	if c.Limit == 0 {
		return s.takeZeroLimit(c, owed)
	}
	burst := c.Limit
	if c.Burst > 0 {
		burst = c.Burst
	}
	capacity := price(burst, c)
	if capacity.micros >= MaxDebt {
		capacity = span{MaxDebt - 1, 0} // less than any price that saturates
	}
	cost := price(max(c.Cost, -c.Cost), c)
	after := owed.plus(cost, c.Limit)
	if c.Cost < 0 {
		if unpaid := max(0, c.Receipt-now); c.Receipt != 0 && unpaid < cost.ceil() {
			cost = span{unpaid, 0} // time has paid the rest
		}
		after = owed.minus(cost, c.Limit).positive()
	}
	excess := after.minus(capacity, c.Limit).ceil()
	switch {
	case c.Cost < 0 || excess <= 0:
	case c.Forced && c.Cost > 0:
		if after.micros >= MaxDebt { // more than that is what a clock that ran back sees
			after = span{max(owed.micros, MaxDebt), 0}
		}
	default:
		v.RetryAfter = excess
		if cost.minus(capacity, c.Limit).ceil() > 0 {
			v.RetryAfter = never
		}
		after = owed
	}
	v.Remaining = units(capacity.minus(after, c.Limit), c)
	v.ResetAfter = after.ceil()
	v.Receipt = c.receipt(now + v.ResetAfter)
	if c.Cost == 0 || !v.Allowed() {
		return s, v
	}
	return Bucket{TAT: now + after.micros, Frac: after.frac}, v
}

// takeNothing is for a limit of 0, which has no rate to price units at: nothing
// is charged and nothing given back, but time still pays what is owed.
func (s Bucket) takeZeroLimit(c *Charge, owed span) (next Bucket, v Verdict) {
	v.ResetAfter = owed.ceil()
	switch {
	case c.Cost == 0:
		v.RetryAfter = v.ResetAfter
	case c.Cost > 0 && !c.Forced:
		v.RetryAfter = never
	}
	return s, v
}

// Expires is the time from which s is like the zero value.
func (s Bucket) Expires() int64 {
	return span{s.TAT, s.Frac}.ceil()
}

// debt is what is owed at time now. A fraction that a lower limit cannot express
// is rounded up.
func (s Bucket) debt(now, limit int64) span {
	owed := span{s.TAT - now, s.Frac}
	if owed.frac > 0 && owed.frac >= limit {
		owed = span{owed.micros + 1, 0}
	}
	return owed.positive()
}

// price is what units cost in time.
func price(cost int64, c *Charge) span {
	if cost == c.Limit {
		return span{c.Per, 0}
	}
	micros, frac := mulDiv(cost, c.Per, c.Limit)
	return span{micros, frac}
}

// units is how many units a span of time pays for, rounded down.
func units(room span, c *Charge) int64 {
	if room.micros < 0 {
		return 0
	}
	n, rest := mulDiv(room.micros, c.Limit, c.Per)
	return n + (rest+room.frac)/c.Per
}

// span is a length of time: micros + frac/limit µs, with 0 <= frac < limit.
type span struct{ micros, frac int64 }

func (a span) plus(b span, limit int64) span {
	sum := span{a.micros + b.micros, a.frac + b.frac}
	if sum.frac >= limit {
		sum = span{sum.micros + 1, sum.frac - limit}
	}
	return sum
}

func (a span) minus(b span, limit int64) span {
	difference := span{a.micros - b.micros, a.frac - b.frac}
	if difference.frac < 0 {
		difference = span{difference.micros - 1, difference.frac + limit}
	}
	return difference
}

// positive is the span, or nothing if it is negative.
func (a span) positive() span {
	if a.micros < 0 {
		return span{}
	}
	return a
}

// ceil is the span in microseconds, rounded up.
func (a span) ceil() int64 {
	if a.frac > 0 {
		return a.micros + 1
	}
	return a.micros
}

package window

// Bucket is a token bucket in the form of the generic cell rate algorithm (GCRA, ATM Forum
// Traffic Management 4.0, section 4.4.2). It stores no tokens but a time: the "theoretical
// arrival time" TAT, at which the bucket will be full again. The time left until then is
// its debt.
//
//	debt      =  max(0, TAT + Frac/limit - now)
//	price     =  cost × per / limit
//	capacity  =  burst × per / limit, which is per when burst is 0 or limit
//	allowed  if  debt + price <= capacity
//
// A price is rarely a whole number of microseconds. TAT holds the quotient and Frac the
// remainder, in units of 1/limit µs. Nothing is rounded and nothing drifts: at 3 per
// second, the debt of three charges is gone after exactly one second.
//
// The first charge at or after t leaves TAT at t or later, and the last one before t+per
// leaves it before t+per + capacity. So the prices in a rolling window sum to less than
// capacity + per, that is, to less than burst + limit units.
//
// Units are paid back in the order in which they were charged. The receipt of a charge is
// the TAT after it: the time left until then is what can still be refunded. If other units
// were refunded in between, a charge is paid back sooner than its receipt says.
//
// A bucket stores time, so a new limit reprices the units it owes: an empty bucket stays
// empty and refills at the new rate. Frac then counts in fractions of the new size, which
// shifts the debt by less than a microsecond per change.
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
			cost = span{unpaid, 0} // the rest is paid back already
		}
		after = owed.minus(cost, c.Limit).positive()
	}
	excess := after.minus(capacity, c.Limit).ceil()
	switch {
	case c.Cost < 0 || excess <= 0:
	case c.Forced && c.Cost > 0:
		if after.micros >= MaxDebt { // a larger debt appears only after the clock ran backwards
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

// takeZeroLimit decides for a limit of 0, at which units have no price: it charges and
// refunds nothing, but the debt still shrinks with time.
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

// Expires returns the time from which s is equivalent to the zero value.
func (s Bucket) Expires() int64 {
	return span{s.TAT, s.Frac}.ceil()
}

// debt returns what is owed at time now. It rounds up a fraction that a lower limit cannot
// express.
func (s Bucket) debt(now, limit int64) span {
	owed := span{s.TAT - now, s.Frac}
	if owed.frac > 0 && owed.frac >= limit {
		owed = span{owed.micros + 1, 0}
	}
	return owed.positive()
}

// price returns the time that units cost.
func price(cost int64, c *Charge) span {
	if cost == c.Limit {
		return span{c.Per, 0}
	}
	micros, frac := mulDiv(cost, c.Per, c.Limit)
	return span{micros, frac}
}

// units returns how many units a span of time pays for, rounded down.
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

// positive returns a, or the zero span if a is negative.
func (a span) positive() span {
	if a.micros < 0 {
		return span{}
	}
	return a
}

// ceil returns the span in microseconds, rounded up.
func (a span) ceil() int64 {
	if a.frac > 0 {
		return a.micros + 1
	}
	return a.micros
}

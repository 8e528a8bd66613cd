package window

// Sliding is the sliding window counter: two aligned windows, where the older one is
// weighted by how much of it a window that ends now still covers. See "How we built rate
// limiting capable of scaling to millions of domains",
// https://blog.cloudflare.com/counting-things-a-lot-of-different-things/. With e the
// microseconds elapsed in the current window, from 0 to per-1:
//
//	used     =   floor(Previous × (per-1-e) / per) + Current
//	allowed  if  used + cost <= limit
//
// The weight is rounded down and leaves out the instant that is exactly one period old. So
// a client that spaces its units per/limit apart is never denied, and one that waits for
// RetryAfter gets limit units in every aligned window.
//
// A rolling window overlaps at most two aligned ones, each of which holds at most limit
// units. It admits at most 2 × limit, and a single burst never more than limit.
type Sliding struct {
	Start    int64 // start of the current window
	Previous int64 // units charged in the previous window
	Current  int64 // units charged in the current window
}

// Take charges c at time now.
func (s Sliding) Take(now int64, c *Charge) (next Sliding, v Verdict) {
	next, elapsed := s.at(now, c.Per)
	used := next.Current
	if next.Previous > 0 {
		used += weight(next.Previous, elapsed, c.Per)
	}
	switch {
	case c.Cost < 0:
		next = next.refund(c)
		used = next.Current + weight(next.Previous, elapsed, c.Per)
	case used+c.Cost <= c.Limit:
		next.Current += c.Cost
		used += c.Cost
	case c.Forced && c.Cost > 0:
		charged := min(c.Cost, MaxUnits-next.Current)
		next.Current += charged
		used += charged
	default:
		v.RetryAfter = next.retryAfter(now, c)
	}
	v.Remaining = max(0, c.Limit-used)
	if used > 0 {
		v.ResetAfter = next.reset(c.Per) - now
	}
	v.Receipt = c.receipt(next.Start)
	if c.Cost == 0 || !v.Allowed() {
		return s, v
	}
	return next, v
}

// Expires returns a time from which s is equivalent to the zero value: the end of the last
// window in which it counts. A single unit does not count in the next window.
func (s Sliding) Expires(per int64) int64 {
	switch {
	case s.Current > 1:
		return s.Start + 2*per
	case s.Current == 1 || s.Previous > 1:
		return s.Start + per
	}
	return s.Start
}

// at returns s as seen at time now, and the time elapsed in its current window. If the
// clock ran backwards past the start of the window, nothing has elapsed: that is when
// Previous weighs most.
func (s Sliding) at(now, per int64) (Sliding, int64) {
	elapsed := now - s.Start
	switch {
	case elapsed < per:
		return s, max(0, elapsed)
	case elapsed < 2*per:
		return Sliding{Start: s.Start + per, Previous: s.Current}, elapsed - per
	}
	elapsed = now % per
	return Sliding{Start: now - elapsed}, elapsed
}

// weight returns how much units of the previous window still count.
func weight(units, elapsed, per int64) int64 { return mulDivFloor(units, per-1-elapsed, per) }

// refund removes units from the window that the receipt names. Without a receipt it removes
// them from Current first, which holds the newest units.
func (s Sliding) refund(c *Charge) Sliding {
	units := -c.Cost
	if c.Receipt == 0 || c.Receipt == s.Start {
		current := min(units, s.Current)
		s.Current -= current
		units -= current
	}
	if c.Receipt == 0 || c.Receipt == s.Start-c.Per {
		s.Previous -= min(units, s.Previous)
	}
	return s
}

// retryAfter returns the wait for a denied charge. Within a window only Previous fades. If
// room = limit-Current-cost is negative, the charge has to wait for the next window, where
// Current has become Previous.
func (s Sliding) retryAfter(now int64, c *Charge) int64 {
	switch room := c.Limit - s.Current - c.Cost; {
	case c.Cost > c.Limit:
		return never
	case room < 0:
		return s.Start + c.Per + fadedTo(c.Limit-c.Cost, s.Current, c.Per) - now
	default:
		return s.Start + fadedTo(room, s.Previous, c.Per) - now
	}
}

// reset returns when all units will be available again, for a state that has used some: the
// units of the last window weigh less than one when fewer than per/units microseconds of
// the next window are left.
func (s Sliding) reset(per int64) int64 {
	end, units := s.Start+per, s.Previous
	if s.Current > 0 {
		end, units = end+per, s.Current
	}
	return end - (per+units-1)/units
}

// fadedTo returns the smallest e at which the units of the previous window, which are more
// than room, weigh no more than room:
//
//	floor(units × (per-1-e) / per) <= room, that is e = per - ceil((room+1) × per / units)
func fadedTo(room, units, per int64) int64 {
	return per - mulDivCeil(room+1, per, units)
}

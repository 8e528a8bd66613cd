package window

// Strikes count how often somebody was rejected, and ban whoever was too often.
// They are a sliding log of rejections: the one that makes Limit of them within Per
// puts a ban in the place of all, and when that is over nothing is left of either.
//
// A ban is a cell of MaxUnits at the time end - Per, which a log forgets exactly at
// the end.
type Rejections struct{ Log }

// Take counts c.Cost rejections at time now, 0 or 1, unless there is a ban. The
// verdict allows unless there is one, then or because of this rejection. Remaining is
// how many rejections are left until a ban, RetryAfter and, with a ban, ResetAfter
// the time until its end. A ban stays what it is when Limit or Ban change. As with
// a Log, the cells of the result may use the memory of s's.
func (s Rejections) Take(now int64, c *Charge) (_ Rejections, v Verdict) {
	at := s.reached(now)
	alive := s.Cells[s.expired(at, c.Per):]
	if c.Cost > 0 && !banned(alive) {
		if total(alive)+1 < c.Limit {
			s.Cells = charge(compact(s.Cells, alive), at, 1, c)
		} else {
			s.Cells = append(s.Cells[:0], Cell{max(0, at+c.Ban-c.Per), MaxUnits})
		}
		alive = s.Cells
	}
	v.Remaining = max(0, c.Limit-total(alive))
	if len(alive) > 0 {
		v.ResetAfter = alive[len(alive)-1].Time + c.Per - now
	}
	if banned(alive) {
		v.RetryAfter = v.ResetAfter
	}
	return s, v
}

func banned(alive []Cell) bool { return len(alive) > 0 && alive[0].Units == MaxUnits }

package window

// Rejections counts how often a client was rejected and bans it after too many. It is a
// sliding log of rejections. The rejection that completes Limit of them within Per replaces
// the whole log with a ban. When the ban ends, the log is empty.
//
// A ban is a cell of MaxUnits at the time end - Per, which the log drops exactly at the end
// of the ban.
type Rejections struct{ Log }

// Take records c.Cost rejections, 0 or 1, at time now, unless the client is banned. The
// verdict is denied if the client is banned, including by this rejection. Remaining is how
// many more rejections lead to a ban. RetryAfter, and during a ban ResetAfter, is the time
// until the ban ends. Changing Limit or Ban does not affect a ban in force. Like Log.Take,
// it may reuse the memory of s.Cells.
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

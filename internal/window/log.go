package window

import "slices"

// MaxCells is the most cells a Log keeps. Above a limit of 128, cells lie on a
// grid 1/128 of the period wide. A rolling window that does not begin on a line
// of the grid meets 129 of them: 127 whole ones and a part of one at either end.
const MaxCells = exactLimit + 1

// finest is the highest limit whose charges are all remembered by themselves.
const exactLimit = 128

// Log is a sliding log: it remembers when units were charged, and forgets each
// when it is a whole period old. See "An alternative approach to rate limiting",
// https://www.figma.com/blog/an-alternative-approach-to-rate-limiting/, which
// describes it under the name of sliding window log.
//
//	used     =   the units of all cells with Time > now - per
//	allowed  if  used + cost <= limit
//
// so no rolling window of per ever admits more than limit: every unit that was
// charged in it is counted until it has left.
//
// While the limit is 128 or less, each charge has a cell of its own, and the log
// is exact to the microsecond. Above, charges within the same 1/128 of the
// period share a cell, which counts until the last of them is a period old:
// still never more than limit, while the first of them may be held up to 1/128
// of the period too long. Either way there are at most MaxCells cells, however
// high the limit.
type Log struct {
	Cells []Cell // the oldest first
}

// Cell is units that are counted until they are a period older than Time.
type Cell struct {
	Time  int64 // µs, of the last charge in the cell
	Units int64
}

// Take charges c at time now. When it charges, the cells of the result may use
// the memory of l's, which must not be used any more; a charge that is denied
// and a peek leave them as they are.
func (l Log) Take(now int64, c *Charge) (next Log, v Verdict) {
	at := l.reached(now)
	alive := l.Cells[l.expired(at, c.Per):]
	used := total(alive)
	switch {
	case c.Cost < 0:
		alive = refund(compact(l.Cells, alive), at, c)
	case c.Cost == 0 && used <= c.Limit:
	case used+c.Cost <= c.Limit || c.Forced && c.Cost > 0:
		alive = charge(compact(l.Cells, alive), at, min(c.Cost, MaxUnits-used), c)
	default:
		v.RetryAfter = retryAfter(alive, used, now, c)
	}
	v.Remaining = max(0, c.Limit-total(alive))
	if len(alive) > 0 {
		v.ResetAfter = alive[len(alive)-1].Time + c.Per - now
	}
	v.Receipt = c.receipt(at)
	if c.Cost == 0 || !v.Allowed() {
		return l, v
	}
	return Log{alive}, v
}

// Expires is the time from which l is like the zero value.
func (l Log) Expires(per int64) int64 {
	if len(l.Cells) == 0 {
		return 0
	}
	return l.Cells[len(l.Cells)-1].Time + per
}

// reached is the time of the decision: never before the newest cell, so that a
// clock that ran back finds the cells in order.
func (l Log) reached(now int64) int64 {
	if len(l.Cells) == 0 {
		return now
	}
	return max(now, l.Cells[len(l.Cells)-1].Time)
}

// expired counts the cells that have left the window.
func (l Log) expired(now, per int64) int {
	for i, cell := range l.Cells {
		if cell.Time+per > now {
			return i
		}
	}
	return len(l.Cells)
}

func total(cells []Cell) (sum int64) {
	for _, cell := range cells {
		sum += cell.Units
	}
	return sum
}

// compact moves the cells that are alive to the front of their memory, so that
// the log can go on in it for ever.
func compact(cells, alive []Cell) []Cell {
	return cells[:copy(cells, alive)]
}

// charge adds units at a time that is not before the newest cell's.
func charge(cells []Cell, now, units int64, c *Charge) []Cell {
	if units == 0 {
		return cells
	}
	if last := len(cells) - 1; last >= 0 && (len(cells) == MaxCells || shareCell(cells[last].Time, now, c)) {
		cells[last].Time = now
		cells[last].Units += units
		return cells
	}
	return append(cells, Cell{now, units})
}

// shareCell tells whether charges at two times go into one cell.
func shareCell(a, b int64, c *Charge) bool {
	if c.Limit <= exactLimit {
		return a == b
	}
	width := (c.Per + exactLimit - 1) / exactLimit
	return a/width == b/width
}

// refund gives units back: of the cell that a receipt is for, which is the first
// that is not older, if that cell can hold the charge at all. The log may have been
// reset since, and the units of others must stay. Without a receipt it is those of
// the newest cells first.
func refund(cells []Cell, now int64, c *Charge) []Cell {
	units := -c.Cost
	if c.Receipt != 0 {
		i := slices.IndexFunc(cells, func(cell Cell) bool { return cell.Time >= c.Receipt })
		if i < 0 || c.Receipt+c.Per <= now || !shareCell(cells[i].Time, c.Receipt, c) {
			return cells
		}
		if cells[i].Units > units {
			cells[i].Units -= units
			return cells
		}
		return slices.Delete(cells, i, i+1)
	}
	for last := len(cells) - 1; last >= 0 && units > 0; last-- {
		back := min(units, cells[last].Units)
		units -= back
		cells[last].Units -= back
		if cells[last].Units == 0 {
			cells = cells[:last]
		}
	}
	return cells
}

// retryAfter is when enough of the oldest cells will have left.
func retryAfter(alive []Cell, used, now int64, c *Charge) int64 {
	if c.Cost > c.Limit {
		return never
	}
	for i := 0; ; i++ { // ends: an empty log has room
		used -= alive[i].Units
		if used+c.Cost <= c.Limit {
			return alive[i].Time + c.Per - now
		}
	}
}

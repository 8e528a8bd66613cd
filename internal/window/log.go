package window

import "slices"

// MaxCells is the most cells a Log keeps. For a limit over 128, cells lie on a grid of
// 1/128 of the period. A rolling window that does not begin on a grid line overlaps 129 of
// them: 127 whole ones and a part of one at either end.
const MaxCells = exactLimit + 1

// exactLimit is the highest limit at which every charge has a cell of its own.
const exactLimit = 128

// Log is a sliding log: it stores when units were charged and drops each charge once it is
// a whole period old. "An alternative approach to rate limiting",
// https://www.figma.com/blog/an-alternative-approach-to-rate-limiting/, describes it as the
// sliding window log.
//
//	used     =   the units of all cells with Time > now - per
//	allowed  if  used + cost <= limit
//
// No rolling window of length per ever admits more than limit, because every unit charged
// in it counts until it has left it.
//
// While the limit is 128 or less, each charge has a cell of its own and the log is exact to
// the microsecond. For a higher limit, charges within the same 1/128 of the period share a
// cell, which counts until the last of them is a period old. That still never admits more
// than limit, but the first charge of a cell counts up to 1/128 of the period too long.
// Either way there are at most MaxCells cells, however high the limit.
type Log struct {
	Cells []Cell // oldest first
}

// Cell is a number of units that count until they are a period older than Time.
type Cell struct {
	Time  int64 // µs, of the last charge in the cell
	Units int64
}

// Take charges c at time now. A successful charge or refund may reuse the memory of
// l.Cells, so l must not be used afterwards. A denied charge and a peek leave l unchanged.
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

// Expires returns the time from which l is equivalent to the zero value.
func (l Log) Expires(per int64) int64 {
	if len(l.Cells) == 0 {
		return 0
	}
	return l.Cells[len(l.Cells)-1].Time + per
}

// reached returns the time of the decision: now, or the time of the newest cell if that is
// later, so that cells stay in order when the clock runs backwards.
func (l Log) reached(now int64) int64 {
	if len(l.Cells) == 0 {
		return now
	}
	return max(now, l.Cells[len(l.Cells)-1].Time)
}

// expired returns the number of cells that have left the window.
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

// compact moves the cells in use to the front of their memory, so that the log never has to
// grow beyond it.
func compact(cells, alive []Cell) []Cell {
	return cells[:copy(cells, alive)]
}

// charge adds units at a time that is not before the newest cell.
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

// shareCell reports whether charges at two times belong to the same cell.
func shareCell(a, b int64, c *Charge) bool {
	if c.Limit <= exactLimit {
		return a == b
	}
	width := (c.Per + exactLimit - 1) / exactLimit
	return a/width == b/width
}

// refund removes units from the cell of the receipt: the first cell that is not older, if
// that cell can contain the charge. After a Reset it cannot, and then nothing is removed,
// so that no other units are refunded. Without a receipt, refund removes the newest
// units.
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

// retryAfter returns how long it takes until enough of the oldest cells have left.
func retryAfter(alive []Cell, used, now int64, c *Charge) int64 {
	if c.Cost > c.Limit {
		return never
	}
	for i := 0; ; i++ { // terminates: an empty log has room
		used -= alive[i].Units
		if used+c.Cost <= c.Limit {
			return alive[i].Time + c.Per - now
		}
	}
}

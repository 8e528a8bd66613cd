package backends

import (
	"sync/atomic"
	"time"
)

// clock tells the time in microseconds since the Unix epoch, in two ways: steady
// never runs back, so that setting the wall clock moves no window, and wall is
// what everybody else takes for the time.
type clock struct {
	steady   func() int64
	readBoth func() (steady, wall int64) // at one moment

	// ahead is how far the wall clock is ahead of the steady one. It is measured
	// again when the steady clock has reached measureAt.
	ahead, measureAt atomic.Int64
}

// measureEvery is how long it may take to notice that the wall clock was set, in µs.
const measureEvery = 1_000_000

// systemClock counts with the monotonic clock of the system from the wall clock's
// time now.
func systemClock() (steady func() int64, readBoth func() (steady, wall int64)) {
	start := time.Now()
	base := start.UnixMicro()
	steady = func() int64 { return base + time.Since(start).Microseconds() }
	readBoth = func() (int64, int64) {
		now := time.Now()
		return base + now.Sub(start).Microseconds(), now.UnixMicro()
	}
	return steady, readBoth
}

// wall is what the wall clock showed at a time that steady has just returned.
func (c *clock) wall(now int64) int64 {
	if now >= c.measureAt.Load() {
		c.measureAt.Store(now + measureEvery)
		steady, wall := c.readBoth()
		c.ahead.Store(wall - steady)
	}
	return now + c.ahead.Load()
}

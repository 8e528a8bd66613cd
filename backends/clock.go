package backends

import (
	"sync/atomic"
	"time"
)

// clock provides two times in microseconds since the Unix epoch. The steady time never runs
// backwards, so setting the system clock moves no window. The wall time is the system
// clock, for use outside the backend.
type clock struct {
	steady   func() int64
	readBoth func() (steady, wall int64) // both at the same moment

	// ahead is how far the wall time is ahead of the steady time. It is measured again once
	// the steady time reaches measureAt.
	ahead, measureAt atomic.Int64
}

// measureEvery is how long it may take to notice that the system clock was set, in µs.
const measureEvery = 1_000_000

// systemClock returns a clock that starts at the current wall time and advances with the
// monotonic clock of the system.
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

// wall returns the wall time at a steady time that was just read.
func (c *clock) wall(now int64) int64 {
	if now >= c.measureAt.Load() {
		c.measureAt.Store(now + measureEvery)
		steady, wall := c.readBoth()
		c.ahead.Store(wall - steady)
	}
	return now + c.ahead.Load()
}

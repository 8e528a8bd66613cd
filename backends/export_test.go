package backends

// NewMemoryOnClock is NewMemory with another clock, in microseconds.
func NewMemoryOnClock(now func() int64) Backend { return newMemoryOn(DefaultMaxKeys, now) }

func newMemoryOn(maxKeys int, now func() int64) *Memory {
	m := newMemory(maxKeys)
	m.clock.steady = now
	m.clock.readBoth = func() (steady, wall int64) { return now(), now() }
	return m
}

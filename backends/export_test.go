package backends

// NewMemoryOnClock is NewMemory on another clock, in microseconds.
func NewMemoryOnClock(now func() int64) Backend { return newMemory(DefaultMaxKeys, now) }

//go:build !race

package backends

// fewer divides the size of tests that run a single goroutine, with the race detector.
const fewer = 1

//go:build race

package queue

import "runtime"

// The timers of a bubble share one context of the race detector, and the detector crashes if
// two processors run such timers at once (https://github.com/golang/go/issues/78156). The
// tests here run thousands of them. Races are found on one processor as well.
func init() { runtime.GOMAXPROCS(1) }

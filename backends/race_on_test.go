//go:build race

package backends

import "flag"

// fewer divides the size of tests that run a single goroutine, where the race detector
// finds nothing and makes each decision several times as expensive.
const fewer = 4

// Laws are checked on fewer histories for the same reason. -rapid.checks overrides it.
func init() { _ = flag.Set("rapid.checks", "25") }

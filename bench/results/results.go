// Package results holds what was measured, compares it with what was recorded
// before, and prints it.
package results

import (
	"encoding/json"
	"math"
	"os"
	"strings"
)

// Run is all that one run has measured.
type Run struct {
	Groups []Group
	Sizes  []Size
}

// Group is contenders that took turns at the same task.
type Group struct {
	Part       string // the table
	Name       string // the column of it
	Contenders []Contender
	// Reference is the contender that is 1. If it is empty, the fastest peer is.
	Reference string
}

// Contender is the median of all turns of a contender.
type Contender struct {
	Name   string
	Nanos  float64 // for one decision or request
	Allocs float64
	Bytes  float64
	Errors float64 // percent of the decisions that were not reached
}

// BareRoute is the contender of the Gin tables whose time is taken off that of all
// others.
const BareRoute = "bare route"

// Size is what a contender keeps in memory.
type Size struct {
	Name    string
	PerKey  float64 // bytes, at a million live keys
	Flooded float64 // MB, after five million keys that come once
	Freed   int     // of a thousand clients that were limited before, how many are not after it
}

// Ours tells our contenders from peers.
func Ours(name string) bool { return strings.HasPrefix(name, "ours") }

func peer(name string) bool {
	return !Ours(name) && !strings.HasPrefix(name, "floor") && name != BareRoute
}

// Over is the time of a contender, less that of the bare route if there is one.
func (g *Group) Over(c *Contender) float64 {
	for i := range g.Contenders {
		if g.Contenders[i].Name == BareRoute {
			return c.Nanos - g.Contenders[i].Nanos
		}
	}
	return c.Nanos
}

// Ratio is the time of a contender, that of the reference being 1.
func (g *Group) Ratio(c *Contender) float64 { return g.Over(c) / g.one() }

func (g *Group) one() float64 {
	fastest := math.Inf(1)
	for i := range g.Contenders {
		c := &g.Contenders[i]
		if c.Name == g.Reference || g.Reference == "" && peer(c.Name) {
			fastest = min(fastest, g.Over(c))
		}
	}
	return fastest
}

func (g *Group) find(name string) *Contender {
	for i := range g.Contenders {
		if g.Contenders[i].Name == name {
			return &g.Contenders[i]
		}
	}
	return nil
}

// Load reads a run that Save has written.
func Load(path string) (run Run, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return run, err
	}
	return run, json.Unmarshal(data, &run)
}

// Save writes a run to a file.
func (r *Run) Save(path string) error { return write(path, r) }

func write(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

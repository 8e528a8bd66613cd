package results

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// moreIsBetter tells the tables whose ratios are of decisions a second, not of time.
func moreIsBetter(part string) bool { return strings.HasPrefix(part, "Redis") }

// Print writes a run as tables in Markdown: as ratios, or as figures.
func (r *Run) Print(w io.Writer, figures bool) {
	var parts []string
	for i := range r.Groups {
		if part := r.Groups[i].Part; !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	for _, part := range parts {
		r.printPart(w, part, figures)
	}
	if len(r.Sizes) > 0 {
		r.printSizes(w)
	}
}

func (r *Run) printPart(w io.Writer, part string, figures bool) {
	var groups []*Group
	var names []string
	for i := range r.Groups {
		g := &r.Groups[i]
		if g.Part != part {
			continue
		}
		groups = append(groups, g)
		for _, c := range g.Contenders {
			if !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	counted := !moreIsBetter(part) // allocations are
	fmt.Fprintf(w, "\n### %s: %s\n\n", part, meaning(groups[0], figures))
	columns := []string{""}
	for _, g := range groups {
		columns = append(columns, g.Name)
	}
	if counted {
		columns = append(columns, "allocations", "bytes")
	}
	line(w, columns...)
	fmt.Fprintf(w, "|---|%s\n", strings.Repeat("--:|", len(columns)-1))
	for _, name := range names {
		cells := []string{name}
		var allocs, bytes float64
		for _, g := range groups {
			c := g.find(name)
			if c == nil {
				cells = append(cells, "")
				continue
			}
			cells = append(cells, cell(g, c, figures))
			allocs, bytes = max(allocs, c.Allocs), max(bytes, c.Bytes)
		}
		if counted {
			cells = append(cells, fmt.Sprintf("%.0f", allocs), fmt.Sprintf("%.0f", bytes))
		}
		line(w, cells...)
	}
}

// meaning says what the figures of a table are.
func meaning(g *Group, figures bool) string {
	switch {
	case figures && moreIsBetter(g.Part):
		return "thousand decisions a second"
	case figures:
		return "ns"
	case moreIsBetter(g.Part):
		return "decisions a second, " + strings.TrimPrefix(g.Reference, "floor: ") + " = 1 (more is better)"
	}
	return "the fastest peer = 1 (less is better)"
}

func cell(g *Group, c *Contender, figures bool) string {
	var text string
	switch {
	case c.Name == BareRoute && !figures:
		text = "0"
	case figures && moreIsBetter(g.Part):
		text = fmt.Sprintf("%.1f", 1e6/c.Nanos)
	case figures:
		text = fmt.Sprintf("%.0f", g.Over(c))
	case moreIsBetter(g.Part):
		text = ratio(1 / g.Ratio(c))
	default:
		text = ratio(g.Ratio(c))
	}
	if c.Errors > 0 {
		text += fmt.Sprintf(" (%.1f %% errors)", c.Errors)
	}
	return text
}

func (r *Run) printSizes(w io.Writer) {
	fmt.Fprintf(w, "\n### What stays in memory (42-byte keys)\n\n")
	line(w, "", "bytes per key, a million live keys", "MB after five million made-up keys", "limited clients that this freed, of 1000")
	fmt.Fprintf(w, "|---|--:|--:|--:|\n")
	for _, s := range r.Sizes {
		line(w, s.Name, fmt.Sprintf("%.0f", s.PerKey), fmt.Sprintf("%.0f", s.Flooded), fmt.Sprint(s.Freed))
	}
}

func ratio(r float64) string {
	switch {
	case math.IsInf(r, 0) || math.IsNaN(r):
		return "–"
	case r >= 10:
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.2f", r)
}

func line(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	reference  = "ours, sliding-window" // is 1 where nothing else is said
	bareRoute  = "bare route"
	evalshaRow = "floor: plain EVALSHA"
)

func printAll(w io.Writer, s *samples, figures bool) {
	memory(w, s, figures)
	sizes(w, s)
	middleware(w, s, figures)
	redis(w, s, figures)
}

// memory has the fastest peer as 1, because that is what to beat.
func memory(w io.Writer, s *samples, figures bool) {
	for _, part := range []struct{ title, suffix string }{
		{"A decision in memory", ""},
		{"A decision in memory, 2 goroutines at once", ", 2 goroutines"},
	} {
		columns := []string{"one hot key", "always denied", "100k keys", "1M keys, zipf"}
		var rows []string
		for _, column := range columns {
			rows = append(rows, column+part.suffix)
		}
		title(w, part.title+": time, the fastest peer = 1 (less is better)", "time, ns", figures)
		header(w, append(columns, "allocations")...)
		for _, name := range s.names["Memory"] {
			cells := []string{name}
			allocations := 0.0
			for _, row := range rows {
				at := id{"Memory", row, name}
				ns, _ := s.median(at, "ns/op")
				cells = append(cells, figure(ns, s.fastestPeer(row), figures)+s.errors(at))
				count, _ := s.median(at, "allocs/op")
				allocations = max(allocations, count)
			}
			line(w, append(cells, fmt.Sprint(allocations))...)
		}
	}
}

func (s *samples) fastestPeer(row string) float64 {
	best := math.Inf(1)
	for _, name := range s.names["Memory"] {
		if ns, ok := s.median(id{"Memory", row, name}, "ns/op"); ok && !strings.HasPrefix(name, "ours") {
			best = min(best, ns)
		}
	}
	return best
}

// sizes are no ratios: bytes are the same everywhere.
func sizes(w io.Writer, s *samples) {
	title(w, "What stays in memory (42-byte keys)", "", false)
	header(w, "bytes per key, a million live keys", "MB after five million made-up keys", "limited clients that this freed, of 1000")
	for _, name := range s.names["Size"] {
		at := id{"Size", "", name}
		perKey, _ := s.median(at, "B/key")
		flooded, _ := s.median(at, "MB")
		freed, _ := s.median(at, "freed")
		line(w, name, fmt.Sprintf("%.0f", perKey), fmt.Sprintf("%.0f", flooded), fmt.Sprintf("%.0f", freed))
	}
}

func middleware(w io.Writer, s *samples, figures bool) {
	bare, _ := s.median(id{"Gin", "", bareRoute}, "ns/op")
	ours, _ := s.median(id{"Gin", "", reference}, "ns/op")
	title(w, "The middleware in Gin: time over the bare route, ours with all headers = 1 (less is better)", "time over the bare route, ns", figures)
	header(w, "time over the bare route", "all of it, the bare route = 1", "allocations", "bytes")
	for _, name := range s.names["Gin"] {
		at := id{"Gin", "", name}
		ns, _ := s.median(at, "ns/op")
		allocations, _ := s.median(at, "allocs/op")
		bytes, _ := s.median(at, "B/op")
		over := figure(ns-bare, ours-bare, figures)
		if name == bareRoute {
			over = "0"
		}
		line(w, name, over, fmt.Sprintf("%.1f", ns/bare), fmt.Sprint(allocations), fmt.Sprint(bytes))
	}
}

func redis(w io.Writer, s *samples, figures bool) {
	for _, part := range []struct {
		what string
		rows []string
	}{
		{"distinct keys", []string{"1", "16", "64", "256"}},
		{"one hot key", []string{"1", "16", "64", "256"}},
		{"one denied key", []string{"1", "256"}},
	} {
		var rows, columns []string
		for _, callers := range part.rows {
			rows = append(rows, part.what+"/"+callers)
			columns = append(columns, strings.Replace(callers+" callers", "1 callers", "1 caller", 1))
		}
		title(w, "Redis, "+part.what+": decisions a second, a plain EVALSHA loop = 1 (more is better)", "thousand decisions a second", figures)
		header(w, columns...)
		for _, name := range s.names["Redis"] {
			cells := []string{name}
			for _, row := range rows {
				at := id{"Redis", row, name}
				ns, _ := s.median(at, "ns/op")
				floor, _ := s.median(id{"Redis", row, evalshaRow}, "ns/op")
				if figures {
					cells = append(cells, fmt.Sprintf("%.1f", 1e6/ns)+s.errors(at))
				} else {
					cells = append(cells, ratio(floor/ns)+s.errors(at))
				}
			}
			line(w, cells...)
		}
	}
}

// errors is what to add to a figure that was got by not deciding.
func (s *samples) errors(at id) string {
	if percent, ok := s.median(at, "%errors"); ok {
		return fmt.Sprintf(" (%.1f %% errors)", percent)
	}
	return ""
}

func figure(ns, one float64, figures bool) string {
	if figures {
		return fmt.Sprintf("%.0f", ns)
	}
	return ratio(ns / one)
}

func ratio(r float64) string {
	if r >= 10 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.2f", r)
}

// title has what is being compared, or with figures the unit in place of it.
func title(w io.Writer, ratios, unit string, figures bool) {
	if figures {
		before, _, _ := strings.Cut(ratios, ":")
		ratios = before + ": " + unit
	}
	fmt.Fprintf(w, "\n### %s\n\n", ratios)
}

func header(w io.Writer, columns ...string) {
	line(w, append([]string{""}, columns...)...)
	fmt.Fprintf(w, "|---|%s\n", strings.Repeat("--:|", len(columns)))
}

func line(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	wide        = 80
	shownFiles  = 5
	shownAbove  = 10
	clockFormat = "2006-01-02 15:04:05"
)

// Text writes the report for a terminal with 80 columns.
func (r *Report) Text(to io.Writer) error {
	var b strings.Builder
	r.textInput(&b)
	r.textPeriods(&b)
	if r.Limits == "" {
		fmt.Fprintln(&b)
		wrap(&b, "No limit is recommended: "+r.NoLimits)
	} else {
		r.textReplay(&b)
	}
	r.textHeaviest(&b)
	r.textAbove(&b)
	r.textRoutes(&b)
	if !r.Given && r.Limits != "" {
		r.textPaste(&b)
	}
	fmt.Fprintln(&b)
	for _, note := range r.Notes {
		wrap(&b, note)
	}
	_, err := io.WriteString(to, b.String())
	return err
}

func (r *Report) textInput(b *strings.Builder) {
	for i, f := range r.Files {
		if i == shownFiles {
			fmt.Fprintf(b, "and %d more files\n", len(r.Files)-i)
			break
		}
		wrap(b, f.Name+": "+f.Format)
		if f.Short != "" {
			wrap(b, "  could not be read to the end: "+f.Short)
		}
	}
	fmt.Fprintf(b, "%s of %s, %s to %s UTC\n", count(r.Requests, "request"), count(r.Clients, "client"), r.From.Format(clockFormat), r.To.Format(clockFormat))
	lines := fmt.Sprintf("%s, %d unreadable", count(r.Lines, "line"), r.Unreadable)
	for _, out := range []struct {
		count int
		why   string
	}{{r.Passed, "without a request"}, {r.Filtered, "filtered out"}, {r.Late, "too far out of order"}, {r.Ahead, "dated far ahead"}} {
		if out.count > 0 {
			lines += fmt.Sprintf(", %d %s", out.count, out.why)
		}
	}
	wrap(b, lines)
	for _, fault := range r.FirstFaults {
		fmt.Fprintf(b, "  %s\n", cut(fault, wide-2))
	}
	for _, warning := range r.Warnings {
		wrap(b, "! "+warning)
	}
}

// textPeriods omits the columns that only a percentage target has.
func (r *Report) textPeriods(b *strings.Builder) {
	fit := r.Periods[0].Fit > 0
	line := func(texts ...any) {
		row := fmt.Sprintf("%-12s %8v %8v %8v %10v", texts[:5]...)
		if fit {
			row += fmt.Sprintf("  %10v %8v %8v", texts[5:]...)
		}
		fmt.Fprintln(b, row)
	}
	fmt.Fprint(b, "\nMost requests of a client in any rolling period\n\n")
	line("", "", "", "busiest", "all", "limit for", "clients", "requests")
	line("period", "median", "p99", "client", "clients", "target", "above", "above")
	for _, p := range r.Periods {
		line(p.Per, p.Median, p.P99, p.Most, p.Server, p.Fit, p.Above, p.RequestsAbove)
	}
	fmt.Fprintf(b, "\nLowest limit that at most this share of the clients ever exceeds\n\n%-12s", "period")
	for _, share := range Shares {
		fmt.Fprintf(b, " %8s", fmt.Sprintf("%g %%", share))
	}
	for _, p := range r.Periods {
		fmt.Fprintf(b, "\n%-12s", p.Per)
		for _, limit := range p.Prices {
			fmt.Fprintf(b, " %8d", limit)
		}
	}
	fmt.Fprint(b, "\n\n")
	wrap(b, fmt.Sprintf("Target %s: %s.", r.Target, r.Meaning))
	if fit {
		wrap(b, "Clients above: clients that ever exceed the limit. Requests above: the most requests that the limit rejects.")
	}
}

func (r *Report) textReplay(b *strings.Builder) {
	what := "Recommended"
	if r.Given {
		what = "Replayed"
	}
	fmt.Fprintf(b, "\n%s: %s\n", what, r.Limits)
	for _, out := range r.LeftOut {
		wrap(b, fmt.Sprintf("No limit per %s: %s.", out.Per, out.Why))
	}
	fmt.Fprintln(b)
	r.textCandidates(b)
	fmt.Fprintf(b, "%-16s %22s %24s\n", "algorithm", "clients ever rejected", "requests rejected")
	for _, p := range r.Replays {
		mark := ""
		if p.Algorithm == r.Algorithm {
			mark = " *"
		}
		fmt.Fprintf(b, "%-16s %12d %9s %14d %9s\n", p.Algorithm+mark, p.Clients, share(int64(p.Clients), int64(r.Clients)), p.Requests, share(p.Requests, int64(r.Requests)))
	}
	fmt.Fprintf(b, "* selected with --algorithm; the rest of the report is for this algorithm\n")
	fmt.Fprintf(b, "\nMost requests of the clients that were never rejected, in any rolling period:\n")
	for _, h := range r.Headroom {
		fmt.Fprintf(b, "  for %-18s median %d, p99 %d, maximum %d\n", h.Limit, h.Median, h.P99, h.Most)
	}
}

// textCandidates compares several limits. The rest of the report is for the first.
func (r *Report) textCandidates(b *strings.Builder) {
	if len(r.Candidates) == 0 {
		return
	}
	fmt.Fprintf(b, "%-32s %22s %22s\n", "limits, with "+r.Algorithm, "clients ever rejected", "requests rejected")
	for _, c := range r.Candidates {
		fmt.Fprintf(b, "%-32s %12d %9s %12d %9s\n", cut(c.Limits, 32), c.Clients, share(int64(c.Clients), int64(r.Clients)), c.Requests, share(c.Requests, int64(r.Requests)))
	}
	fmt.Fprintf(b, "The rest of the report is for %s.\n\n", r.Limits)
}

// Six periods fit beside the name of a client, and three beside that of a route.
const (
	shownMost     = 6
	clientColumns = 24
	routeColumns  = 45
)

// textHeaviest lists the clients with the most requests.
func (r *Report) textHeaviest(b *strings.Builder) {
	first, last, columns := 0, min(shownMost, len(r.Periods)), clientColumns
	if r.ByRoute { // show the periods in the middle
		columns = routeColumns
		first = max(0, last/2-1)
		last = min(first+shownMost/2, last)
	}
	fmt.Fprintf(b, "\nBusiest clients, and their most requests in any rolling period\n\n%-*s %8s", columns, "client", "requests")
	for _, p := range r.Periods[first:last] {
		fmt.Fprintf(b, " %6s", cut(shortPer(p.Seconds), 6))
	}
	fmt.Fprintln(b)
	marked := false
	for _, h := range r.Heaviest[:min(shownAbove, len(r.Heaviest))] {
		name := cell(h.Name)
		if h.Route != "" {
			name += " " + h.Route
		}
		if h.Rejected > 0 {
			name, marked = cut(name, columns-2)+" *", true
		}
		fmt.Fprintf(b, "%-*s %8d", columns, cut(name, columns), h.Requests)
		for _, most := range h.Most[first:last] {
			fmt.Fprintf(b, " %6d", most)
		}
		fmt.Fprintln(b)
	}
	if marked {
		fmt.Fprintln(b, "* rejected at least once")
	}
}

// textRoutes lists the recommendations for the busiest routes.
func (r *Report) textRoutes(b *strings.Builder) {
	if len(r.Routes) == 0 {
		return
	}
	fmt.Fprintf(b, "\nLimits for each of the busiest routes, for the same target\n\n")
	fmt.Fprintf(b, "%-34s %8s %8s %8s\n", "", "", "", "requests")
	fmt.Fprintf(b, "%-34s %8s %8s %8s  %s\n", "route", "clients", "requests", "rejected", "limits")
	for _, route := range r.Routes {
		fmt.Fprintf(b, "%-34s %8d %8d %8d  %s\n", cut(cell(route.Name), 34), route.Clients, route.Requests, route.RejectedRequests, route.Limits)
	}
}

func (r *Report) textPaste(b *strings.Builder) {
	if r.Config != "" {
		fmt.Fprintf(b, "\nPaste into the configuration:\n  %s\n", r.Config)
	}
	fmt.Fprintf(b, "\nPaste into Go code:\n  %s\n", r.GoLine)
	if len(r.Routes) > 0 {
		fmt.Fprintf(b, "or separately for the busiest routes:\n")
	}
	for _, route := range r.Routes {
		if route.GoLine != "" {
			fmt.Fprintf(b, "  %s\n", route.GoLine)
		}
	}
}

func (r *Report) textAbove(b *strings.Builder) {
	if len(r.Above) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-30s %-8s %8s %8s %9s %11s\n", "rejected client", "kind", "requests", "rejected", "max wait", "first at")
	for i, c := range r.Above {
		if i == shownAbove {
			fmt.Fprintf(b, "and %d more; --json lists all\n", len(r.Above)-i)
			break
		}
		name := cell(c.Name)
		if c.Route != "" {
			name += " " + c.Route
		}
		fmt.Fprintf(b, "%-30s %-8s %8d %8d %9s %11s\n", cut(name, 30), c.Kind, c.Requests, c.Rejected, waitText(c.LongestWait), c.First.Format("01-02 15:04"))
	}
}

func waitText(seconds float64) string {
	if seconds < 0 {
		return "forever"
	}
	wait := time.Duration(seconds * float64(time.Second))
	if wait >= 10*time.Second {
		return wait.Round(time.Second).String()
	}
	return wait.Round(time.Millisecond).String()
}

func share(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g %%", 100*float64(part)/float64(whole))
}

func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-3]) + "..."
}

// wrap writes a paragraph with line breaks.
func wrap(b *strings.Builder, text string) {
	column := 0
	for word := range strings.FieldsSeq(text) {
		if column > 0 && column+1+len(word) > wide {
			b.WriteByte('\n')
			column = 0
		}
		if column > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}

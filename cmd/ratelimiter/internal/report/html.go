package report

import (
	"embed"
	"html/template"
	"io"
	"strconv"
)

// uPlot draws the charts; its licence is in uplot/LICENSE.
//
//go:embed uplot/uPlot.iife.min.js uplot/uPlot.min.css uplot/LICENSE page.html page.js page.css
var assets embed.FS

// HTML writes the report as one self-contained page.
func (r *Report) HTML(to io.Writer) error {
	page, err := template.New("page.html").Funcs(template.FuncMap{
		"cell": cell, "wait": waitText, "share": shareOf, "num": separated, "short": shortPer,
		"count": func(n int, thing string) string {
			if n == 1 {
				return "1 " + thing
			}
			return separated(n) + " " + thing + "s"
		},
	}).ParseFS(assets, "page.html")
	if err != nil {
		return err
	}
	return page.Execute(to, struct {
		*Report
		Style         template.CSS
		Uplot, Script template.JS
		Licence       string
		Shares        []float64
		HasFit        bool
		Drawn         any
	}{r, template.CSS(text("uplot/uPlot.min.css") + text("page.css")), template.JS(text("uplot/uPlot.iife.min.js")), template.JS(text("page.js")), text("uplot/LICENSE"), Shares, r.Periods[0].Fit > 0, r.drawn()})
}

// drawn is the part of the report that the charts show. The whole report would make a large
// page if many clients are rejected.
func (r *Report) drawn() any {
	return struct {
		Limits   string      `json:"limits"`
		Periods  []Period    `json:"periods"`
		Timeline Timeline    `json:"timeline"`
		Curve    []CurveStep `json:"curve"`
	}{r.Limits, r.Periods, r.Timeline, r.Curve}
}

// text is the content of an embedded file, which the compiler guarantees to exist.
func text(name string) string {
	content, err := assets.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(content)
}

// shareOf is share for the numbers in a template.
func shareOf(part, whole any) string { return share(number(part), number(whole)) }

// separated formats a number with thousands separators.
func separated(n any) string {
	digits := strconv.FormatInt(number(n), 10)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func number(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	}
	return 0
}

package report

import (
	"embed"
	"html/template"
	"io"
)

// The charts are drawn by uPlot, whose licence is beside it in uplot/LICENSE.
//
//go:embed uplot/uPlot.iife.min.js uplot/uPlot.min.css uplot/LICENSE page.html page.js page.css
var assets embed.FS

// HTML writes the report as one page that needs nothing else.
func (r *Report) HTML(to io.Writer) error {
	page, err := template.New("page.html").Funcs(template.FuncMap{
		"wait": waitText, "share": percent,
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
	}{r, template.CSS(text("uplot/uPlot.min.css") + text("page.css")), template.JS(text("uplot/uPlot.iife.min.js")), template.JS(text("page.js")), text("uplot/LICENSE"), Shares})
}

// text is an asset; that it is there is seen to by the compiler.
func text(name string) string {
	content, err := assets.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(content)
}

// percent is share for the numbers of a template.
func percent(part, whole any) string { return share(number(part), number(whole)) }

func number(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	}
	return 0
}

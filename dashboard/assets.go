package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"time"
)

// uPlot draws the charts. Its licence is in uplot/LICENSE.
//
//go:embed uplot/uPlot.iife.min.js uplot/uPlot.min.css uplot/LICENSE page
var files embed.FS

// asset is a file that the page loads.
type asset struct {
	content []byte
	etag    string
}

// assets are indexed by the last part of their path, which the page requests.
var assets = readAssets(
	"page/page.css", "page/rows.css", "page/page.js", "page/live.js", "page/dom.js", "page/charts.js", "page/rows.js",
	"page/tables.js", "page/lookup.js", "page/icon.svg",
	"uplot/uPlot.iife.min.js", "uplot/uPlot.min.css",
)

func readAssets(names ...string) map[string]asset {
	all := map[string]asset{}
	for _, name := range names {
		content := read(name)
		all[path.Base(name)] = asset{content, fmt.Sprintf(`"%x"`, sha256.Sum256(content))}
	}
	return all
}

// read returns an embedded file. It panics if there is none, which the first start shows.
func read(name string) []byte {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return content
}

var pageTemplate = template.Must(template.ParseFS(files, "page/page.html"))

func (h *Handler) renderPage() []byte {
	var page bytes.Buffer
	data := struct {
		Token, Licence string
		Reset, Masked  bool
	}{h.token, string(read("uplot/LICENSE")), h.allowReset, !h.showScopes}
	if err := pageTemplate.Execute(&page, data); err != nil {
		panic(err) // the template and its data are fixed
	}
	return page.Bytes()
}

// servePage serves the page, which no cache may keep because it contains a token.
func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.page))
}

// serveAsset serves a file that a browser may cache but must revalidate. It returns false
// if there is no such file.
func serveAsset(w http.ResponseWriter, r *http.Request, name string) bool {
	found, ok := assets[name]
	if ok {
		w.Header().Set("Cache-Control", "private, no-cache")
		w.Header().Set("ETag", found.etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(found.content))
	}
	return ok
}

// protect lets the page load its own files only, and lets no other page frame it.
func protect(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}

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

// The charts are drawn by uPlot, whose licence is beside it in uplot/LICENSE.
//
//go:embed uplot/uPlot.iife.min.js uplot/uPlot.min.css uplot/LICENSE page
var files embed.FS

// asset is a file that the page is made of.
type asset struct {
	content []byte
	etag    string
}

// assets are by the last part of their path, which is how they are asked for.
var assets = readAssets(
	"page/page.css", "page/page.js", "page/live.js", "page/charts.js", "page/tables.js", "page/lookup.js", "page/icon.svg",
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

// read is an embedded file; that it is there is seen to by the compiler.
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
	about := struct {
		Token, Licence string
		Reset, Masked  bool
	}{h.token, string(read("uplot/LICENSE")), h.allowReset, !h.showScopes}
	if err := pageTemplate.Execute(&page, about); err != nil {
		panic(err) // no input can bring it about
	}
	return page.Bytes()
}

// servePage serves the page, which holds a token and so is for nobody's cache.
func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.page))
}

// serveAsset serves what may be cached, if the server is asked each time whether it is
// still the same. It returns false where there is nothing of that name.
func serveAsset(w http.ResponseWriter, r *http.Request, name string) bool {
	found, ok := assets[name]
	if ok {
		w.Header().Set("Cache-Control", "private, no-cache")
		w.Header().Set("ETag", found.etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(found.content))
	}
	return ok
}

// protect lets the page use its own files and no others, and nobody frame it.
func protect(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}

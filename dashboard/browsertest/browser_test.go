package browsertest

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

const (
	// required, set to "required", turns a missing browser into a failure.
	required = "RATELIMITER_TEST_CHROMIUM"
	// pictures is a folder for screenshots. By default the tests keep none.
	pictures = "RATELIMITER_TEST_PICTURES"
)

// page is a page that is open in a browser. At the end, the test checks that the browser
// reported no error and sent no request to another server.
type page struct {
	t   *testing.T
	ctx context.Context

	refused bool // the test expects that the application refuses requests

	mu         sync.Mutex
	complaints []string
	hosts      map[string]bool
}

// browser finds a browser, or skips the test.
func browser(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(required) == "required" {
		t.Fatal("a browser is required, but none of chromium, chromium-browser and google-chrome is on the PATH")
	}
	t.Skip("none of chromium, chromium-browser and google-chrome is on the PATH")
	return ""
}

// open opens an address with the cookie of a login.
func open(t *testing.T, address string) *page {
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(browser(t)), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocated, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	ctx, closePage := chromedp.NewContext(allocated)
	t.Cleanup(closePage)
	p := &page{t: t, ctx: ctx, hosts: map[string]bool{}}
	require.NoError(t, chromedp.Listen(ctx, p.listen))
	where, err := url.Parse(address)
	require.NoError(t, err)
	call(p, network.Enable, network.EnableParams{})
	call(p, log.Enable, cdp.Empty{})
	call(p, runtime.Enable, cdp.Empty{})
	call(p, network.SetCookie, network.SetCookieParams{Name: loginCookie, Value: loggedIn, URL: address})
	p.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address))
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.refused {
			require.Empty(t, p.complaints, "the browser reported errors")
		}
		require.Equal(t, map[string]bool{where.Host: true}, p.hosts, "the page sent requests to other servers")
	})
	return p
}

func (p *page) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		if where, err := url.Parse(event.Request.URL); err == nil {
			p.hosts[where.Host] = true
		}
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError || event.Entry.Source == log.EntrySourceSecurity || event.Entry.Source == log.EntrySourceViolation {
			p.complaints = append(p.complaints, event.Entry.Text+" "+event.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning {
			p.complaints = append(p.complaints, "console: "+string(event.Type))
		}
	case *runtime.EventExceptionThrown:
		p.complaints = append(p.complaints, event.ExceptionDetails.Text+" "+event.ExceptionDetails.URL)
	}
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, actions...))
}

func call[P, R any](p *page, command cdp.Command[P, R], params P) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, command, params)
	require.NoError(p.t, err)
}

// eval returns the value of a JavaScript expression.
func eval[T any](p *page, script string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](script))
	require.NoError(p.t, err)
	return value
}

// until waits until a JavaScript expression is true.
func (p *page) until(what, script string) {
	p.t.Helper()
	redistest.Eventually(p.t, what, func(context.Context) bool { return eval[bool](p, "!!("+script+")") })
}

// text is the visible text of the first element that a selector matches.
func (p *page) text(selector string) string {
	p.t.Helper()
	return eval[string](p, "document.querySelector("+quoted(selector)+").innerText")
}

func (p *page) scheme(name string) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
}

// picture keeps a screenshot of the whole page if there is a folder for it.
func (p *page) picture(name string) {
	p.t.Helper()
	folder := os.Getenv(pictures)
	if folder == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600))
}

// nodes is how many elements a selector matches.
func (p *page) nodes(selector string) int {
	p.t.Helper()
	return eval[int](p, "document.querySelectorAll("+quoted(selector)+").length")
}

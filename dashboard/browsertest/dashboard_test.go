package browsertest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

const attacker = "203.0.113.77"

// amount is the number at the start of an element's text.
const amount = `const amount = selector => parseFloat(document.querySelector(selector).textContent.replaceAll(",", ""));`

func TestAnEmptyPageSaysSo(t *testing.T) {
	a := start(t, nil)
	p := open(t, a.address)
	p.until("the page is live", `document.querySelector("#live").textContent === "live"`)
	require.Equal(t, "Healthy · memory, not shared", p.text("#status"))
	require.Regexp(t, `pid \d+ · up \d+`, p.text("#instance"))
	require.Contains(t, p.text("#empty"), "No request has met a limit yet")
	require.Contains(t, p.text("#rejected"), "No client was rejected")
	require.Equal(t, "0", p.text("#sum-rejected"))
	require.Contains(t, p.text("#config"), "sliding-window")
	p.picture("empty")
}

func TestThePageShowsWhoIsRejectedAndOutOfHowMany(t *testing.T) {
	a := start(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "100000/minute"})
	p := open(t, a.address)
	a.load(t)
	p.until("rejections are counted", `document.querySelector("#sum-rejected").classList.contains("over")`)
	p.until("requests over a shadow limit are counted", `document.querySelector("#sum-shadowed").textContent !== "0"`)
	p.until("every limit has a row", `document.querySelectorAll(".row").length === 7`)
	require.True(t, eval[bool](p, `(() => { `+amount+` return amount("#sum-rejected") < amount("#sum-requests"); })()`))
	p.until("the limit that rejects most is first", `document.querySelector(".row h3").textContent === "GET /search"`)
	require.Regexp(t, `^[\d.]+ rejected/s\s+<?\d+ % of [\d.,]+ requests/s`, strings.ReplaceAll(p.text(".row .rates"), "\u00a0", " "))
	require.Equal(t, 1, p.nodes(`[data-kind=application]`), "a limit that all routes share is one row")
	require.Contains(t, p.text(`[data-kind=application]`), "5 routes")
	require.Contains(t, p.text(`[data-kind=shared]`), "uploads")
	require.Contains(t, p.text(`[data-kind=shared]`), "2 routes")
	require.Equal(t, []string{"shadow-per-hour"}, eval[[]string](p, `[...document.querySelectorAll("[data-shadow=true]")].map(one => one.dataset.limit)`))
	require.Contains(t, p.text("[data-shadow=true] .tag"), "shadow")

	p.until("the client that is rejected most is first", `document.querySelector("#rejected-list .client").textContent.startsWith("203.0.113.x")`)
	require.NotContains(t, p.text("body"), attacker, "addresses are masked")
	require.Contains(t, p.text("#rejected-list"), "2001:db8:x#", "IPv6 addresses too")
	require.Contains(t, p.text("#closest-list"), "198.51.100.x")
	require.Zero(t, p.nodes("#reset"), "nothing can be reset unless it is allowed")

	p.until("the page outlives the timeouts of the server", `document.body.dataset.at > `+eval[string](p, "String(+document.body.dataset.at + 4)"))
	p.picture("light")
}

func TestAPageWithoutAConnectionSaysThatItIsOld(t *testing.T) {
	a := start(t, nil)
	p := open(t, a.address)
	p.until("the page is live", `document.querySelector("#status").textContent.startsWith("Healthy")`)
	p.refused = true // the browser reports the status 503 that the page expects
	a.page.Close()
	p.until("the page is old", `document.querySelector("#trouble").textContent.includes("has closed this dashboard")`)
	require.Regexp(t, `^Disconnected · last update at \d\d:\d\d:\d\d$`, p.text("#status"))
	require.Equal(t, "idle", eval[string](p, `document.querySelector("#status").dataset.level`), "no longer green")
}

func TestTheRoutesOfASharedLimitAreListed(t *testing.T) {
	a := start(t, nil)
	for range 40 {
		a.send("POST", "/videos", attacker, "")
	}
	a.send("POST", "/photos", "198.51.100.1", "")
	p := open(t, a.address)
	p.until("the limit is shown", `document.querySelector("[data-kind=shared]")`)
	p.do(chromedp.Focus("[data-kind=shared] summary"), chromedp.KeyEvent(kb.Enter))
	p.until("the routes are listed", `document.querySelectorAll("[data-kind=shared] li").length === 2`)
	require.Equal(t, []string{"POST /videos", "POST /photos"}, eval[[]string](p, `[...document.querySelectorAll("[data-kind=shared] li code")].map(one => one.textContent)`))
}

func TestAResetByKeyboardRestoresTheLimit(t *testing.T) {
	a := start(t, nil, dashboard.WithReset())
	for range 5 {
		require.Equal(t, http.StatusOK, a.send("POST", "/login", attacker, ""))
	}
	require.Equal(t, http.StatusTooManyRequests, a.send("POST", "/login", attacker, ""))
	p := open(t, a.address)
	p.until("the key is known", `document.querySelector("#keys option")`)

	p.do(chromedp.Focus("#scope"), chromedp.KeyEvent(attacker+kb.Enter))
	p.until("nothing is left", `document.querySelector("#found .left")?.textContent === "0 of 5 left"`)
	p.picture("lookup")
	// Tab leads from the scope to the key, to the button for the lookup, and to the reset.
	p.do(chromedp.KeyEvent(kb.Tab + kb.Tab + kb.Tab))
	require.Equal(t, "reset", eval[string](p, "document.activeElement.id"))
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until("everything is left again", `document.querySelector("#found .left")?.textContent === "5 of 5 left"`)
	require.Contains(t, p.text("#found"), "Reset on 2 keys")
	require.Equal(t, "reset", eval[string](p, "document.activeElement.id"), "the focus stays where it was")
	require.Equal(t, http.StatusOK, a.send("POST", "/login", attacker, ""))
}

func TestAMaskedClientIsLookedUpFromItsRow(t *testing.T) {
	a := start(t, nil, dashboard.WithReset())
	for range 7 {
		a.send("POST", "/login", attacker, "")
	}
	p := open(t, a.address)
	p.until("the client is listed", `document.querySelector("#rejected-list button")`)
	eval[bool](p, `document.querySelector("#rejected-list button").focus() || true`)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until("nothing is left", `document.querySelector("#found .left")?.textContent === "0 of 5 left"`)
	require.NotContains(t, p.text("body"), attacker)
	require.True(t, strings.HasPrefix(eval[string](p, `document.querySelector("#scope").value`), "203.0.113.x"))
	p.do(chromedp.Focus("#reset"), chromedp.KeyEvent(kb.Enter))
	p.until("everything is left again", `document.querySelector("#found .left")?.textContent === "5 of 5 left"`)
}

func TestThePageWorksWithALoginInItsAddress(t *testing.T) {
	a := start(t, nil)
	a.send("POST", "/login", attacker, "")
	p := open(t, strings.Replace(a.address, "//", "//admin:secret@", 1))
	p.until("the key is known", `document.querySelector("#keys option")`)
	p.do(chromedp.Focus("#scope"), chromedp.KeyEvent(attacker+kb.Enter))
	p.until("there is a result", `document.querySelector("#found").innerText`)
	require.Contains(t, p.text("#found"), "4 of 5 left")
}

func TestAScopeWithSpacesIsLookedUpFromItsRow(t *testing.T) {
	a := start(t, nil, dashboard.WithFullScopes())
	for range 1001 {
		a.send("GET", "/files/a", attacker, " customer ")
	}
	p := open(t, a.address)
	p.until("the client is listed", `document.querySelector("#rejected-list button")`)
	p.do(chromedp.Focus("#rejected-list tr:last-child button"), chromedp.KeyEvent(kb.Enter))
	p.until("there is a result", `document.querySelector("#found").innerText`)
	require.NotContains(t, p.text("#found"), "1,000 of 1,000", "another customer has that much left")
}

func TestFullScopesAreShownAsTextOnly(t *testing.T) {
	const evil = `<img src=x onerror="document.title='owned'">`
	a := start(t, nil, dashboard.WithFullScopes())
	for range 1100 {
		a.send("GET", "/files/a", attacker, evil)
	}
	p := open(t, a.address)
	p.until("the scope is shown", `[...document.querySelectorAll("#rejected-list .client")].some(one => one.textContent === `+quoted(evil)+`)`)
	require.Zero(t, p.nodes("main img"))
	require.Equal(t, "Rate limits", eval[string](p, "document.title"))
}

func TestAnOutageIsShownOnEveryChart(t *testing.T) {
	redistest.Need(t)
	server := redistest.Single(t)
	a := start(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"url": "redis://:not-a-secret@" + server.Addr + "/0"},
	})
	p := open(t, a.address)
	p.do(chromedp.EmulateViewport(1280, 2400)) // all charts are drawn
	server.Kill()
	a.load(t)
	p.until("the outage is shown", `document.querySelector("#status").dataset.level === "warn"`)
	require.Regexp(t, `^Degraded · Redis unavailable since \d\d:\d\d, limiting in memory$`, p.text("#status"))
	require.Contains(t, p.text("#facts"), "redis://"+server.Addr+"/0")
	require.NotContains(t, p.text("body"), "not-a-secret")
	p.until("decisions in memory are counted", `document.querySelector("#facts").innerText.match(/Decided in memory instead\s+[1-9]/)`)
	p.until("every chart is drawn", `document.querySelectorAll(".row").length === 6 && document.querySelectorAll("canvas").length === 7`)
	p.until("every chart shades the outage", `[...document.querySelectorAll("canvas")].every(one => (`+painted+`)(one, "--outage").count > 100)`)
	p.picture("outage")
}

func TestRequestsWithoutADecisionAreShown(t *testing.T) {
	redistest.Need(t)
	server := redistest.Single(t)
	server.Kill()
	a := start(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr}, "RATELIMITER_ON_ERROR": "deny",
	})
	p := open(t, a.address)
	a.load(t)
	p.until("the outage is shown", `document.querySelector("#status").textContent.startsWith("Failing · Redis unavailable since")`)
	require.Contains(t, p.text("#status"), "rejecting requests with status 503")
	require.Equal(t, "bad", eval[string](p, `document.querySelector("#status").dataset.level`))
	p.until("they are counted", `/, [1-9][\d,.]*\/s undecided/.test(document.querySelector("#sum-undecided").textContent)`)
}

func TestTheEndOfAnOutageIsShown(t *testing.T) {
	redistest.Need(t)
	server := redistest.Single(t)
	a := start(t, ratelimiter.Config{"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr}})
	p := open(t, a.address)
	a.load(t)
	p.until("the backend is healthy", `document.querySelector("#status").textContent === "Healthy · Redis, shared" && document.querySelector("#sum-p99").textContent !== "–"`)
	server.Kill()
	p.until("the outage is shown", `document.querySelector("#status").textContent.includes("Redis unavailable since")`)
	server.Start()
	p.until("the backend is healthy again", `document.querySelector("#status").textContent === "Healthy · Redis, shared"`)
	require.Contains(t, p.text("#facts"), "Last error")
	require.Contains(t, p.text("#facts"), "in the last hour")
	require.NotContains(t, p.text("#facts"), "ongoing")
}

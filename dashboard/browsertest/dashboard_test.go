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

func TestAPageShowsTheLimitsWhileTheyWork(t *testing.T) {
	a := start(t, nil)
	p := open(t, a.address)
	p.until("the page is live", `document.querySelector("#live").textContent === "live"`)
	require.Contains(t, p.text("#empty"), "No limit was asked yet")
	p.picture("empty")

	a.load(t)
	p.until("decisions are counted", `parseFloat(document.querySelector("#sum-decisions").textContent) > 0`)
	p.until("rejections are counted", `parseFloat(document.querySelector("#sum-rejected").textContent) > 0`)
	p.until("shadows are counted", `parseFloat(document.querySelector("#sum-shadowed").textContent) > 0`)
	require.Equal(t, 3, p.nodes(".card"), "a card for each route")
	require.Equal(t, []string{"per-minute", "shadow-per-minute"}, eval[[]string](p,
		`[...document.querySelectorAll("[data-route='GET /search'] .limit")].map(one => one.dataset.limit)`), "the shadow is beside the limit")
	require.Equal(t, 1, p.nodes(`[data-shadow=true] .tag`), "and is marked")
	p.until("charts are drawn", `document.querySelectorAll(".card canvas").length === 5`)

	p.until("the client that is rejected most is on top", `document.querySelector("#rejected .client").textContent.startsWith("203.0.113.x")`)
	require.NotContains(t, p.text("body"), attacker, "addresses are masked")
	require.Contains(t, p.text("#rejected"), "2001:db8:x#", "also those of IPv6")
	require.Contains(t, p.text("#near"), "203.0.113.x")
	require.Contains(t, p.text("#config"), "sliding-window")
	require.Equal(t, "The counters are in this process.", p.text("#state"))
	require.Zero(t, p.nodes("#reset"), "nothing can be reset unless it is allowed")

	before := eval[int](p, "+document.body.dataset.at")
	p.until("the page outlives the server's time-outs", `document.body.dataset.at > `+eval[string](p, "String(+document.body.dataset.at + 4)"))
	require.Greater(t, eval[int](p, "+document.body.dataset.at"), before)
	p.picture("light")
}

func TestAResetByKeyboardGivesAllOfTheLimitBack(t *testing.T) {
	a := start(t, nil, dashboard.WithReset())
	for range 5 {
		require.Equal(t, http.StatusOK, a.send("POST", "/login", attacker, ""))
	}
	require.Equal(t, http.StatusTooManyRequests, a.send("POST", "/login", attacker, ""))
	p := open(t, a.address)
	p.until("the key is known", `document.querySelector("#keys option")`)

	p.do(chromedp.Focus("#scope"), chromedp.KeyEvent(attacker+kb.Enter))
	p.until("what is left is shown", `document.querySelector("#found .left")?.textContent === "0 of 5"`)
	p.picture("lookup")
	// From the scope by Tab: the key, the button to look up, and the one to reset.
	p.do(chromedp.KeyEvent(kb.Tab + kb.Tab + kb.Tab))
	require.Equal(t, "reset", eval[string](p, "document.activeElement.id"))
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until("all is left again", `document.querySelector("#found .left")?.textContent === "5 of 5"`)
	require.Contains(t, p.text("#found"), "Reset on POST /login")
	require.Equal(t, "reset", eval[string](p, "document.activeElement.id"), "the keyboard stays where it was")
	require.Equal(t, http.StatusOK, a.send("POST", "/login", attacker, ""))
}

func TestAMaskedClientIsLookedUpFromItsRow(t *testing.T) {
	a := start(t, nil, dashboard.WithReset())
	for range 7 {
		a.send("POST", "/login", attacker, "")
	}
	p := open(t, a.address)
	p.until("the client is listed", `document.querySelector("#rejected button")`)
	eval[bool](p, `document.querySelector("#rejected button").focus() || true`)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until("what is left is shown", `document.querySelector("#found .left")?.textContent === "0 of 5"`)
	require.NotContains(t, p.text("body"), attacker)
	require.True(t, strings.HasPrefix(eval[string](p, `document.querySelector("#scope").value`), "203.0.113.x"))
	p.do(chromedp.Focus("#reset"), chromedp.KeyEvent(kb.Enter))
	p.until("all is left again", `document.querySelector("#found .left")?.textContent === "5 of 5"`)
}

func TestALoginInTheAddressIsNoHindrance(t *testing.T) {
	a := start(t, nil)
	a.send("POST", "/login", attacker, "")
	p := open(t, strings.Replace(a.address, "//", "//admin:secret@", 1))
	p.until("the key is known", `document.querySelector("#keys option")`)
	p.do(chromedp.Focus("#scope"), chromedp.KeyEvent(attacker+kb.Enter))
	p.until("the application has answered", `document.querySelector("#found").innerText`)
	require.Contains(t, p.text("#found"), "4 of 5")
}

func TestAScopeWithSpacesIsLookedUpFromItsRow(t *testing.T) {
	a := start(t, nil, dashboard.WithFullScopes())
	for range 40 {
		a.send("GET", "/files/a", attacker, " customer ")
	}
	p := open(t, a.address)
	p.until("the client is listed", `document.querySelector("#rejected button")`)
	p.do(chromedp.Focus("#rejected button"), chromedp.KeyEvent(kb.Enter))
	p.until("the application has answered", `document.querySelector("#found").innerText`)
	require.NotContains(t, p.text("#found"), "1,000 of 1,000", "which is what another customer has")
}

func TestScopesAreShownOnDemandAndNeverRun(t *testing.T) {
	const evil = `<img src=x onerror="document.title='owned'">`
	a := start(t, nil, dashboard.WithFullScopes())
	for range 1001 {
		a.send("GET", "/files/a", attacker, evil)
	}
	p := open(t, a.address)
	p.until("the scope is shown", `document.querySelector("#rejected .client")`)
	require.Equal(t, evil, p.text("#rejected .client"))
	require.Equal(t, "Rate limits", eval[string](p, "document.title"))
}

func TestNarrowWindowsAndBothSchemes(t *testing.T) {
	a := start(t, nil, dashboard.WithReset())
	a.load(t)
	p := open(t, a.address)
	p.scheme("light")
	p.until("there is something to see", `document.querySelector("#rejected td")`)
	light := eval[string](p, "getComputedStyle(document.body).backgroundColor")
	p.scheme("dark")
	require.NotEqual(t, light, eval[string](p, "getComputedStyle(document.body).backgroundColor"))
	p.until("there are lists", `document.querySelectorAll("#near tr").length >= 5`)
	p.picture("dark")
	p.do(chromedp.EmulateViewport(360, 740))
	require.LessOrEqual(t, eval[int](p, "document.documentElement.scrollWidth"), 360, "a narrow page scrolls only down")
	p.until("charts fit", `[...document.querySelectorAll("canvas")].every(one => one.getBoundingClientRect().right <= 360)`)
	p.picture("narrow-dark")
	p.scheme("light")
	p.picture("narrow-light")
	p.do(chromedp.EmulateViewport(1280, 900), chromedp.Focus("input[name=span]"), chromedp.KeyEvent(kb.ArrowRight))
	require.Equal(t, "hour", eval[string](p, "document.querySelector('input[name=span]:checked').value"))
	p.picture("hour")
}

func TestAnOutageIsTold(t *testing.T) {
	redistest.Need(t)
	server := redistest.Single(t)
	a := start(t, ratelimiter.Config{"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr}})
	p := open(t, a.address)
	a.load(t)
	p.until("all is well", `document.querySelector("#state").dataset.word === "ok" && document.querySelector("#sum-p99").textContent !== "–"`)
	p.picture("redis")
	server.Kill()
	p.until("the outage is told", `document.querySelector("#state").dataset.word === "away"`)
	require.Contains(t, p.text("#state"), "This process limits by itself.")
	p.until("the fallback is told", `document.querySelector("#facts").innerText.match(/decided by this process\s+[1-9]/)`)
	p.picture("outage")
	server.Start()
	p.until("all is well again", `document.querySelector("#state").dataset.word === "ok"`)
	require.Contains(t, p.text("#facts"), "it has last failed with")
}

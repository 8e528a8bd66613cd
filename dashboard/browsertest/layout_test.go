package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/stretchr/testify/require"
)

// painted counts the pixels of a canvas that have the colour of a CSS variable, whatever
// their opacity, and finds the leftmost one, as a share of the width.
const painted = `(canvas, name) => {
	const probe = document.createElement("canvas").getContext("2d");
	probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
	probe.fillRect(0, 0, 1, 1);
	const want = probe.getImageData(0, 0, 1, 1).data;
	const { width, height } = canvas, { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
	let count = 0, left = 1;
	for (let i = 0; i < data.length; i += 4) {
		if (data[i + 3] > 10 && [0, 1, 2].every(c => Math.abs(data[i + c] - want[c]) < 30)) {
			count++;
			left = Math.min(left, i / 4 % width / width);
		}
	}
	return { count, left };
}`

// hiddenNumbers lists the numbers that cannot be read at this width: outside the window, or
// cut off by an element that scrolls or hides what does not fit.
const hiddenNumbers = `(() => {
	const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const text = walk.currentNode, owner = text.parentElement;
		if (!/\d/.test(text.data) || owner.closest("script, noscript, datalist, .hidden, .skip, [hidden], details:not([open]) > :not(summary)")) continue;
		const range = document.createRange();
		range.selectNodeContents(text);
		const boxes = [...range.getClientRects()];
		let readable = boxes.length > 0 && boxes.every(box => box.width > 0 && box.left >= 0 && box.right <= innerWidth + 0.5);
		for (let at = owner; readable && at; at = at.parentElement) {
			const style = getComputedStyle(at), frame = at.getBoundingClientRect();
			if (style.visibility !== "visible" || style.opacity === "0") readable = false;
			if (at !== document.documentElement && at !== document.body && style.overflowX !== "visible") {
				readable = readable && boxes.every(box => box.left >= frame.left - 0.5 && box.right <= frame.right + 0.5);
			}
		}
		if (!readable) found.push(text.data);
	}
	return found;
})()`

// scrollsSideways lists the elements that have more to the side than they show.
const scrollsSideways = `[...document.querySelectorAll("body, body *")].filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0 &&
	["auto", "scroll"].includes(getComputedStyle(one).overflowX) || one === document.body && one.scrollWidth > innerWidth).map(one => one.id || one.className)`

func TestANarrowPageShowsEveryNumberAndScrollsOnlyDown(t *testing.T) {
	a := start(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "1000/minute"}, dashboard.WithReset())
	a.load(t)
	p := open(t, a.address)
	for range 7 {
		a.send("POST", "/login", attacker, "")
	}
	p.until("there is something to see", `document.querySelectorAll("#rejected-list tr").length > 3 && document.querySelectorAll(".row").length === 7`)
	p.do(chromedp.Focus("#scope"), chromedp.KeyEvent(attacker+kb.Enter))
	p.until("a client is looked up", `document.querySelector("#found .left")`)
	eval[bool](p, `document.querySelectorAll(".row details").forEach(one => one.open = true) || true`)
	for _, width := range []int{1280, 800, 390, 360} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p.t = t
			p.do(chromedp.EmulateViewport(int64(width), 844))
			p.until("charts fit", `[...document.querySelectorAll("canvas")].every(one => one.getBoundingClientRect().right <= innerWidth)`)
			require.Empty(t, eval[[]string](p, scrollsSideways))
			require.LessOrEqual(t, eval[int](p, "document.documentElement.scrollWidth"), width)
			require.Empty(t, eval[[]string](p, hiddenNumbers))
			p.picture(fmt.Sprint("width-", width))
		})
	}
}

func TestTheBarCoversNoAnchor(t *testing.T) {
	a := start(t, nil)
	a.load(t)
	p := open(t, a.address)
	p.until("there is something to see", `document.querySelectorAll(".row").length === 6`)
	for _, size := range [][2]int64{{1280, 700}, {390, 844}} {
		p.do(chromedp.EmulateViewport(size[0], size[1]))
		for _, anchor := range eval[[]string](p, `[...document.querySelectorAll("a[href^='#']")].map(one => one.getAttribute("href"))`) {
			eval[bool](p, `scrollTo(0, 0) || document.querySelector("a[href='`+anchor+`']").click() || true`)
			p.until(anchor+" is below the bar", `(() => {
				const bar = document.querySelector("#bar").getBoundingClientRect().bottom;
				const { top } = document.querySelector("`+anchor+` h2").getBoundingClientRect();
				return top >= bar && top < innerHeight;
			})()`)
		}
	}
}

func TestBothSchemesAndBothTimeRanges(t *testing.T) {
	a := start(t, nil)
	a.load(t)
	p := open(t, a.address)
	p.scheme("light")
	p.until("there is something to see", `document.querySelectorAll("#closest-list tr").length >= 5`)
	light := eval[string](p, "getComputedStyle(document.body).backgroundColor")
	p.scheme("dark")
	require.NotEqual(t, light, eval[string](p, "getComputedStyle(document.body).backgroundColor"))
	p.until("charts have the colours of the scheme", `(`+painted+`)(document.querySelector(".row canvas"), "--rejected").count > 5`)
	p.picture("dark")
	p.scheme("light")
	p.do(chromedp.Focus("input[name=span]"), chromedp.KeyEvent(kb.ArrowRight))
	require.Equal(t, "hour", eval[string](p, "document.querySelector('input[name=span]:checked').value"))
	p.picture("hour")
}

func TestAChartHasAGapBeforeTheProcessBegan(t *testing.T) {
	a := start(t, nil)
	a.load(t)
	p := open(t, a.address)
	p.until("a line is drawn", `document.querySelector(".row canvas") && (`+painted+`)(document.querySelector(".row canvas"), "--requests").count > 5`)
	// The process is some seconds old, of the five minutes that the chart shows.
	require.Greater(t, eval[float64](p, `(`+painted+`)(document.querySelector(".row canvas"), "--requests").left`), 0.7)
}

func TestALimitIsALineOnlyIfAllClientsShareIt(t *testing.T) {
	a := start(t, nil)
	a.load(t)
	p := open(t, a.address)
	p.do(chromedp.EmulateViewport(1280, 2000))
	p.until("charts are drawn", `document.querySelectorAll(".row canvas").length === 6`)
	p.until("the limit of 3,700 requests/s is a line", `(`+painted+`)(document.querySelector("[data-limit=all] canvas"), "--limit").count > 100`)
	require.Contains(t, p.text("[data-limit=all]"), "3,700/second for all clients together")
	require.Zero(t, eval[int](p, `(`+painted+`)(document.querySelector("[data-limit=per-hour] canvas"), "--limit").count`))
	require.Contains(t, p.text("[data-limit=per-hour]"), "for each client")
}

package ratelimiter

import (
	"net/http"
	"strconv"
	"time"
	"unsafe"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// headerTexts is memory for the header values of one response. Other middlewares may
// change the headers and keep them after the request, so responses must not share it.
type headerTexts struct {
	values [5][1]string
	// buffer holds the values that differ between requests. It is written once.
	buffer [56]byte
}

func (t *headerTexts) set(header http.Header, i int, name, value string) {
	t.values[i][0] = value
	header[name] = t.values[i][:]
}

// writeHeaders writes the limit that is closest to rejecting into the X-RateLimit
// headers, and all limits into the RateLimit headers of
// draft-ietf-httpapi-ratelimit-headers-11. If a route has several RateLimits, each adds
// to the headers of the earlier ones.
func (q *request) writeHeaders(header http.Header, t *headerTexts) {
	if !q.oneLimit || len(header) > 0 && (header[headers.Policy] != nil || header[headers.RateLimit] != nil) {
		q.addHeaders(header, t)
		return
	}
	l := &q.limits[0]
	text, parts := headers.AppendValues(t.buffer[:0], l.name, q.verdict.Remaining, q.verdict.ResetAfter, q.resetAt(&q.verdict))
	all := unsafe.String(unsafe.SliceData(text), len(text)) // no copy, because text no longer changes
	if q.standardHeaders {
		t.set(header, 0, headers.Policy, q.policy)
		t.set(header, 1, headers.RateLimit, all[:parts.Limit])
	}
	if q.xHeaders {
		t.set(header, 2, headers.Limit, l.number)
		t.set(header, 3, headers.Remaining, all[parts.RemainingFrom:parts.RemainingTo])
		t.set(header, 4, headers.Reset, all[parts.Limit:])
	}
}

// resetAt returns the time at which the full limit is available again, in Unix seconds,
// rounded up. A time less than a millisecond after a full second is rounded down, because
// windows end on full seconds and the clocks of the backend and of this process differ
// slightly.
func (q *request) resetAt(v *backends.Verdict) int64 {
	return (q.at + v.ResetAfter.Microseconds() + 999_000) / 1_000_000
}

// addHeaders is writeHeaders for several limits, or if there are headers already.
func (q *request) addHeaders(header http.Header, t *headerTexts) {
	var space [192]byte
	b := space[:0]
	if q.standardHeaders {
		t.set(header, 0, headers.Policy, q.policies(header[headers.Policy]))
		b = q.appendLimits(b, header[headers.RateLimit])
	}
	limits := len(b)
	b = strconv.AppendInt(b, q.verdict.Remaining, 10)
	remaining := len(b)
	all := string(strconv.AppendInt(b, q.resetAt(&q.verdict), 10))
	if q.standardHeaders {
		t.set(header, 1, headers.RateLimit, all[:limits])
	}
	if q.xHeaders && !q.earlier.showsStricter(q) {
		t.set(header, 2, headers.Limit, q.number(q.closest))
		t.set(header, 3, headers.Remaining, all[limits:remaining])
		t.set(header, 4, headers.Reset, all[remaining:])
	}
	if q.hasEarlierDrafts() {
		q.writeEarlierDrafts(header)
	}
}

// number returns the limit for the headers. It is the capacity, so that limit − remaining
// is the number of units used.
func (q *request) number(i int) string {
	if known := q.limitOf(i).number; known != "" {
		return known
	}
	return strconv.FormatInt(q.decision.quotas[i].Capacity(), 10)
}

// showsStricter reports whether the X-RateLimit headers already show a limit of this
// request, or of an earlier one, that is at least as strict as the limits of other.
func (q *request) showsStricter(other *request) bool {
	for ; q != nil; q = q.earlier {
		if q.at != 0 && q.xHeaders && !q.isShadow(q.closest) && !other.standing(other.closest).stricter(q.standing(q.closest)) {
			return true
		}
	}
	return false
}

// policies returns the value of RateLimit-Policy.
func (q *request) policies(existing []string) string {
	if q.policy != "" && len(existing) == 0 {
		return q.policy
	}
	var b []byte
	if len(existing) > 0 {
		b = headers.AppendOthers(b, existing, q.hasLimit)
	}
	for i := range q.count() {
		if quota := q.quotaOf(i); !quota.Shadow {
			b = q.limitOf(i).appendPolicy(headers.AppendSeparator(b), quota.Limit)
			b = q.appendPartition(b, quota)
		}
	}
	return string(b)
}

// appendLimits appends the value of RateLimit. Shadow limits are left out, because a
// client should not slow down for a limit that is only being tried.
func (q *request) appendLimits(b []byte, existing []string) []byte {
	if len(existing) > 0 {
		b = headers.AppendOthers(b, existing, q.hasLimit)
	}
	for i := range q.count() {
		if !q.isShadow(i) {
			b = q.appendLimit(headers.AppendSeparator(b), i, q.verdictOf(i))
		}
	}
	return b
}

// appendPolicy appends the RateLimit-Policy item of a limit.
func (l *boundLimit) appendPolicy(b []byte, limit int64) []byte {
	b = headers.AppendPolicy(b, l.name, limit, l.period())
	if l.concurrent {
		b = headers.AppendUnit(b, headers.ConcurrentRequests)
	}
	return b
}

func (q *request) appendLimit(b []byte, i int, v *backends.Verdict) []byte {
	if l := q.limitOf(i); l.concurrent {
		b = headers.AppendRemaining(b, l.name, v.Remaining)
	} else {
		b = headers.AppendLimit(b, l.name, v.Remaining, v.ResetAfter)
	}
	return q.appendPartition(b, q.quotaOf(i))
}

// appendPartition appends the partition key of a quota if there is a secret.
func (q *request) appendPartition(b []byte, quota *backends.Quota) []byte {
	if q.settings.secret == "" {
		return b
	}
	return headers.AppendPartition(b, q.settings.secret, quota.Key, quota.Scope)
}

// hasLimit reports whether a limit has this name. Its item in an existing header is
// replaced, because the request has passed the middlewares before (see
// gin.Engine.HandleContext).
func (q *request) hasLimit(name string) bool { return q.indexOfLimit(name) >= 0 }

// indexOfLimit returns the index of the limit with a name, or -1.
func (q *request) indexOfLimit(name string) int {
	for i := range q.count() {
		if !q.isShadow(i) && q.limitOf(i).name == name {
			return i
		}
	}
	return -1
}

// rewriteLimits corrects the RateLimit header after units of this request or of earlier
// ones were refunded.
func (q *request) rewriteLimits(header http.Header) {
	existing := header[headers.RateLimit]
	if len(existing) == 0 {
		return
	}
	var b []byte
	for _, list := range existing {
		for item := ""; list != ""; {
			item, list = headers.CutItem(list)
			b = q.appendCurrent(headers.AppendSeparator(b), item)
		}
	}
	header[headers.RateLimit] = []string{string(b)}
}

// appendCurrent appends an item of the RateLimit header, with current numbers if it is
// one of our limits.
func (q *request) appendCurrent(b []byte, item string) []byte {
	name := headers.ItemName(item)
	for ; q != nil; q = q.earlier {
		if i, t := q.indexOfLimit(name), q.ledger.Load(); i >= 0 && t != nil {
			left := t.leftOf(i)
			return q.appendLimit(b, i, &left)
		}
	}
	return append(b, item...)
}

// rewriteHeaders corrects all headers after a refund, unless they have been sent. Call it
// on the last request of the chain, because any request may have the strictest limit.
func (q *request) rewriteHeaders(c *gin.Context) {
	if c.Writer.Written() {
		return
	}
	header := c.Writer.Header()
	q.rewriteLimits(header)
	q.writeEarlierDrafts(header)
	if header[headers.Remaining] == nil {
		return
	}
	var strictest *request
	var closest int
	var best standing
	for e := q; e != nil; e = e.earlier {
		if e.at == 0 || !e.xHeaders {
			continue
		}
		for i := range e.count() {
			if now := e.currentStanding(i); strictest == nil || now.stricter(best) {
				strictest, closest, best = e, i, now
			}
		}
	}
	if strictest != nil && !best.shadow {
		header[headers.Limit] = []string{strictest.number(closest)}
		header[headers.Remaining] = []string{strconv.FormatInt(best.Remaining, 10)}
		header[headers.Reset] = []string{strconv.FormatInt(strictest.resetAt(best.Verdict), 10)}
	}
}

// currentStanding returns the state of a limit after the last correction of the cost.
func (q *request) currentStanding(i int) standing {
	s := q.standing(i)
	if t := q.ledger.Load(); t != nil {
		left := t.leftOf(i)
		s.Verdict = &left
	}
	return s
}

// reject answers a request that is over a limit.
func (q *request) reject(c *gin.Context) {
	c.Abort()
	if q.earlier != nil {
		q.earlier.refundAll(c)
		q.rewriteHeaders(c)
	}
	if q.verdict.RetryAfter >= 0 {
		seconds := max(1, headers.SecondsUp(q.verdict.RetryAfter))
		c.Writer.Header()[headers.RetryAfter] = []string{strconv.FormatInt(seconds, 10)}
	}
	overLimit := q.overLimit
	if overLimit == nil {
		overLimit = q.settings.overLimit
	}
	if overLimit != nil {
		c.Status(http.StatusTooManyRequests)
		overLimit(c)
		return
	}
	answer(c, http.StatusTooManyRequests, q.rejection())
}

// rejection returns the problem document of a rejected request. It describes the limit
// that is closest to rejecting and names all limits that reject.
func (q *request) rejection() []byte {
	if q.decision == nil && q.verdict.RetryAfter >= 0 {
		return q.limits[0].rejection
	}
	d := q.details()
	quota, violated := &d.quotas[q.closest], d.violated()
	switch neverAllowed := q.verdict.RetryAfter < 0; {
	case d.limits[q.closest].banned:
		return headers.Banned(violated)
	case neverAllowed && quota.Limit == 0:
		return headers.NothingAllowed(violated)
	case neverAllowed:
		return headers.CostsTooMuch(quota.Cost, quota.Capacity(), violated)
	case q.isConcurrent() && q.limits[0].rejection != nil:
		return q.limits[0].rejection
	}
	return d.limits[q.closest].limitRule.rejection(quota.Limit, violated)
}

// rejection returns the problem document of a limit for a request that may try again
// later.
func (l *limitRule) rejection(limit int64, violated []string) []byte {
	if l.concurrent {
		return headers.TooManyInProgress(limit, violated)
	}
	return headers.Rejection(limit, l.unit(), l.per, violated)
}

// unit returns the plural of what the limit counts.
func (l *limitRule) unit() string {
	if l.hasCost {
		return "units"
	}
	return "requests"
}

// violated returns the names of the limits that rejected the request.
func (d *decision) violated() (names []string) {
	for i := range d.verdicts {
		if !d.verdicts[i].Allowed && !d.quotas[i].Shadow {
			names = append(names, d.limits[i].name)
		}
	}
	return names
}

// answerUnavailable answers a request that the backend could not decide.
func (q *request) answerUnavailable(c *gin.Context, err error) {
	c.Writer.Header()[headers.RetryAfter] = []string{"1"}
	if q.settings.onUnavailable == nil {
		answerError(c, http.StatusServiceUnavailable, err)
		return
	}
	_ = c.Error(err) // returns its argument
	c.Abort()
	c.Status(http.StatusServiceUnavailable)
	q.settings.onUnavailable(c)
}

// answerError answers a request that could not be decided. The reason goes into the
// errors of the context, for the application, and not into the response.
func answerError(c *gin.Context, status int, err error) {
	_ = c.Error(err) // returns its argument
	answer(c, status, headers.Error(status))
}

func answer(c *gin.Context, status int, document []byte) {
	c.Abort()
	contentType := headers.ProblemJSON
	header := c.Writer.Header()
	header["Vary"] = append(header["Vary"], "Accept")
	if headers.PrefersHTML(c.GetHeader("Accept")) {
		contentType, document = "text/html; charset=utf-8", headers.Page(document, header.Get(headers.RetryAfter))
	}
	c.Header("Content-Type", contentType) // Data does not replace an existing Content-Type
	c.Data(status, contentType, document)
}

// standing is the state of one limit after a decision, for comparison.
type standing struct {
	*backends.Verdict
	shadow bool
	fullAt time.Duration // when the full limit is available again, since the Unix epoch
}

func (q *request) standing(i int) standing {
	v := q.verdictOf(i)
	return standing{v, q.isShadow(i), time.Duration(q.at)*time.Microsecond + v.ResetAfter}
}

// stricter reports whether a is closer to rejecting than b, or has rejected and b has
// not. Shadow limits come last.
func (a standing) stricter(b standing) bool {
	switch {
	case a.shadow != b.shadow:
		return b.shadow
	case a.Allowed != b.Allowed:
		return b.Allowed
	case !a.Allowed && (a.RetryAfter < 0) != (b.RetryAfter < 0):
		return a.RetryAfter < 0
	case !a.Allowed:
		return a.RetryAfter > b.RetryAfter
	case a.Remaining != b.Remaining:
		return a.Remaining < b.Remaining
	}
	return a.fullAt > b.fullAt
}

package ratelimiter

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// The headers, written as the standards and other servers write them, which is
// not how http.Header.Set would.
const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
	headerPolicy    = "RateLimit-Policy"
	headerRateLimit = "RateLimit"
	headerRetry     = "Retry-After"
)

// writeHeaders tells the client about its limits: the one that is closest to
// refusing in the X-RateLimit headers, all of them in the RateLimit headers of
// draft-ietf-httpapi-ratelimit-headers-11, one item each. Where several
// middlewares stand on a route, the later adds to what the earlier wrote.
func (d *decision) writeHeaders(c *gin.Context, info *Info) {
	x, standard := d.settings.xHeaders, d.settings.rateLimitHeaders
	if d.rule.headers != nil {
		x, standard = *d.rule.headers, *d.rule.headers
	}
	header := c.Writer.Header()
	if x {
		earlier, ok := c.Get(contextKey{})
		if _, written := header[headerLimit]; !written || !ok || !earlier.(*Info).closer(info) {
			header[headerLimit] = []string{strconv.FormatInt(info.Limit, 10)}
			header[headerRemaining] = []string{strconv.FormatInt(info.Remaining, 10)}
			header[headerReset] = []string{strconv.FormatInt(unixUp(info.Reset), 10)}
		}
	}
	if standard {
		for i := range d.quotas {
			name := `"` + d.about[i].name + `"`
			q, v := &d.quotas[i], &d.verdicts[i]
			appendItem(header, headerPolicy, name+";q="+strconv.FormatInt(q.Limit, 10)+";w="+strconv.FormatInt(secondsUp(q.Per), 10))
			appendItem(header, headerRateLimit, name+";r="+strconv.FormatInt(v.Remaining, 10)+";t="+strconv.FormatInt(secondsUp(v.ResetAfter), 10))
		}
	}
}

// appendItem adds an item to a list in a header.
func appendItem(header http.Header, name, item string) {
	if list := header[name]; len(list) > 0 {
		item = list[0] + ", " + item
	}
	header[name] = []string{item}
}

// writeRetryAfter tells when to come back. Where waiting does not help, a period
// is the time after which asking again is no nuisance.
func writeRetryAfter(c *gin.Context, info *Info) {
	wait := info.RetryAfter
	if wait < 0 {
		wait = info.Per
	}
	c.Writer.Header()[headerRetry] = []string{strconv.FormatInt(max(1, secondsUp(wait)), 10)}
}

// secondsUp is a duration in whole seconds, rounded up, so that nobody comes
// back too early.
func secondsUp(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

func unixUp(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// problem is a problem document of RFC 9457.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Violated []string `json:"violated-policies,omitempty"`
}

// refuse answers a request that is over the limit.
func refuse(c *gin.Context, info *Info, violated []string) {
	detail := "At most " + strconv.FormatInt(info.Limit, 10) + " in " + strings.TrimPrefix(policyName(info.Per), "per-") + " are allowed."
	if info.Limit == 0 {
		detail = "Nothing is allowed here at present."
	}
	answer(c, problem{
		Type:     "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Title:    "Rate limit was exceeded",
		Status:   http.StatusTooManyRequests,
		Detail:   detail,
		Violated: violated,
	})
}

// fail answers a request that could not be decided, and reports why through the
// context: to the application, not to the client.
func fail(c *gin.Context, status int, err error) {
	_ = c.Error(err) // it returns what it was given
	if status == http.StatusServiceUnavailable {
		c.Writer.Header()[headerRetry] = []string{"1"}
	}
	answer(c, problem{Type: "about:blank", Title: http.StatusText(status), Status: status})
}

func answer(c *gin.Context, p problem) {
	c.Abort()
	body, err := json.Marshal(p)
	if err != nil { // cannot be: it holds texts and a number
		c.Status(http.StatusInternalServerError)
		return
	}
	c.Data(p.Status, "application/problem+json", body)
}

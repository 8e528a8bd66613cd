package ratelimiter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
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

// headerValues are the values of a request's headers. They may be written long
// after the middleware has returned, and changed by others until then.
type headerValues [5][1]string

func (values *headerValues) set(header http.Header, i int, name, value string) {
	values[i][0] = value
	header[name] = values[i][:]
}

// writeHeaders tells the client about its limits: the one that is closest to
// refusing in the X-RateLimit headers, all of them in the RateLimit headers of
// draft-ietf-httpapi-ratelimit-headers-11, one item each. Where several
// middlewares stand on a route, the later adds to what the earlier wrote.
//
// What differs from request to request is written into one buffer, of which the
// values are parts.
func (d *decision) writeHeaders(header http.Header, rule *rule, values *headerValues) {
	x, standard := rule.sends(d.settings)
	d.about[d.closest].inX = x
	for e := d.earlier; x && e != nil; e = e.earlier {
		shown := len(e.verdicts) > 0 && e.about[e.closest].inX
		x = !shown || !e.standing(e.closest).closer(d.standing(d.closest))
	}
	v := &d.verdicts[d.closest]
	var space [128]byte
	b := space[:0]
	if standard {
		b = d.appendRateLimit(b, header[headerRateLimit])
	}
	left := len(b)
	if x {
		b = strconv.AppendInt(b, v.Remaining, 10)
	}
	reset := len(b)
	if x {
		b = strconv.AppendInt(b, secondsUp(d.at+v.ResetAfter), 10)
	}
	text := string(b)
	if standard {
		values.set(header, 0, headerPolicy, d.policy(rule, header[headerPolicy]))
		values.set(header, 1, headerRateLimit, text[:left])
	}
	if x {
		values.set(header, 2, headerLimit, d.limit())
		values.set(header, 3, headerRemaining, text[left:reset])
		values.set(header, 4, headerReset, text[reset:])
	}
}

// limit is the number of the limit that is closest to refusing.
func (d *decision) limit() string {
	if known := d.about[d.closest].limit.number; known != "" {
		return known
	}
	return strconv.FormatInt(d.quotas[d.closest].Limit, 10)
}

// policy lists what the limits are.
func (d *decision) policy(rule *rule, earlier []string) string {
	if rule.policy != "" && d.earlier == nil && len(earlier) == 0 && d.settings.secret == "" {
		return rule.policy
	}
	b := d.appendEarlier(nil, earlier)
	listed := 0
	for i, about := range d.about[:len(d.verdicts)] {
		if d.quotas[i].Shadow {
			continue
		}
		listed++
		b = appendPolicy(b, listed-1, about.name(), d.quotas[i].Limit, d.quotas[i].Per)
		b = d.appendPartition(b, i)
	}
	return string(b)
}

// appendPolicy writes what a limit is: "per-minute";q=100;w=60. Names need no
// escapes; see WithName.
func appendPolicy(b []byte, i int, name string, limit int64, per time.Duration) []byte {
	b = append(append(appendComma(b, i), '"'), name...)
	b = strconv.AppendInt(append(b, `";q=`...), limit, 10)
	return strconv.AppendInt(append(b, ";w="...), secondsUp(per), 10)
}

// appendRateLimit lists what is left of the limits: "per-minute";r=50;t=30
func (d *decision) appendRateLimit(b []byte, earlier []string) []byte {
	b = d.appendEarlier(b, earlier)
	listed := 0
	for i := range d.verdicts {
		if d.quotas[i].Shadow {
			continue // a client must not heed what is only being tried
		}
		b = d.appendLeft(appendComma(b, listed), i, &d.verdicts[i])
		listed++
	}
	return b
}

func (d *decision) appendLeft(b []byte, i int, v *backends.Verdict) []byte {
	b = append(append(append(b, '"'), d.about[i].name()...), `";r=`...)
	b = strconv.AppendInt(b, v.Remaining, 10)
	b = strconv.AppendInt(append(b, ";t="...), secondsUp(v.ResetAfter), 10)
	return d.appendPartition(b, i)
}

// writeGivenBack lets the RateLimit header tell what is left of these limits, and of
// those before, now that a request that one behind refuses has given its units back.
func (d *decision) writeGivenBack(header http.Header) {
	var b []byte
	for _, list := range header[headerRateLimit] {
		for item := ""; list != ""; {
			item, list = cutItem(list)
			b = d.appendNow(appendComma(b, len(b)), item)
		}
	}
	if b != nil {
		header[headerRateLimit] = []string{string(b)}
	}
}

// appendNow writes the item of a limit as that is now, and any other as it is.
func (d *decision) appendNow(b []byte, item string) []byte {
	for ; d != nil; d = d.earlier {
		t := d.taken.Load()
		if i := d.listed(item); i >= 0 && t != nil {
			return d.appendLeft(b, i, &t.left[i])
		}
	}
	return append(b, item...)
}

// appendPartition names whose quota it is, if there is a secret to hide that in:
// ;pk=:c2VjcmV0:
func (d *decision) appendPartition(b []byte, i int) []byte {
	if d.settings.secret == "" {
		return b
	}
	q := &d.quotas[i]
	sealed := hmac.New(sha256.New, []byte(d.settings.secret))
	fmt.Fprintf(sealed, "%d %s %s", len(q.Key), q.Key, q.Scope)
	b = append(b, ";pk=:"...)
	b = base64.StdEncoding.AppendEncode(b, sealed.Sum(nil)[:partitionBytes])
	return append(b, ':')
}

// partitionBytes is how much of an HMAC makes a partition key.
const partitionBytes = 12

// appendEarlier puts what is there already before our items. An item of the same name
// gives way: the request has passed the middlewares before (see gin.Engine.HandleContext).
func (d *decision) appendEarlier(b []byte, earlier []string) []byte {
	for _, list := range earlier {
		for item := ""; list != ""; {
			if item, list = cutItem(list); d.listed(item) < 0 {
				b = append(append(b, item...), ", "...)
			}
		}
	}
	return b
}

// listed finds the limit that an item has the name of, -1 for none.
func (d *decision) listed(item string) int {
	return slices.IndexFunc(d.about[:len(d.verdicts)], func(a about) bool {
		return !a.limit.shadow && strings.HasPrefix(item, `"`+a.name()+`"`)
	})
}

// cutItem cuts the first item off a list of structured fields.
func cutItem(list string) (item, rest string) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			i++ // what is behind it is no quote
		case c == ',' && !quoted:
			return strings.TrimSpace(list[:i]), strings.TrimSpace(list[i+1:])
		}
	}
	return list, ""
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ", "...)
	}
	return b
}

// writeRetryAfter tells when to come back. Where waiting does not help, a period
// is the time after which asking again is no nuisance.
func writeRetryAfter(c *gin.Context, q *backends.Quota, v *backends.Verdict) {
	wait := v.RetryAfter
	if wait < 0 {
		wait = q.Per
	}
	c.Writer.Header()[headerRetry] = []string{strconv.FormatInt(max(1, secondsUp(wait)), 10)}
}

// secondsUp is a duration in whole seconds, rounded up, so that nobody comes
// back too early.
func secondsUp(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

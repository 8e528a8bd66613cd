package ratelimiter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
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
	if before := d.earlier.strictest(); x && before != nil && !before.quotas[before.closest].Shadow && len(header[headerLimit]) > 0 {
		x = !before.standing(before.closest).closer(d.standing(d.closest))
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
	if rule.policy != "" && len(earlier) == 0 && d.settings.secret == "" {
		return rule.policy
	}
	b := appendEarlier(nil, earlier)
	listed := 0
	for i, about := range d.about[:len(d.verdicts)] {
		if d.quotas[i].Shadow {
			continue
		}
		listed++
		b = appendPolicy(b, listed-1, about.limit.name, d.quotas[i].Limit, d.quotas[i].Per)
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
	b = appendEarlier(b, earlier)
	listed := 0
	for i, about := range d.about[:len(d.verdicts)] {
		if d.quotas[i].Shadow {
			continue // a client must not heed what is only being tried
		}
		b = append(appendComma(b, listed), about.limit.left...)
		listed++
		b = strconv.AppendInt(b, d.verdicts[i].Remaining, 10)
		b = strconv.AppendInt(append(b, ";t="...), secondsUp(d.verdicts[i].ResetAfter), 10)
		b = d.appendPartition(b, i)
	}
	return b
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

// appendEarlier puts what another middleware has written before our items.
func appendEarlier(b []byte, earlier []string) []byte {
	for _, list := range earlier {
		b = append(append(b, list...), ", "...)
	}
	return b
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

package ratelimiter

import (
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

// record is what a request keeps of its decision: for FromContext, for the
// middlewares behind, and for the headers, whose values may be written long after
// the middleware has returned.
type record struct {
	info    Info
	values  [5][1]string
	earlier *record // of the middleware before, if any
	// settings are those of the extension whose backend has charged quotas.
	settings *settings
	quotas   []backends.Quota
	one      [1]backends.Quota // spares an allocation
	passed   []backends.Quota  // those that were unlimited
}

// closest is what the middlewares up to this one have decided, as far as it is
// closest to refusing: nil if none has decided anything.
func (rec *record) closest() (closest *Info) {
	for ; rec != nil; rec = rec.earlier {
		if rec.info.Limit != Unlimited && (closest == nil || !closest.closer(&rec.info)) {
			closest = &rec.info
		}
	}
	return closest
}

// writeHeaders tells the client about its limits: the one that is closest to
// refusing in the X-RateLimit headers, all of them in the RateLimit headers of
// draft-ietf-httpapi-ratelimit-headers-11, one item each. Where several
// middlewares stand on a route, the later adds to what the earlier wrote.
//
// Whatever can differ from request to request is written into one buffer, of
// which the values are parts.
func (d *decision) writeHeaders(header http.Header, rec *record, earlier *Info) {
	x, standard := d.settings.xHeaders, d.settings.rateLimitHeaders
	if d.rule.headers != nil {
		x, standard = *d.rule.headers, *d.rule.headers
	}
	if !x && !standard {
		return
	}
	if x && earlier != nil && earlier.closer(&rec.info) && len(header[headerLimit]) > 0 {
		x = false
	}
	var space [192]byte
	b := space[:0]
	var ends [4]int
	if x {
		b = strconv.AppendInt(b, rec.info.Limit, 10)
		ends[0] = len(b)
		b = strconv.AppendInt(b, rec.info.Remaining, 10)
		ends[1] = len(b)
		b = strconv.AppendInt(b, unixUp(rec.info.Reset), 10)
	}
	ends[2] = len(b)
	if standard {
		b = d.appendPolicy(b, header[headerPolicy])
		ends[3] = len(b)
		b = d.appendRateLimit(b, header[headerRateLimit])
	}
	text := string(b)
	if x {
		rec.set(header, 0, headerLimit, text[:ends[0]])
		rec.set(header, 1, headerRemaining, text[ends[0]:ends[1]])
		rec.set(header, 2, headerReset, text[ends[1]:ends[2]])
	}
	if standard {
		rec.set(header, 3, headerPolicy, text[ends[2]:ends[3]])
		rec.set(header, 4, headerRateLimit, text[ends[3]:])
	}
}

func (rec *record) set(header http.Header, i int, name, value string) {
	rec.values[i][0] = value
	header[name] = rec.values[i][:]
}

// appendPolicy lists what the limits are: "per-minute";q=100;w=60
func (d *decision) appendPolicy(b []byte, earlier []string) []byte {
	b = appendEarlier(b, earlier)
	for i := range d.quotas {
		b = appendName(b, i, d.about[i].name)
		b = strconv.AppendInt(append(b, ";q="...), d.quotas[i].Limit, 10)
		b = strconv.AppendInt(append(b, ";w="...), secondsUp(d.quotas[i].Per), 10)
	}
	return b
}

// appendRateLimit lists what is left of them: "per-minute";r=50;t=30
func (d *decision) appendRateLimit(b []byte, earlier []string) []byte {
	b = appendEarlier(b, earlier)
	for i := range d.quotas {
		b = appendName(b, i, d.about[i].name)
		b = strconv.AppendInt(append(b, ";r="...), d.verdicts[i].Remaining, 10)
		b = strconv.AppendInt(append(b, ";t="...), secondsUp(d.verdicts[i].ResetAfter), 10)
	}
	return b
}

// appendEarlier puts what another middleware has written before our items.
func appendEarlier(b []byte, earlier []string) []byte {
	for _, list := range earlier {
		b = append(append(b, list...), ", "...)
	}
	return b
}

// appendName begins an item. Names need no escapes; see WithName.
func appendName(b []byte, i int, name string) []byte {
	if i > 0 {
		b = append(b, ", "...)
	}
	return append(append(append(b, '"'), name...), '"')
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

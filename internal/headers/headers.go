// Package headers formats what a client is told about its limits: the X-RateLimit,
// RateLimit and RateLimit-Policy headers, and the body of a rejection. It handles neither
// requests nor responses.
//
// The RateLimit headers follow draft-ietf-httpapi-ratelimit-headers-11, which builds on the
// structured fields of RFC 9651. The X-RateLimit headers have no standard; they are those
// of GitHub and many others.
package headers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
)

// Header names in the canonical form of http.Header. Code that writes to the map directly
// must use this form, otherwise Get and Del do not find the header.
const (
	Limit      = "X-Ratelimit-Limit"
	Remaining  = "X-Ratelimit-Remaining"
	Reset      = "X-Ratelimit-Reset"
	Policy     = "Ratelimit-Policy"
	RateLimit  = "Ratelimit"
	RetryAfter = "Retry-After"
)

// ConcurrentRequests is the quota unit of a limit on requests in progress; see AppendUnit.
const ConcurrentRequests = "concurrent-requests"

// ValidName reports whether a name can be quoted without escapes: at least one printable
// ASCII character, and no quote or backslash. Names passed to the Append functions must be
// valid.
func ValidName(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\' {
			return false
		}
	}
	return name != ""
}

// SecondsUp returns a duration in whole seconds, rounded up, so that no client retries too
// early. d may be any duration.
func SecondsUp(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	return seconds
}

// AppendPolicy appends the RateLimit-Policy item of a limit: "per-minute";q=100;w=60. If
// per is 0, the limit has no window, and w is left out.
func AppendPolicy(b []byte, name string, limit int64, per time.Duration) []byte {
	b = append(append(append(b, '"'), name...), `";q=`...)
	b = strconv.AppendInt(b, limit, 10)
	if per == 0 {
		return b
	}
	return strconv.AppendInt(append(b, ";w="...), SecondsUp(per), 10)
}

// AppendUnit appends the unit of a limit to its RateLimit-Policy item, if it does not count
// requests: ;qu="concurrent-requests".
func AppendUnit(b []byte, unit string) []byte {
	return append(append(append(b, `;qu="`...), unit...), '"')
}

// AppendLimit appends the RateLimit item of a limit: "per-minute";r=50;t=30. t is the
// number of seconds, rounded up, until the full limit is available again.
func AppendLimit(b []byte, name string, remaining int64, resetAfter time.Duration) []byte {
	b = AppendRemaining(b, name, remaining)
	return strconv.AppendInt(append(b, ";t="...), SecondsUp(resetAfter), 10)
}

// AppendRemaining appends the RateLimit item of a limit without a known reset, such as one
// on requests in progress: "concurrent";r=3.
func AppendRemaining(b []byte, name string, remaining int64) []byte {
	b = append(append(append(b, '"'), name...), `";r=`...)
	return strconv.AppendInt(b, remaining, 10)
}

// partitionBytes is how many bytes of the HMAC form a partition key.
const partitionBytes = 12

// AppendPartition appends a partition key to an item, which distinguishes quotas with the
// same name: ;pk=:c2VjcmV0:. It is an HMAC of the key and scope, so that it reveals
// neither. Equal pairs have equal partition keys under the same secret.
func AppendPartition(b []byte, secret, key, scope string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d %s %s", len(key), key, scope) // the length marks the end of the key
	b = append(b, ";pk=:"...)
	b = base64.StdEncoding.AppendEncode(b, mac.Sum(nil)[:partitionBytes])
	return append(b, ':')
}

// Parts are the positions of the three values in the text of AppendValues.
type Parts struct {
	// text[:Limit] is the RateLimit item, text[Limit:] the value of X-RateLimit-Reset.
	Limit int
	// text[RemainingFrom:RemainingTo] is the value of X-RateLimit-Remaining.
	RemainingFrom, RemainingTo int
}

// AppendValues appends everything that changes with each request on a single limit, so that
// one buffer holds the values of three headers. The RateLimit item comes first and includes
// the digits of X-RateLimit-Remaining. resetAt is when the full limit is available again,
// in Unix seconds. AppendValues does not allocate if b has room for 70 bytes plus the name.
func AppendValues(b []byte, name string, remaining int64, resetAfter time.Duration, resetAt int64) (text []byte, parts Parts) {
	b = append(append(append(b, '"'), name...), `";r=`...)
	parts.RemainingFrom = len(b)
	b = strconv.AppendInt(b, remaining, 10)
	parts.RemainingTo = len(b)
	b = strconv.AppendInt(append(b, ";t="...), SecondsUp(resetAfter), 10)
	parts.Limit = len(b)
	return strconv.AppendInt(b, resetAt, 10), parts
}

// Package headers writes what a client is told about its limits, as texts: the
// X-RateLimit, RateLimit and RateLimit-Policy headers, and the documents that answer
// a rejected request. It knows no request and no response.
//
// The RateLimit headers follow draft-ietf-httpapi-ratelimit-headers-11, which builds
// on the structured fields of RFC 9651. The X-RateLimit headers have no standard:
// they are what GitHub and many others send.
package headers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
)

// The header names, in the form in which http.Header keeps its keys. A map that is
// written to directly needs exactly this form, or Get and Del do not find the header.
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

// ValidName reports whether a name can be written between quotes without escapes: one
// or more printable ASCII characters, none of them a quote or a backslash. The names
// that the Append functions are given must be valid.
func ValidName(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\' {
			return false
		}
	}
	return name != ""
}

// SecondsUp is a duration in whole seconds, rounded up, so that no client comes back
// too early. Any duration is accepted.
func SecondsUp(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	return seconds
}

// AppendPolicy appends the RateLimit-Policy item of a limit: "per-minute";q=100;w=60.
// A period of 0 means that the limit has no window, and w is left out.
func AppendPolicy(b []byte, name string, limit int64, per time.Duration) []byte {
	b = append(append(append(b, '"'), name...), `";q=`...)
	b = strconv.AppendInt(b, limit, 10)
	if per == 0 {
		return b
	}
	return strconv.AppendInt(append(b, ";w="...), SecondsUp(per), 10)
}

// AppendUnit appends to a RateLimit-Policy item what its units are, where they are not
// requests: ;qu="concurrent-requests".
func AppendUnit(b []byte, unit string) []byte {
	return append(append(append(b, `;qu="`...), unit...), '"')
}

// AppendLimit appends the RateLimit item of a limit: "per-minute";r=50;t=30, where t
// is how many seconds pass until the full limit is available again, rounded up.
func AppendLimit(b []byte, name string, remaining int64, resetAfter time.Duration) []byte {
	b = AppendRemaining(b, name, remaining)
	return strconv.AppendInt(append(b, ";t="...), SecondsUp(resetAfter), 10)
}

// AppendRemaining appends the RateLimit item of a limit of which nobody knows when the
// full limit is available again, as on requests in progress: "concurrent";r=3.
func AppendRemaining(b []byte, name string, remaining int64) []byte {
	b = append(append(append(b, '"'), name...), `";r=`...)
	return strconv.AppendInt(b, remaining, 10)
}

// partitionBytes is how much of the HMAC makes a partition key.
const partitionBytes = 12

// AppendPartition appends to an item the partition key, which tells quotas of one name
// apart: ;pk=:c2VjcmV0:. It is an HMAC of the limit's key and scope, so that a client
// learns neither; equal pairs have equal partition keys under one secret.
func AppendPartition(b []byte, secret, key, scope string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d %s %s", len(key), key, scope) // the length tells where the key ends
	b = append(b, ";pk=:"...)
	b = base64.StdEncoding.AppendEncode(b, mac.Sum(nil)[:partitionBytes])
	return append(b, ':')
}

// Parts tells where the three values lie in the text of AppendValues.
type Parts struct {
	// text[:Limit] is the RateLimit item, text[Limit:] the time for X-RateLimit-Reset.
	Limit int
	// text[RemainingFrom:RemainingTo] is the number for X-RateLimit-Remaining.
	RemainingFrom, RemainingTo int
}

// AppendValues appends all that differs from request to request where there is one
// limit, so that one buffer holds the values of three headers. The RateLimit item comes
// first; X-RateLimit-Remaining is a part of it, as its digits are the same. resetAt is
// when the full limit is available again, in Unix seconds. It does not allocate if b has
// room for it: 70 bytes and the name are enough.
func AppendValues(b []byte, name string, remaining int64, resetAfter time.Duration, resetAt int64) (text []byte, parts Parts) {
	b = append(append(append(b, '"'), name...), `";r=`...)
	parts.RemainingFrom = len(b)
	b = strconv.AppendInt(b, remaining, 10)
	parts.RemainingTo = len(b)
	b = strconv.AppendInt(append(b, ";t="...), SecondsUp(resetAfter), 10)
	parts.Limit = len(b)
	return strconv.AppendInt(b, resetAt, 10), parts
}

package headers

import (
	"strconv"
	"time"
)

// Headers of earlier drafts of draft-ietf-httpapi-ratelimit-headers, which describe a
// single limit. Drafts 6 and 7 both use the header Policy, in a format of their own; see
// AppendDraftPolicy. Draft 6 has a header for each value, draft 7 uses RateLimit for all of
// them.
const (
	Draft6Limit     = "Ratelimit-Limit"
	Draft6Remaining = "Ratelimit-Remaining"
	Draft6Reset     = "Ratelimit-Reset"
)

// AppendDraftPolicy appends a policy in the format of drafts 6 and 7: 100;w=60. If per is
// 0, the limit has no window, and w is left out.
func AppendDraftPolicy(b []byte, limit int64, per time.Duration) []byte {
	b = strconv.AppendInt(b, limit, 10)
	if per == 0 {
		return b
	}
	return strconv.AppendInt(append(b, ";w="...), SecondsUp(per), 10)
}

// AppendDraft7 appends the value of the RateLimit header of draft 7: limit=100,
// remaining=50, reset=30. reset is the number of seconds, rounded up, until the full limit
// is available again.
func AppendDraft7(b []byte, limit string, remaining int64, resetAfter time.Duration) []byte {
	b = append(append(append(b, "limit="...), limit...), ", remaining="...)
	b = strconv.AppendInt(b, remaining, 10)
	return strconv.AppendInt(append(b, ", reset="...), SecondsUp(resetAfter), 10)
}

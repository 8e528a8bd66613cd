package headers

import (
	"strconv"
	"time"
)

// The headers of earlier drafts of draft-ietf-httpapi-ratelimit-headers, which tell of one
// limit. Both have the policy of Policy, in a form of its own; see AppendDraftPolicy.
// Draft 6 has the values in three headers, draft 7 in one, RateLimit.
const (
	Draft6Limit     = "Ratelimit-Limit"
	Draft6Remaining = "Ratelimit-Remaining"
	Draft6Reset     = "Ratelimit-Reset"
)

// AppendDraftPolicy appends a policy of drafts 6 and 7: 100;w=60. A period of 0 means that
// the limit has no window, and w is left out.
func AppendDraftPolicy(b []byte, limit int64, per time.Duration) []byte {
	b = strconv.AppendInt(b, limit, 10)
	if per == 0 {
		return b
	}
	return strconv.AppendInt(append(b, ";w="...), SecondsUp(per), 10)
}

// AppendDraft7 appends the RateLimit header of draft 7: limit=100, remaining=50, reset=30.
// The reset is in how many seconds the full limit is available again, rounded up.
func AppendDraft7(b []byte, limit string, remaining int64, resetAfter time.Duration) []byte {
	b = append(append(append(b, "limit="...), limit...), ", remaining="...)
	b = strconv.AppendInt(b, remaining, 10)
	return strconv.AppendInt(append(b, ", reset="...), SecondsUp(resetAfter), 10)
}

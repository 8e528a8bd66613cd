package headers_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
	"github.com/stretchr/testify/require"
)

func TestHeadersOfEarlierDrafts(t *testing.T) {
	for name, written := range map[string]string{
		headers.Draft6Limit: "RateLimit-Limit", headers.Draft6Remaining: "RateLimit-Remaining", headers.Draft6Reset: "RateLimit-Reset",
	} {
		require.Equal(t, http.CanonicalHeaderKey(written), name)
	}
	policy := headers.AppendDraftPolicy(nil, 100, time.Minute)
	require.Equal(t, "100;w=60", string(policy))
	policy = headers.AppendDraftPolicy(headers.AppendSeparator(policy), 5, 1500*time.Millisecond)
	policy = headers.AppendDraftPolicy(headers.AppendSeparator(policy), 3, 0)
	require.Equal(t, "100;w=60, 5;w=2, 3", string(policy))
	require.Equal(t, "limit=100, remaining=50, reset=30", string(headers.AppendDraft7(nil, "100", 50, 29*time.Second+1)))
}

// An independent parser must be able to parse the output, with the same meaning.
func FuzzHeadersOfEarlierDrafts(f *testing.F) {
	f.Add(int64(50), int64(time.Minute), int64(30*time.Second))
	f.Fuzz(func(t *testing.T, remaining, per, reset int64) {
		if remaining < 0 || remaining > 10_000_000_000_000 || per <= 0 || reset < 0 {
			return
		}
		policy, err := httpsfv.UnmarshalItem([]string{string(headers.AppendDraftPolicy(nil, remaining, time.Duration(per)))})
		require.NoError(t, err)
		require.Equal(t, remaining, policy.Value)
		require.Equal(t, headers.SecondsUp(time.Duration(per)), parameter(policy, "w"))
		values, err := httpsfv.UnmarshalDictionary([]string{string(headers.AppendDraft7(nil, "100", remaining, time.Duration(reset)))})
		require.NoError(t, err)
		require.Equal(t, []string{"limit", "remaining", "reset"}, values.Names())
		for name, want := range map[string]int64{"limit": 100, "remaining": remaining, "reset": headers.SecondsUp(time.Duration(reset))} {
			member, _ := values.Get(name)
			require.Equal(t, want, member.(httpsfv.Item).Value)
		}
	})
}

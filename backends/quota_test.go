package backends_test

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestCapacityIsTheBurstOfATokenBucketAndElseTheLimit(t *testing.T) {
	for _, test := range []struct {
		quota backends.Quota
		want  int64
	}{
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 10, Burst: 50}, 50},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 10, Burst: 3}, 3},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 10}, 10},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 0, Burst: 50}, 0},
		{backends.Quota{Algorithm: backends.SlidingWindow, Limit: 10, Burst: 50}, 10},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 3, Burst: 50, Ban: time.Minute}, 3},
	} {
		require.Equal(t, test.want, test.quota.Capacity(), "%+v", test.quota)
	}
}

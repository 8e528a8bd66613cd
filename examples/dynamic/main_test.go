package main

import (
	"slices"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

func TestThePlanSetsTheLimitAndTheKeyIsTheScope(t *testing.T) {
	engine, limiter, err := newEngine(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	url := exampletest.Serve(t, engine) + "/report"
	report := func(times int, key, plan string) []int {
		return exampletest.Statuses(t, times, url, "X-API-Key", key, "X-Plan", plan)
	}
	require.Equal(t, []int{200, 200, 200, 429}, report(4, "ann", "free"))
	require.Equal(t, []int{200, 200, 200, 429}, report(4, "bob", "gold"), "an unknown plan has the limit of the free plan")
	require.Equal(t, []int{200, 200, 200, 429}, report(4, "", ""), "without a key the scope is the client address")

	require.Equal(t, slices.Repeat([]int{200}, 7), report(7, "ann", "pro"), "a new plan takes effect at once and keeps the usage")
	require.Equal(t, []int{429}, report(1, "ann", "pro"))

	require.Equal(t, slices.Repeat([]int{200}, 50), report(50, "eve", "internal"))
}

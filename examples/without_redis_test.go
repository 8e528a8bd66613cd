package examples_test

import (
	"os/exec"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func TestAProgramBuiltWithoutRedis(t *testing.T) {
	const tag = "-tags=ratelimiter_noredis"
	binary := exampletest.Build(t, "./quickstart", tag)
	t.Run("limits in memory", func(t *testing.T) {
		url := exampletest.Start(t, binary, []string{"PORT=0"}).URL()
		statuses := exampletest.Statuses(t, 100, url) // 34 seconds' worth
		require.Equal(t, []int{200, 200, 200}, statuses[:3])
		require.Contains(t, statuses, 429)
	})
	for name, variables := range map[string][]string{
		"names the tag when Redis is configured":             {"RATELIMITER_BACKEND=redis"},
		"names the tag also where limiting is off":           {"RATELIMITER_BACKEND=redis", "RATELIMITER_ENABLED=false"},
		"names the tag for the names of the Flask extension": {"RATELIMITER_BACKEND=SimpleRedisBackend"},
	} {
		t.Run(name, func(t *testing.T) {
			program := exampletest.Start(t, binary, variables)
			require.Equal(t, 1, program.End())
			require.Contains(t, program.Output(), "this program was built without Redis, by the build tag ratelimiter_noredis")
		})
	}
	t.Run("contains no client of Redis", func(t *testing.T) {
		packages, err := exec.CommandContext(t.Context(), "go", "list", "-deps", tag, "./quickstart").Output()
		require.NoError(t, err)
		require.Contains(t, string(packages), "github.com/gin-ratelimiter/ratelimiter/backends\n")
		require.NotContains(t, string(packages), "github.com/redis/")
	})
}

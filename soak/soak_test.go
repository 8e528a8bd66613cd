package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/model"
	"github.com/stretchr/testify/require"
)

// TestMain lets this program be a server, as main does.
func TestMain(m *testing.M) {
	if text, isServer := os.LookupEnv(serverVariable); isServer {
		exitWith(serve(text))
	}
	m.Run()
}

func TestTwentySecondsOfEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	redistest.Need(t)
	folder := t.TempDir()
	h, err := soak(t.Context(), settings{duration: 20 * time.Second, clients: 100, seed: 1, folder: folder})
	require.NoError(t, err)
	require.NoError(t, h.Write(folder))
	report := model.Check(h)
	require.Zero(t, report.Violations(), report.String())
	for _, finding := range report.Findings {
		if slices.ContainsFunc([]string{"by hand", "slot of Concurrent", "node of the Cluster"}, func(part string) bool { return strings.Contains(finding.Name, part) }) {
			continue // whether such a case comes within seconds is a matter of luck
		}
		require.Positive(t, finding.Examined, "%s: no case was seen", finding.Name)
	}
	stores := map[string]bool{}
	for _, fault := range h.Faults {
		stores[strings.TrimRight(fault.Store, "-012")] = true // all nodes of the Cluster together
	}
	require.Len(t, stores, 4, "all have seen faults")

	again, err := history.Read(folder)
	require.NoError(t, err)
	require.Equal(t, report.String(), model.Check(again).String(), "the log of the run says the same")
}

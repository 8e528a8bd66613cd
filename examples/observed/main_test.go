package main

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

// login is the header for user admin with password secret.
var login = []string{"Authorization", "Basic YWRtaW46c2VjcmV0"}

func TestTheDashboardIsBehindTheLogin(t *testing.T) {
	app, err := newApplication(ratelimiter.Config{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.close()) })
	page := exampletest.Serve(t, app.engine) + "/admin/limits/"
	require.Equal(t, http.StatusUnauthorized, exampletest.Send(t, http.MethodGet, page).Status)
	answer := exampletest.Send(t, http.MethodGet, page, login...)
	require.Equal(t, http.StatusOK, answer.Status)
	require.Contains(t, answer.Header.Get("Content-Type"), "text/html")
}

func TestDecisionsAreInTheMetrics(t *testing.T) {
	app, err := newApplication(ratelimiter.Config{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.close()) })
	url := exampletest.Serve(t, app.engine)
	exampletest.Statuses(t, 12, url+"/search")
	for range 16 {
		exampletest.Send(t, http.MethodPost, url+"/login?password=guess")
	}
	metrics := string(exampletest.Send(t, http.MethodGet, url+"/metrics").Body)
	for _, series := range []string{
		`ratelimiter_decisions_total{limit="per-second",outcome="allowed",route="GET /search"} 10`,
		`ratelimiter_decisions_total{limit="per-second",outcome="rejected",route="GET /search"} 2`,
		`ratelimiter_decisions_total{limit="shadow-per-minute",outcome="allowed",route="GET /search"} 12`,
		`ratelimiter_decisions_total{limit="per-minute",outcome="rejected",route="POST /login"} 9`,
		`ratelimiter_decisions_total{limit="per-minute",outcome="banned",route="POST /login"} 2`,
	} {
		require.Contains(t, metrics, series)
	}
}

func TestTheProgramGeneratesTraffic(t *testing.T) {
	program := exampletest.Start(t, exampletest.Build(t, "."), nil, "-port", "0")
	url := program.URL()
	wanted := []string{"GET /search", "POST /login", "GET /files/:name", "POST /chat", "GET /report", `outcome="rejected"`}
	require.Eventually(t, func() bool {
		metrics := string(exampletest.Send(t, http.MethodGet, url+"/metrics").Body)
		missing := func(text string) bool { return !strings.Contains(metrics, text) }
		return !slices.ContainsFunc(wanted, missing)
	}, time.Minute, 100*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Contains(program.Output(), "client rejected") }, time.Minute, 100*time.Millisecond)
	program.Interrupt()
	require.Zero(t, program.End(), program.Output())
	require.Contains(t, program.Output(), "/admin/limits/")
}

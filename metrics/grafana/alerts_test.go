package grafana_test

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
)

const hour = 60 // minutes

// firing evaluates the rules once a minute from one minute of test data to another, and
// returns the alerts that are firing at the end.
func firing(t *testing.T, series string, from, to int) map[string][]*rules.Alert {
	db := promqltest.LoadedStorage(t, "load 1m\n"+series)
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e7)
	manager := rules.NewManager(&rules.ManagerOptions{
		Context: t.Context(), QueryFunc: rules.EngineQueryFunc(engine, db), Queryable: db, AppendableV2: db,
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: slog.New(slog.DiscardHandler),
	})
	groups, faults := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, "alerts.yml")
	require.Empty(t, faults)
	require.Len(t, groups, 1)
	alerts := map[string][]*rules.Alert{}
	for _, group := range groups {
		for minute := from; minute <= to; minute++ {
			group.Eval(t.Context(), time.Unix(int64(minute)*60, 0))
		}
		for _, rule := range group.Rules() {
			require.NoError(t, rule.LastError(), rule.Name())
		}
		for _, rule := range group.AlertingRules() {
			for _, alert := range rule.ActiveAlerts() {
				if alert.State == rules.StateFiring {
					alerts[rule.Name()] = append(alerts[rule.Name()], alert)
				}
			}
		}
	}
	return alerts
}

// decisions returns series of allowed and rejected decisions on a route, per minute.
func decisions(parts ...string) string {
	const series = `ratelimiter_decisions_total{job="shop",instance="a",route="GET /",limit="per-minute",outcome=`
	return series + `"allowed"} ` + parts[0] + "\n" + series + `"rejected"} ` + parts[1] + "\n"
}

// latencies returns the series of 60 calls a minute, of which some take up to 25 ms, some
// up to 50 ms and some up to 75 ms.
func latencies(under25, under50, under75 string) string {
	const series = `ratelimiter_backend_duration_seconds_bucket{job="shop",instance="a",outcome="ok",le=`
	return series + `"0.025"} 0+` + under25 + "x60\n" + series + `"0.05"} 0+` + under50 + "x60\n" +
		series + `"0.075"} 0+` + under75 + "x60\n" + series + `"+Inf"} 0+` + under75 + "x60\n" +
		`ratelimiter_backend_timeout_seconds{job="shop",instance="a"} 0.1x60` + "\n"
}

func TestAlertsFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	for name, test := range map[string]struct {
		series   string
		from, to int
		want     string
	}{
		"everything works": {
			decisions("0+600x60", "0+6x60") + latencies("60", "60", "60") +
				`ratelimiter_breaker_open{job="shop",instance="a"} 0x60
			ratelimiter_fallback_decisions_total{job="shop",instance="a"} 0x60
			ratelimiter_memory_evictions_total{job="shop",instance="a"} 0x60
			ratelimiter_observer_panics_total{job="shop",instance="a"} 0x60`,
			0, hour, "",
		},
		"a breaker has just opened":         {`ratelimiter_breaker_open{job="shop",instance="a"} 0x10 1x1`, 0, 11, ""},
		"a breaker is open":                 {`ratelimiter_breaker_open{job="shop",instance="a"} 0x10 1x1`, 0, 12, "RateLimiterBackendAway"},
		"a breaker that was open is closed": {`ratelimiter_breaker_open{job="shop",instance="a"} 0x10 1x10 0x1`, 0, 22, ""},
		"decisions fail": {
			`ratelimiter_decisions_total{job="shop",instance="a",route="GET /",limit="per-minute",outcome="backend_error"} 0x10 0+60x10`,
			0, 20, "RateLimiterUndecided",
		},
		"decisions failed an hour ago": {
			`ratelimiter_decisions_total{job="shop",instance="a",route="GET /",limit="per-minute",outcome="backend_error"} 0+60x10 600x60`,
			0, 70, "",
		},
		"one decision in fifty is not shared": {
			decisions("0+600x30", "0+0x30") + `ratelimiter_fallback_decisions_total{job="shop",instance="a"} 0+12x30`,
			0, 30, "RateLimiterLimitsNotShared",
		},
		"one decision in two hundred is not shared": {
			decisions("0+600x30", "0+0x30") + `ratelimiter_fallback_decisions_total{job="shop",instance="a"} 0+3x30`,
			0, 30, "",
		},
		"one call in twenty takes over half of the timeout": {
			latencies("50", "57", "60"), 0, hour, "RateLimiterBackendSlow",
		},
		"one call in twenty has just begun to take over half of the timeout": {
			latencies("50", "57", "60"), 0, 9, "",
		},
		"one call in twenty takes a quarter of the timeout": {
			latencies("57", "60", "60"), 0, hour, "",
		},
		"no calls": {
			latencies("0", "0", "0") + decisions("0+0x60", "0+0x60"), 0, hour, "",
		},
		"half is rejected where nothing was": {
			decisions("0+600x1500 900000+300x60", "0+0x1500 0+300x60"), 1500, 1560, "RateLimiterRejectsMore",
		},
		"half is rejected where one in a hundred was": {
			decisions("0+600x1500 900000+300x60", "0+6x1500 9000+300x60"), 1500, 1560, "RateLimiterRejectsMore",
		},
		"half is rejected for five minutes": {
			decisions("0+600x1500 900000+300x5 901500+600x60", "0+6x1500 9000+300x5 10500+6x60"), 1500, 1513, "",
		},
		"half is rejected as usual": {
			decisions("0+300x1560", "0+300x1560"), 1500, 1560, "",
		},
		"half is rejected without earlier data": {
			decisions("0+300x30", "0+300x30"), 0, 30, "",
		},
		"twice as much is rejected as usual": {
			decisions("0+600x1500 900000+600x60", "0+60x1500 90000+120x60"), 1500, 1560, "",
		},
		"half of very few requests is rejected": {
			decisions("0+1x1500 1500+1x60", "0+0x1500 0+1x60"), 1500, 1560, "",
		},
		"clients are evicted": {
			`ratelimiter_memory_evictions_total{job="shop",instance="a"} 0x10 0+5x20`, 0, 30, "RateLimiterMemoryTooSmall",
		},
		"clients were evicted an hour ago": {
			`ratelimiter_memory_evictions_total{job="shop",instance="a"} 0+5x10 50x60`, 0, 70, "",
		},
		"an observer has panicked once": {
			`ratelimiter_observer_panics_total{job="shop",instance="a"} 0x10 1x10`, 0, 20, "RateLimiterObserverPanics",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var fired []string
			for name, alerts := range firing(t, test.series, test.from, test.to) {
				fired = append(fired, name)
				for _, alert := range alerts {
					require.Contains(t, []string{"page", "ticket"}, alert.Labels.Get("severity"))
					for _, text := range []string{alert.Annotations.Get("summary"), alert.Annotations.Get("description")} {
						require.True(t, strings.HasSuffix(text, "."), text)
						require.NotContains(t, text, "error expanding")
						require.NotContains(t, text, "no value")
					}
					summary := alert.Annotations.Get("summary")
					require.Contains(t, summary, "shop")
					require.NotContains(t, summary, "  ", "a label is empty")
				}
			}
			require.Equal(t, test.want, strings.Join(fired, " "))
		})
	}
}

func TestTheReadmeListsEveryAlert(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	text, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, alerts)
	for _, alert := range alerts {
		require.Contains(t, string(readme), "| `"+alert[1]+"` |")
	}
}

// Every metric in the rules must exist in a real scrape, not only in the test data.
func TestEveryMetricOfTheRulesIsScraped(t *testing.T) {
	p := newProber(t, byPrometheus)
	text, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	selectors := regexp.MustCompile(`\bratelimiter_\w+({[^}]*})?`).FindAllString(string(text), -1)
	require.GreaterOrEqual(t, len(selectors), 11)
	for _, selector := range selectors {
		if !strings.HasPrefix(selector, "ratelimiter_rejected") { // part of the name of a recorded series
			require.NotEmpty(t, p.series(t, selector, false), selector)
		}
	}
}

package grafana_test

import (
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

type dashboard struct {
	Panels     []panel
	Templating struct{ List []variable }
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	Targets     []target
}

type target struct {
	Datasource         datasource
	Expr, LegendFormat string
	Instant            bool
}

type variable struct {
	Name, Type, AllValue string
	Definition           string // shown in the list of variables
	Datasource           datasource
	Query                json.RawMessage
}

type datasource struct{ Type, UID string }

func load(t *testing.T) (d dashboard) {
	text, err := os.ReadFile("ratelimiter.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	return d
}

// prober runs queries on scraped data.
type prober struct {
	engine *promql.Engine
	db     *teststorage.TestStorage
	end    time.Time
}

func newProber(t *testing.T, export exporter) *prober {
	db, end := history(t, export)
	return &prober{promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6), db, end}
}

// series evaluates an expression over the whole history, or at its end.
func (p *prober) series(t *testing.T, expr string, instant bool) promql.Matrix {
	if instant {
		query, err := p.engine.NewInstantQuery(t.Context(), p.db, nil, expr, p.end)
		require.NoError(t, err, expr)
		defer query.Close()
		vector, err := query.Exec(t.Context()).Vector()
		require.NoError(t, err, expr)
		var matrix promql.Matrix
		for _, sample := range vector {
			matrix = append(matrix, promql.Series{Metric: sample.Metric, Floats: []promql.FPoint{{T: sample.T, F: sample.F}}})
		}
		return matrix
	}
	query, err := p.engine.NewRangeQuery(t.Context(), p.db, nil, expr, opening, p.end, scrapeInterval)
	require.NoError(t, err, expr)
	defer query.Close()
	matrix, err := query.Exec(t.Context()).Matrix()
	require.NoError(t, err, expr)
	copied := make(promql.Matrix, len(matrix)) // the engine reuses its points
	for i, series := range matrix {
		copied[i] = promql.Series{Metric: series.Metric, Floats: append([]promql.FPoint(nil), series.Floats...)}
	}
	return copied
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// values returns the values of a template variable.
func (p *prober) values(t *testing.T, query string) (all []string) {
	parts := labelValues.FindStringSubmatch(query)
	require.NotNil(t, parts, query)
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(parts[1])
	require.NoError(t, err)
	querier, err := p.db.Querier(opening.UnixMilli(), p.end.UnixMilli())
	require.NoError(t, err)
	defer func() { require.NoError(t, querier.Close()) }()
	seen := map[string]bool{}
	for set := querier.Select(t.Context(), true, nil, matchers...); set.Next(); {
		if value := set.At().Labels().Get(parts[2]); !seen[value] {
			require.NotEmpty(t, value, query)
			seen[value] = true
			all = append(all, value)
		}
	}
	return all
}

// selection formats the selected values of a variable for an expression, like Grafana does
// for Prometheus if several values can be selected.
func selection(values []string) string {
	special := regexp.MustCompile(`[$^*{}\[\]'+?.()|]`)
	escaped := make([]string, len(values))
	for i, value := range values {
		escaped[i] = special.ReplaceAllString(strings.ReplaceAll(value, `\`, `\\\\`), `\\$0`)
	}
	if len(escaped) == 1 {
		return escaped[0]
	}
	return "(" + strings.Join(escaped, "|") + ")"
}

// interpolation resolves the template variables in order, with "all" or with each value
// selected.
func interpolation(t *testing.T, p *prober, d dashboard, ticked bool) *strings.Replacer {
	pairs := []string{"$__rate_interval", "1m", "$__range", "5m"}
	for _, v := range d.Templating.List {
		if v.Type == "datasource" {
			require.Equal(t, "datasource", v.Name)
			require.JSONEq(t, `"prometheus"`, string(v.Query))
			continue
		}
		require.Equal(t, "query", v.Type)
		require.Equal(t, ours, v.Datasource)
		var query struct{ Query string }
		require.NoError(t, json.Unmarshal(v.Query, &query))
		require.Equal(t, v.Definition, query.Query)
		values := p.values(t, strings.NewReplacer(pairs...).Replace(query.Query))
		require.NotEmpty(t, values, v.Name)
		value := v.AllValue
		if ticked {
			value = selection(values)
		}
		pairs = append(pairs, "$"+v.Name, value)
	}
	return strings.NewReplacer(pairs...)
}

// ours is the data source selected at the top of the dashboard.
var ours = datasource{"prometheus", "${datasource}"}

var exporters = map[string]exporter{"metrics/prometheus": byPrometheus, "metrics/otel": byOpenTelemetry}

func TestEveryPanelHasData(t *testing.T) {
	d := load(t)
	for name, export := range exporters {
		t.Run(name, func(t *testing.T) {
			p := newProber(t, export)
			for _, ticked := range []bool{false, true} {
				variables := interpolation(t, p, d, ticked)
				for _, panel := range d.Panels {
					if panel.Type == "row" {
						continue
					}
					require.NotEmpty(t, panel.Targets, panel.Title)
					require.Equal(t, ours, panel.Datasource, panel.Title)
					for _, target := range panel.Targets {
						require.Equal(t, ours, target.Datasource, panel.Title)
						expr := variables.Replace(target.Expr)
						require.NotContains(t, expr, "$", panel.Title)
						requireShown(t, panel.Title, target.LegendFormat, p.series(t, expr, target.Instant))
					}
				}
			}
		})
	}
}

var placeholder = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// requireShown checks that there is data, and that each series has the labels in the
// legend.
func requireShown(t *testing.T, title, legend string, matrix promql.Matrix) {
	require.NotEmpty(t, matrix, title)
	most := math.Inf(-1)
	for _, series := range matrix {
		for _, label := range placeholder.FindAllStringSubmatch(legend, -1) {
			require.True(t, series.Metric.Has(label[1]), "%s: the legend has %q, which the series %s lacks", title, label[1], series.Metric)
		}
		named := map[string]bool{}
		for _, label := range placeholder.FindAllStringSubmatch(legend, -1) {
			named[label[1]] = true
		}
		series.Metric.Range(func(l labels.Label) {
			require.True(t, named[l.Name], "%s: the legend does not distinguish series by %q", title, l.Name)
		})
		for _, point := range series.Floats {
			if !math.IsNaN(point.F) {
				most = max(most, point.F)
			}
		}
	}
	require.Positive(t, most, "%s: all is zero or NaN", title)
}

func TestAPanelWithoutDataIsDetected(t *testing.T) {
	p := newProber(t, byPrometheus)
	for _, expr := range []string{
		"ratelimiter_breaker_opened",
		`ratelimiter_decisions_total{outcome="denied"}`,
		`sum(rate(ratelimiter_decisions_total{route="GET /nowhere"}[1m]))`,
	} {
		require.Empty(t, p.series(t, expr, false), expr)
	}
}

func TestEveryMetricIsOnTheDashboard(t *testing.T) {
	text, err := os.ReadFile("ratelimiter.json")
	require.NoError(t, err)
	p := newProber(t, byPrometheus)
	names := map[string]bool{}
	for _, series := range p.series(t, `{__name__=~"ratelimiter_.+"}`, false) {
		names[series.Metric.Get("__name__")] = true
	}
	delete(names, "ratelimiter_backend_duration_seconds_sum") // the quantiles are more useful
	require.GreaterOrEqual(t, len(names), 11)
	for name := range names {
		require.Contains(t, string(text), name)
	}
}

// Both exporters must produce the same series, so that the dashboard and the rules work for
// either.
func TestBothExportersShowTheSameSeries(t *testing.T) {
	show := func(export exporter) map[string]bool {
		all := map[string]bool{}
		for _, series := range newProber(t, export).series(t, `{__name__=~"ratelimiter_.+"}`, false) {
			plain := labels.NewBuilder(series.Metric)
			series.Metric.Range(func(l labels.Label) {
				if strings.HasPrefix(l.Name, "otel_scope_") {
					plain.Del(l.Name)
				}
			})
			all[plain.Labels().String()] = true
		}
		return all
	}
	theirs := show(byOpenTelemetry)
	for series := range show(byPrometheus) {
		if strings.Contains(series, "duration_seconds") {
			continue // only one of them exports outcomes that have not occurred yet
		}
		require.True(t, theirs[series], series)
		delete(theirs, series)
	}
	for series := range theirs {
		require.Contains(t, series, "duration_seconds")
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	taken := map[[2]int]string{}
	ids := map[int]string{}
	for _, panel := range load(t).Panels {
		require.Empty(t, ids[panel.ID], panel.Title)
		ids[panel.ID] = panel.Title
		if panel.Type != "row" {
			require.NotEmpty(t, panel.Description, panel.Title)
		}
		at := panel.GridPos
		require.LessOrEqual(t, at.X+at.W, 24, panel.Title)
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], panel.Title)
				taken[[2]int{x, y}] = panel.Title
			}
		}
	}
}

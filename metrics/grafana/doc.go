// Package grafana contains a dashboard for Grafana (ratelimiter.json), alert rules for
// Prometheus (alerts.yml), and tests that evaluate both with the query engine of
// Prometheus. It is a separate module, so that the metrics do not depend on that engine.
package grafana

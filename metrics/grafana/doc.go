// Package grafana holds a dashboard for Grafana (ratelimiter.json) and rules for
// Prometheus (alerts.yml), and the tests that prove them with the query engine of
// Prometheus. It is a module of its own so that nobody else needs that engine.
package grafana

package traffic

import (
	"bytes"
	"regexp"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
)

// Robots counts automatic requests. They are estimated from a sample of the lines, because
// searching whole lines takes time.
type Robots struct {
	Crawlers     int
	HealthChecks int
	HealthPath   string // of the first health check
}

// Add adds the counts of another batch.
func (r *Robots) Add(other Robots) {
	r.Crawlers += other.Crawlers
	r.HealthChecks += other.HealthChecks
	if r.HealthPath == "" {
		r.HealthPath = other.HealthPath
	}
}

// crawlers and checkers are parts of user agents.
var (
	crawlers = [][]byte{[]byte("bot/"), []byte("bot;"), []byte("Bot/"), []byte("spider"), []byte("crawler"), []byte("+http")}
	checkers = [][]byte{[]byte("kube-probe/"), []byte("HealthCheck"), []byte("GoogleHC/"), []byte("Health Check"), []byte("UptimeRobot"), []byte("Uptime-Kuma")}
)

var healthPath = regexp.MustCompile(`^/(?:api/|_)?(?:health|healthz|healthcheck|livez|readyz|live|ready|liveness|readiness|ping)/?$`)

// Note classifies a line, which represents a number of lines.
func (r *Robots) Note(line []byte, record *accesslog.Record, weight int) {
	switch {
	case len(record.Path) < 20 && healthPath.Match(record.Path), anyIn(line, checkers):
		r.HealthChecks += weight
		if r.HealthPath == "" {
			r.HealthPath = string(record.Path)
		}
	case anyIn(line, crawlers):
		r.Crawlers += weight
	}
}

func anyIn(line []byte, words [][]byte) bool {
	for _, word := range words {
		if bytes.Contains(line, word) {
			return true
		}
	}
	return false
}

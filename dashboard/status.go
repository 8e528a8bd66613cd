package dashboard

import (
	"net"
	"strconv"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Levels of a status.
const (
	levelIdle = "idle" // nothing to judge
	levelOK   = "ok"
	levelWarn = "warn" // requests are limited, but not as configured
	levelBad  = "bad"  // requests are not limited, or are rejected without a reason
)

// status is the line at the top of the page: "Word · What since Since, Then".
type status struct {
	Level string `json:"level"`
	Word  string `json:"word"`
	What  string `json:"what"`
	Since int64  `json:"since,omitempty"` // seconds since 1970
	Then  string `json:"then,omitempty"`
}

// statusOf judges the limiter. failing is the outage of the last seconds, nil without one.
func statusOf(config ratelimiter.Config, health backends.Health, failing *outage) status {
	enabled, _ := config["RATELIMITER_ENABLED"].(bool)
	name := backendName(config)
	switch {
	case config == nil:
		return status{Level: levelIdle, Word: "Not started", What: "waiting for InitApp"}
	case !enabled:
		return status{Level: levelWarn, Word: "Off", What: "RATELIMITER_ENABLED is false, every request is allowed"}
	case health.Open:
		return degraded(config, name+" unavailable", health.Since.Unix())
	case failing != nil:
		return degraded(config, name+" failing intermittently", failing.From)
	case health.Since.IsZero():
		return status{Level: levelOK, Word: "Healthy", What: name + ", not shared"}
	}
	return status{Level: levelOK, Word: "Healthy", What: name + ", shared"}
}

// degraded says what happens to requests that the backend does not decide.
func degraded(config ratelimiter.Config, what string, since int64) status {
	s := status{Level: levelBad, Word: "Failing", What: what, Since: since}
	switch config["RATELIMITER_ON_ERROR"] {
	case "allow":
		s.Then = "allowing requests without limits"
	case "deny":
		s.Then = "rejecting requests with status 503"
		if config["RATELIMITER_ON_UNAVAILABLE"] != "" {
			s.Then = "rejecting requests with RATELIMITER_ON_UNAVAILABLE"
		}
	default:
		s.Level, s.Word, s.Then = levelWarn, "Degraded", "limiting in memory"
	}
	return s
}

// backendName is the name of the backend in a sentence.
func backendName(config ratelimiter.Config) string {
	name, _ := config["RATELIMITER_BACKEND"].(string)
	switch name {
	case "redis", "SimpleRedisBackend", "FlaskCacheRedisBackend":
		return "Redis"
	}
	return strings.TrimPrefix(name, "*")
}

// backendAddress is where the backend is, without credentials; "" if that is not known, as
// for a client that the application passed in.
func backendAddress(config ratelimiter.Config) string {
	options, _ := config["RATELIMITER_BACKEND_OPTIONS"].(map[string]any)
	if host, ok := options["host"].(string); ok {
		if port, ok := options["port"].(int); ok {
			return net.JoinHostPort(host, strconv.Itoa(port))
		}
		return host
	}
	for _, name := range []string{"url", "addr", "addrs"} {
		switch value := options[name].(type) {
		case string:
			return value
		case []string:
			return strings.Join(value, ", ")
		}
	}
	return ""
}

// backendState is how the backend does.
type backendState struct {
	Address string `json:"address,omitempty"`
	Local   bool   `json:"local"` // the counters are in this process
	Open    bool   `json:"open"`  // the breaker is open
	Error   string `json:"error,omitempty"`

	Latency  [2]float64   `json:"latency"`  // p50 and p99 of the last 10 s, in microseconds
	Interval [2]float64   `json:"interval"` // of the last full interval
	Seconds  [][2]float64 `json:"seconds,omitempty"`
	Hour     [][2]float64 `json:"hour,omitempty"`

	Down          float64  `json:"down"`      // seconds that the breaker was open, in all
	Failures      uint64   `json:"failures"`  // calls that failed, in all
	Fallbacks     float64  `json:"fallbacks"` // decisions in memory instead, per second
	Outages       []outage `json:"outages"`
	Counters      int      `json:"counters"` // in this process
	Evictions     uint64   `json:"evictions"`
	CachedDenials uint64   `json:"cached_denials"`
	Panics        uint64   `json:"observer_panics"`
}

// backendState describes the backend, with its history if whole is set. r.mu is held.
func (r *record) backendState(stats ratelimiter.Stats, whole bool) backendState {
	b := &r.backend
	s := backendState{
		Local: stats.Health.Since.IsZero(), Open: stats.Health.Open,
		Latency:  b.seconds[r.at%shownSeconds].micros(),
		Interval: b.intervals[lastInterval(r.at)%intervalsKept].micros(),
		Down:     stats.Health.Down.Seconds(), Failures: stats.Health.Failures,
		Fallbacks: b.fallbackRate(r.span()), Outages: append([]outage{}, r.outages...),
		Counters: stats.Memory.Keys, Evictions: stats.Memory.Evictions,
		CachedDenials: stats.CachedDenials, Panics: stats.ObserverPanics,
	}
	if stats.Health.Err != nil {
		s.Error = stats.Health.Err.Error()
	}
	if whole {
		for _, one := range unrolled(b.seconds[:], r.at) {
			s.Seconds = append(s.Seconds, one.micros())
		}
		for _, one := range unrolled(b.intervals[:], lastInterval(r.at))[1:] {
			s.Hour = append(s.Hour, one.micros())
		}
	}
	return s
}

package ratelimiter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// notShown takes the place of a value that may be secret.
const notShown = "(not shown)"

// Config is the configuration in force, as for a page that shows it to operators:
// every key with its value or its default, the limits as Update has left them. A
// backend that was handed in is shown by its type, observers by how many there
// are. Secrets are not shown, nor texts among the options of a backend, which may
// be passwords, but for those that tell where it is. It is nil before InitApp.
func (r *RateLimiter) Config() Config {
	s := r.settings.Load()
	if s == nil {
		return nil
	}
	limits := s.limits.Load()
	shown := Config{
		"RATELIMITER_ENABLED":                  s.enabled,
		"RATELIMITER_BACKEND":                  shownBackend(s.given["RATELIMITER_BACKEND"]),
		"RATELIMITER_BACKEND_OPTIONS":          shownOptions(s.given["RATELIMITER_BACKEND_OPTIONS"]),
		"RATELIMITER_KEY_PREFIX":               s.prefix,
		"RATELIMITER_ALGORITHM":                s.algorithm.String(),
		defaultLimitsKey:                       limitsText(limits.routes),
		applicationLimitsKey:                   limitsText(limits.application),
		"RATELIMITER_INJECT_X_HEADERS":         s.xHeaders,
		"RATELIMITER_INJECT_RATELIMIT_HEADERS": s.rateLimitHeaders,
		"RATELIMITER_PARTITION_SECRET":         "",
		"RATELIMITER_ON_ERROR":                 string(s.onError),
		"RATELIMITER_TIMEOUT":                  s.timeout.String(),
		"RATELIMITER_IPV6_PREFIX":              s.ipv6Prefix,
		"RATELIMITER_OBSERVER":                 r.observing.count(),
	}
	if s.secret != "" {
		shown["RATELIMITER_PARTITION_SECRET"] = notShown
	}
	return shown
}

func shownBackend(given any) string {
	switch backend := given.(type) {
	case string:
		return backend
	case backends.Backend:
		return fmt.Sprintf("%T", backend)
	}
	return defaultBackend
}

// places are the options of backends that tell where one is.
var places = []string{"host", "addr", "addrs", "master_name"}

func shownOptions(given any) map[string]any {
	all, _ := given.(map[string]any)
	shown := make(map[string]any, len(all))
	for name, value := range all {
		switch value := value.(type) {
		case bool, int, int64, float64:
			shown[name] = value
		case time.Duration:
			shown[name] = value.String()
		case string, []string, []any:
			shown[name] = notShown
			if slices.Contains(places, name) {
				shown[name] = value
			}
		default:
			shown[name] = fmt.Sprintf("%T", value)
		}
	}
	return shown
}

// limitsText writes limits as ParseLimits reads them, and none as an empty text.
func limitsText(limits []Limit) string {
	texts := make([]string, len(limits))
	for i, l := range limits {
		texts[i] = l.String()
	}
	return strings.Join(texts, "; ")
}

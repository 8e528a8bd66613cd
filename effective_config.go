package ratelimiter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// notShown replaces a value that may be secret.
const notShown = "(not shown)"

// Config returns the configuration in effect, for example for an admin page: every key
// with its value or default, with the limits that Update has set. It can be encoded as
// JSON. A backend that was passed in is shown as its type, a handler as "gin.HandlerFunc"
// or "" for none, and observers and options as their number. Secrets are hidden. The
// strings in the backend options are hidden too, because they may be passwords, except
// for addresses. Config returns nil before InitApp.
func (r *RateLimiter) Config() Config {
	s := r.settings.Load()
	if s == nil {
		return nil
	}
	return s.effectiveConfig(r.observers.count())
}

func (s *settings) effectiveConfig(observers int) Config {
	limits := s.limits.Load()
	secret := ""
	if s.secret != "" {
		secret = notShown
	}
	return Config{
		ConfigEnabled:                s.enabled,
		ConfigBackend:                shownBackend(s.given[ConfigBackend]),
		ConfigBackendOptions:         shownOptions(s.given[ConfigBackendOptions]),
		ConfigKeyPrefix:              s.prefix,
		ConfigAlgorithm:              s.algorithm.String(),
		ConfigDefaultLimits:          limitsText(limits.defaults),
		ConfigApplicationLimits:      limitsText(limits.application),
		ConfigDefaultOptions:         len(s.defaultOptions),
		ConfigApplicationOptions:     len(s.applicationOptions),
		ConfigHeaders:                s.sent.String(),
		ConfigInjectXHeaders:         s.sent.xHeaders,
		ConfigInjectRateLimitHeaders: s.sent.standardHeaders || s.sent.ofEarlierDrafts(),
		ConfigPartitionSecret:        secret,
		ConfigOverLimit:              shownHandler(s.overLimit),
		ConfigOnError:                string(s.onError),
		ConfigFallbackLimits:         limitsText(s.fallbackLimits),
		ConfigOnUnavailable:          shownHandler(s.onUnavailable),
		ConfigTimeout:                s.timeout.String(),
		ConfigIPv6Prefix:             s.ipv6Prefix,
		ConfigTimeZone:               s.timeZone.String(),
		ConfigObserver:               observers,
	}
}

func shownHandler(handler gin.HandlerFunc) string {
	if handler == nil {
		return ""
	}
	return fmt.Sprintf("%T", handler)
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

// addressOptions are the backend options that contain addresses, which are not secret.
var addressOptions = []string{"host", "addr", "addrs", "master_name"}

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
			if slices.Contains(addressOptions, name) {
				shown[name] = value
			}
		default:
			shown[name] = fmt.Sprintf("%T", value)
		}
	}
	return shown
}

// limitsText formats limits as ParseLimits reads them; "" for no limits.
func limitsText(limits []Limit) string {
	texts := make([]string, len(limits))
	for i, l := range limits {
		texts[i] = l.String()
	}
	return strings.Join(texts, "; ")
}

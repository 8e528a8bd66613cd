package ratelimiter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// redacted replaces a value that may be secret.
const redacted = "(not shown)"

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
		secret = redacted
	}
	return Config{
		ConfigEnabled:                s.enabled,
		ConfigBackend:                displayBackend(s.given[ConfigBackend]),
		ConfigBackendOptions:         displayOptions(s.given[ConfigBackendOptions]),
		ConfigKeyPrefix:              s.prefix,
		ConfigAlgorithm:              s.algorithm.String(),
		ConfigDefaultLimits:          limitsText(limits.defaults),
		ConfigApplicationLimits:      limitsText(limits.application),
		ConfigDefaultOptions:         len(s.defaultOptions),
		ConfigApplicationOptions:     len(s.applicationOptions),
		ConfigHeaders:                s.sent.String(),
		ConfigInjectXHeaders:         s.sent.xHeaders,
		ConfigInjectRateLimitHeaders: s.sent.standardHeaders || s.sent.hasEarlierDrafts(),
		ConfigPartitionSecret:        secret,
		ConfigOverLimit:              displayHandler(s.overLimit),
		ConfigOnError:                string(s.onError),
		ConfigFallbackLimits:         limitsText(s.fallbackLimits),
		ConfigOnUnavailable:          displayHandler(s.onUnavailable),
		ConfigTimeout:                s.timeout.String(),
		ConfigIPv6Prefix:             s.ipv6Prefix,
		ConfigTimeZone:               s.timeZone.String(),
		ConfigObserver:               observers,
	}
}

func displayHandler(handler gin.HandlerFunc) string {
	if handler == nil {
		return ""
	}
	return fmt.Sprintf("%T", handler)
}

func displayBackend(given any) string {
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

func displayOptions(given any) map[string]any {
	all, _ := given.(map[string]any)
	display := make(map[string]any, len(all))
	for name, value := range all {
		switch value := value.(type) {
		case bool, int, int64, float64:
			display[name] = value
		case time.Duration:
			display[name] = value.String()
		case string, []string, []any:
			display[name] = redacted
			if slices.Contains(addressOptions, name) {
				display[name] = value
			}
		default:
			display[name] = fmt.Sprintf("%T", value)
		}
	}
	return display
}

// limitsText formats limits as ParseLimits reads them; "" for no limits.
func limitsText(limits []Limit) string {
	texts := make([]string, len(limits))
	for i, l := range limits {
		texts[i] = l.String()
	}
	return strings.Join(texts, "; ")
}

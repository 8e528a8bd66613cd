package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/plan"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
)

// Prefix lengths of the library's default scope.
const (
	usualPrefix4 = 32
	usualPrefix6 = 64
)

// paste sets the configuration and the equivalent Go code. The configuration can only
// identify clients by address, and IPv4 clients only by the whole address.
func (r *Report) paste(q Question, limits []ratelimiter.Limit) {
	key, options := "RATELIMITER_APPLICATION_LIMITS", []string{`ratelimiter.WithKey(ratelimiter.Shared("all"))`}
	if q.ByRoute {
		key, options = "RATELIMITER_DEFAULT_LIMITS", nil
	}
	r.GoLine = rateLimitCall(q, limits, options)
	if q.ClientField != "" || q.Prefix4 != usualPrefix4 {
		return
	}
	r.Config = fmt.Sprintf("%q: %q", key, LimitsText(limits))
	if q.Algorithm != replay.Algorithms[0] {
		r.Config += fmt.Sprintf(", \"RATELIMITER_ALGORITHM\": %q", q.Algorithm)
	}
	if q.Prefix6 != usualPrefix6 {
		r.Config += fmt.Sprintf(", \"RATELIMITER_IPV6_PREFIX\": %d", q.Prefix6)
	}
}

// rateLimitCall is the Go code of a middleware with these limits.
func rateLimitCall(q Question, limits []ratelimiter.Limit, options []string) string {
	options = slices.Clone(options)
	if scope := scopeOption(q); scope != "" {
		options = append(options, scope)
	}
	if q.Algorithm != replay.Algorithms[0] {
		options = append(options, fmt.Sprintf("ratelimiter.WithAlgorithm(ratelimiter.%s)", strings.ReplaceAll(titled(q.Algorithm), "-", "")))
	}
	for _, l := range limits[1:] {
		options = append(options, fmt.Sprintf("ratelimiter.WithLimit(%d, %s)", l.Limit, goDuration(l.Per)))
	}
	args := append([]string{fmt.Sprint(limits[0].Limit), goDuration(limits[0].Per)}, options...)
	return "limiter.RateLimit(" + strings.Join(args, ", ") + ")"
}

// scopeOption is the WithScope for these clients; empty for the default scope.
func scopeOption(q Question) string {
	header, isHeader := strings.CutPrefix(q.ClientField, "http_")
	switch {
	case isHeader:
		return fmt.Sprintf("ratelimiter.WithScope(ratelimiter.ByHeader(%q))", titled(strings.ReplaceAll(header, "_", "-")))
	case q.ClientField != "":
		return fmt.Sprintf("ratelimiter.WithScope(ratelimiter.ByContext(%q))", q.ClientField)
	case q.Prefix4 != usualPrefix4 || q.Prefix6 != usualPrefix6:
		return fmt.Sprintf("ratelimiter.WithScope(limiter.ByAddress(%d, %d))", q.Prefix4, q.Prefix6)
	}
	return ""
}

// titled capitalises each word between dashes.
func titled(text string) string {
	words := strings.Split(text, "-")
	for i, word := range words {
		if word != "" {
			words[i] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "-")
}

// handled are the methods with their own function in gin.Engine.
var handled = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

// routeLine is the Go code that registers a route with its own limits; empty for requests
// that match no route.
func routeLine(q Question, route *plan.Route) string {
	method, path, found := strings.Cut(route.Name, " ")
	if !found || method == "" || !strings.HasPrefix(path, "/") {
		return ""
	}
	call := rateLimitCall(q, route.Limits, nil)
	if slices.Contains(handled, method) {
		return fmt.Sprintf("engine.%s(%q, %s, handler)", method, path, call)
	}
	return fmt.Sprintf("engine.Handle(%q, %q, %s, handler)", method, path, call)
}

func goDuration(per time.Duration) string {
	for _, unit := range []struct {
		name string
		per  time.Duration
	}{{"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second}, {"Millisecond", time.Millisecond}} {
		if per%unit.per == 0 {
			if per == unit.per {
				return "time." + unit.name
			}
			return fmt.Sprintf("%d*time.%s", per/unit.per, unit.name)
		}
	}
	return fmt.Sprintf("%d*time.Microsecond", per.Microseconds())
}

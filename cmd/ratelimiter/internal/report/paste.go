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

// The prefixes of the library's default scope.
const (
	usualPrefix4 = 32
	usualPrefix6 = 64
)

// paste writes the configuration, and the line of Go that does the same. The
// configuration knows no other clients than addresses, and IPv4 by the whole one.
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

// rateLimitCall is limits as a middleware.
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

// scopeOption says who a client is, when it is not what the library takes anyway.
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

// titled writes the first letter of each word between dashes as a capital.
func titled(text string) string {
	words := strings.Split(text, "-")
	for i, word := range words {
		if word != "" {
			words[i] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "-")
}

// handled are the methods that an engine has a function of its own for.
var handled = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

// routeLine registers a route with limits of its own. There is none for requests
// that no route takes.
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

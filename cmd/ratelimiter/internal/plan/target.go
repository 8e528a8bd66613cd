// Package plan finds limits that fit the traffic of a log.
package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// Target is what limits are to achieve: a largest share of rejections, or a capacity of the
// server.
type Target struct {
	Text     string
	Clients  float64 // percentage of clients that may ever be rejected
	Requests float64 // percentage of requests that may be rejected
	Server   ratelimiter.Limit
	kind     kind
}

type kind uint8

const (
	byClients kind = iota
	byRequests
	byServer
)

// ParseTarget parses "0.1%-clients", "1%-requests", or the capacity of a server such as
// "200/second".
func ParseTarget(text string) (Target, error) {
	t := Target{Text: text}
	if share, unit, ok := strings.Cut(text, "%"); ok {
		percent, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return t, fmt.Errorf("the target %q starts with %q; it must be a percentage from 0 to 100", text, share)
		}
		switch strings.Trim(unit, " -") {
		case "", "clients":
			t.Clients, t.kind = percent, byClients
		case "requests":
			t.Requests, t.kind = percent, byRequests
		default:
			return t, fmt.Errorf("the target %q ends with %q; it must be clients or requests, such as 0.1%%-clients", text, unit)
		}
		return t, nil
	}
	limits, err := ratelimiter.ParseLimits(text)
	if err != nil || len(limits) != 1 || limits[0].Limit == 0 {
		return t, fmt.Errorf("the target %q is neither a share, such as 0.1%%-clients or 1%%-requests, nor a capacity of the server, such as 200/second", text)
	}
	t.Server, t.kind = limits[0], byServer
	return t, nil
}

// Exceeded reports whether there are more rejections than a share allows. For a capacity it
// is meaningless.
func (t Target) Exceeded(clients, allClients int, requests, allRequests int64) bool {
	if t.kind == byRequests {
		return requests > PartOf(t.Requests, allRequests)
	}
	return int64(clients) > PartOf(t.Clients, int64(allClients))
}

// PartOf is a percentage of all, rounded down: 0.7 % of 1000 are 7, although 0.7 has no
// exact binary form.
func PartOf(percent float64, all int64) int64 {
	return int64(percent*float64(all)/100 + 1e-9)
}

// IsShare reports whether the target is a share.
func (t Target) IsShare() bool { return t.kind != byServer }

// Micros is a period in microseconds.
func Micros(per time.Duration) int64 { return int64(per / time.Microsecond) }

// Meaning explains the target for some traffic.
func (t Target) Meaning(clients int, requests int64) string {
	switch t.kind {
	case byServer:
		return "all clients together are allowed at most this many requests"
	case byRequests:
		return fmt.Sprintf("at most %s may be rejected", outOf(PartOf(t.Requests, requests), requests, "request"))
	}
	return fmt.Sprintf("at most %s may ever be rejected", outOf(PartOf(t.Clients, int64(clients)), int64(clients), "client"))
}

// outOf formats a part of things, such as "1 of 20 clients".
func outOf(part, whole int64, thing string) string {
	if whole != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d of %d %s", part, whole, thing)
}

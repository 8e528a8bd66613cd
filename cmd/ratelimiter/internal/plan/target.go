// Package plan finds limits that fit the traffic of a log.
package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// Target is what limits may cost. One of the fields is set.
type Target struct {
	Text     string
	Clients  float64 // per cent of the clients who may ever be rejected
	Requests float64 // per cent of the requests that may be rejected
	Server   ratelimiter.Limit
	kind     kind
}

type kind uint8

const (
	byClients kind = iota
	byRequests
	byServer
)

// ParseTarget reads "0.1%-clients", "1%-requests" or what a server can serve, as
// "200/second".
func ParseTarget(text string) (Target, error) {
	t := Target{Text: text}
	if share, unit, ok := strings.Cut(text, "%"); ok {
		percent, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return t, fmt.Errorf("the target %q begins with %q; it must be a number of per cent from 0 to 100", text, share)
		}
		switch strings.Trim(unit, " -") {
		case "", "clients":
			t.Clients, t.kind = percent, byClients
		case "requests":
			t.Requests, t.kind = percent, byRequests
		default:
			return t, fmt.Errorf("the target %q speaks of %q; it must be clients or requests, as 0.1%%-clients", text, unit)
		}
		return t, nil
	}
	limits, err := ratelimiter.ParseLimits(text)
	if err != nil || len(limits) != 1 || limits[0].Limit == 0 {
		return t, fmt.Errorf("the target %q is neither a share, as 0.1%%-clients or 1%%-requests, nor what the server serves, as 200/second", text)
	}
	t.Server, t.kind = limits[0], byServer
	return t, nil
}

// Exceeded tells whether rejections are more than a target allows. It is for
// shares: what a server serves is not known from rejections.
func (t Target) Exceeded(clients, allClients int, requests, allRequests int64) bool {
	if t.kind == byRequests {
		return requests > PartOf(t.Requests, allRequests)
	}
	return int64(clients) > PartOf(t.Clients, int64(allClients))
}

// PartOf is the most whole things that are no more than some per cent of all:
// 0.7 % of 1000 are 7, though no binary number is 0.7.
func PartOf(percent float64, all int64) int64 {
	return int64(percent*float64(all)/100 + 1e-9)
}

// IsShare tells whether the target is a share.
func (t Target) IsShare() bool { return t.kind != byServer }

// Micros are the microseconds of a period.
func Micros(per time.Duration) int64 { return int64(per / time.Microsecond) }

// Meaning is what a target asks for, in words, of some traffic.
func (t Target) Meaning(clients int, requests int64) string {
	switch t.kind {
	case byServer:
		return "all clients together are let through at most that often"
	case byRequests:
		return fmt.Sprintf("at most %s rejected", outOf(PartOf(t.Requests, requests), requests, "request"))
	}
	return fmt.Sprintf("at most %s ever rejected", outOf(PartOf(t.Clients, int64(clients)), int64(clients), "client"))
}

// outOf writes "1 of the 20 clients is", and the like.
func outOf(part, whole int64, thing string) string {
	verb := "are"
	if part == 1 {
		verb = "is"
	}
	if whole == 1 {
		return fmt.Sprintf("%d of the 1 %s %s", part, thing, verb)
	}
	return fmt.Sprintf("%d of the %d %ss %s", part, whole, thing, verb)
}

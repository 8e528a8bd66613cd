package model

import (
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// disturbances say when what is promised for a shared limit does not hold, or holds in
// another way.
type disturbances struct {
	outages map[string][]history.Span // by limiter: faults, and what follows them
	losses  map[string][]history.Span // by limiter: Redis may have lost its counters
	resets  map[subject][]history.Span
	bans    map[subject][]history.Span // by hand
	updates []history.Span
	// unexplained are the times outside of faults when a server has decided without Redis,
	// by limiter. They are outages too, and counted apart.
	unexplained map[string][]history.Span
}

// subject is a client on a route. The zero subject of a limiter is everybody.
type subject struct{ limiter, key, scope string }

// storeOf says which Redis a limiter uses.
func storeOf(limiter string) string {
	switch limiter {
	case routes.HA:
		return "sentinel"
	case routes.Local:
		return ""
	}
	return "single"
}

func newDisturbances(h *history.History) *disturbances {
	d := &disturbances{
		outages: map[string][]history.Span{}, losses: map[string][]history.Span{},
		resets: map[subject][]history.Span{}, bans: map[subject][]history.Span{}, unexplained: map[string][]history.Span{},
	}
	for _, limiter := range routes.Limiters {
		for _, f := range h.Faults {
			if f.Store != storeOf(limiter) {
				continue
			}
			if f.Outage {
				d.outages[limiter] = append(d.outages[limiter], history.Span{From: f.From, To: f.To + micros(recovery)})
			}
			if f.Loses {
				d.losses[limiter] = append(d.losses[limiter], f.Span)
			}
		}
	}
	for _, log := range h.Logs {
		explained := merged(d.outages[log.Limiter])
		for _, span := range log.Unwell {
			d.unexplained[log.Limiter] = append(d.unexplained[log.Limiter], without(span, explained)...)
		}
	}
	for limiter, spans := range d.unexplained {
		d.outages[limiter] = append(d.outages[limiter], spans...)
	}
	for _, c := range h.Changes {
		switch c.Kind {
		case "update":
			d.updates = append(d.updates, c.Span)
		case "ban":
			is := subject{c.Limiter, c.Key, c.Scope}
			d.bans[is] = append(d.bans[is], c.Span)
		default: // a failed reset may have reset all the same
			is := subject{c.Limiter, c.Key, c.Scope}
			d.resets[is] = append(d.resets[is], c.Span)
		}
	}
	return d
}

// without is what is left of a span outside of others, which are in order and apart.
func without(span history.Span, others []history.Span) (rest []history.Span) {
	for _, other := range others {
		if !other.Overlaps(span) {
			continue
		}
		if span.From < other.From {
			rest = append(rest, history.Span{From: span.From, To: other.From})
		}
		if span.From = other.To; span.From >= span.To {
			return rest
		}
	}
	return append(rest, span)
}

func overlapsAny(spans []history.Span, span history.Span) bool {
	return slices.ContainsFunc(spans, span.Overlaps)
}

func count(spans []history.Span, span history.Span) (n int) {
	for _, s := range spans {
		if s.Overlaps(span) {
			n++
		}
	}
	return n
}

// calm reports whether the limiter of a route has decided all the time with its backend.
func (d *disturbances) calm(route *routes.Route, span history.Span) bool {
	return !overlapsAny(d.outages[route.Limiter], span)
}

// lost is how often the counter of a client was lost in Redis, or may have been.
func (d *disturbances) lost(route *routes.Route, span history.Span) int {
	return count(d.losses[route.Limiter], span)
}

// reset is how often an operator has reset the counter of a client.
func (d *disturbances) reset(s *series, span history.Span) int {
	return count(d.resets[subject{s.route.Limiter, s.route.Key(), s.scope}], span) +
		count(d.resets[subject{limiter: s.route.Limiter}], span)
}

// noticed is how long it takes until all processes know of a ban, by docs/ban.md.
const noticed = time.Second

// banned reports whether an operator has banned a client, and processes have learned of it.
func (d *disturbances) banned(s *series, span history.Span) bool {
	span.From -= micros(noticed)
	return overlapsAny(d.bans[subject{s.route.Limiter, s.route.Key(), s.scope}], span)
}

// steady reports whether nothing has happened to the counter of a client but its requests.
func (d *disturbances) steady(s *series, span history.Span) bool {
	return d.calm(s.route, span) && d.agreed(s, span) && !(s.route.Default && overlapsAny(d.updates, span))
}

// remembered is how long a process may go on denying what another process has reset, or
// what Redis has forgotten, by docs/redis.md.
const remembered = 10 * time.Second

// agreed reports whether all processes know the counter of a client as Redis does.
func (d *disturbances) agreed(s *series, span history.Span) bool {
	span.From -= micros(remembered)
	return d.lost(s.route, span) == 0 && d.reset(s, span) == 0
}

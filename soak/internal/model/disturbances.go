package model

import (
	"slices"
	"sort"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// disturbances say when what is promised for a shared limit does not hold, or holds in
// another way.
type disturbances struct {
	outages map[domain][]history.Span // faults, and what follows them
	losses  map[domain][]history.Span // Redis may have lost its counters
	emptied map[domain][]history.Span // and certainly has
	// alone are the times when a server has decided without Redis, and what is between them.
	// They are in order and apart. unexplained are those without a fault.
	alone       map[place][]history.Span
	unexplained map[place][]history.Span
	decisions   map[place][]history.Span // of alone, one by one
	kills       []history.Span           // of a server
	stops       []history.Span
	resets      map[subject][]history.Span
	bans        map[subject][]history.Span // by hand
	updates     []history.Span
}

// domain is what fails together: what a limiter has in a store.
type domain struct{ limiter, store string }

// place is a domain as seen by one server.
type place struct {
	domain
	process int
}

func domainOf(route *routes.Route, scope string) domain {
	return domain{route.Limiter, route.Store(scope)}
}

// subject is a client on a route. The zero subject of a limiter is everybody.
type subject struct{ limiter, key, scope string }

func newDisturbances(h *history.History) *disturbances {
	d := &disturbances{
		outages: map[domain][]history.Span{}, losses: map[domain][]history.Span{}, emptied: map[domain][]history.Span{},
		alone: map[place][]history.Span{}, unexplained: map[place][]history.Span{}, decisions: map[place][]history.Span{},
		resets: map[subject][]history.Span{}, bans: map[subject][]history.Span{},
	}
	for _, f := range h.Faults {
		d.addFault(f)
	}
	for is, spans := range d.outages {
		d.outages[is] = merged(spans)
	}
	for _, log := range h.Logs {
		for store, spans := range log.Unwell {
			d.addAlone(place{domain{log.Limiter, store}, log.Process}, spans)
		}
	}
	for _, c := range h.Changes {
		is := subject{c.Limiter, c.Key, c.Scope}
		switch c.Kind {
		case "update":
			d.updates = append(d.updates, c.Span)
		case "ban":
			d.bans[is] = append(d.bans[is], c.Span)
		default: // a failed reset may have reset all the same
			d.resets[is] = append(d.resets[is], c.Span)
		}
	}
	return d
}

func (d *disturbances) addFault(f history.Fault) {
	if f.Store == routes.Server {
		if f.Loses {
			d.kills = append(d.kills, f.Span)
		} else {
			d.stops = append(d.stops, f.Span)
		}
		return
	}
	for _, limiter := range routes.Limiters {
		if !routes.IsOn(limiter, f.Store) {
			continue
		}
		is := domain{limiter, f.Store}
		if f.Outage {
			d.outages[is] = append(d.outages[is], afterwards(f.Span))
		}
		if f.Loses {
			d.losses[is] = append(d.losses[is], f.Span)
			if f.Store != routes.Sentinel { // where a replica may have them
				d.emptied[is] = append(d.emptied[is], f.Span)
			}
		}
	}
}

// afterwards is a fault with the time until which the limit may not be shared yet.
func afterwards(fault history.Span) history.Span {
	return history.Span{From: fault.From, To: fault.To + micros(recovery)}
}

// addAlone adds when a server has decided by itself.
func (d *disturbances) addAlone(is place, decisions []history.Span) {
	d.decisions[is], d.alone[is] = decisions, joined(decisions, together)
	d.unexplained[is] = d.unexplainedOf(is, d.alone[is])
}

// unexplainedOf are the parts of spans that no fault explains, and no stop of the server.
func (d *disturbances) unexplainedOf(is place, spans []history.Span) (rest []history.Span) {
	explained := d.outages[is.domain]
	if is.process == routes.Victim {
		explained = slices.Clone(explained)
		for _, stop := range d.stops {
			explained = append(explained, afterwards(stop))
		}
		explained = merged(explained)
	}
	for _, span := range spans {
		rest = append(rest, without(span, explained)...)
	}
	return rest
}

// together is how far apart two decisions without Redis are that count as one time.
const together = time.Second

// joined joins spans that are in order and close together.
func joined(spans []history.Span, gap time.Duration) []history.Span {
	longer := slices.Clone(spans)
	for i := range longer {
		longer[i].To += micros(gap)
	}
	longer = merged(longer)
	for i := range longer {
		longer[i].To -= micros(gap)
	}
	return longer
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

// overlapsOrdered is overlapsAny for spans that are in order and apart.
func overlapsOrdered(spans []history.Span, span history.Span) bool {
	i := sort.Search(len(spans), func(i int) bool { return spans[i].To >= span.From })
	return i < len(spans) && spans[i].Overlaps(span)
}

func count(spans []history.Span, span history.Span) (n int) {
	for _, s := range spans {
		if s.Overlaps(span) {
			n++
		}
	}
	return n
}

// shared reports whether a request was decided with the backend, as far as is known.
func (d *disturbances) shared(r *history.Request) bool {
	is, whole := domainOf(routes.ByPath(r.Path), r.Scope), r.Whole()
	return !overlapsOrdered(d.outages[is], whole) && !overlapsOrdered(d.alone[place{is, r.Process}], whole)
}

// calm reports whether all decisions on a counter were made with the backend.
func (d *disturbances) calm(s *series, span history.Span) bool {
	return !overlapsOrdered(d.outages[s.domain], span) && !s.decidedAlone(span)
}

// decidedAlone reports whether a server has decided one of the requests by itself.
func (s *series) decidedAlone(span history.Span) bool {
	for i := s.from(span.From - micros(lookBack)); i < len(s.requests) && s.requests[i].Sent <= span.To; i++ {
		if s.alone[i] && s.requests[i].Whole().Overlaps(span) {
			return true
		}
	}
	return false
}

// lost is how often the counter of a client was lost, or may have been: by Redis, or in the
// memory of a server that was killed.
func (d *disturbances) lost(s *series, span history.Span) int {
	n := count(d.losses[s.domain], span)
	if s.route.Limiter == routes.Local && s.process == routes.Victim {
		n += count(d.kills, span)
	}
	return n
}

// reset is how often an operator has reset the counter of a client.
func (d *disturbances) reset(s *series, span history.Span) int {
	return count(d.resets[subject{s.route.Limiter, s.route.Key(), s.scope}], span) +
		count(d.resets[subject{limiter: s.route.Limiter}], span)
}

// stopped is for how long the server of a request was stopped meanwhile.
func (d *disturbances) stopped(r *history.Request) time.Duration { return d.stoppedOrBusy(r, 0) }

// delayed is for how long a stop may have delayed a request. A server that was stopped works
// off what has arrived in the meantime, and may take as long again for it.
func (d *disturbances) delayed(r *history.Request) time.Duration { return d.stoppedOrBusy(r, 1) }

// stoppedOrBusy is for how long the server of a request was stopped meanwhile, or busy
// after it for so many times the length of the stop.
func (d *disturbances) stoppedOrBusy(r *history.Request, times int64) (sum time.Duration) {
	if r.Process != routes.Victim {
		return 0
	}
	for _, stop := range d.stops {
		end := stop.To + times*(stop.To-stop.From)
		sum += time.Duration(max(0, min(end, r.Decided())-max(stop.From, r.Sent))) * time.Microsecond
	}
	return sum
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
	return d.calm(s, span) && d.agreed(s, span) && !(s.route.Default && overlapsAny(d.updates, span))
}

// remembered is how long a process may go on denying what another process has reset, or
// what Redis has forgotten, by docs/redis.md.
const remembered = 10 * time.Second

// agreed reports whether all processes know the counter of a client as Redis does.
func (d *disturbances) agreed(s *series, span history.Span) bool {
	span.From -= micros(remembered)
	return d.lost(s, span) == 0 && d.reset(s, span) == 0
}

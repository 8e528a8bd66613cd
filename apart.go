package ratelimiter

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Where several limits on a request would share a counter or a name, as those of a
// group and of a route, this file gives each its own.

// keepApart gives a limit a counter of its own where one before, on the same
// request, has one on the same key, algorithm and period: a request would be charged
// twice in one counter otherwise, if the scope is the same too. Limits under a ban
// stay together, as it counts what any of them refuses.
//
// A limit must find its counter where it is on other requests. So those before have
// their place although they are unlimited for this request, are skipped, or could not
// be decided, and whoever they are about: the scope of a limit may be an account
// today, and the address tomorrow. So may the key of one be a customer, and the route
// tomorrow.
func (d *decision) keepApart(rule *rule) {
	if d.earlier == nil && !rule.mixed {
		return
	}
	var together, onRoute int
	for i := range d.quotas {
		if d.about[i].limit.ban != nil {
			place, there := d.firstFree(i)
			together, onRoute = max(together, place), max(onRoute, there)
		}
	}
	for i := range d.quotas {
		if d.about[i].limit.ban != nil {
			d.place(i, together, onRoute)
		}
	}
	for order := range d.quotas {
		i := slices.IndexFunc(d.about, func(a about) bool { return int(a.order) == order })
		if i >= 0 && d.about[i].limit.ban == nil {
			place, there := d.firstFree(i)
			d.place(i, place, there)
		}
	}
}

// place puts a limit in its place, and notes which it would have if its key were the
// route: those behind that have this key must not move whenever it is.
func (d *decision) place(i, place, onRoute int) {
	d.quotas[i].Key = inPlace(d.quotas[i].Key, place)
	d.about[i].onRoute = uint8(onRoute)
}

// firstFree is the place of a limit, and which it would have if its key were the route.
func (d *decision) firstFree(i int) (place, onRoute int) {
	switch a := &d.about[i]; {
	case a.routed:
		place = d.free(i, true)
		return place, place
	case a.limit.key == nil: // of the configuration
		return d.free(i, false), 0
	}
	return d.free(i, false), d.free(i, true)
}

// free is the first place behind all those where the limit i, or the ban that it is
// under, would share a counter: with one of a middleware before, or of this one,
// where those under a ban come first. It is asked about the key that the limit has,
// or about the route, which takes the place of a key that is empty.
func (d *decision) free(i int, onRoute bool) (place int) {
	q, ban := &d.quotas[i], d.about[i].limit.ban
	for e := d; e != nil; e = e.earlier {
		if e.skipped != nil {
			e = e.skipped.places()
		}
		for j := range e.quotas {
			o, a := &e.quotas[j], &e.about[j]
			other := a.limit.ban
			if e == d && (ban != nil || other == nil && a.order >= d.about[i].order) {
				continue // it has no place yet
			}
			share := o.Algorithm == q.Algorithm && o.Per == q.Per && o.Shadow == q.Shadow
			share = share || ban != nil && other != nil && ban.per == other.per
			share = share || e == d && other != nil && !q.Shadow // its refusals would count for the ban
			switch {
			case !share:
			case !onRoute:
				place = max(place, placeOf(q.Key, o.Key))
			case a.routed || a.limit.key != nil:
				place = max(place, int(a.onRoute), 1)
			}
		}
	}
	return min(place+1, maxPlaces)
}

// maxPlaces is how many limits on one request that would share a counter are kept
// apart. Reset asks for each.
const maxPlaces = 9

// inPlace is the key of the first, second, ... middleware of a request that
// limits the same.
func inPlace(key string, place int) string {
	if place == 1 {
		return key
	}
	return key + "#" + strconv.Itoa(place)
}

// placeOf is where a key is stored: 1, 2, ..., and 0 for another key.
func placeOf(key, stored string) int {
	switch behind, ok := strings.CutPrefix(stored, key); {
	case !ok:
		return 0
	case behind == "":
		return 1
	case len(behind) == 2 && behind[0] == '#' && behind[1] >= '2' && behind[1] <= '0'+maxPlaces:
		return int(behind[1] - '0')
	}
	return 0
}

// callApart numbers the names that limits of middlewares before have on the same
// request: headers must not list a name twice, nor could anybody else tell them apart.
func (d *decision) callApart() {
	if d.earlier == nil {
		return
	}
	for i := range d.verdicts {
		a := &d.about[i]
		for n := 2; a.number < math.MaxUint8 && d.called(a.name(), i); n++ {
			a.number = uint8(n)
		}
	}
}

// called tells whether any other limit on the request has a name.
func (d *decision) called(name string, except int) bool {
	for i := range d.verdicts {
		if i != except && d.about[i].name() == name {
			return true
		}
	}
	for e := d.earlier; e != nil; e = e.earlier {
		if e.called(name, -1) {
			return true
		}
	}
	return false
}

// numbered is the second, third, ... of a name.
func numbered(name string, n int) string {
	if n < 2 {
		return name
	}
	return name + "-" + strconv.Itoa(n)
}

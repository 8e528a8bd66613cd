package ratelimiter

import (
	"math"
	"strconv"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Where several limits on a request would share a counter or a name, as those of a
// group and of a route, this file gives each its own.

// keepApart gives a limit a counter of its own where one before, on the same
// request, has one on the same key, scope, algorithm and period: a request would
// be charged twice in one counter otherwise. A limit must find its counter where it
// is on other requests. So those before have their place although they are unlimited
// for this request, are skipped, or could not be decided.
func (d *decision) keepApart(rule *rule) {
	if d.earlier == nil && !rule.mixed {
		return
	}
	guarded := uint8(1) // those under a ban stay together, as it counts what they refuse
	for i := range d.about {
		if a := &d.about[i]; a.limit.ban != nil {
			guarded = max(guarded, a.place)
		}
	}
	for i := range d.about {
		a := &d.about[i]
		if a.limit.ban != nil {
			a.place = guarded
		}
		d.quotas[i].Key = inPlace(d.quotas[i].Key, int(a.place))
	}
}

// callApart numbers the names that limits of middlewares before have on the same
// request: headers must not list a name twice, nor could anybody else tell them apart.
func (d *decision) callApart() {
	if d.earlier == nil {
		return
	}
	for i := range d.about {
		a := &d.about[i]
		for n := 2; a.number < math.MaxUint8 && d.called(a.name(), i); n++ {
			a.number = uint8(n)
		}
	}
}

// called tells whether any other limit on the request has a name.
func (d *decision) called(name string, except int) bool {
	for i := range d.about {
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

// place counts the quotas before that would share their counter with q, and q.
func (d *decision) place(q *backends.Quota) uint8 {
	place := 1 + sharing(q, d.quotas)
	for e := d.earlier; e != nil; e = e.earlier {
		others := e.quotas
		if e.skipped != nil {
			others = e.skipped()
		}
		place += sharing(q, others)
	}
	return uint8(min(place, maxPlaces))
}

// sharing counts the quotas that would share their counter with q.
func sharing(q *backends.Quota, others []backends.Quota) (n int) {
	for i := range others {
		if o := &others[i]; o.Scope == q.Scope && o.Algorithm == q.Algorithm && o.Per == q.Per && o.Shadow == q.Shadow && keyInPlace(q.Key, o.Key) {
			n++
		}
	}
	return n
}

// maxPlaces is how many middlewares on one route keep their counters apart.
const maxPlaces = 4

// inPlace is the key of the first, second, ... middleware of a request that
// limits the same.
func inPlace(key string, place int) string {
	if place == 1 {
		return key
	}
	return key + "#" + strconv.Itoa(place)
}

func keyInPlace(key, stored string) bool {
	return stored == key || len(stored) == len(key)+2 && stored[len(key)] == '#' && stored[:len(key)] == key
}

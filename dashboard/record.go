package dashboard

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// maxSeries is how many limits on routes are told apart, "other" apart.
const maxSeries = 256

// record is what a dashboard remembers of decisions. Decisions only add to counters;
// once a second a timer moves what was added to the rings. The timer runs while somebody
// watches, and until there was no decision for so long that the clients who were rejected
// are forgotten. An application at rest is left alone.
type record struct {
	seed     maphash.Seed
	known    atomic.Pointer[map[seriesKey]*series]
	recent   [64]atomic.Pointer[series] // some of known, where hashing is not needed to find them
	other    *series
	backend  backendSeries
	rejected rejected
	watched  atomic.Bool // somebody looks: also note how close clients are

	armed  atomic.Bool // the timer is set
	timer  *time.Timer
	closed atomic.Bool
	ticked func() // called after each second that the timer has moved

	learning sync.Mutex // held while known is replaced

	mu     sync.Mutex // held while rings are written and read
	at     int64      // the last second, since 1970, that is in the rings
	busy   int64      // the last one in which there was anything
	nextID int        // of series, guarded by learning
}

func newRecord(ticked func()) *record {
	r := &record{seed: maphash.MakeSeed(), ticked: ticked, at: time.Now().Unix() - 1}
	r.other = newSeries(seriesKey{route: "other"}, 0)
	r.known.Store(&map[seriesKey]*series{})
	r.rejected.begin(time.Now())
	r.timer = time.AfterFunc(time.Hour, r.fire)
	r.timer.Stop()
	return r
}

// Observe counts a decision. It is called in the request.
func (r *record) Observe(e ratelimiter.Event) {
	if int(e.Outcome) >= outcomes {
		return // younger than this page
	}
	s := r.find(seriesKey{e.Route, e.Name, e.Per, e.Shadow})
	s.counts[e.Outcome].Add(1)
	if e.Outcome != ratelimiter.Skipped && s.limit.Load() != e.Limit && s.limit.Swap(e.Limit) != unknown {
		s.varies.Store(true)
	}
	if e.LimitIndex == 0 && e.BackendLatency > 0 {
		r.backend.add(e.BackendLatency, e.Fallback)
	}
	denied := e.Outcome == ratelimiter.Rejected || e.Outcome == ratelimiter.Banned
	watched := r.watched.Load() && e.Outcome != ratelimiter.Skipped && e.Outcome != ratelimiter.BackendError
	if denied || watched {
		hash := maphash.String(r.seed, e.Scope)
		if denied {
			r.rejected.add(hash, &e)
		}
		if watched {
			s.closest.note(hash, &e.Info)
		}
	}
	if !r.armed.Load() {
		r.arm()
	}
}

// find is the series of a limit on a route.
func (r *record) find(key seriesKey) *series {
	at := &r.recent[key.place()]
	recent := at.Load()
	if recent != nil && recent.key == key {
		return recent
	}
	all := r.known.Load()
	known := *all
	found := known[key]
	switch {
	case found == nil && len(known) >= maxSeries:
		return r.other
	case found == nil:
		found = r.learn(key)
	case recent == nil:
		at.Store(found)
		if r.known.Load() != all { // found may have been forgotten meanwhile, and would stay here
			at.CompareAndSwap(found, nil)
		}
	}
	return found
}

// place tells keys apart mostly, and at once.
func (k *seriesKey) place() int {
	sum := len(k.route)*7 + len(k.name)*3 + int(k.per>>30)
	if len(k.route) > 0 {
		sum += int(k.route[len(k.route)-1])
	}
	return sum & 63
}

func (r *record) learn(key seriesKey) *series {
	r.learning.Lock()
	defer r.learning.Unlock()
	known := *r.known.Load()
	if found := known[key]; found != nil {
		return found
	}
	if len(known) >= maxSeries {
		return r.other
	}
	r.nextID++
	added := newSeries(key, r.nextID)
	added.active.Store(time.Now().Unix())
	known = maps.Clone(known)
	known[key] = added
	r.known.Store(&known)
	return added
}

// arm sets the timer to the end of this second.
func (r *record) arm() {
	if r.closed.Load() || r.armed.Swap(true) {
		return
	}
	r.again()
}

// again sets the timer, a little late so that the second is over for sure.
func (r *record) again() {
	rest := time.Second - time.Duration(time.Now().Nanosecond())
	r.timer.Reset(rest + time.Millisecond)
}

// fire moves a second, and sets the timer again unless all has been quiet for long.
func (r *record) fire() {
	quiet := r.advance(time.Now())
	r.ticked()
	if quiet && !r.watched.Load() {
		r.armed.Store(false)
		// A decision meanwhile has seen the timer armed, and left it to us.
		if !r.pending() && !r.watched.Load() || r.armed.Swap(true) {
			return
		}
	}
	if !r.closed.Load() {
		r.again()
	}
}

func (r *record) close() {
	r.closed.Store(true)
	r.timer.Stop()
}

// watch tells whether anybody looks.
func (r *record) watch(watched bool) {
	if r.watched.Swap(watched) == watched {
		return
	}
	if watched {
		r.arm()
		return
	}
	r.each(func(s *series) { s.closest.clear() }) // it would not be of today when the next one looks
}

// each calls f for every series, "other" last.
func (r *record) each(f func(*series)) {
	for _, s := range *r.known.Load() {
		f(s)
	}
	f(r.other)
}

// pending tells whether there are counts that are not in the rings yet.
func (r *record) pending() (found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.each(func(s *series) { found = found || s.pending() })
	return found
}

// advance moves what was counted since the last time into the rings, as of the second
// before now. It returns whether there has been nothing for long.
func (r *record) advance(now time.Time) (quiet bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Unix()-1 < r.at-unsteady { // the clock was set back
		r.restart(now.Unix() - 1)
	}
	last := r.at
	r.at = max(last, now.Unix()-1)
	r.each(func(s *series) {
		clearBetween(s.seconds[:], last, r.at)
		clearBetween(s.quarters[:], last/quarter, r.at/quarter)
		if last/quarter != r.at/quarter {
			s.varied = s.varies.Swap(false)
		}
		if s.move(r.at) {
			r.busy = r.at
		}
	})
	clearBetween(r.backend.seconds[:], last, r.at)
	clearBetween(r.backend.quarters[:], last/quarter, r.at/quarter)
	r.backend.move(last, r.at)
	r.rejected.advance(now)
	if last/quarter != r.at/quarter {
		r.forget()
	}
	return time.Duration(r.at-r.busy)*time.Second > 2*rejectedPeriod
}

// restart empties the rings, whose times were wrong, to begin after a second.
func (r *record) restart(second int64) {
	r.at, r.busy = second, second
	r.each(func(s *series) {
		clear(s.seconds[:])
		clear(s.quarters[:])
		if s.active.Load() > 0 { // as "other" mostly is not
			s.active.Store(second)
		}
	})
	r.backend.restart()
}

// forget drops the series of limits that were not asked for an hour. A decision that
// comes at this very moment may still count on one that is dropped, and is not shown.
func (r *record) forget() {
	r.learning.Lock()
	defer r.learning.Unlock()
	known := maps.Clone(*r.known.Load())
	before := len(known)
	maps.DeleteFunc(known, func(_ seriesKey, s *series) bool { return s.active.Load() < r.at-hourSeconds })
	if len(known) != before {
		r.known.Store(&known)
		for i := range r.recent {
			r.recent[i].Store(nil)
		}
	}
}

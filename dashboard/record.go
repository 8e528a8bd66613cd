package dashboard

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// maxSeries is how many limits on routes have a series of their own.
const maxSeries = 256

// record is the history of a process. Decisions only add to counters; once a second a
// timer moves the new counts into rings. The timer runs while a page is open, and
// otherwise until the rejected clients have expired, so an idle application stays idle.
type record struct {
	seed     maphash.Seed
	known    atomic.Pointer[map[seriesKey]*series]
	recent   [64]atomic.Pointer[series] // a cache of known, found without hashing
	other    *series                    // limits beyond maxSeries
	backend  backendSeries
	rejected rejected
	watched  atomic.Bool // a page is open: also track clients close to a limit

	armed  atomic.Bool // the timer is set
	timer  *time.Timer
	closed atomic.Bool
	health func() backends.Health
	ticked func() // runs after the timer has moved a second

	learning sync.Mutex // guards replacing known, and nextID
	nextID   int        // of series

	mu      sync.Mutex // guards the rings and the rest
	since   int64      // the first second, since 1970, that was counted
	at      int64      // the latest second in the rings
	busy    int64      // the latest second with a decision
	outages []outage   // of the last hour, the oldest first
}

func newRecord(health func() backends.Health, ticked func()) *record {
	now := time.Now()
	r := &record{seed: maphash.MakeSeed(), health: health, ticked: ticked, since: now.Unix(), at: now.Unix() - 1}
	r.other = newSeries(seriesKey{route: "other"}, 0)
	r.known.Store(&map[seriesKey]*series{})
	r.rejected.begin(now)
	r.timer = time.AfterFunc(time.Hour, r.fire)
	r.timer.Stop()
	return r
}

// Observe counts a decision, during the request.
func (r *record) Observe(e ratelimiter.Event) {
	if int(e.Outcome) >= outcomes {
		return // an outcome that this package does not know yet
	}
	s := r.find(seriesKey{e.Route, e.Name, e.Per, e.Shadow})
	s.counts[e.Outcome].Add(1)
	if e.LimitIndex == 0 && e.BackendLatency > 0 {
		r.backend.add(e.BackendLatency, e.Fallback)
	}
	if e.Outcome != ratelimiter.Skipped { // the event of a skipped limit says little
		s.describe(&e)
		r.observeClient(s, &e)
	}
	if !r.armed.Load() {
		r.arm()
	}
}

// observeClient notes a client that is rejected or, while a page is open, close to a limit.
func (r *record) observeClient(s *series, e *ratelimiter.Event) {
	denied := e.Outcome == ratelimiter.Rejected || e.Outcome == ratelimiter.Banned
	watched := r.watched.Load() && e.Outcome != ratelimiter.BackendError
	if !denied && !watched {
		return
	}
	hash := maphash.String(r.seed, e.Scope)
	if denied {
		r.rejected.add(hash, e)
	}
	if watched {
		s.closest.note(hash, &e.Info)
	}
}

// find returns the series of a limit on a route.
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
		if r.known.Load() != all { // found may have been dropped meanwhile
			at.CompareAndSwap(found, nil)
		}
	}
	return found
}

// place is a cheap hash of the key.
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

// again sets the timer slightly after the end of this second, so that the second is over.
func (r *record) again() {
	rest := time.Second - time.Duration(time.Now().Nanosecond())
	r.timer.Reset(rest + time.Millisecond)
}

// fire moves a second, and sets the timer again unless the application has been idle.
func (r *record) fire() {
	idle := r.advance(time.Now())
	r.ticked()
	if idle && !r.watched.Load() {
		r.armed.Store(false)
		// A decision in the meantime saw the timer armed and did not arm it.
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

// watch says whether a page is open.
func (r *record) watch(watched bool) {
	if r.watched.Swap(watched) == watched {
		return
	}
	if watched {
		r.arm()
		return
	}
	r.each(func(s *series) { s.closest.clear() }) // it would be out of date for the next page
}

// each calls f for every series, "other" last.
func (r *record) each(f func(*series)) {
	for _, s := range *r.known.Load() {
		f(s)
	}
	f(r.other)
}

// pending reports whether there are counts that are not in the rings yet.
func (r *record) pending() (found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.each(func(s *series) { found = found || s.pending() })
	return found
}

// behind reports whether the timer has not moved the last second, as after an idle time.
func (r *record) behind(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at < now.Unix()-1
}

// advance moves new counts into the rings, as those of the second before now. It reports
// whether the application is idle.
func (r *record) advance(now time.Time) (idle bool) {
	health := r.health()
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Unix()-1 < r.at-unsteady { // the clock was set back
		r.restart(now.Unix() - 1)
	}
	last := r.at
	r.at = max(last, now.Unix()-1)
	failed := false
	r.each(func(s *series) {
		clearBetween(s.seconds[:], last, r.at)
		clearBetween(s.intervals[:], last/interval, r.at/interval)
		if last/interval != r.at/interval {
			s.varied = s.varies.Swap(false)
		}
		if s.move(r.at) {
			r.busy = r.at
		}
		failed = failed || s.seconds[r.at%secondsKept][ratelimiter.BackendError] > 0
	})
	failed = r.backend.move(last, r.at) || failed
	r.noteOutage(failed, health)
	r.rejected.advance(now)
	if last/interval != r.at/interval {
		r.drop()
	}
	return !health.Open && time.Duration(r.at-r.busy)*time.Second > 2*rejectedPeriod
}

// restart empties the rings, whose times are wrong, and starts after a second.
func (r *record) restart(second int64) {
	r.since, r.at, r.busy, r.outages = second+1, second, second, nil
	r.each(func(s *series) {
		clear(s.seconds[:])
		clear(s.intervals[:])
		if s.active.Load() > 0 { // 0 if "other" was never used
			s.active.Store(second)
		}
	})
	r.backend.restart()
}

// drop removes the series of limits that no request met for an hour. A decision that
// arrives at this moment may still count on a removed series, and is lost.
func (r *record) drop() {
	r.learning.Lock()
	defer r.learning.Unlock()
	known := maps.Clone(*r.known.Load())
	before := len(known)
	maps.DeleteFunc(known, func(_ seriesKey, s *series) bool { return s.active.Load() < r.at-shownHour })
	if len(known) != before {
		r.known.Store(&known)
		for i := range r.recent {
			r.recent[i].Store(nil)
		}
	}
}

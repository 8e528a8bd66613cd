package dashboard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

const (
	shownRejected = 10
	shownNear     = 6
	// maxKeys is how many keys a page gets, and how many one lookup covers.
	maxKeys = 200
)

// processStart is when this process started, give or take the initialisation of packages.
var processStart = time.Now()

// instance is the process that a page belongs to.
type instance struct {
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Started int64  `json:"started"` // seconds since 1970
}

func thisInstance() instance {
	host, _ := os.Hostname() // without a name, the process identifier still helps
	return instance{host, os.Getpid(), processStart.Unix()}
}

// snapshot is what a page receives: the whole history first, and then each second.
type snapshot struct {
	At       int64           `json:"at"`    // the latest second, since 1970
	Since    int64           `json:"since"` // the first second that was counted
	Boot     string          `json:"boot"`  // changes with the process
	Instance instance        `json:"instance"`
	Status   status          `json:"status"`
	Totals   totals          `json:"totals"`
	Rows     []row           `json:"rows"`
	Series   []seriesState   `json:"series"`
	Backend  backendState    `json:"backend"`
	Rejected rejectedState   `json:"rejected"`
	Closest  []nearState     `json:"closest"`
	Config   json.RawMessage `json:"config,omitempty"` // if it is new
	Keys     []string        `json:"keys,omitempty"`   // for the lookup, with Config
}

// seriesState is the history of a limit on a route.
type seriesState struct {
	ID       int    `json:"id"`
	Route    string `json:"route"`
	Second   counts `json:"second"`
	Interval counts `json:"interval"` // the last full one

	Seconds []counts `json:"seconds,omitempty"` // in the first snapshot, the oldest first
	Hour    []counts `json:"hour,omitempty"`
}

type rejectedState struct {
	Since   int64         `json:"since"`
	Total   uint64        `json:"total"`
	Clients int           `json:"clients"`
	More    bool          `json:"more,omitempty"` // there were more clients
	List    []clientState `json:"list"`
}

// clientState is a client that was rejected.
type clientState struct {
	Scope   string `json:"scope"`
	ID      string `json:"id,omitempty"`
	Count   uint64 `json:"count"`
	AtLeast bool   `json:"at_least,omitempty"` // the true count may be higher
	Banned  bool   `json:"banned,omitempty"`
	Route   string `json:"route"`
	Name    string `json:"name"`
}

// nearState is a client that has used much of a limit.
type nearState struct {
	Scope     string  `json:"scope"`
	ID        string  `json:"id,omitempty"`
	Route     string  `json:"route"`
	Name      string  `json:"name"`
	Shadow    bool    `json:"shadow,omitempty"`
	Share     float64 `json:"share"`
	Limit     int64   `json:"limit"`
	Remaining int64   `json:"remaining"`

	full scopeText // the scope before masking
}

// tick sends the snapshot of a second to all open pages.
func (h *Handler) tick() {
	if h.streams.any() {
		h.streams.send(encode("second", h.snapshot(false)))
	}
}

// history is the first event of a page.
func (h *Handler) history() []byte {
	if now := time.Now(); h.record.behind(now) {
		h.record.advance(now)
	}
	return encode("history", h.snapshot(true))
}

// encode writes a snapshot as a server-sent event.
func encode(name string, s *snapshot) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // it holds numbers and strings only
	}
	return slices.Concat([]byte("event: "+name+"\ndata: "), data, []byte("\n\n"))
}

// snapshot describes the process now, with its history if whole is set.
func (h *Handler) snapshot(whole bool) *snapshot {
	s := &snapshot{Boot: h.token[:8], Instance: thisInstance()}
	s.Config, s.Keys = h.lastSent.news(h.limiter, whole)
	stats := h.limiter.Stats()
	now := time.Now()
	r := h.record
	r.mu.Lock()
	s.At, s.Since = r.at, r.since
	s.Status = statusOf(h.limiter.Config(), stats.Health, r.failing())
	s.Totals, s.Rows = r.totals(), r.rows()
	s.Series = r.seriesStates(whole)
	s.Backend = r.backendState(stats, whole)
	near := r.near(now)
	r.mu.Unlock()
	s.Backend.Address = backendAddress(h.limiter.Config())
	for i := range near {
		near[i].Scope, near[i].ID = h.shown(near[i].full.String()), h.idOf(&near[i].full)
	}
	s.Closest = near
	s.Rejected = h.rejectedState()
	return s
}

// seriesStates lists the series in order of appearance. r.mu is held.
func (r *record) seriesStates(whole bool) []seriesState {
	list := []seriesState{}
	r.each(func(s *series) {
		if s == r.other && s.active.Load() == 0 {
			return
		}
		state := seriesState{
			ID: s.id, Route: s.key.route,
			Second: s.seconds[r.at%secondsKept], Interval: s.intervals[lastInterval(r.at)%intervalsKept],
		}
		if whole {
			state.Seconds = unrolled(s.seconds[:], r.at)
			state.Hour = unrolled(s.intervals[:], lastInterval(r.at))[1:]
		}
		list = append(list, state)
	})
	slices.SortFunc(list, func(a, b seriesState) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// lastInterval is the last interval that was over at the end of a second.
func lastInterval(second int64) int64 { return (second+1)/interval - 1 }

// near lists the clients that are closest to a limit. r.mu is held.
func (r *record) near(now time.Time) []nearState {
	list := []nearState{}
	r.each(func(s *series) {
		for _, one := range s.closest.now(now) {
			list = append(list, nearState{
				full: one.scope, Route: s.key.route, Name: s.key.name, Shadow: s.key.shadow,
				Share: one.share(), Limit: one.limit, Remaining: one.remaining,
			})
		}
	})
	slices.SortFunc(list, func(a, b nearState) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.full.String(), b.full.String()))
	})
	return list[:min(len(list), shownNear)]
}

func (h *Handler) rejectedState() rejectedState {
	found := h.record.rejected.all()
	state := rejectedState{found.since.Unix(), found.total, len(found.clients), found.evicted, []clientState{}}
	for _, one := range found.clients[:min(len(found.clients), shownRejected)] {
		state.List = append(state.List, clientState{
			Scope: h.shown(one.scope.String()), ID: h.idOf(&one.scope),
			Count: one.least, AtLeast: one.over > 0, Banned: one.banned,
			Route: one.where.route, Name: one.where.name,
		})
	}
	return state
}

// shown is a scope as the page may show it.
func (h *Handler) shown(scope string) string {
	if h.showScopes || scope == "" {
		return scope
	}
	return h.mask.Scope(scope)
}

// idOf is what a page sends back in place of a masked scope; "" if the scope was cut.
func (h *Handler) idOf(scope *scopeText) string {
	if scope.cut {
		return ""
	}
	return h.mask.ID(scope.String())
}

// scopeOf finds a scope among those that a page may show.
func (h *Handler) scopeOf(matches func(scope string) bool) (scope string, found bool) {
	check := func(known *scopeText) {
		if !found && !known.cut && matches(known.String()) {
			scope, found = known.String(), true
		}
	}
	clients := h.record.rejected.all().clients
	for i := range clients {
		check(&clients[i].scope)
	}
	h.record.each(func(s *series) {
		near := s.closest.now(time.Now())
		for i := range near {
			check(&near[i].scope)
		}
	})
	return scope, found
}

// lastSent is the configuration and the keys that the open pages have.
type lastSent struct {
	mu     sync.Mutex
	config []byte
	keys   []string
}

// news is the effective configuration and the keys for the lookup, if they have changed or
// whole is set.
func (l *lastSent) news(limiter *ratelimiter.RateLimiter, whole bool) (config json.RawMessage, keys []string) {
	config, err := json.Marshal(limiter.Config())
	if err != nil {
		config = []byte("null") // Config promises that it can be encoded
	}
	keys = limiter.Keys()
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := !bytes.Equal(l.config, config) || !slices.Equal(l.keys, keys)
	if !whole && !changed {
		return nil, nil
	}
	if !whole { // the other open pages do not have what a new page gets
		l.config, l.keys = config, keys
	}
	return config, keys[:min(len(keys), maxKeys)]
}

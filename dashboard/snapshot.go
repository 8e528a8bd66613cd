package dashboard

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

const (
	shownRejected = 12
	shownNear     = 12
)

// snapshot is what a page is told: all of the past in the first one, and then what a
// second has brought. Numbers of decisions are in the order of ratelimiter.Outcome.
type snapshot struct {
	At       int64           `json:"at"`   // the second, since 1970
	Boot     string          `json:"boot"` // another one is another process
	Backend  backendState    `json:"backend"`
	Limits   []limitState    `json:"limits"`
	Rejected rejectedState   `json:"rejected"`
	Closest  []nearState     `json:"closest"`
	Config   json.RawMessage `json:"config,omitempty"` // where it is new
	Keys     []string        `json:"keys,omitempty"`   // with Config, for the lookup
}

// limitState is a limit on a route.
type limitState struct {
	ID     int    `json:"id"`
	Route  string `json:"route"`
	Name   string `json:"name"`
	Limit  string `json:"limit"` // as "100/minute"
	Varies bool   `json:"varies,omitempty"`
	Shadow bool   `json:"shadow,omitempty"`

	Second  counts `json:"second"`
	Quarter counts `json:"quarter"` // the last one that is over

	Seconds  []counts `json:"seconds,omitempty"` // in the first snapshot, oldest first
	Quarters []counts `json:"quarters,omitempty"`
}

type rejectedState struct {
	Since int64         `json:"since"`
	List  []clientState `json:"list"`
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
	LimitID   int     `json:"limit_id"`
	Share     float64 `json:"share"`
	Limit     int64   `json:"limit"`
	Remaining int64   `json:"remaining"`
	Reset     int64   `json:"reset"`

	whole scopeText // what Scope and ID are made of
}

// tick makes the snapshot of a second for all pages that are open.
func (h *Handler) tick() {
	if h.streams.any() {
		h.streams.send(h.event("second", h.snapshot(false)))
	}
}

// history makes the first snapshot of a page.
func (h *Handler) history() []byte {
	now := time.Now()
	if h.record.behind(now) {
		h.record.advance(now)
	}
	return h.event("history", h.snapshot(true))
}

// behind tells whether the timer has slept, as while nobody looked.
func (r *record) behind(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at < now.Unix()-1
}

// event writes a snapshot as a server-sent event.
func (h *Handler) event(name string, s *snapshot) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // numbers and texts
	}
	return slices.Concat([]byte("event: "+name+"\ndata: "), data, []byte("\n\n"))
}

func (h *Handler) snapshot(whole bool) *snapshot {
	s := &snapshot{Boot: h.token[:8], Limits: []limitState{}, Closest: []nearState{}}
	s.Config, s.Keys = h.lastSent.news(h.limiter, whole)
	s.Backend = h.backendState(whole)
	now := time.Now()
	h.record.mu.Lock()
	s.At = h.record.at
	var closest []nearState
	h.record.each(func(one *series) {
		if one != h.record.other || one.active.Load() > 0 {
			s.Limits = append(s.Limits, one.state(s.At, whole))
			closest = append(closest, nearStates(one, now)...)
		}
	})
	h.record.mu.Unlock()
	slices.SortFunc(s.Limits, func(a, b limitState) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(closest, func(a, b nearState) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.LimitID, b.LimitID))
	})
	for _, one := range closest[:min(len(closest), shownNear)] {
		one.Scope, one.ID = h.shown(one.whole.String()), h.idOf(&one.whole)
		s.Closest = append(s.Closest, one)
	}
	s.Rejected = h.rejectedState()
	return s
}

// state is a series as a page knows it. record.mu is held.
func (s *series) state(at int64, whole bool) limitState {
	state := limitState{
		ID: s.id, Route: s.key.route, Name: s.key.name, Shadow: s.key.shadow,
		Second: s.seconds[at%minutesSeconds], Quarter: s.quarters[lastQuarter(at)%quarterPlaces],
	}
	if limit := s.limit.Load(); s.key.per > 0 && limit != unknown { // "other" is many limits
		state.Limit = ratelimiter.Limit{Limit: limit, Per: s.key.per}.String()
		state.Varies = s.varied || s.varies.Load()
	}
	if whole {
		state.Seconds = unrolled(s.seconds[:], at)
		state.Quarters = unrolled(s.quarters[:], lastQuarter(at))[1:]
	}
	return state
}

// lastQuarter is the last quarter of a minute that was over at the end of a second.
func lastQuarter(second int64) int64 { return (second+1)/quarter - 1 }

func nearStates(of *series, now time.Time) (list []nearState) {
	for _, one := range of.closest.now(now) {
		list = append(list, nearState{
			whole: one.scope, LimitID: of.id,
			Share: one.share(), Limit: one.limit, Remaining: one.remaining, Reset: time.Unix(0, one.reset).Unix(),
		})
	}
	return list
}

func (h *Handler) rejectedState() rejectedState {
	list, since := h.record.rejected.most(shownRejected)
	state := rejectedState{since.Unix(), []clientState{}}
	for _, one := range list {
		state.List = append(state.List, clientState{
			Scope: h.shown(one.scope.String()), ID: h.idOf(&one.scope),
			Count: one.least, AtLeast: one.over > 0, Banned: one.banned,
			Route: one.where.route, Name: one.where.name,
		})
	}
	return state
}

// shown is a scope as a page may show it.
func (h *Handler) shown(scope string) string {
	if h.showScopes || scope == "" {
		return scope
	}
	return h.mask.Scope(scope)
}

// idOf is what a page may send back in place of a scope, if all of the scope is known.
func (h *Handler) idOf(scope *scopeText) string {
	if scope.cut {
		return ""
	}
	return h.mask.ID(scope.String())
}

// scopeOf is the scope that is meant, of those that a page may show.
func (h *Handler) scopeOf(meant func(scope string) bool) (scope string, found bool) {
	check := func(known *scopeText) {
		if !found && !known.cut && meant(known.String()) {
			scope, found = known.String(), true
		}
	}
	list, _ := h.record.rejected.most(2 * shards * perShard)
	for i := range list {
		check(&list[i].scope)
	}
	h.record.each(func(s *series) {
		near := s.closest.now(time.Now())
		for i := range near {
			check(&near[i].scope)
		}
	})
	return scope, found
}

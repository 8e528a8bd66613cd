package ratelimiter_test

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// Several limits on one request, in one middleware and in several, are compared with
// a model in which no two limits have anything in common. A limit is told from the
// others by its number, which no two share.

// aLimit is one limit: what it was drawn as, and what has happened to it. It is told
// from the others by its number, which no two share.
type aLimit struct {
	number    int64
	per       time.Duration
	key       string // "shared", "header", or none for the route
	scope     string // "address", "everyone", "header"
	algorithm ratelimiter.Algorithm
	cost      string // "one", "two", "header"
	shadow    bool
	staffFree bool // unlimited for staff
	elsewhere bool // on a key or scope of its own
	events    []event
}

// event is units that were taken of a limit, or a refusal that counts for a ban.
type event struct {
	at         time.Time
	key, scope string
	units      int64
}

// aRule is one middleware.
type aRule struct {
	limits        []*aLimit
	skips, counts bool // WithSkip, WithCountIf
	tells         bool // WithOverLimit(nil)
	after         int  // WithBan
	banPer, ban   time.Duration
	refusals      []event
	bans          []event // at is the end
}

// aRequest is what a client sends.
type aRequest struct {
	path, address, key, header, cost string
	staff, skipped, discarded        bool
}

func (r aRequest) change(request *http.Request) {
	request.RemoteAddr = r.address + ":80"
	for name, value := range map[string]string{"X-Key": r.key, "X-Header": r.header, "X-Cost": r.cost,
		"X-Staff": yes(r.staff), "X-Skip": yes(r.skipped), "X-Discard": yes(r.discarded)} {
		request.Header.Set(name, value)
	}
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// subject is the key and the scope of a limit for a request.
func (l *aLimit) subject(r aRequest) (key, scope string) {
	key, scope = l.key, r.address
	if key == "header" {
		key = r.key
	}
	if key == "" {
		key = "GET " + r.path
	}
	switch {
	case l.scope == "everyone":
		scope = "everyone"
	case l.scope == "header" && r.header != "":
		scope = r.header
	}
	return key, scope
}

func (l *aLimit) units(r aRequest) int64 {
	switch l.cost {
	case "two":
		return 2
	case "header":
		units, _ := strconv.ParseInt(r.cost, 10, 64)
		return units
	}
	return 1
}

// used is what a key and scope have taken of the limit.
func (l *aLimit) used(now time.Time, key, scope string) (used int64) {
	for _, e := range l.events {
		counts := e.at.Add(l.per).After(now)
		if l.algorithm == ratelimiter.FixedWindow {
			counts = e.at.UnixNano()/int64(l.per) == now.UnixNano()/int64(l.per)
		}
		if counts && e.key == key && e.scope == scope {
			used += e.units
		}
	}
	return used
}

// opinion is what one limit says of a request.
type opinion struct {
	limit             *aLimit
	allowed, hopeless bool // whether waiting does not help
	left              int64
}

// rank is the lower, the closer the limit is to refusing.
func (o opinion) rank() int64 {
	switch {
	case o.allowed:
		return o.left
	case o.hopeless:
		return -2
	}
	return -1
}

func (r *aRule) guards(l *aLimit) bool { return r.after > 0 && !l.elsewhere && !l.shadow }

func (r *aRule) banned(now time.Time, key, scope string) bool {
	return slices.ContainsFunc(r.bans, func(b event) bool { return b.key == key && b.scope == scope && now.Before(b.at) })
}

// opinions are what the limits of a rule say, and whether the request is refused.
func (r *aRule) opinions(now time.Time, request aRequest) (all []opinion, refused bool) {
	for _, l := range r.limits {
		if l.staffFree && request.staff {
			continue
		}
		key, scope := l.subject(request)
		o := opinion{limit: l, left: max(0, l.number-l.used(now, key, scope))}
		o.allowed = l.used(now, key, scope)+l.units(request) <= l.number
		o.hopeless = l.units(request) > l.number
		if r.guards(l) && r.banned(now, key, scope) {
			o.allowed, o.left = false, 0
		}
		refused = refused || !o.allowed && !l.shadow
		all = append(all, o)
	}
	return all, refused
}

// strike counts a refusal by the limits under the ban.
func (r *aRule) strike(now time.Time, request aRequest, all []opinion) {
	for _, o := range all {
		key, scope := o.limit.subject(request)
		if !r.guards(o.limit) || o.allowed || r.banned(now, key, scope) {
			continue
		}
		r.refusals = append(r.refusals, event{now, key, scope, 1})
		r.refusals = slices.DeleteFunc(r.refusals, func(e event) bool { return !e.at.Add(r.banPer).After(now) })
		of := func(e event) bool { return e.key == key && e.scope == scope }
		if count(r.refusals, of) >= r.after {
			r.refusals = slices.DeleteFunc(r.refusals, of)
			r.bans = append(r.bans, event{now.Add(r.ban), key, scope, 1})
		}
		return
	}
}

func count(events []event, is func(event) bool) (n int) {
	for _, e := range events {
		if is(e) {
			n++
		}
	}
	return n
}

// expected is what the model says of a request.
type expected struct {
	refusing *aRule // nil if it passes
	shown    []opinion
	denied   []opinion       // those that refuse, of the rule that does
	after    map[int64]int64 // what is left in the end, by the number of the limit
	at       map[*aRule]bool // which have decided
}

// expect takes a request through the rules of its route.
func expect(rules []*aRule, now time.Time, request aRequest) expected {
	want := expected{after: map[int64]int64{}, at: map[*aRule]bool{}}
	var charged [][]*aLimit
	var kept []bool
	for _, r := range rules {
		if r.skips && request.skipped {
			continue
		}
		all, refused := r.opinions(now, request)
		want.at[r] = len(all) > 0
		if refused && r.tells {
			want.shown = append(want.shown, all...)
			continue
		}
		if refused {
			r.strike(now, request, all)
			all, _ = r.opinions(now, request)
			want.refusing = r
			for _, o := range all {
				if !o.allowed && !o.limit.shadow {
					want.denied = append(want.denied, o)
				}
			}
			want.shown = append(want.shown, all...)
			break
		}
		var of []*aLimit
		for i := range all {
			if l := all[i].limit; all[i].allowed {
				key, scope := l.subject(request)
				l.events = append(l.events, event{now, key, scope, l.units(request)})
				of = append(of, l)
				all[i].left -= l.units(request)
			}
		}
		want.shown = append(want.shown, all...)
		charged, kept = append(charged, of), append(kept, !r.counts || !request.discarded)
	}
	for i, limits := range charged {
		for _, l := range limits {
			if want.refusing != nil || !kept[i] {
				l.events = l.events[:len(l.events)-1]
			}
			if want.refusing != nil {
				for j := range want.shown {
					if want.shown[j].limit == l {
						want.shown[j].left += l.units(request)
					}
				}
			}
		}
	}
	for _, r := range rules {
		if want.at[r] {
			all, _ := r.opinions(now, request)
			for _, o := range all {
				want.after[o.limit.number] = o.left
			}
		}
	}
	return want
}

// reset forgets what a scope has used of keys.
func (r *aRule) reset(keys []string, scope string) {
	of := func(e event) bool { return e.scope == scope && slices.Contains(keys, e.key) }
	r.refusals, r.bans = slices.DeleteFunc(r.refusals, of), slices.DeleteFunc(r.bans, of)
	for _, l := range r.limits {
		l.events = slices.DeleteFunc(l.events, of)
	}
}

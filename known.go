package ratelimiter

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// knownLimits are the limits that Status and Keys tell of, by the key that people
// read. Limits come when they are registered or bound to a route; only those on keys
// of functions come with requests. The zero value is ready. It is safe for use by many
// goroutines.
type knownLimits struct {
	mu    sync.Mutex
	byKey map[string][]knownLimit
}

// knownLimit is a limit on a key.
type knownLimit struct {
	asked
	quota backends.Quota // without a scope
}

// maxKnownKeys is how many keys are known in all: routes are few, but a limiter may
// be given new names without end.
const maxKnownKeys = 10_000

// maxLimitsOfKey is how many limits are known on one key, as a limiter may also be given
// new numbers without end.
const maxLimitsOfKey = 64

// seenKeys are the keys that functions have made of requests for one limit of a route. They are
// looked at in each such request, and so are in a map that is replaced, never changed.
type seenKeys struct {
	keys atomic.Pointer[map[string]bool] // as stored
	mu   sync.Mutex
}

// maxSeenKeys is how many keys of a limit are known. Functions may make up keys
// without end.
const maxSeenKeys = 1024

// isNew reports whether a limit meets a key for the first time, and remembers it.
func (n *seenKeys) isNew(key string) bool {
	if known := n.keys.Load(); known != nil && ((*known)[key] || len(*known) >= maxSeenKeys) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	keys := map[string]bool{}
	if known := n.keys.Load(); known != nil {
		if (*known)[key] || len(*known) >= maxSeenKeys {
			return false
		}
		keys = maps.Clone(*known)
	}
	keys[key] = true
	n.keys.Store(&keys)
	return true
}

// registered learns the limits of a rule whose keys are known without a request.
func (k *knownLimits) registered(s *settings, rule *rule) {
	for i := range rule.limits {
		l := &rule.limits[i]
		if l.namespace != ofKey && l.namespace != ofApplication || !l.varies() && l.limit < 0 {
			continue
		}
		if key, ok := l.staticKey(route{}); ok {
			quota := l.quota(s)
			quota.Key = l.storedKey(s, l.namespace, 1, key)
			k.add(s, knownLimit{asked{boundLimit: &boundLimit{limitRule: l, name: l.name}, key: key}, quota}, rule.configured)
		}
	}
}

// learn learns the limits of a binding that have a key of their own.
func (k *knownLimits) learn(b *binding) {
	if !b.applies() {
		return
	}
	for i := range b.limits {
		if l := &b.limits[i]; l.key != "" && (l.varies() || l.limit >= 0) {
			k.add(b.settings, knownLimit{asked{boundLimit: l, key: l.key}, l.quota}, b.configured)
		}
	}
}

// note learns the keys that functions have made of a request.
func (k *knownLimits) note(q *request) {
	for i := range q.several.asked {
		a, quota := &q.several.asked[i], q.several.quotas[i]
		if a.boundLimit.key == "" && a.seen.isNew(quota.Key) {
			quota.Scope = ""
			key := strings.Clone(a.key) // which may be a piece of a long request
			k.add(q.settings, knownLimit{asked{boundLimit: a.boundLimit, key: key}, quota}, nil)
		}
	}
}

// add learns a limit, in the place of an earlier one on the same counter.
func (k *knownLimits) add(s *settings, added knownLimit, of *configured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.closed.Load() || of != nil && of.retired.Load() {
		return // a request was on its way during Close, or while Update replaced the limits
	}
	list, known := k.byKey[added.key]
	if !known && len(k.byKey) >= maxKnownKeys {
		return
	}
	at := slices.IndexFunc(list, added.replaces)
	list = slices.Clone(list)
	switch {
	case at >= 0:
		list[at] = added
	case len(list) >= maxLimitsOfKey:
		return
	default:
		list = append(list, added)
		slices.SortStableFunc(list, func(a, b knownLimit) int { return cmp.Compare(a.period(), b.period()) })
	}
	if k.byKey == nil {
		k.byKey = map[string][]knownLimit{}
	}
	k.byKey[added.key] = list
}

// replaces reports whether an earlier limit on the same counter is the same limit: of
// the same rule, or an equal one that was registered anew.
func (k *knownLimit) replaces(old knownLimit) bool {
	same := old.limitRule == k.limitRule || old.quota.Limit == k.quota.Limit && old.quota.Burst == k.quota.Burst
	return same && sameCounter(&old.quota, &k.quota)
}

// of lists the limits on a key that are the same for everybody.
func (k *knownLimits) of(key string) []knownLimit {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(k.byKey[key]), func(one knownLimit) bool { return one.varies() })
}

// replaceConfigured forgets configured limits that Update has replaced.
func (k *knownLimits) replaceConfigured(s *settings, before, now *configured) {
	k.mu.Lock()
	before.retired.Store(true)
	for key, list := range k.byKey {
		left := slices.DeleteFunc(slices.Clone(list), func(one knownLimit) bool {
			return one.namespace == ofDefault || one.namespace == ofApplication
		})
		k.byKey[key] = left
		if len(left) == 0 {
			delete(k.byKey, key)
		}
	}
	k.mu.Unlock()
	if now.applicationRule != nil {
		k.registered(s, now.applicationRule)
	}
}

// forgetAll forgets all limits, after the settings that they belong to were closed.
func (k *knownLimits) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byKey = nil
}

// Keys lists the keys that a limit is known on, sorted: the routes, and what WithKey
// has made of requests. They are those of Status, and those whose limits functions
// decide, which Status leaves out and Reset resets. It is empty before InitApp.
func (r *RateLimiter) Keys() []string {
	if r.settings.Load() == nil {
		return nil
	}
	r.known.mu.Lock()
	defer r.known.mu.Unlock()
	return slices.Sorted(maps.Keys(r.known.byKey))
}

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

// knownLimits are the limits that Status and Keys report, by public key. A limit is added
// when it is registered or bound to a route, or, if functions determine its key, with the
// requests. The zero value is ready to use. It is safe for concurrent use.
type knownLimits struct {
	mu    sync.Mutex
	byKey map[string][]knownLimit
}

// knownLimit is a limit on a key.
type knownLimit struct {
	limitState
	quota backends.Quota // without a scope
}

// maxKnownKeys limits the number of keys. There are few routes, but functions may return
// an unlimited number of keys.
const maxKnownKeys = 10_000

// maxLimitsOfKey limits the number of limits on one key, because an application may
// register a new limit for each request.
const maxLimitsOfKey = 64

// seenKeys are the keys that functions have returned for one limit of a route. Every
// request reads them, so the map is copy-on-write.
type seenKeys struct {
	keys atomic.Pointer[map[string]bool] // as stored
	mu   sync.Mutex
}

// maxSeenKeys limits the number of keys of one limit.
const maxSeenKeys = 1024

// isNew reports whether a key is new to a limit, and remembers it.
func (n *seenKeys) isNew(key string) bool {
	if n.isKnownOrFull(key) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isKnownOrFull(key) { // another request has added it
		return false
	}
	keys := map[string]bool{}
	if known := n.keys.Load(); known != nil {
		keys = maps.Clone(*known)
	}
	keys[key] = true
	n.keys.Store(&keys)
	return true
}

func (n *seenKeys) isKnownOrFull(key string) bool {
	known := n.keys.Load()
	return known != nil && ((*known)[key] || len(*known) >= maxSeenKeys)
}

// addRegistered adds the limits of a rule whose keys are known without a request.
func (k *knownLimits) addRegistered(s *settings, rule *rule) {
	for i := range rule.limits {
		l := &rule.limits[i]
		if l.namespace != keyNamespace && l.namespace != applicationNamespace || !l.isDynamic() && l.limit < 0 {
			continue
		}
		if key, ok := l.staticKey(route{}); ok {
			quota := l.quota(s)
			quota.Key = l.storedKey(s, l.namespace, 1, key)
			k.add(s, knownLimit{limitState{boundLimit: &boundLimit{limitRule: l, name: l.name}, key: key}, quota}, rule.configured)
		}
	}
}

// addBound adds the limits of a binding whose keys are known without a request.
func (k *knownLimits) addBound(b *binding) {
	if !b.applies() {
		return
	}
	for i := range b.limits {
		if l := &b.limits[i]; l.key != "" && (l.isDynamic() || l.limit >= 0) {
			k.add(b.settings, knownLimit{limitState{boundLimit: l, key: l.key}, l.quota}, b.configured)
		}
	}
}

// addSeen adds the keys that functions have returned for a request.
func (k *knownLimits) addSeen(q *request) {
	for i := range q.decision.limits {
		a, quota := &q.decision.limits[i], q.decision.quotas[i]
		if a.boundLimit.key == "" && a.seen.isNew(quota.Key) {
			quota.Scope = ""
			key := strings.Clone(a.key) // it may be part of a long request
			k.add(q.settings, knownLimit{limitState{boundLimit: a.boundLimit, key: key}, quota}, nil)
		}
	}
}

// add adds a limit, or replaces an equal one on the same counter.
func (k *knownLimits) add(s *settings, added knownLimit, of *configured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.closed.Load() || of != nil && of.retired.Load() {
		return // a request was still running during Close, or while Update replaced the limits
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

// replaces reports whether an earlier limit on the same counter is the same limit: part
// of the same rule, or an equal limit that was registered again.
func (k *knownLimit) replaces(old knownLimit) bool {
	same := old.limitRule == k.limitRule || old.quota.Limit == k.quota.Limit && old.quota.Burst == k.quota.Burst
	return same && sameCounter(&old.quota, &k.quota)
}

// lookup returns the limits on a key that are the same for every request.
func (k *knownLimits) lookup(key string) []knownLimit {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(k.byKey[key]), func(one knownLimit) bool { return one.isDynamic() })
}

// replaceConfigured removes the configured limits that Update has replaced.
func (k *knownLimits) replaceConfigured(s *settings, before, now *configured) {
	k.mu.Lock()
	before.retired.Store(true)
	for key, list := range k.byKey {
		left := slices.DeleteFunc(slices.Clone(list), func(one knownLimit) bool {
			return one.namespace == defaultNamespace || one.namespace == applicationNamespace
		})
		k.byKey[key] = left
		if len(left) == 0 {
			delete(k.byKey, key)
		}
	}
	k.mu.Unlock()
	if now.applicationRule != nil {
		k.addRegistered(s, now.applicationRule)
	}
}

// forgetAll removes all limits after Close.
func (k *knownLimits) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byKey = nil
}

// Keys returns the keys of all known limits in sorted order: routes, and results of
// WithKey functions. Status accepts them, except keys whose limits are all determined by
// functions, and Reset accepts all of them. Keys returns nil before InitApp. See Status
// for when a limit becomes known.
func (r *RateLimiter) Keys() []string {
	if r.settings.Load() == nil {
		return nil
	}
	r.known.mu.Lock()
	defer r.known.mu.Unlock()
	return slices.Sorted(maps.Keys(r.known.byKey))
}

package ratelimiter_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// The bounds for every fault. They leave time for a busy machine; other tests check the
// exact durations in virtual time.
const (
	longestWait    = 2500 * time.Millisecond // the client by itself waits for 3 s
	longestOutage  = 15 * time.Second        // after Redis answers again; about two are possible
	scarce, plenty = 40, 1 << 40             // limits of the two routes of a service
)

// fault is a failure of Redis.
type fault struct {
	arguments []string                     // of redis-server
	options   func(*scene) map[string]any  // backend options; the default is the address
	strike    func(t *testing.T, s *scene) // starts the fault
	mend      func(t *testing.T, s *scene) // ends the fault
	absent    bool                         // the server starts after the application
	harmless  bool                         // decisions are still made
	lasting   bool                         // no writing decision is made, so the breaker opens
	forgets   bool                         // the server loses its counters
}

var faults = map[string]fault{
	"killed and restarted": {
		strike:  func(_ *testing.T, s *scene) { s.server.Kill() },
		mend:    func(_ *testing.T, s *scene) { s.server.Start() },
		lasting: true, forgets: true,
	},
	"killed until the client stops dialling": { // it then dials once a second
		options: func(s *scene) map[string]any { return map[string]any{"addr": s.server.Addr, "pool_size": 2} },
		strike:  func(_ *testing.T, s *scene) { s.server.Kill() },
		mend:    func(_ *testing.T, s *scene) { s.server.Start() },
		lasting: true, forgets: true,
	},
	"absent at the start": {
		mend:   func(_ *testing.T, s *scene) { s.server.Start() },
		absent: true, lasting: true,
	},
	"stopped and continued": {
		strike:  func(_ *testing.T, s *scene) { s.server.Pause() },
		mend:    func(_ *testing.T, s *scene) { s.server.Continue() },
		lasting: true,
	},
	"cut in the middle of a reply": {
		options: proxied,
		strike:  func(_ *testing.T, s *scene) { s.proxy.Cut(true) },
		mend:    func(_ *testing.T, s *scene) { s.proxy.Cut(false) },
		lasting: true,
	},
	"slow": {
		options: proxied,
		strike:  func(_ *testing.T, s *scene) { s.proxy.Delay(300 * time.Millisecond) },
		mend:    func(_ *testing.T, s *scene) { s.proxy.Delay(0) },
		lasting: true,
	},
	"behind a network that delays and drops": {
		options: proxied,
		strike:  func(_ *testing.T, s *scene) { s.proxy.Delay(20 * time.Millisecond); s.proxy.Lose(10) },
		mend:    func(_ *testing.T, s *scene) { s.proxy.Delay(0); s.proxy.Lose(0) },
	},
	"behind a network that drops everything": {
		options: proxied,
		strike:  func(_ *testing.T, s *scene) { s.proxy.Lose(1) },
		mend:    func(_ *testing.T, s *scene) { s.proxy.Lose(0) },
		lasting: true,
	},
	"paused by a client": {
		strike: func(t *testing.T, s *scene) {
			require.NoError(t, s.admin.Do(t.Context(), "client", "pause", 60000, "write").Err())
		},
		mend:    func(t *testing.T, s *scene) { require.NoError(t, s.admin.ClientUnpause(t.Context()).Err()) },
		lasting: true,
	},
	"out of memory": {
		strike:  func(t *testing.T, s *scene) { s.set(t, "maxmemory", "1") },
		mend:    func(t *testing.T, s *scene) { s.set(t, "maxmemory", "0") },
		lasting: true,
	},
	"without permission to write": {
		strike:  func(t *testing.T, s *scene) { s.permit(t, "-@write") },
		mend:    func(t *testing.T, s *scene) { s.permit(t, "+@write") },
		lasting: true,
	},
	"demoted to a replica": {
		strike: func(t *testing.T, s *scene) {
			require.NoError(t, s.admin.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
		},
		mend:    func(t *testing.T, s *scene) { require.NoError(t, s.admin.ReplicaOf(t.Context(), "no", "one").Err()) },
		lasting: true,
	},
	"with another password": {
		arguments: []string{"--requirepass", password},
		options:   func(s *scene) map[string]any { return map[string]any{"addr": s.server.Addr, "password": password} },
		strike:    func(t *testing.T, s *scene) { s.set(t, "requirepass", "another"); s.hangUp(t) },
		mend:      func(t *testing.T, s *scene) { s.set(t, "requirepass", password) },
		lasting:   true,
	},
	"without a name": {
		options: func(s *scene) map[string]any { return map[string]any{"client": s.named} },
		strike:  func(t *testing.T, s *scene) { s.nameless.Store(true); s.hangUp(t) },
		mend:    func(_ *testing.T, s *scene) { s.nameless.Store(false) },
		lasting: true,
	},
	"script flush": {
		strike:   func(t *testing.T, s *scene) { require.NoError(t, s.admin.ScriptFlush(t.Context()).Err()) },
		harmless: true,
	},
	"flushall": {
		strike:   func(t *testing.T, s *scene) { require.NoError(t, s.admin.FlushAll(t.Context()).Err()) },
		harmless: true, forgets: true,
	},
}

const password = "s3cret"

func proxied(s *scene) map[string]any { return map[string]any{"addr": s.proxy.Addr} }

// scene is a Redis, the connections to it, and an application for each error policy.
type scene struct {
	server   *redistest.Server
	proxy    *redistest.Proxy
	admin    *redis.Client // on a connection that survives the faults
	named    *redis.Client // resolves the host name each time
	nameless atomic.Bool
	services []*service
}

func newScene(t *testing.T, f fault) *scene {
	s := &scene{server: redistest.Single(t, f.arguments...)}
	s.proxy = redistest.NewProxy(t, s.server.Addr)
	s.admin = redis.NewClient(&redis.Options{Addr: s.server.Addr, PoolSize: 1})
	if f.arguments != nil {
		s.admin.Options().Password = password
	}
	s.named = redis.NewClient(&redis.Options{Addr: "redis.test:6379", Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		if s.nameless.Load() {
			return nil, &net.DNSError{Err: "no such host", Name: "redis.test", IsNotFound: true}
		}
		return (&net.Dialer{}).DialContext(ctx, network, s.server.Addr)
	}})
	t.Cleanup(func() { require.NoError(t, s.admin.Close()); require.NoError(t, s.named.Close()) })
	if f.absent {
		s.server.Kill()
	} else {
		require.NoError(t, s.admin.Ping(t.Context()).Err())
	}
	options := map[string]any{"addr": s.server.Addr}
	if f.options != nil {
		options = f.options(s)
	}
	if f.forgets { // otherwise the processes remember denials that Redis has lost
		options["local_denials"] = false
	}
	timeout := serviceTimeout
	if f.harmless { // then a decision that fails is a bug, and not a busy machine
		timeout = time.Minute
	}
	for _, policy := range []string{"fallback", "allow", "deny"} {
		s.services = append(s.services, newService(t, policy, timeout, options))
	}
	return s
}

func (s *scene) set(t *testing.T, name, value string) {
	require.NoError(t, s.admin.ConfigSet(t.Context(), name, value).Err())
}

func (s *scene) permit(t *testing.T, rule string) {
	require.NoError(t, s.admin.Do(t.Context(), "acl", "setuser", "default", rule).Err())
}

// hangUp closes all connections except its own.
func (s *scene) hangUp(t *testing.T) {
	require.NoError(t, s.admin.ClientKillByFilter(t.Context(), "TYPE", "normal").Err())
}

// until waits for a condition on all services.
func (s *scene) until(t *testing.T, what string, yes func(*service) bool) {
	t.Helper()
	redistest.Eventually(t, what, func(context.Context) bool {
		for _, service := range s.services {
			if !yes(service) {
				return false
			}
		}
		return true
	})
}

func TestAnApplicationStaysUpAndLimitedDuringEveryRedisFault(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, f)
			for _, service := range s.services {
				service.load(t)
			}
			if !f.absent {
				s.until(t, "Redis decides", func(service *service) bool { return service.witness.granted.Load() > 20 })
				s.until(t, "what is scarce is used up", (*service).usedUp)
				f.strike(t, s)
			}
			s.endure(t, f)
			if f.mend != nil {
				f.mend(t, s)
			}
			back := s.recover(t)
			s.hold(t)
			for i, service := range s.services {
				service.stop()
				t.Logf("%s, %s: worst latency %v, %d of %d over the time-out; %d units over the limit; back after %v",
					name, service.policy, service.worst().Round(time.Millisecond), service.slow.Load(), service.served.Load(),
					service.over(), back[i].Round(time.Millisecond))
				service.check(t, f)
			}
		})
	}
}

// endure keeps a fault up until every service is affected.
func (s *scene) endure(t *testing.T, f fault) {
	t.Helper()
	if f.lasting {
		s.until(t, "the breakers are open", func(service *service) bool { return service.limiter.Health().Open })
		s.until(t, "a probe has failed", func(service *service) bool { return service.witness.probesFailed.Load() > 0 })
		return
	}
	before := map[*service]int64{}
	for _, service := range s.services {
		before[service] = service.served.Load()
	}
	s.until(t, "more requests are served", func(service *service) bool { return service.served.Load() > before[service]+100 })
}

// recover measures how long each service takes until Redis has decided ten requests in a
// row.
func (s *scene) recover(t *testing.T) []time.Duration {
	t.Helper()
	start := time.Now()
	back := make([]time.Duration, len(s.services))
	for _, service := range s.services {
		service.witness.inARow.Store(0)
	}
	redistest.Eventually(t, "the shared limit is back", func(context.Context) bool {
		all := true
		for i, service := range s.services {
			if back[i] == 0 && !service.limiter.Health().Open && service.witness.inARow.Load() >= 10 {
				back[i] = time.Since(start)
			}
			all = all && back[i] > 0
		}
		return all
	})
	for _, each := range back {
		require.Less(t, each, longestOutage)
	}
	return back
}

// hold waits until the limit rejects requests again.
func (s *scene) hold(t *testing.T) {
	t.Helper()
	before := map[*service]int64{}
	for _, service := range s.services {
		before[service] = service.rejected.Load()
	}
	s.until(t, "the limit applies again", func(service *service) bool { return service.rejected.Load() > before[service]+5 })
}

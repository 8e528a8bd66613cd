package backends

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
)

// fakeRedis is a Redis in the process, on the clock of a bubble. It decides with Decide,
// which other tests compare with the script.
type fakeRedis struct {
	now                       func() time.Time // its clock
	latencyThere, latencyBack time.Duration    // latency of command and answer
	lost                      string           // the key of decisions that fail

	mu    sync.Mutex
	texts map[string]string // by Redis key

	trips atomic.Int64
}

func newFakeRedis() *fakeRedis { return &fakeRedis{now: time.Now, texts: map[string]string{}} }

// backend returns one of any number of processes that use the server.
func (p *fakeRedis) backend(t *testing.T) *redisBackend {
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	client.AddHook(deletes{p})
	r := &redisBackend{client: client, owned: true, denials: newDenials()}
	r.queues.Store("", newQueue(p.send, false))
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// cluster returns a backend that charges key by key.
func (p *fakeRedis) cluster(t *testing.T) *redisBackend {
	r := p.backend(t)
	r.oneKeyPerCall, r.denials = true, nil
	return r
}

// NewFakeCluster returns a backend that charges key by key, on a server with a clock.
func NewFakeCluster(t *testing.T, now func() time.Time) Backend {
	p := newFakeRedis()
	p.now = now
	return struct{ Backend }{p.cluster(t)} // without ResetAll, which needs a server
}

// deletes sends the commands of a client to the fake server, except for decisions.
type deletes struct{ *fakeRedis }

func (d deletes) DialHook(next redis.DialHook) redis.DialHook { return next }
func (d deletes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (d deletes) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		elapse(d.latencyThere)
		d.mu.Lock()
		delete(d.texts, cmd.Args()[1].(string))
		d.mu.Unlock()
		elapse(d.latencyBack)
		return nil
	}
}

// elapse moves the virtual clock.
func elapse(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

func (p *fakeRedis) get(key, scope string) (string, error) { return p.texts[redisKey(key, scope)], nil }

func (p *fakeRedis) put(key, scope, text string, _ time.Time) error {
	p.texts[redisKey(key, scope)] = text
	return nil
}

// truth returns the verdicts that the server would return now.
func (p *fakeRedis) truth(t require.TestingT, quotas ...Quota) []Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	verdicts := make([]Verdict, len(quotas))
	require.NoError(t, Decide(p.now(), quotas, verdicts, p.get, func(string, string, string, time.Time) error { return nil }))
	return verdicts
}

// send implements queue.send with an answer in the format of the script.
func (p *fakeRedis) send(_ context.Context, calls []*call) {
	sent, groups := sinceStart(), mergeCalls(calls)
	there, back := p.latencyThere, p.latencyBack
	elapse(there)
	p.mu.Lock()
	p.trips.Add(1)
	now := p.now()
	words := []string{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)}
	for i := range groups {
		words = append(words, p.decide(now, &groups[i])...)
	}
	p.mu.Unlock()
	elapse(back)
	for _, c := range calls {
		c.at = moment{sent: sent, received: sinceStart()}
	}
	if _, err := readTakeReply(groups, strings.Join(words, " "), 0); err != nil {
		fail(groups, err)
	}
	for _, c := range calls {
		if p.loses(c) {
			c.err = errLost
		}
	}
}

func (p *fakeRedis) loses(c *call) bool { return p.lost != "" && c.quotas[0].Key == p.lost }

func (p *fakeRedis) decide(now time.Time, g *group) []string {
	first, granted := g.first, 0
	words := []string{""}
	for _, members := range first.subjects {
		q := &first.quotas[members[0]]
		words = append(words, p.texts[redisKey(q.Key, q.Scope)])
	}
	verdicts := make([]Verdict, len(first.quotas))
	for range g.times() {
		if !p.loses(first) && !first.dryRun && Decide(now, first.quotas, verdicts, p.get, p.put) == nil && !anyDenied(first.quotas, verdicts) {
			granted++
		}
	}
	words[0] = strconv.Itoa(granted)
	return words
}

// takeCounted returns the number of round trips of a decision, and its verdicts.
func (p *fakeRedis) takeCounted(t require.TestingT, backend Backend, quotas ...Quota) (trips int64, verdicts []Verdict) {
	before := p.trips.Load()
	verdicts = make([]Verdict, len(quotas))
	require.NoError(t, backend.Take(context.Background(), quotas, verdicts))
	return p.trips.Load() - before, verdicts
}

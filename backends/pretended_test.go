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

// pretended is a Redis in the process, on the clock of a bubble. What it answers
// is decided by Decide, which other tests compare with the script.
type pretended struct {
	skew        time.Duration // of its clock
	there, back time.Duration // how long question and answer are on the way

	mu    sync.Mutex
	texts map[string]string // by the Redis key

	trips atomic.Int64
}

func newPretended() *pretended { return &pretended{texts: map[string]string{}} }

// backend is one of any number of processes that use it.
func (p *pretended) backend(t *testing.T) *redisBackend {
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	client.AddHook(deletes{p})
	r := &redisBackend{client: client, owned: true, denials: newDenials()}
	r.queues.Store("", newQueue(p.send, false))
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// deletes is the client's way to the pretended server for what is no decision.
type deletes struct{ *pretended }

func (d deletes) DialHook(next redis.DialHook) redis.DialHook { return next }
func (d deletes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (d deletes) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		elapse(d.there)
		d.mu.Lock()
		delete(d.texts, cmd.Args()[1].(string))
		d.mu.Unlock()
		elapse(d.back)
		return nil
	}
}

// elapse lets virtual time pass.
func elapse(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

func (p *pretended) get(key, scope string) (string, error) { return p.texts[redisKey(key, scope)], nil }

func (p *pretended) put(key, scope, text string, _ time.Time) error {
	p.texts[redisKey(key, scope)] = text
	return nil
}

// truth is what would be answered now.
func (p *pretended) truth(t require.TestingT, quotas ...Quota) []Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	verdicts := make([]Verdict, len(quotas))
	require.NoError(t, Decide(time.Now().Add(p.skew), quotas, verdicts, p.get, func(string, string, string, time.Time) error { return nil }))
	return verdicts
}

// send is that of a queue, with the script's way to answer.
func (p *pretended) send(_ context.Context, calls []*call) {
	asked, groups := sinceStart(), mergeCalls(calls)
	there, back := p.there, p.back
	elapse(there)
	p.mu.Lock()
	p.trips.Add(1)
	now := time.Now().Add(p.skew)
	words := []string{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)}
	for i := range groups {
		words = append(words, p.decide(now, &groups[i])...)
	}
	p.mu.Unlock()
	elapse(back)
	for _, c := range calls {
		c.at = moment{sent: asked, received: sinceStart()}
	}
	if _, err := readTakeReply(groups, strings.Join(words, " "), 0); err != nil {
		fail(groups, err)
	}
}

func (p *pretended) decide(now time.Time, g *group) []string {
	first, granted := g.first, 0
	words := []string{""}
	for _, members := range first.subjects {
		q := &first.quotas[members[0]]
		words = append(words, p.texts[redisKey(q.Key, q.Scope)])
	}
	verdicts := make([]Verdict, len(first.quotas))
	for range g.times() {
		if !first.dryRun && Decide(now, first.quotas, verdicts, p.get, p.put) == nil && !anyDenied(first.quotas, verdicts) {
			granted++
		}
	}
	words[0] = strconv.Itoa(granted)
	return words
}

// asks tells how many trips a decision took, and what it was.
func (p *pretended) asks(t require.TestingT, backend Backend, quotas ...Quota) (trips int64, verdicts []Verdict) {
	before := p.trips.Load()
	verdicts = make([]Verdict, len(quotas))
	require.NoError(t, backend.Take(context.Background(), quotas, verdicts))
	return p.trips.Load() - before, verdicts
}

package backends

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// While a refund or reset is in progress, others may already see its effect.
func TestADenialIsNotUsedWhileARefundIsInProgress(t *testing.T) {
	onFreeing(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota, free func()) {
		p.takeRemote(t, backend, true, q)
		p.takeRemote(t, backend, false, q)
		p.latencyThere, p.latencyBack = 10*time.Millisecond, 10*time.Millisecond
		freed := inBackground(free)
		elapse(11 * time.Millisecond) // the server has applied it by now
		p.takeRemote(t, backend, true, q)
		<-freed
	})
}

func TestADenialOvertakenByARefundIsNotCached(t *testing.T) {
	onFreeing(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota, free func()) {
		p.takeRemote(t, backend, true, q)
		p.latencyBack = time.Second
		denied := inBackground(func() {
			verdicts := make([]Verdict, 1)
			assert.NoError(t, backend.Take(t.Context(), []Quota{q}, verdicts))
			assert.False(t, verdicts[0].Allowed)
		})
		p.latencyBack = time.Millisecond
		free()
		<-denied
		p.takeRemote(t, backend, true, q)
	})
}

// onFreeing runs a test for each way in which a process frees units.
func onFreeing(t *testing.T, test func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota, free func())) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "refund", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		test(t, p, backend, q, func() {
			refund := []Quota{q}
			refund[0].Cost = -1
			assert.NoError(t, backend.Take(t.Context(), refund, make([]Verdict, 1)))
		})
		p.latencyThere, p.latencyBack = 0, 0
		q.Key = "reset"
		test(t, p, backend, q, func() { assert.NoError(t, backend.Reset(t.Context(), "reset", "")) })
	})
}

// inBackground starts a function and returns a channel that is closed when it ends.
func inBackground(what func()) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		what()
	}()
	synctest.Wait()
	return done
}

// Answers may overtake each other.
func TestTheNewestStateIsCachedWhicheverAnswerArrivesLast(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		other := p.backend(t)
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 10, Per: time.Hour, Cost: 8}
		p.takeRemote(t, other, true, q)
		q.Cost = 5
		p.latencyBack = time.Second
		slow := inBackground(func() {
			assert.NoError(t, backend.Take(t.Context(), []Quota{q}, make([]Verdict, 1)))
		})
		p.latencyBack = 0
		elapse(time.Millisecond)
		more := q
		more.Cost = 2
		p.takeRemote(t, other, true, more)
		require.Zero(t, p.takeRemote(t, backend, false, q).Remaining)
		<-slow
		require.Zero(t, p.takeCached(t, backend, q).Remaining)
	})
}

func TestWhichOfTwoAnswersIsNewer(t *testing.T) {
	answer := moment{now: 1000, order: 5, sent: 10 * time.Second, received: 20 * time.Second}
	for name, test := range map[string]struct {
		change func(*moment)
		newer  bool
	}{
		"the same decision":      {func(*moment) {}, true},
		"a later time":           {func(m *moment) { m.now, m.order = 1001, 0 }, true},
		"an earlier time":        {func(m *moment) { m.now, m.order = 999, 9 }, false},
		"later in the same trip": {func(m *moment) { m.order = 6 }, true},
		"before it in the trip":  {func(m *moment) { m.order = 4 }, false},
		"sent after the other was received, whatever the clock says": {func(m *moment) {
			m.sent, m.received, m.now, m.order = 20*time.Second, 30*time.Second, 1, 0
		}, true},
	} {
		m := answer
		test.change(&m)
		require.Equal(t, test.newer, m.notOlderThan(answer), name)
	}
}

func TestAPeekInProgressDoesNotSuspendTheCache(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		peek := q
		peek.Cost = 0
		p.takeRemote(t, backend, true, q)
		p.takeRemote(t, backend, false, q)
		p.latencyThere = time.Second
		peeked := inBackground(func() { p.takeCounted(t, backend, peek) })
		p.takeCached(t, backend, q)
		<-peeked
	})
}

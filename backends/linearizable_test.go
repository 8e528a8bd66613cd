package backends_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// operation is a Take of one or two subjects, or a Reset of one.
type operation struct {
	reset    bool
	subjects []int
	cost     int64
	// fromMemory is set if a denial may come from the cache: it is correct, but the
	// remaining units may be outdated.
	fromMemory bool
}

// outcome is the result of a Take for each subject.
type outcome struct {
	allowed   [2]bool
	remaining [2]int64
}

const subjects, limit = 3, 6

// granted reports whether the whole Take was granted.
func (o outcome) granted(op operation) bool {
	return o.allowed[0] && (len(op.subjects) == 1 || o.allowed[1])
}

// used is the state of the sequential model: the used units of each subject. The periods
// are so long that no unit is regained during the test.
type used [subjects]int64

// sequential is the model: it charges all subjects, or none if one of them has no room.
var sequential = porcupine.Model{
	Init: func() any { return used{} },
	Step: func(state, input, output any) (bool, any) {
		now, op, answered := state.(used), input.(operation), output.(outcome)
		if op.reset {
			now[op.subjects[0]] = 0
			return true, now
		}
		next, granted := now, true
		var want outcome
		for i, subject := range op.subjects {
			want.allowed[i] = op.cost < 0 || next[subject]+op.cost <= limit
			granted = granted && want.allowed[i]
			if want.allowed[i] {
				next[subject] = max(0, next[subject]+op.cost)
			}
			want.remaining[i] = limit - next[subject]
		}
		if !granted {
			for i, subject := range op.subjects {
				want.remaining[i] = limit - now[subject]
			}
			next = now
		}
		if !granted && op.fromMemory {
			return !answered.granted(op), next
		}
		return want == answered, next
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}

func (op operation) run(t *testing.T, backend backends.Backend, algorithm backends.Algorithm) outcome {
	scope := func(subject int) string { return fmt.Sprint("scope", subject) }
	if op.reset {
		if err := backend.Reset(t.Context(), "key", scope(op.subjects[0])); err != nil {
			t.Error(err)
		}
		return outcome{}
	}
	quotas := make([]backends.Quota, len(op.subjects))
	for i, subject := range op.subjects {
		quotas[i] = backends.Quota{
			Key: "key", Scope: scope(subject), Algorithm: algorithm,
			Limit: limit, Per: 300 * 24 * time.Hour, Cost: op.cost,
		}
	}
	verdicts := make([]backends.Verdict, len(quotas))
	if err := backend.Take(t.Context(), quotas, verdicts); err != nil {
		t.Error(err)
	}
	var answered outcome
	for i, v := range verdicts {
		answered.allowed[i], answered.remaining[i] = v.Allowed, v.Remaining
	}
	return answered
}

func drawOperation(random *rand.Rand) operation {
	first := random.IntN(subjects)
	op := operation{subjects: []int{first}, cost: []int64{1, 1, 2, 3, -1}[random.IntN(5)]}
	switch random.IntN(8) {
	case 0:
		op.reset = true
	case 1, 2, 3:
		op.subjects = append(op.subjects, (first+1)%subjects)
	}
	return op
}

// recordHistory runs concurrent clients and records when each operation began and ended.
func recordHistory(t *testing.T, backend backends.Backend, algorithm backends.Algorithm, seed uint64, fromMemory bool) []porcupine.Operation {
	const clients, each = 5, 30
	var mu sync.Mutex
	var history []porcupine.Operation
	var group sync.WaitGroup
	start := time.Now()
	for client := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			for range each {
				op := drawOperation(random)
				op.fromMemory = fromMemory
				called := time.Since(start)
				answered := op.run(t, backend, algorithm)
				returned := time.Since(start)
				mu.Lock()
				history = append(history, porcupine.Operation{
					ClientId: client, Input: op, Output: answered, Call: called.Nanoseconds(), Return: returned.Nanoseconds(),
				})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return history
}

// Concurrent takes and resets must be equivalent to some sequential order.
func TestConcurrentDecisionsAreLinearizable(t *testing.T) {
	opens := map[string]func(t *testing.T) func() backends.Backend{
		"memory": func(t *testing.T) func() backends.Backend {
			return func() backends.Backend { return memory(t) }
		},
		"redis": func(t *testing.T) func() backends.Backend {
			server := redistest.Single(t)
			client := server.Client()
			return func() backends.Backend {
				require.NoError(t, client.FlushAll(t.Context()).Err())
				return open(t, map[string]any{"addr": server.Addr, "local_denials": false})
			}
		},
		"redis, denials cached": func(t *testing.T) func() backends.Backend {
			server := redistest.Single(t)
			client := server.Client()
			return func() backends.Backend {
				require.NoError(t, client.FlushAll(t.Context()).Err())
				return open(t, at(server.Addr))
			}
		},
	}
	for name, prepare := range opens {
		t.Run(name, func(t *testing.T) {
			fresh := prepare(t)
			for _, algorithm := range []backends.Algorithm{backends.SlidingWindow, backends.FixedWindow, backends.SlidingLog, backends.TokenBucket} {
				for seed := range uint64(20) {
					history := recordHistory(t, fresh(), algorithm, seed, strings.Contains(name, "cached"))
					require.True(t, porcupine.CheckOperations(sequential, history), "%s, seed %d", algorithm, seed)
				}
			}
		})
	}
}

func TestTheModelDetectsALostUpdate(t *testing.T) {
	take := operation{subjects: []int{0}, cost: 4}
	granted := outcome{allowed: [2]bool{true}, remaining: [2]int64{2}}
	require.False(t, porcupine.CheckOperations(sequential, []porcupine.Operation{
		{ClientId: 0, Input: take, Output: granted, Call: 0, Return: 2},
		{ClientId: 1, Input: take, Output: granted, Call: 1, Return: 3},
	}))
}

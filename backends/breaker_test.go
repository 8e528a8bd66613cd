package backends

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errLost = errors.New("lost")

const patience = 100 * time.Millisecond

// fickle is a backend that does as it is told.
type fickle struct {
	Backend
	answer       atomic.Pointer[func(context.Context) error] // nil decides
	asked, tried atomic.Int64                                // by callers, by probes
	probe        atomic.Pointer[Quota]                       // the last one
}

func (f *fickle) does(answer func(context.Context) error) { f.answer.Store(&answer) }
func (f *fickle) fails(err error)                         { f.does(func(context.Context) error { return err }) }
func (f *fickle) decides()                                { f.answer.Store(nil) }

func (f *fickle) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if quotas[0].Key == "probe key" {
		f.tried.Add(1)
		f.probe.Store(&quotas[0])
	} else {
		f.asked.Add(1)
	}
	if answer := f.answer.Load(); answer != nil {
		return (*answer)(ctx)
	}
	return f.Backend.Take(ctx, quotas, verdicts)
}

func (f *fickle) Reset(context.Context, string, string) error { return errLost }

// late is an answer that does not come.
func late(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func guarded(t *testing.T) (*fickle, *Breaker) {
	local, err := NewMemory(nil)
	require.NoError(t, err)
	backend := &fickle{Backend: local}
	breaker := NewBreaker(backend, patience, "probe key")
	t.Cleanup(func() { require.NoError(t, breaker.Close()) })
	return backend, breaker
}

func ask(ctx context.Context, backend Backend) error {
	quota := Quota{Key: "k", Scope: "s", Limit: 1 << 40, Per: time.Hour, Cost: 1}
	return backend.Take(ctx, []Quota{quota}, make([]Verdict, 1))
}

// outage opens a breaker.
func outage(t *testing.T, backend *fickle, breaker *Breaker) {
	backend.fails(errLost)
	for range breakerFailures {
		require.ErrorIs(t, ask(t.Context(), breaker), errLost)
	}
	require.True(t, breaker.Health().Open)
}

// pass lets virtual time go by, and what is due in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestFiveFailuresInARowOpenTheBreakerAndNobodyAsksThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		made := time.Now()
		require.Equal(t, Health{Since: made}, breaker.Health())
		pass(time.Minute)
		backend.fails(errLost)
		for range breakerFailures {
			require.NoError(t, breaker.Ready())
			err := ask(t.Context(), breaker)
			require.ErrorIs(t, err, errLost)
			require.NotErrorIs(t, err, ErrBreakerOpen)
		}
		require.Equal(t, Health{Open: true, Since: made.Add(time.Minute), Err: errLost, Failures: 5}, breaker.Health())
		backend.does(late)
		for range 100 {
			err := ask(t.Context(), breaker)
			require.ErrorIs(t, err, ErrBreakerOpen)
			require.ErrorIs(t, err, errLost, "and the reason")
			require.Equal(t, err, breaker.Ready())
			require.ErrorIs(t, breaker.Reset(t.Context(), "k", "s"), ErrBreakerOpen)
		}
		require.Equal(t, made.Add(time.Minute), time.Now(), "no time has gone by")
		require.EqualValues(t, breakerFailures, backend.asked.Load())
	})
}

func TestFailuresWithASuccessBetweenDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		for range 20 {
			backend.fails(errLost)
			for range breakerFailures - 1 {
				require.ErrorIs(t, ask(t.Context(), breaker), errLost)
			}
			backend.decides()
			require.NoError(t, ask(t.Context(), breaker))
		}
		require.False(t, breaker.Health().Open)
		require.Equal(t, errLost, breaker.Health().Err, "but they are told")
	})
}

// A denial may come from memory, or be made by a server that cannot write.
func TestDenialsBetweenFailuresDoNotKeepABreakerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		denied := []Quota{{Key: "denied", Scope: "s", Limit: 0, Per: time.Hour, Cost: 1}}
		for range breakerFailures {
			backend.fails(errLost)
			require.ErrorIs(t, ask(t.Context(), breaker), errLost)
			backend.decides()
			if !breaker.Health().Open {
				require.NoError(t, breaker.Take(t.Context(), denied, make([]Verdict, 1)))
			}
		}
		require.True(t, breaker.Health().Open)
		pass(probeInterval)
		require.False(t, breaker.Health().Open)
	})
}

func TestAnOpenBreakerProbesUntilItIsAnsweredAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		opened := time.Now()
		outage(t, backend, breaker)
		require.Zero(t, backend.tried.Load(), "what has just failed is left alone at first")
		pass(10 * probeInterval)
		require.EqualValues(t, 10, backend.tried.Load())
		other := errors.New("still loading")
		backend.fails(other)
		pass(probeInterval)
		require.Equal(t, Health{Open: true, Since: opened, Err: other, Down: 11 * probeInterval, Failures: 5}, breaker.Health())

		backend.decides()
		require.ErrorIs(t, ask(t.Context(), breaker), ErrBreakerOpen, "a request finds nothing out")
		pass(probeInterval)
		require.Equal(t, Health{Since: time.Now(), Err: other, Down: 12 * probeInterval, Failures: 5}, breaker.Health())
		require.NoError(t, ask(t.Context(), breaker))
		tried := backend.tried.Load()
		pass(time.Hour)
		require.Equal(t, tried, backend.tried.Load(), "nobody probes what works")
		require.Equal(t, 12*probeInterval, breaker.Health().Down, "nor is what works down")
		outage(t, backend, breaker)
	})
}

func TestAProbeIsAChargeOnAKeyOfItsOwnThatIsSoonForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		outage(t, backend, breaker)
		pass(probeInterval)
		probe := backend.probe.Load()
		require.NoError(t, probe.check())
		require.Equal(t, "probe key", probe.Key)
		require.Positive(t, probe.Cost)
		require.True(t, probe.Forced, "it writes, however often it is made")
		require.LessOrEqual(t, probe.Per, time.Second)
	})
}

func TestAProbeWaitsNoLongerThanACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		backend.does(late)
		for range breakerFailures {
			start := time.Now()
			require.ErrorIs(t, ask(t.Context(), breaker), context.DeadlineExceeded)
			require.Equal(t, patience, time.Since(start))
		}
		require.True(t, breaker.Health().Open)
		pass(probeInterval + patience/2)
		backend.decides()
		pass(patience / 2)
		require.True(t, breaker.Health().Open, "that answer came too late")
		pass(probeInterval)
		require.False(t, breaker.Health().Open)
	})
}

func TestWhatIsNotTheBackendsFaultDoesNotCount(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		caller func() (context.Context, context.CancelFunc)
		answer func(context.Context) error
	}{
		"a quota that makes no sense": {answer: func(context.Context) error { return ErrInvalidQuota }},
		"a backend that was closed":   {answer: func(context.Context) error { return ErrClosed }},
		"a request that is over":      {func() (context.Context, context.CancelFunc) { return cancelled, func() {} }, late},
		"a request with less time": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), patience/2)
		}, late},
		"less time, which a connection notices first": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), patience/2)
		}, func(context.Context) error { return context.DeadlineExceeded }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend, breaker := guarded(t)
				backend.fails(errLost)
				for range breakerFailures - 1 {
					require.ErrorIs(t, ask(t.Context(), breaker), errLost)
				}
				backend.does(test.answer)
				for range 2 * breakerFailures {
					ctx, cancel := t.Context(), func() {}
					if test.caller != nil {
						ctx, cancel = test.caller()
					}
					require.Error(t, ask(ctx, breaker))
					cancel()
				}
				require.False(t, breaker.Health().Open)
				require.Error(t, breaker.Reset(t.Context(), "k", "s"), "nor do they start the count anew")
				require.True(t, breaker.Health().Open)
			})
		})
	}
}

func TestARequestWithMoreTimeThanTheLimiterDoesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		backend.does(late)
		for range breakerFailures {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			require.ErrorIs(t, ask(ctx, breaker), context.DeadlineExceeded)
			cancel()
		}
		require.True(t, breaker.Health().Open)
	})
}

func TestAnswersToOldQuestionsChangeNothing(t *testing.T) {
	for name, outcome := range map[string]error{"failure": errLost, "success": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend, breaker := guarded(t)
				release := make(chan struct{})
				backend.does(func(context.Context) error { <-release; return outcome })
				for range 2 * breakerFailures {
					go func() { _ = ask(t.Context(), breaker) }()
				}
				synctest.Wait()
				outage(t, backend, breaker)
				if outcome != nil {
					backend.decides()
					pass(probeInterval)
				}
				before := breaker.Health()
				close(release)
				synctest.Wait()
				if outcome != nil {
					before.Failures += 2 * breakerFailures // counted all the same
				}
				require.Equal(t, before, breaker.Health())
			})
		})
	}
}

func TestABackendThatPanicsAtAProbeHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		outage(t, backend, breaker)
		backend.does(func(context.Context) error { panic("out of paper") })
		pass(probeInterval)
		require.ErrorContains(t, breaker.Health().Err, "out of paper")
		backend.decides()
		pass(probeInterval)
		require.False(t, breaker.Health().Open)
	})
}

// A goroutine that was left would fail the bubble of synctest.
func TestCloseEndsWhatTheBreakerDoes(t *testing.T) {
	for name, wait := range map[string]time.Duration{"between two probes": probeInterval / 2, "during a probe": probeInterval + patience/2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend, breaker := guarded(t)
				outage(t, backend, breaker)
				backend.does(late)
				pass(wait)
				before := time.Now()
				require.NoError(t, breaker.Close())
				require.Equal(t, before, time.Now(), "a probe is not waited for")
				require.ErrorIs(t, ask(t.Context(), breaker), ErrClosed)
				require.ErrorIs(t, breaker.Reset(t.Context(), "k", "s"), ErrClosed)
				require.NoError(t, breaker.Close())
			})
		})
	}
}

func TestAStoppedBreakerLeavesTheBackendOpenAndDoesNotOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		release := make(chan struct{})
		backend.does(func(context.Context) error { <-release; return errLost })
		for range breakerFailures {
			go func() { _ = ask(t.Context(), breaker) }()
		}
		synctest.Wait()
		breaker.Stop()
		close(release)
		synctest.Wait()
		require.False(t, breaker.Health().Open)
		backend.decides()
		require.NoError(t, ask(t.Context(), backend))
		require.ErrorIs(t, ask(t.Context(), breaker), ErrClosed)
	})
}

func TestManyCallersOpenABreakerOnceAndComeBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := guarded(t)
		for range 3 {
			backend.does(late)
			for range 64 {
				go func() {
					for range 20 {
						_ = ask(t.Context(), breaker)
						<-time.After(10 * time.Millisecond)
					}
				}()
			}
			pass(probeInterval / 2)
			require.True(t, breaker.Health().Open)
			backend.decides()
			pass(time.Second)
			require.False(t, breaker.Health().Open)
			require.NoError(t, ask(t.Context(), breaker))
		}
	})
}

func TestABreakerAllocatesNothingButTheDeadline(t *testing.T) {
	local, err := NewMemory(nil)
	require.NoError(t, err)
	quotas, verdicts := []Quota{{Key: "k", Scope: "s", Limit: 1 << 40, Per: time.Hour, Cost: 1}}, make([]Verdict, 1)
	deadline := testing.AllocsPerRun(1000, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_ = local.Take(ctx, quotas, verdicts)
		cancel()
	})
	breaker := NewBreaker(local, time.Minute, "probe key")
	require.Equal(t, deadline, testing.AllocsPerRun(1000, func() { _ = breaker.Take(t.Context(), quotas, verdicts) }))
	breaker.state.Store(openState(Health{}, errLost))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = breaker.Take(t.Context(), quotas, verdicts) }), "while it is open")
}

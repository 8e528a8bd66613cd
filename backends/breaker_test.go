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

// fakeBackend fails or decides as a test sets it.
type fakeBackend struct {
	Backend
	answer        atomic.Pointer[func(context.Context) error] // nil decides
	calls, probes atomic.Int64                                // calls by callers, and by probes
	probe         atomic.Pointer[Quota]                       // the last probe
}

func (f *fakeBackend) does(answer func(context.Context) error) { f.answer.Store(&answer) }
func (f *fakeBackend) fails(err error)                         { f.does(func(context.Context) error { return err }) }
func (f *fakeBackend) decides()                                { f.answer.Store(nil) }

func (f *fakeBackend) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if quotas[0].Key == "probe key" {
		f.probes.Add(1)
		f.probe.Store(&quotas[0])
	} else {
		f.calls.Add(1)
	}
	if answer := f.answer.Load(); answer != nil {
		return (*answer)(ctx)
	}
	return f.Backend.Take(ctx, quotas, verdicts)
}

func (f *fakeBackend) Reset(context.Context, string, string) error { return errLost }

// late never answers in time.
func late(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func newTestBreaker(t *testing.T) (*fakeBackend, *Breaker) {
	local, err := NewMemory(nil)
	require.NoError(t, err)
	backend := &fakeBackend{Backend: local}
	breaker := NewBreaker(backend, patience, "probe key")
	t.Cleanup(func() { require.NoError(t, breaker.Close()) })
	return backend, breaker
}

func takeOneUnit(ctx context.Context, backend Backend) error {
	quota := Quota{Key: "k", Scope: "s", Limit: 1 << 40, Per: time.Hour, Cost: 1}
	return backend.Take(ctx, []Quota{quota}, make([]Verdict, 1))
}

// openBreaker lets a breaker open.
func openBreaker(t *testing.T, backend *fakeBackend, breaker *Breaker) {
	backend.fails(errLost)
	for range breakerFailures {
		require.ErrorIs(t, takeOneUnit(t.Context(), breaker), errLost)
	}
	require.True(t, breaker.Health().Open)
}

// advance moves the virtual clock and lets everything due run.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestFiveConsecutiveFailuresOpenTheBreakerAndStopCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		made := time.Now()
		require.Equal(t, Health{Since: made}, breaker.Health())
		advance(time.Minute)
		backend.fails(errLost)
		for range breakerFailures {
			require.NoError(t, breaker.Ready())
			err := takeOneUnit(t.Context(), breaker)
			require.ErrorIs(t, err, errLost)
			require.NotErrorIs(t, err, ErrBreakerOpen)
		}
		require.Equal(t, Health{Open: true, Since: made.Add(time.Minute), Err: errLost, Failures: 5}, breaker.Health())
		backend.does(late)
		for range 100 {
			err := takeOneUnit(t.Context(), breaker)
			require.ErrorIs(t, err, ErrBreakerOpen)
			require.ErrorIs(t, err, errLost, "with the cause")
			require.Equal(t, err, breaker.Ready())
			require.ErrorIs(t, breaker.Reset(t.Context(), "k", "s"), ErrBreakerOpen)
		}
		require.Equal(t, made.Add(time.Minute), time.Now(), "without waiting")
		require.EqualValues(t, breakerFailures, backend.calls.Load())
	})
}

func TestFailuresWithASuccessInBetweenDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		for range 20 {
			backend.fails(errLost)
			for range breakerFailures - 1 {
				require.ErrorIs(t, takeOneUnit(t.Context(), breaker), errLost)
			}
			backend.decides()
			require.NoError(t, takeOneUnit(t.Context(), breaker))
		}
		require.False(t, breaker.Health().Open)
		require.Equal(t, errLost, breaker.Health().Err, "the failure is reported")
	})
}

// resettable is a backend whose resets succeed.
type resettable struct{ *fakeBackend }

func (resettable) Reset(context.Context, string, string) error { return nil }

func TestAResetBetweenFailuresKeepsABreakerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &fakeBackend{Backend: newMemory(1)}
		breaker := NewBreaker(resettable{backend}, patience, "probe key")
		defer breaker.Stop()
		backend.fails(errLost)
		for range breakerFailures {
			for range breakerFailures - 1 {
				require.ErrorIs(t, takeOneUnit(t.Context(), breaker), errLost)
			}
			require.NoError(t, breaker.Reset(t.Context(), "k", "s"))
		}
		require.False(t, breaker.Health().Open)
	})
}

// A denial may come from a cache, or from a server that cannot write.
func TestDenialsBetweenFailuresDoNotKeepABreakerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		denied := []Quota{{Key: "denied", Scope: "s", Limit: 0, Per: time.Hour, Cost: 1}}
		for range breakerFailures {
			backend.fails(errLost)
			require.ErrorIs(t, takeOneUnit(t.Context(), breaker), errLost)
			backend.decides()
			if !breaker.Health().Open {
				require.NoError(t, breaker.Take(t.Context(), denied, make([]Verdict, 1)))
			}
		}
		require.True(t, breaker.Health().Open)
		advance(probeInterval)
		require.False(t, breaker.Health().Open)
	})
}

func TestAnOpenBreakerProbesUntilTheBackendAnswersAndThenCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		opened := time.Now()
		openBreaker(t, backend, breaker)
		require.Zero(t, backend.probes.Load(), "the first probe comes later")
		advance(10 * probeInterval)
		require.EqualValues(t, 10, backend.probes.Load())
		other := errors.New("still loading")
		backend.fails(other)
		advance(probeInterval)
		require.Equal(t, Health{Open: true, Since: opened, Err: other, Down: 11 * probeInterval, Failures: 5}, breaker.Health())

		backend.decides()
		require.ErrorIs(t, takeOneUnit(t.Context(), breaker), ErrBreakerOpen, "no request acts as a probe")
		advance(probeInterval)
		require.Equal(t, Health{Since: time.Now(), Err: other, Down: 12 * probeInterval, Failures: 5}, breaker.Health())
		require.NoError(t, takeOneUnit(t.Context(), breaker))
		tried := backend.probes.Load()
		advance(time.Hour)
		require.Equal(t, tried, backend.probes.Load(), "a closed breaker does not probe")
		require.Equal(t, 12*probeInterval, breaker.Health().Down, "Down does not grow")
		openBreaker(t, backend, breaker)
	})
}

func TestAProbeChargesItsOwnKeyWhichExpiresSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		openBreaker(t, backend, breaker)
		advance(probeInterval)
		probe := backend.probe.Load()
		require.NoError(t, probe.check())
		require.Equal(t, "probe key", probe.Key)
		require.Positive(t, probe.Cost)
		require.True(t, probe.Forced, "the probe writes")
		require.LessOrEqual(t, probe.Per, time.Second)
	})
}

func TestAProbeHasTheTimeoutOfACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		backend.does(late)
		for range breakerFailures {
			start := time.Now()
			require.ErrorIs(t, takeOneUnit(t.Context(), breaker), context.DeadlineExceeded)
			require.Equal(t, patience, time.Since(start))
		}
		require.True(t, breaker.Health().Open)
		advance(probeInterval + patience/2)
		backend.decides()
		advance(patience / 2)
		require.True(t, breaker.Health().Open, "the answer came too late")
		advance(probeInterval)
		require.False(t, breaker.Health().Open)
	})
}

func TestErrorsThatAreNotTheFaultOfTheBackendDoNotCount(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		caller func() (context.Context, context.CancelFunc)
		answer func(context.Context) error
	}{
		"an invalid quota":   {answer: func(context.Context) error { return ErrInvalidQuota }},
		"a closed backend":   {answer: func(context.Context) error { return ErrClosed }},
		"a canceled request": {func() (context.Context, context.CancelFunc) { return cancelled, func() {} }, late},
		"a shorter deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), patience/2)
		}, late},
		"a shorter deadline that the connection notices first": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), patience/2)
		}, func(context.Context) error { return context.DeadlineExceeded }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend, breaker := newTestBreaker(t)
				backend.fails(errLost)
				for range breakerFailures - 1 {
					require.ErrorIs(t, takeOneUnit(t.Context(), breaker), errLost)
				}
				backend.does(test.answer)
				for range 2 * breakerFailures {
					ctx, cancel := t.Context(), func() {}
					if test.caller != nil {
						ctx, cancel = test.caller()
					}
					require.Error(t, takeOneUnit(ctx, breaker))
					cancel()
				}
				require.False(t, breaker.Health().Open)
				require.Error(t, breaker.Reset(t.Context(), "k", "s"), "they do not reset the count either")
				require.True(t, breaker.Health().Open)
			})
		})
	}
}

func TestATimeoutWithinTheDeadlineOfTheCallerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		backend.does(late)
		for range breakerFailures {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			require.ErrorIs(t, takeOneUnit(ctx, breaker), context.DeadlineExceeded)
			cancel()
		}
		require.True(t, breaker.Health().Open)
	})
}

func TestLateResultsOfOldCallsChangeNothing(t *testing.T) {
	for name, outcome := range map[string]error{"failure": errLost, "success": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend, breaker := newTestBreaker(t)
				release := make(chan struct{})
				backend.does(func(context.Context) error { <-release; return outcome })
				for range 2 * breakerFailures {
					go func() { _ = takeOneUnit(t.Context(), breaker) }()
				}
				synctest.Wait()
				openBreaker(t, backend, breaker)
				if outcome != nil {
					backend.decides()
					advance(probeInterval)
				}
				before := breaker.Health()
				close(release)
				synctest.Wait()
				if outcome != nil {
					before.Failures += 2 * breakerFailures // failures count either way
				}
				require.Equal(t, before, breaker.Health())
			})
		})
	}
}

func TestAPanicDuringAProbeIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		openBreaker(t, backend, breaker)
		backend.does(func(context.Context) error { panic("out of paper") })
		advance(probeInterval)
		require.ErrorContains(t, breaker.Health().Err, "out of paper")
		backend.decides()
		advance(probeInterval)
		require.False(t, breaker.Health().Open)
	})
}

// A goroutine that is left running would fail the bubble of synctest.
func TestCloseStopsProbing(t *testing.T) {
	for name, wait := range map[string]time.Duration{"between two probes": probeInterval / 2, "during a probe": probeInterval + patience/2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend, breaker := newTestBreaker(t)
				openBreaker(t, backend, breaker)
				backend.does(late)
				advance(wait)
				before := time.Now()
				require.NoError(t, breaker.Close())
				require.Equal(t, before, time.Now(), "Close does not wait for the answer to a probe")
				require.ErrorIs(t, takeOneUnit(t.Context(), breaker), ErrClosed)
				require.ErrorIs(t, breaker.Reset(t.Context(), "k", "s"), ErrClosed)
				require.NoError(t, breaker.Close())
			})
		})
	}
}

func TestAStoppedBreakerLeavesTheBackendOpenAndDoesNotOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		release := make(chan struct{})
		backend.does(func(context.Context) error { <-release; return errLost })
		for range breakerFailures {
			go func() { _ = takeOneUnit(t.Context(), breaker) }()
		}
		synctest.Wait()
		breaker.Stop()
		close(release)
		synctest.Wait()
		require.False(t, breaker.Health().Open)
		backend.decides()
		require.NoError(t, takeOneUnit(t.Context(), backend))
		require.ErrorIs(t, takeOneUnit(t.Context(), breaker), ErrClosed)
	})
}

func TestConcurrentCallersOpenABreakerOnceAndRecoverTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, breaker := newTestBreaker(t)
		for range 3 {
			backend.does(late)
			for range 64 {
				go func() {
					for range 20 {
						_ = takeOneUnit(t.Context(), breaker)
						<-time.After(10 * time.Millisecond)
					}
				}()
			}
			advance(probeInterval / 2)
			require.True(t, breaker.Health().Open)
			backend.decides()
			advance(time.Second)
			require.False(t, breaker.Health().Open)
			require.NoError(t, takeOneUnit(t.Context(), breaker))
		}
	})
}

func TestABreakerAllocatesOnlyTheDeadline(t *testing.T) {
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

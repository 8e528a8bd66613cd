package backends

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// breakerFailures in a row open a breaker.
	breakerFailures = 5
	// probeInterval is how often an open breaker looks whether the backend
	// answers again.
	probeInterval = 500 * time.Millisecond
)

// ErrBreakerOpen is wrapped by the error of an open Breaker, beside the failure
// that the backend was last seen with.
var ErrBreakerOpen = errors.New("the circuit breaker is open: the backend of the rate limiter has failed repeatedly and is not asked for now")

// Health is what a Breaker knows of its backend.
type Health struct {
	// Open tells that the backend is not asked, because it has failed
	// repeatedly.
	Open bool
	// Since is when that became so, by the clock of this process.
	Since time.Time
	// Err is the last failure, of a question or, while open, of a probe. It stays
	// when the backend answers again, and is nil if there was none.
	Err error
	// Down is how long the backend was not asked, of all outages together, this
	// one included.
	Down time.Duration
	// Failures counts the questions that the backend has failed to answer, probes
	// apart.
	Failures uint64
}

// Breaker bounds how long a backend may take, and stops asking it while it does
// not answer. Its methods are safe for use by many goroutines at once.
//
// Five failures with no charge between them open it. A failure is any error of
// the backend, and an answer that does not come in time; not ErrInvalidQuota or
// ErrClosed, nor what a caller has cancelled or allowed less time for. Nobody asks the backend then:
// callers get ErrBreakerOpen at once. Instead a goroutine, which exists only while
// the breaker is open, makes a small charge every half second, and the first one
// that is answered closes the breaker. So a backend that is well again is asked
// again half a second and one answer later, and no caller waits to find out. Of
// a store of several nodes a probe sees the one that keeps its key.
type Breaker struct {
	backend Backend
	timeout time.Duration
	probe   [1]Quota

	// state is replaced, never changed: which one a caller has seen tells
	// whether its answer is of today.
	state   atomic.Pointer[breakerState]
	failing atomic.Bool // the last answer that counts was a failure, so a charge is news
	// failures and last are those of Health, which change without a change of state.
	failures atomic.Uint64
	last     atomic.Pointer[error]

	mu      sync.Mutex // held while state changes
	circuit *gobreaker.CircuitBreaker[struct{}]
	stop    context.CancelFunc // of the goroutine that watches, if there was one
	ended   chan struct{}      // closed when it has ended
}

type breakerState struct {
	Health
	rejection error // what callers get; nil while the backend is asked
}

// NewBreaker puts a breaker before a backend, whose answers must come within the
// timeout. While it is open it charges probeKey: with a write, so that it
// notices a server that only answers what is read, and on a counter that is gone
// after a second.
func NewBreaker(backend Backend, timeout time.Duration, probeKey string) *Breaker {
	b := &Breaker{
		backend: backend,
		timeout: timeout,
		probe: [1]Quota{{
			Key: probeKey, Scope: "probe",
			Algorithm: FixedWindow, Limit: MaxLimit, Per: time.Second, Cost: 1, Forced: true,
		}},
		circuit: newCircuit(),
	}
	b.state.Store(&breakerState{Health: Health{Since: time.Now()}})
	return b
}

// newCircuit counts the failures. It is that of gobreaker, which needs no other
// module and whose interface is stable; failsafe-go would also do, but brings
// more into a build and may change its interface with each version.
//
// Its half-open state lasts for the answer of one probe: the wait before it is
// ours, so that no caller can be the one who tries.
func newCircuit() *gobreaker.CircuitBreaker[struct{}] {
	return gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= breakerFailures },
		Timeout:     time.Nanosecond,
	})
}

// Health tells whether the backend is asked.
func (b *Breaker) Health() Health {
	h := b.state.Load().Health
	if h.Open {
		h.Down += time.Since(h.Since)
	}
	if last := b.last.Load(); last != nil {
		h.Err = *last
	}
	h.Failures = b.failures.Load()
	return h
}

// Ready returns nil while the breaker passes calls to the backend, else the error that
// callers get at once: one that wraps ErrBreakerOpen, or ErrClosed after Stop.
func (b *Breaker) Ready() error { return b.state.Load().rejection }

// Take asks the backend, or returns ErrBreakerOpen.
func (b *Breaker) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	return b.call(ctx, func(ctx context.Context) (written bool, err error) {
		err = b.backend.Take(ctx, quotas, verdicts)
		return err == nil && showsWrite(quotas, verdicts), err
	})
}

// Reset asks the backend, or returns ErrBreakerOpen.
func (b *Breaker) Reset(ctx context.Context, key, scope string) error {
	return b.call(ctx, func(ctx context.Context) (written bool, err error) {
		err = b.backend.Reset(ctx, key, scope)
		return err == nil, err
	})
}

// Stop ends what the breaker does by itself, and returns when it has ended. Take
// and Reset return ErrClosed from then on. The backend stays open.
func (b *Breaker) Stop() {
	b.mu.Lock()
	b.state.Store(&breakerState{Health: b.state.Load().Health, rejection: ErrClosed})
	stop, ended := b.stop, b.ended
	b.mu.Unlock()
	if stop != nil {
		stop()
		<-ended
	}
}

// Close stops the breaker and closes the backend.
func (b *Breaker) Close() error {
	b.Stop()
	return b.backend.Close()
}

// writes tells whether an answer shows that the backend can write. A denial does
// not: it may be remembered in this process, or come from a server that only
// reads, and so say nothing about the failures before it.
func showsWrite(quotas []Quota, verdicts []Verdict) bool {
	charges := func(q Quota) bool { return q.Cost != 0 }
	return slices.ContainsFunc(quotas, charges) && !anyDenied(quotas, verdicts)
}

func (b *Breaker) call(ctx context.Context, op func(context.Context) (written bool, err error)) error {
	seen := b.state.Load()
	if seen.rejection != nil {
		return seen.rejection
	}
	bounded, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	written, err := op(bounded)
	switch {
	case err == nil && !(written && b.failing.Load()): // as nearly always
	case err != nil && !isBackendFault(err, ctx, bounded):
	default:
		if err != nil {
			b.failures.Add(1)
			b.setLastErr(err)
		}
		b.report(seen, err)
	}
	return err
}

// blames tells whether an error is the fault of the backend, and not that of the
// question or of a caller who had no more time.
func isBackendFault(err error, caller, bounded context.Context) bool {
	if errors.Is(err, ErrInvalidQuota) || errors.Is(err, ErrClosed) || caller.Err() != nil {
		return false
	}
	// A connection may notice the end of the time before the context does.
	bound, _ := bounded.Deadline()
	own, limited := caller.Deadline()
	return !limited || own.After(bound) || !errors.Is(err, context.DeadlineExceeded)
}

func (b *Breaker) setLastErr(err error) { b.last.Store(&err) }

// report counts an answer, and opens the breaker if it was one failure too many.
func (b *Breaker) report(seen *breakerState, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load() != seen {
		return // the question is older than the last change
	}
	b.failing.Store(err != nil)
	if b.record(err) {
		return
	}
	b.state.Store(openState(Health{Since: time.Now(), Down: seen.Down}, err))
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.ended = cancel, make(chan struct{})
	go b.probeUntilAnswered(ctx, b.ended)
}

// counts tells the circuit of an answer, and returns whether it is closed.
func (b *Breaker) record(err error) bool {
	_, _ = b.circuit.Execute(func() (struct{}, error) { return struct{}{}, err }) // it returns what it was given
	return b.circuit.State() == gobreaker.StateClosed
}

// rejecting is the state of an outage, of which the last failure is new.
func openState(outage Health, err error) *breakerState {
	outage.Open, outage.Err = true, err
	return &breakerState{
		outage,
		fmt.Errorf("%w (since %s, last with: %w)", ErrBreakerOpen, outage.Since.Format(time.RFC3339), err),
	}
}

// watch probes until the backend answers.
func (b *Breaker) probeUntilAnswered(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if b.finishProbe(ctx, b.sendProbe(ctx)) {
			return
		}
	}
}

// charge asks the backend for a decision that means nothing. A backend that
// panics must not end the application from a goroutine of ours.
func (b *Breaker) sendProbe(ctx context.Context) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the backend panicked: %v", reason)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.backend.Take(ctx, b.probe[:], make([]Verdict, 1))
}

// learn notes what came of a probe, and returns whether no more are needed.
func (b *Breaker) finishProbe(ctx context.Context, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.state.Load()
	switch {
	case ctx.Err() != nil: // stopped meanwhile
		return true
	case !b.record(err):
		b.setLastErr(err)
		b.state.Store(openState(last.Health, err))
		return false
	}
	b.failing.Store(false)
	now := time.Now()
	b.state.Store(&breakerState{Health: Health{Since: now, Down: last.Down + now.Sub(last.Since)}})
	return true
}

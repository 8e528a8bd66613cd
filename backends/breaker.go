package backends

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// breakerFailures is the number of consecutive failures that open a breaker.
	breakerFailures = 5
	// probeInterval is the time between two probes of an open breaker.
	probeInterval = 500 * time.Millisecond
	// probeCounters is how many counters the probes of a store with several nodes charge in
	// turn. They are on different nodes, as far as chance allows.
	probeCounters = 8
)

// ErrBreakerOpen is wrapped by the error that an open Breaker returns, together with the
// last failure of the backend.
var ErrBreakerOpen = errors.New("the circuit breaker is open because the backend of the rate limiter has failed repeatedly")

// Health describes the state of a Breaker and its backend.
type Health struct {
	// Open reports whether the breaker is open: the backend has failed repeatedly and gets
	// no calls except for probes.
	Open bool
	// Since is when the breaker last opened or closed, on the clock of this process.
	Since time.Time
	// Err is the last failure of a call or, while the breaker is open, of a probe. It
	// remains after the backend has recovered. It is nil if no call has ever failed.
	Err error
	// Down is how long the breaker has been open in total, including the current outage.
	Down time.Duration
	// Failures counts the calls that failed, without probes.
	Failures uint64
}

// Breaker is a circuit breaker: it limits how long a backend may take, and stops calling a
// backend that fails. All methods are safe for concurrent use.
//
// Five failures without a successful charge or reset in between open the breaker. Every
// error of the backend is a failure, and so is a call that exceeds the timeout.
// ErrInvalidQuota and ErrClosed are not, nor are errors of a caller that canceled or had a
// shorter deadline.
//
// While the breaker is open, calls fail at once with ErrBreakerOpen. A goroutine, which
// exists only while the breaker is open, probes the backend with a small charge every half
// second. The first successful probe closes the breaker, so no caller has to wait to find
// out whether the backend has recovered.
//
// In a store with several nodes, such as a Redis Cluster, some nodes may charge while
// another fails. Failures then open the breaker only if no node has charged within the
// timeout: while one node fails, five failures in a row happen by chance, and must not
// affect the nodes that work. If the others are idle and the breaker opens, probes go to
// one counter after another, so that the node that fails does not keep it open.
type Breaker struct {
	backend Backend
	timeout time.Duration
	probe   [1]Quota

	// state is replaced, never changed, so comparing pointers reveals whether a result
	// belongs to the current state.
	state atomic.Pointer[breakerState]
	// consecutive counts the failures since the last success. It changes under mu.
	consecutive atomic.Int32
	// severalNodes is set for a store with several nodes. charged is the time of its last
	// charge, in nanoseconds since began, or 0 if there was none.
	severalNodes bool
	began        time.Time
	charged      atomic.Int64
	// failures and last are fields of Health that change while state does not.
	failures atomic.Uint64
	last     atomic.Pointer[error]

	mu    sync.Mutex         // held while state changes
	stop  context.CancelFunc // stops the probing goroutine; nil if there never was one
	ended chan struct{}      // closed when that goroutine has ended
}

type breakerState struct {
	Health
	rejection error // what callers get; nil while the breaker is closed
}

// NewBreaker returns a closed breaker for a backend. timeout is the longest time that a
// call may take. While the breaker is open, it charges probeKey: a write, so that it
// notices a server that only answers reads, on a counter that expires after a second.
func NewBreaker(backend Backend, timeout time.Duration, probeKey string) *Breaker {
	b := &Breaker{
		backend: backend,
		timeout: timeout,
		probe: [1]Quota{{
			Key: probeKey, Scope: "probe",
			Algorithm: FixedWindow, Limit: MaxLimit, Per: time.Second, Cost: 1, Forced: true,
		}},
		began: time.Now(),
	}
	if s, ok := backend.(interface{ hasSeveralNodes() bool }); ok {
		b.severalNodes = s.hasSeveralNodes()
	}
	b.state.Store(&breakerState{Health: Health{Since: time.Now()}})
	return b
}

// Health returns the current state of the breaker and its backend.
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

// Ready returns nil while the breaker is closed. Otherwise it returns the error that every
// call gets: one that wraps ErrBreakerOpen, or ErrClosed after Stop.
func (b *Breaker) Ready() error { return b.state.Load().rejection }

// Take calls Take of the backend, or returns an error that wraps ErrBreakerOpen.
func (b *Breaker) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	return b.call(ctx, func(ctx context.Context) (written bool, err error) {
		err = b.backend.Take(ctx, quotas, verdicts)
		return err == nil && showsWrite(quotas, verdicts), err
	})
}

// Reset calls Reset of the backend, or returns an error that wraps ErrBreakerOpen.
func (b *Breaker) Reset(ctx context.Context, key, scope string) error {
	return b.call(ctx, func(ctx context.Context) (written bool, err error) {
		err = b.backend.Reset(ctx, key, scope)
		return err == nil, err
	})
}

// Stop ends probing and waits for its goroutine. Afterwards Take and Reset return
// ErrClosed. The backend stays open.
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

// showsWrite reports whether a result shows that the backend can write. A denial does not:
// it may come from the cache of this process or from a read-only server, so it does not end
// a series of failures.
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
	if b.severalNodes && written {
		b.charged.Store(int64(time.Since(b.began)) + 1)
	}
	switch {
	case err == nil && !(written && b.consecutive.Load() > 0): // the common case
	case err != nil && !isBackendFault(err, ctx, bounded):
	default:
		if err != nil {
			b.failures.Add(1)
			b.setLastErr(err)
		}
		if err == nil || !b.isPartial() {
			b.report(seen, err)
		}
	}
	return err
}

// isPartial reports whether other nodes of the store work while one of them fails.
func (b *Breaker) isPartial() bool {
	charged := b.charged.Load()
	return charged > 0 && time.Since(b.began)-time.Duration(charged-1) < b.timeout
}

// isBackendFault reports whether an error is the fault of the backend, not of the quota or
// of a caller that ran out of time.
func isBackendFault(err error, caller, bounded context.Context) bool {
	if errors.Is(err, ErrInvalidQuota) || errors.Is(err, ErrClosed) || caller.Err() != nil {
		return false
	}
	// A connection may notice the deadline before the context does.
	bound, _ := bounded.Deadline()
	own, limited := caller.Deadline()
	return !limited || own.After(bound) || !errors.Is(err, context.DeadlineExceeded)
}

func (b *Breaker) setLastErr(err error) { b.last.Store(&err) }

// report counts a result, and opens the breaker after too many failures.
func (b *Breaker) report(seen *breakerState, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load() != seen {
		return // the call is older than the last change of state
	}
	if err == nil {
		b.consecutive.Store(0)
		return
	}
	if b.consecutive.Add(1) < breakerFailures {
		return
	}
	b.state.Store(openState(Health{Since: time.Now(), Down: seen.Down}, err))
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.ended = cancel, make(chan struct{})
	go b.probeUntilAnswered(ctx, b.ended)
}

// openState returns the state during an outage, with err as the last failure.
func openState(outage Health, err error) *breakerState {
	outage.Open, outage.Err = true, err
	return &breakerState{
		outage,
		fmt.Errorf("%w (since %s; last error: %w)", ErrBreakerOpen, outage.Since.Format(time.RFC3339), err),
	}
}

// probeUntilAnswered probes until the backend answers.
func (b *Breaker) probeUntilAnswered(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if b.finishProbe(ctx, b.sendProbe(ctx, n)) {
			return
		}
	}
}

// sendProbe sends probe n, a charge that affects no client. It recovers from panics, because
// a panic in this goroutine would end the application.
func (b *Breaker) sendProbe(ctx context.Context, n int) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the backend panicked: %v", reason)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	probe := b.probe
	if b.severalNodes {
		probe[0].Scope += strconv.Itoa(n % probeCounters)
	}
	return b.backend.Take(ctx, probe[:], make([]Verdict, 1))
}

// finishProbe handles the result of a probe, and reports whether probing is over.
func (b *Breaker) finishProbe(ctx context.Context, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.state.Load()
	switch {
	case ctx.Err() != nil: // stopped in the meantime
		return true
	case err != nil:
		b.setLastErr(err)
		b.state.Store(openState(last.Health, err))
		return false
	}
	b.consecutive.Store(0)
	now := time.Now()
	b.state.Store(&breakerState{Health: Health{Since: now, Down: last.Down + now.Sub(last.Since)}})
	return true
}

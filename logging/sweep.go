package logging

import (
	"slices"
	"sync"
	"time"
)

// alarm is set while something has to be written later.
type alarm struct {
	mu    sync.Mutex
	timer *time.Timer
	at    time.Time // zero while it is not set
	ended bool
}

// schedule sets the alarm, unless it is set for an earlier time. It rings at most once a
// second, so that summaries are written together. The zero time sets nothing.
func (l *Log) schedule(at time.Time) {
	if at.IsZero() {
		return
	}
	a := &l.alarm
	a.mu.Lock()
	defer a.mu.Unlock()
	if soonest := time.Now().Add(time.Second); at.Before(soonest) {
		at = soonest
	}
	if a.ended || !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(at), l.onAlarm)
		return
	}
	a.timer.Reset(time.Until(at))
}

// stop stops the alarm for good.
func (a *alarm) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// onAlarm writes what is due. The goroutine ends with it.
func (l *Log) onAlarm() {
	l.alarm.mu.Lock()
	l.alarm.at = time.Time{}
	l.alarm.mu.Unlock()
	if !l.sweeping.TryLock() { // a handler is slow; goroutines must not pile up
		l.schedule(time.Now())
		return
	}
	defer l.sweeping.Unlock()
	l.schedule(l.sweep(time.Now(), false))
}

// sweep writes what is due, or everything when closing. It returns when the next record is
// due.
func (l *Log) sweep(now time.Time, closing bool) (next time.Time) {
	var quiet []client
	for i := range l.shards {
		var end time.Time
		quiet, end = l.shards[i].take(now, closing, quiet)
		next = sooner(next, end)
	}
	l.tracked.Add(-int64(len(quiet)))
	slices.SortFunc(quiet, func(a, b client) int { return a.since.Compare(b.since) })
	for i := range quiet {
		l.protect(func() { l.logSummary(&quiet[i]) })
	}

	if since := l.othersSince(); !since.IsZero() {
		if due := since.Add(othersInterval); closing || !due.After(now) {
			sum := l.takeOthers()
			l.protect(func() { l.logOthers(&sum, now) })
		} else {
			next = sooner(next, due)
		}
	}

	over, end := l.outage.end(now, closing)
	if over != nil {
		l.protect(func() { l.logRecovery(over) })
	}
	return sooner(next, end)
}

// protect recovers from panics of a handler, so that they neither end the application nor
// lose the following records.
func (l *Log) protect(write func()) {
	defer func() { _ = recover() }()
	write()
}

package queue

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// model is a limit in its simplest form: it keeps every charge and adds them up each time.
// All times are in microseconds.
type model struct {
	algorithm    backends.Algorithm
	limit, burst int64
	per          int64
	events       []event
}

type event struct{ at, units int64 }

func (m *model) most() int64 {
	if m.algorithm == backends.TokenBucket && m.burst > 0 {
		return m.burst
	}
	return m.limit
}

// used returns the units used at a time. For a token bucket the result is multiplied by
// per, because units come back gradually.
func (m *model) used(now int64) (used int64) {
	switch m.algorithm {
	case backends.FixedWindow:
		return m.in(now / m.per)
	case backends.SlidingWindow:
		return m.in(now/m.per-1)*(m.per-1-now%m.per)/m.per + m.in(now/m.per)
	case backends.SlidingLog:
		for i, e := range m.events {
			if m.lastOfCell(i)+m.per > now {
				used += e.units
			}
		}
		return used
	}
	var at int64
	for _, e := range append(m.events[:len(m.events):len(m.events)], event{at: now}) {
		used = max(0, used-(e.at-at)*m.limit) + e.units*m.per
		at = e.at
	}
	return used
}

// in returns the units charged in an aligned window.
func (m *model) in(window int64) (units int64) {
	for _, e := range m.events {
		if e.at/m.per == window {
			units += e.units
		}
	}
	return units
}

// lastOfCell returns the time of the last event in the same cell of a sliding log.
func (m *model) lastOfCell(i int) int64 {
	last := m.events[i].at
	width := (m.per + 127) / 128
	for _, e := range m.events[i:] {
		if m.limit > 128 && e.at/width == m.events[i].at/width {
			last = e.at
		}
	}
	return last
}

// remaining returns the number of available units.
func (m *model) remaining(now int64) int64 {
	if m.algorithm == backends.TokenBucket {
		return max(0, m.most()*m.per-m.used(now)) / m.per
	}
	return max(0, m.limit-m.used(now))
}

func (m *model) allows(now, cost int64) bool {
	if m.algorithm == backends.TokenBucket {
		return m.used(now)+cost*m.per <= m.most()*m.per
	}
	return m.used(now)+cost <= m.limit
}

// next returns the first time from now at which a cost is allowed, or -1 if it never is.
func (m *model) next(now, cost int64) int64 {
	if cost > m.most() {
		return -1
	}
	// By then nothing is used any more, and usage never grows.
	low, high := now, now+3*m.per+m.most()*m.per/m.limit
	for low < high {
		if middle := (low + high) / 2; m.allows(middle, cost) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

func (m *model) charge(now, cost int64) {
	if cost != 0 {
		m.events = append(m.events, event{now, cost})
	}
}

func (m *model) quota(cost int64) backends.Quota {
	return backends.Quota{
		Key: "key", Scope: "scope", Algorithm: m.algorithm, Limit: m.limit, Burst: m.burst,
		Per: time.Duration(m.per) * time.Microsecond, Cost: cost,
	}
}

// verdict returns the verdict of a backend on a cost, without charging it.
func (m *model) verdict(now, cost int64) backends.Verdict {
	v := backends.Verdict{Remaining: m.remaining(now), RetryAfter: -1}
	if at := m.next(now, cost); at >= 0 {
		v.RetryAfter = time.Duration(at-now) * time.Microsecond
	}
	v.Allowed = v.RetryAfter == 0
	return v
}

// clone returns an independent copy.
func (m *model) clone() *model {
	c := *m
	c.events = append([]event(nil), m.events...)
	return &c
}

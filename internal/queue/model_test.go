package queue

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// model is one limit as the design describes it, written without any thrift: it keeps
// all that was ever charged and counts it anew. All times are in microseconds.
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

// used is how many units are used at a time. Those of a token bucket are in parts of
// per, as they come back little by little.
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

// in is how many units were charged in an aligned window.
func (m *model) in(window int64) (units int64) {
	for _, e := range m.events {
		if e.at/m.per == window {
			units += e.units
		}
	}
	return units
}

// lastOfCell is the time of the last event that shares the cell of a sliding log.
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

// remaining is how many units can be taken.
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

// next is the first time from now at which a cost is allowed, -1 if it never is.
func (m *model) next(now, cost int64) int64 {
	if cost > m.most() {
		return -1
	}
	// Nothing is used longer than this, and less and less is.
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

// verdict is what a backend says of a cost that is not charged.
func (m *model) verdict(now, cost int64) backends.Verdict {
	v := backends.Verdict{Remaining: m.remaining(now), RetryAfter: -1}
	if at := m.next(now, cost); at >= 0 {
		v.RetryAfter = time.Duration(at-now) * time.Microsecond
	}
	v.Allowed = v.RetryAfter == 0
	return v
}

// clone is a copy that can be charged by itself.
func (m *model) clone() *model {
	c := *m
	c.events = append([]event(nil), m.events...)
	return &c
}

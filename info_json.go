package ratelimiter

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// infoJSON is the JSON form of Info.
type infoJSON struct {
	Name       string    `json:"name"`
	Key        string    `json:"key"`
	Scope      string    `json:"scope"`
	Limit      int64     `json:"limit"`
	Remaining  int64     `json:"remaining"`
	Burst      int64     `json:"burst,omitempty"`
	Per        seconds   `json:"per"`
	RetryAfter seconds   `json:"retry_after"`
	Reset      time.Time `json:"reset,omitzero"`
	Exceeded   bool      `json:"exceeded"`
	Banned     bool      `json:"banned"`
	Shadow     bool      `json:"shadow"`
}

func (i Info) toJSON() infoJSON {
	return infoJSON{
		i.Name, i.Key, i.Scope, i.Limit, i.Remaining, i.Burst,
		seconds(i.Per), seconds(i.RetryAfter), i.Reset.UTC(), i.Exceeded, i.Banned, i.Shadow,
	}
}

func (i infoJSON) info() Info {
	return Info{
		Name: i.Name, Key: i.Key, Scope: i.Scope, Limit: i.Limit, Remaining: i.Remaining, Burst: i.Burst,
		Per: time.Duration(i.Per), RetryAfter: time.Duration(i.RetryAfter), Reset: i.Reset,
		Exceeded: i.Exceeded, Banned: i.Banned, Shadow: i.Shadow,
	}
}

// MarshalJSON encodes the fields in snake case. Durations are numbers of seconds, and
// Reset is an RFC 3339 time in UTC: {"name": "per-minute", ..., "per": 60, "retry_after":
// 1.5, "reset": "2026-01-01T00:00:30Z", ...}. A negative RetryAfter is -1. A Burst of 0
// and a zero Reset are omitted.
func (i Info) MarshalJSON() ([]byte, error) { return json.Marshal(i.toJSON()) }

// UnmarshalJSON decodes the output of MarshalJSON. Fields that are absent keep their value.
func (i *Info) UnmarshalJSON(text []byte) error {
	read := i.toJSON()
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*i = read.info()
	return nil
}

// eventJSON is the JSON form of Event.
type eventJSON struct {
	infoJSON
	Route          string  `json:"route"`
	Outcome        string  `json:"outcome"`
	Cost           int64   `json:"cost"`
	Fallback       bool    `json:"fallback"`
	BackendLatency seconds `json:"backend_latency"`
	QueueTime      seconds `json:"queue_time"`
	LimitIndex     int     `json:"limit_index"`
	Err            string  `json:"error,omitempty"`
}

// MarshalJSON encodes the fields of the Info and, next to them, the other fields in the
// same way. Outcome is encoded as its name, and Err, as "error", as its text.
func (e Event) MarshalJSON() ([]byte, error) {
	written := eventJSON{e.Info.toJSON(), e.Route, e.Outcome.String(), e.Cost, e.Fallback, seconds(e.BackendLatency), seconds(e.QueueTime), e.LimitIndex, ""}
	if e.Err != nil {
		written.Err = e.Err.Error()
	}
	return json.Marshal(written)
}

// UnmarshalJSON decodes the output of MarshalJSON. Err then only has the text of the error.
func (e *Event) UnmarshalJSON(text []byte) error {
	var read eventJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	outcome := slices.Index(outcomeNames[:], read.Outcome)
	if outcome < 0 {
		return fmt.Errorf("%q is not an outcome; use one of %s", read.Outcome, strings.Join(outcomeNames[:], ", "))
	}
	*e = Event{read.info(), read.Route, Outcome(outcome), read.Cost, read.Fallback, time.Duration(read.BackendLatency), time.Duration(read.QueueTime), read.LimitIndex, nil}
	if read.Err != "" {
		e.Err = errors.New(read.Err)
	}
	return nil
}

// seconds is a duration that JSON encodes as a number of seconds. Every negative duration
// means "never" and is encoded as -1.
type seconds time.Duration

const never = -time.Microsecond

func (s seconds) MarshalJSON() ([]byte, error) {
	if s < 0 {
		return []byte("-1"), nil
	}
	text := strconv.AppendInt(nil, int64(s)/int64(time.Second), 10)
	if rest := int64(s) % int64(time.Second); rest != 0 {
		text = fmt.Appendf(text, ".%09d", rest)
		text = []byte(strings.TrimRight(string(text), "0"))
	}
	return text, nil
}

// UnmarshalJSON decodes decimal digits exactly, and an exponent with the precision of a
// float64.
func (s *seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil // as encoding/json does with every number
	}
	d, err := time.ParseDuration(string(text) + "s")
	if err != nil {
		number, isNumber := strconv.ParseFloat(string(text), 64)
		if isNumber != nil || number > (1<<63-1<<10)/1e9 {
			return fmt.Errorf("%s is not a duration; use a number of seconds", text)
		}
		d = time.Duration(max(number, -1) * 1e9)
	}
	if d < 0 {
		d = never
	}
	*s = seconds(d)
	return nil
}

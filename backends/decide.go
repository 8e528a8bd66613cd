package backends

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Decide implements Take for a backend that stores strings, such as a map, a file or a
// database table. One string holds all limits of a key and scope. get returns the string
// last passed to put, or an empty one if there is none. put stores a string that may be
// deleted after expires; if text is empty, it must delete the stored string.
//
// The caller must prevent concurrent access to the strings of these quotas during the call,
// for example with a lock or a transaction, and must use the same clock for all callers.
// Decide does not call put when the request is denied, unless the denial counts towards a
// ban. The error wraps ErrInvalidQuota for an invalid quota; errors of get and put are
// returned unchanged.
func Decide(
	now time.Time, quotas []Quota, verdicts []Verdict,
	get func(key, scope string) (string, error),
	put func(key, scope, text string, expires time.Time) error,
) error {
	if err := checkAll(quotas, verdicts); err != nil {
		return err
	}
	micros := now.UnixMicro()
	ledgers := ledgerSet{}
	for i := range quotas {
		q := &quotas[i]
		if ledgers[subjectOf(q)] != nil {
			continue
		}
		text, err := get(q.Key, q.Scope)
		if err != nil {
			return err
		}
		if err := ledgers.load(subjectOf(q), text); err != nil {
			return err
		}
	}
	if !ledgers.charge(micros, quotas, verdicts) {
		ledgers.rollBack(micros, quotas, verdicts)
		ledgers.countRejections(micros, quotas, verdicts)
	}
	for subject, l := range ledgers {
		if len(l.after) == 0 {
			continue
		}
		text, expires := l.text(micros)
		if err := put(subject.key, subject.scope, text, time.UnixMicro(expires)); err != nil {
			return err
		}
	}
	return nil
}

// subject identifies the limits that are stored together.
type subject struct{ key, scope string }

func subjectOf(q *Quota) subject { return subject{q.Key, q.Scope} }

// ledger holds all limits of one key and scope during a Take.
type ledger struct {
	before, after map[counterID]numbers // as loaded, and as charged
}

// ledgerSet holds the ledgers of all quotas of a Take.
type ledgerSet map[subject]*ledger

// load parses the stored string of a subject.
func (b ledgerSet) load(s subject, text string) error {
	before, err := parseStates(text)
	if err != nil {
		return fmt.Errorf("the stored state of key %q and scope %q is corrupt: %w", s.key, s.scope, err)
	}
	b[s] = &ledger{before: before, after: map[counterID]numbers{}}
	return nil
}

// charge decides the quotas in order, and reports whether no enforced quota denied.
func (b ledgerSet) charge(now int64, quotas []Quota, verdicts []Verdict) (granted bool) {
	granted = true
	for i := range quotas {
		q := &quotas[i]
		verdicts[i] = b[subjectOf(q)].charge(now, q)
		granted = granted && (verdicts[i].Allowed || q.Shadow)
	}
	return granted
}

// rollBack undoes all charges after a denial, and sets the remaining units in the verdicts
// to those before the Take.
func (b ledgerSet) rollBack(now int64, quotas []Quota, verdicts []Verdict) {
	for i := range quotas {
		q := &quotas[i]
		l := b[subjectOf(q)]
		clear(l.after)
		peek := q.peek()
		verdicts[i].setRemaining(verdict(l.before[idOf(q)].verdict(now, idOf(q), &peek)))
	}
}

// countRejections records the denial for the bans. It must be called after rollBack.
func (b ledgerSet) countRejections(now int64, quotas []Quota, verdicts []Verdict) {
	for i := range quotas {
		if q := &quotas[i]; countsRejection(quotas, verdicts, i) {
			l, id, rejection := b[subjectOf(q)], idOf(q), q.rejection()
			state, v := l.current(id).take(now, id, &rejection)
			l.after[id], verdicts[i] = state, verdict(v)
		}
	}
}

// counterID identifies a counter among those of one key and scope. The limit itself is not
// part of it, so a changed limit keeps its history.
type counterID struct {
	algorithm Algorithm
	shadow    bool
	per       int64 // µs
	zone      zoneID
}

// numbers is the stored state of one limit.
type numbers []int64

func idOf(q *Quota) counterID { return idWith(q, q.micros()) }

// idWith is idOf for a period that is already known, in microseconds.
func idWith(q *Quota, per int64) counterID {
	id := counterID{algorithm: q.counterAlgorithm(), shadow: q.Shadow, per: per}
	if id.algorithm == calendar {
		id.zone = zoneOf(q.Calendar)
	}
	return id
}

// current returns the state of a limit after the charges made so far.
func (l *ledger) current(id counterID) numbers {
	if state, ok := l.after[id]; ok {
		return state
	}
	return l.before[id]
}

// charge decides one quota on the state left by earlier quotas of the same Take.
func (l *ledger) charge(now int64, q *Quota) Verdict {
	id := idOf(q)
	charge := q.charge()
	state, v := l.current(id).take(now, id, &charge)
	if v.Allowed() && charge.Cost != 0 {
		l.after[id] = state
	}
	return verdict(v)
}

// take decides a charge and returns the next state.
func (n numbers) take(now int64, id counterID, c *window.Charge) (numbers, window.Verdict) {
	switch id.algorithm {
	case FixedWindow:
		s, v := n.fixed().Take(now, c)
		return numbers{s.Start, s.Count}, v
	case calendar:
		s, v := n.calendar().Take(now, c)
		return numbers{s.Start, s.End, s.Count}, v
	case TokenBucket:
		s, v := n.bucket().Take(now, c)
		return numbers{s.TAT, s.Frac}, v
	case SlidingLog:
		s, v := n.log().Take(now, c)
		return cells(s), v
	case rejections:
		s, v := window.Rejections{Log: n.log()}.Take(now, c)
		return cells(s.Log), v
	default:
		s, v := n.sliding().Take(now, c)
		return numbers{s.Start, s.Previous, s.Current}, v
	}
}

// verdict returns the verdict of take without creating a state.
func (n numbers) verdict(now int64, id counterID, c *window.Charge) (v window.Verdict) {
	switch id.algorithm {
	case FixedWindow:
		_, v = n.fixed().Take(now, c)
	case calendar:
		_, v = n.calendar().Take(now, c)
	case TokenBucket:
		_, v = n.bucket().Take(now, c)
	case SlidingLog:
		_, v = n.log().Take(now, c)
	case rejections:
		_, v = window.Rejections{Log: n.log()}.Take(now, c)
	default:
		_, v = n.sliding().Take(now, c)
	}
	return v
}

// expires returns when the state becomes equivalent to a new one.
func (n numbers) expires(id counterID) int64 {
	switch id.algorithm {
	case FixedWindow:
		return n.fixed().Expires(id.per)
	case calendar:
		return n.calendar().Expires()
	case TokenBucket:
		return n.bucket().Expires()
	case SlidingLog, rejections:
		return n.log().Expires(id.per)
	default:
		return n.sliding().Expires(id.per)
	}
}

// at returns a number of the state, or 0 for a state that was never charged.
func (n numbers) at(i int) int64 {
	if i < len(n) {
		return n[i]
	}
	return 0
}

func (n numbers) fixed() window.Fixed { return window.Fixed{Start: n.at(0), Count: n.at(1)} }

func (n numbers) calendar() window.Calendar {
	return window.Calendar{Start: n.at(0), End: n.at(1), Count: n.at(2)}
}

func (n numbers) bucket() window.Bucket { return window.Bucket{TAT: n.at(0), Frac: n.at(1)} }

func (n numbers) sliding() window.Sliding {
	return window.Sliding{Start: n.at(0), Previous: n.at(1), Current: n.at(2)}
}

func (n numbers) log() window.Log {
	cells := make([]window.Cell, len(n)/2)
	for i := range cells {
		cells[i] = window.Cell{Time: n[2*i], Units: n[2*i+1]}
	}
	return window.Log{Cells: cells}
}

// cells returns the numbers of a log.
func cells(l window.Log) numbers {
	list := make(numbers, 0, 2*len(l.Cells))
	for _, cell := range l.Cells {
		list = append(list, cell.Time, cell.Units)
	}
	return list
}

// text encodes the states that have not expired, in the format that take.lua stores in
// Redis, and returns when the last of them expires.
func (l *ledger) text(now int64) (text string, expires int64) {
	for id, state := range l.after {
		l.before[id] = state
	}
	var b strings.Builder
	for id, state := range l.before {
		ends := state.expires(id)
		if ends <= now {
			continue
		}
		expires = max(expires, ends)
		b.WriteString(id.name())
		b.WriteByte('=')
		for _, number := range state {
			b.WriteString(strconv.FormatInt(number, 10))
			b.WriteByte(',')
		}
		b.WriteByte(';')
	}
	return b.String(), expires
}

// algorithmLetters identify the algorithms in stored names, in upper case for shadow
// limits.
const algorithmLetters = "sfltbc"

// name returns the name of the limit in a stored string.
func (id counterID) name() string {
	letter := algorithmLetters[id.algorithm]
	if id.shadow {
		letter -= 'a' - 'A'
	}
	name := string(letter) + strconv.FormatInt(id.per, 10)
	if id.algorithm == calendar {
		name += "@" + id.zone.name()
	}
	return name
}

// parseStates parses a string written by text.
func parseStates(text string) (map[counterID]numbers, error) {
	states := map[counterID]numbers{}
	for text != "" {
		entry, rest, ended := strings.Cut(text, ";")
		name, list, named := strings.Cut(entry, "=")
		if !ended || !named || name == "" {
			return nil, fmt.Errorf("%.40q does not have the form \"name=numbers;\"", text)
		}
		algorithm := strings.IndexByte(algorithmLetters, name[0]|('a'-'A'))
		digits, zone, inZone := strings.Cut(name[1:], "@")
		per, err := strconv.ParseInt(digits, 10, 64)
		if algorithm < 0 || err != nil || inZone != (Algorithm(algorithm) == calendar) || per < 1000 || per > window.MaxPeriod {
			return nil, fmt.Errorf("%.40q is not a valid name of a limit", name)
		}
		id := counterID{algorithm: Algorithm(algorithm), shadow: name[0] <= 'Z', per: per}
		if inZone {
			id.zone = zoneNamed(zone)
		}
		if states[id], err = parseNumbers(list, id.algorithm); err != nil {
			return nil, err
		}
		text = rest
	}
	return states, nil
}

func parseNumbers(text string, algorithm Algorithm) (numbers, error) {
	list := make(numbers, 0, 3)
	for text != "" {
		digits, rest, ended := strings.Cut(text, ",")
		number, err := strconv.ParseInt(digits, 10, 64)
		if !ended || err != nil || number < 0 || number > 1<<53 {
			return nil, fmt.Errorf("%.40q is not a list of whole numbers, each followed by a comma", text)
		}
		list, text = append(list, number), rest
	}
	right := len(list) == 2
	switch algorithm {
	case SlidingWindow, calendar:
		right = len(list) == 3
	case SlidingLog, rejections:
		right = len(list)%2 == 0 && len(list) <= 2*window.MaxCells
	}
	if !right {
		return nil, fmt.Errorf("a list of %d numbers is not a valid state of a limit with the letter %q", len(list), algorithmLetters[algorithm])
	}
	return list, nil
}

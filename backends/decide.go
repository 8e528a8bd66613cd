package backends

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Decide is a Take for a backend that keeps texts: a map, a file, a table of a
// database. All limits of one key and scope are one text, which get returns as
// put was last given it, or empty if there is none. put may forget it at expires;
// an empty text is to be deleted.
//
// The caller sees to it that nobody else gets or puts the texts of these quotas
// meanwhile (a lock, a transaction), and that now does not depend on who asks.
// Decide puts nothing when the take is denied. It returns ErrInvalidQuota for a
// quota that makes no sense, and the errors of get and put as they are.
func Decide(
	now time.Time, quotas []Quota, verdicts []Verdict,
	get func(key, scope string) (string, error),
	put func(key, scope, text string, expires time.Time) error,
) error {
	if err := checkAll(quotas, verdicts); err != nil {
		return err
	}
	micros := now.UnixMicro()
	ledgers := map[[2]string]*ledger{}
	granted := true
	for i := range quotas {
		q := &quotas[i]
		subject := [2]string{q.Key, q.Scope}
		l := ledgers[subject]
		if l == nil {
			text, err := get(q.Key, q.Scope)
			if err != nil {
				return err
			}
			before, err := parseStates(text)
			if err != nil {
				return fmt.Errorf("the state of key %q and scope %q is broken: %w", q.Key, q.Scope, err)
			}
			l = &ledger{before: before, after: map[counterID]numbers{}}
			ledgers[subject] = l
		}
		verdicts[i] = l.charge(micros, q)
		granted = granted && (verdicts[i].Allowed || q.Shadow)
	}
	if !granted {
		for i := range quotas {
			q := &quotas[i]
			ledgers[[2]string{q.Key, q.Scope}].uncharge(micros, q, &verdicts[i])
		}
		return nil
	}
	for subject, l := range ledgers {
		if len(l.after) == 0 {
			continue
		}
		text, expires := l.text(micros)
		if err := put(subject[0], subject[1], text, time.UnixMicro(expires)); err != nil {
			return err
		}
	}
	return nil
}

// ledger is all limits of one key and scope during a Take.
type ledger struct {
	before, after map[counterID]numbers // as got, and as charged
}

// counterID tells the limits of one key and scope apart. The limit itself is not
// part of it, so that a limit that changes keeps its history.
type counterID struct {
	algorithm Algorithm
	shadow    bool
	per       int64 // µs
}

// numbers are the state of one limit, as it is written.
type numbers []int64

func idOf(q *Quota) counterID { return counterID{q.Algorithm, q.Shadow, q.micros()} }

// charge decides one quota on what earlier ones of the same Take have left.
func (l *ledger) charge(now int64, q *Quota) Verdict {
	id := idOf(q)
	state, ok := l.after[id]
	if !ok {
		state = l.before[id]
	}
	state, v := state.take(now, id, q.charge())
	if v.Allowed && q.Cost != 0 {
		l.after[id] = state
	}
	return verdict(v)
}

// uncharge tells what there is when nothing is charged.
func (l *ledger) uncharge(now int64, q *Quota, v *Verdict) {
	_, there := l.before[idOf(q)].take(now, idOf(q), q.peek())
	v.left(verdict(there))
}

// take lets the algorithm decide.
func (n numbers) take(now int64, id counterID, c window.Charge) (numbers, window.Verdict) {
	at := func(i int) int64 {
		if i < len(n) {
			return n[i]
		}
		return 0
	}
	switch id.algorithm {
	case FixedWindow:
		s, v := window.Fixed{Start: at(0), Count: at(1)}.Take(now, c)
		return numbers{s.Start, s.Count}, v
	case TokenBucket:
		s, v := window.Bucket{TAT: at(0), Frac: at(1)}.Take(now, c)
		return numbers{s.TAT, s.Frac}, v
	case SlidingLog:
		s, v := n.log().Take(now, c)
		list := make(numbers, 0, 2*len(s.Cells))
		for _, cell := range s.Cells {
			list = append(list, cell.Time, cell.Units)
		}
		return list, v
	default:
		s, v := window.Sliding{Start: at(0), Previous: at(1), Current: at(2)}.Take(now, c)
		return numbers{s.Start, s.Previous, s.Current}, v
	}
}

func (n numbers) log() window.Log {
	cells := make([]window.Cell, len(n)/2)
	for i := range cells {
		cells[i] = window.Cell{Time: n[2*i], Units: n[2*i+1]}
	}
	return window.Log{Cells: cells}
}

// expires is when the state means nothing any more.
func (n numbers) expires(id counterID) int64 {
	switch id.algorithm {
	case FixedWindow:
		return window.Fixed{Start: n[0], Count: n[1]}.Expires(id.per)
	case TokenBucket:
		return window.Bucket{TAT: n[0], Frac: n[1]}.Expires()
	case SlidingLog:
		return n.log().Expires(id.per)
	default:
		return window.Sliding{Start: n[0], Previous: n[1], Current: n[2]}.Expires(id.per)
	}
}

// text writes the states that mean something still, in the form that take.lua
// keeps in Redis, and tells when none of them does any more.
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

// The letters of the algorithms in a name, those of shadow limits second.
const letters = "sfltSFLT"

// name is what a limit is found by among all those of a key and scope.
func (id counterID) name() string {
	letter := int(id.algorithm)
	if id.shadow {
		letter += int(algorithms)
	}
	return letters[letter:letter+1] + strconv.FormatInt(id.per, 10)
}

// parseStates reads what text has written.
func parseStates(text string) (map[counterID]numbers, error) {
	states := map[counterID]numbers{}
	for text != "" {
		entry, rest, ended := strings.Cut(text, ";")
		name, list, named := strings.Cut(entry, "=")
		if !ended || !named || name == "" {
			return nil, fmt.Errorf("%.40q is not a name, =, numbers and a semicolon", text)
		}
		letter := strings.IndexByte(letters, name[0])
		per, err := strconv.ParseInt(name[1:], 10, 64)
		if letter < 0 || err != nil || per < 1000 || per > window.MaxPeriod {
			return nil, fmt.Errorf("%.40q is not the name of a limit", name)
		}
		id := counterID{Algorithm(letter % int(algorithms)), letter >= int(algorithms), per}
		if states[id], err = parseNumbers(list, id.algorithm); err != nil {
			return nil, err
		}
		text = rest
	}
	return states, nil
}

func parseNumbers(text string, algorithm Algorithm) (numbers, error) {
	var list numbers
	for text != "" {
		digits, rest, ended := strings.Cut(text, ",")
		number, err := strconv.ParseInt(digits, 10, 64)
		if !ended || err != nil || number < 0 || number > 1<<53 {
			return nil, fmt.Errorf("%.40q is not a list of whole numbers that each end in a comma", text)
		}
		list, text = append(list, number), rest
	}
	want := map[Algorithm]int{SlidingWindow: 3, FixedWindow: 2, TokenBucket: 2}[algorithm]
	if algorithm == SlidingLog && len(list)%2 == 0 && len(list) <= 2*window.MaxCells || algorithm != SlidingLog && len(list) == want {
		return list, nil
	}
	return nil, fmt.Errorf("%d numbers are not the state of a %s", len(list), algorithm)
}

package backends

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// zoneID identifies the time zone of a calendar counter. The zero value means no calendar.
type zoneID unique.Handle[string]

// zoneOf returns the ID of a location. Locations with the same name are the same zone.
func zoneOf(location *time.Location) zoneID {
	name := location.String()
	if !isPlainZone(name) {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(name)) // never fails
		name = strconv.FormatUint(hash.Sum64(), 10)
	}
	return zoneNamed(name)
}

// isPlainZone reports whether a name can be part of a stored state as it is, without being
// confused with the syntax of the state or the name of another limit. Other names are
// hashed.
func isPlainZone(name string) bool {
	word := strings.TrimRight(name, "0123456789")
	return word != "" && len(name)-len(word) <= 2 && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("/_+-", r)
	})
}

// zoneNamed returns the ID for a name that zoneOf has written.
func zoneNamed(name string) zoneID { return zoneID(unique.Make(name)) }

func (z zoneID) name() string { return unique.Handle[string](z).Value() }

// calendarBounds returns the bounds, in µs, of three consecutive windows: the one that
// contains the time around, the previous and the next. If around is 0, it is the time of
// this process.
func calendarBounds(q *Quota, around int64) string {
	if around == 0 {
		around = time.Now().UnixMicro()
	}
	per := q.micros()
	start, end := window.CalendarWindow(around, per, q.Calendar)
	before, _ := window.CalendarWindow(max(0, start-1), per, q.Calendar)
	_, after := window.CalendarWindow(end, per, q.Calendar)
	var text []byte
	for _, bound := range [...]int64{before, start, end, after} {
		text = append(strconv.AppendInt(text, bound, 10), ',')
	}
	return string(text)
}

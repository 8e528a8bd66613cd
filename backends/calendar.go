package backends

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// zoneID tells the time zones of calendars apart. The zero value is for no calendar.
type zoneID unique.Handle[string]

// zoneOf is that of a location, which is known by its name.
func zoneOf(location *time.Location) zoneID {
	name := location.String()
	if !isPlainZone(name) {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(name)) // which never fails
		name = strconv.FormatUint(hash.Sum64(), 10)
	}
	return zoneNamed(name)
}

// isPlainZone reports whether a name may stand in a state as it is: nothing in it ends the
// state, or looks like the name of another limit. Other names are replaced by a hash.
func isPlainZone(name string) bool {
	word := strings.TrimRight(name, "0123456789")
	return word != "" && len(name)-len(word) <= 2 && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("/_+-", r)
	})
}

// zoneNamed is that of a name as zoneOf has written it.
func zoneNamed(name string) zoneID { return zoneID(unique.Make(name)) }

func (z zoneID) name() string { return unique.Handle[string](z).Value() }

// calendarBounds are the bounds of the window of a quota around a time, in µs, of the one
// before and of the one after. 0 means the time of this process.
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

package accesslog

const (
	second = 1_000_000 // in µs
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour

	// latest is the first time that is too late, in the year 2255. It keeps all later
	// arithmetic on times free of overflow.
	latest = 1 << 53
)

// parseTime detects the format of a time and returns microseconds since the Unix epoch:
//
//	17/May/2015:10:05:03 +0000          common log format, also with a fraction
//	2015-05-17T10:05:03.123+00:00       ISO 8601, also with a space for the T
//	2015/05/17 - 10:05:03               Gin
//	Sun, 17 May 2015 10:05:03 GMT       RFC 1123
//	1431857103.123                      Unix seconds; ms, µs and ns by their size
//
// A time without a zone, or with a named zone, is read as UTC.
func parseTime(text []byte) (micros int64, ok bool) {
	switch {
	case len(text) >= 20 && text[2] == '/':
		micros, ok = parseCommon(text)
	case len(text) >= 19 && (text[4] == '-' || text[4] == '/'):
		micros, ok = parseISO(text)
	case len(text) >= 25 && text[3] == ',':
		micros, ok = parseRFC1123(text)
	default:
		micros, ok = parseEpoch(text)
	}
	return micros, ok && micros >= 0 && micros < latest
}

// parseCommon parses 17/May/2015:10:05:03 +0000.
func parseCommon(t []byte) (int64, bool) {
	midnight, ok1 := parseCommonDate(t[:11])
	clock, ok2 := parseClock(t[12:20])
	if !ok1 || !ok2 || t[11] != ':' {
		return 0, false
	}
	fraction, zone := parseFraction(t[20:])
	return atZone(midnight+clock+fraction, zone)
}

// parseCommonDate parses 17/May/2015.
func parseCommonDate(t []byte) (midnight int64, ok bool) {
	dayOfMonth, ok1 := digits(t[0:2])
	month := monthOf(t[3:6])
	year, ok2 := digits(t[7:11])
	midnight, ok3 := date(year, month, dayOfMonth)
	return midnight, ok1 && ok2 && ok3 && t[6] == '/'
}

// parseRFC1123 parses Sun, 17 May 2015 10:05:03 GMT.
func parseRFC1123(t []byte) (int64, bool) {
	dayOfMonth, ok1 := digits(t[5:7])
	year, ok2 := digits(t[12:16])
	midnight, ok3 := date(year, monthOf(t[8:11]), dayOfMonth)
	clock, ok4 := parseClock(t[17:25])
	if !ok1 || !ok2 || !ok3 || !ok4 || t[4] != ' ' || t[7] != ' ' || t[11] != ' ' || t[16] != ' ' {
		return 0, false
	}
	return atZone(midnight+clock, t[25:])
}

// parseDate parses 2015-05-17, 2015/05/17 or 17/May/2015, and returns the start of the day.
func parseDate(t []byte) (midnight int64, ok bool) {
	switch {
	case len(t) == 11 && t[2] == '/':
		midnight, ok = parseCommonDate(t)
	case len(t) == 10 && (t[4] == '-' || t[4] == '/'):
		midnight, ok = parseISODate(t)
	}
	return midnight, ok && midnight >= 0 && midnight < latest
}

// parseTimeOfDay parses 10:05:03 or 10:05:03.123.
func parseTimeOfDay(t []byte) (micros int64, ok bool) {
	if len(t) < 8 {
		return 0, false
	}
	clock, ok := parseClock(t[:8])
	fraction, rest := parseFraction(t[8:])
	return clock + fraction, ok && len(rest) == 0
}

// parseISO parses 2015-05-17T10:05:03.123Z and Gin's 2015/05/17 - 10:05:03.
func parseISO(t []byte) (int64, bool) {
	midnight, ok := parseISODate(t[:10])
	if !ok {
		return 0, false
	}
	rest := t[11:]
	switch {
	case t[10] == ' ' && len(rest) >= 10 && rest[0] == '-' && rest[1] == ' ':
		rest = rest[2:]
	case t[10] != 'T' && t[10] != ' ' && t[10] != 't':
		return 0, false
	}
	clock, ok := parseClock(rest[:8])
	if !ok {
		return 0, false
	}
	fraction, rest := parseFraction(rest[8:])
	return atZone(midnight+clock+fraction, rest)
}

// parseISODate parses 2015-05-17.
func parseISODate(t []byte) (midnight int64, ok bool) {
	year, ok1 := digits(t[0:4])
	month, ok2 := digits(t[5:7])
	dayOfMonth, ok3 := digits(t[8:10])
	midnight, ok4 := date(year, month, dayOfMonth)
	return midnight, ok1 && ok2 && ok3 && ok4 && t[7] == t[4]
}

// parseClock parses 10:05:03. A leap second becomes the second after it.
func parseClock(t []byte) (int64, bool) {
	h, ok1 := digits(t[0:2])
	m, ok2 := digits(t[3:5])
	s, ok3 := digits(t[6:8])
	ok := ok1 && ok2 && ok3 && t[2] == ':' && t[5] == ':' && h < 24 && m < 60 && s <= 60
	return h*hour + m*minute + s*second, ok
}

// parseFraction parses .123456 and truncates it to microseconds.
func parseFraction(t []byte) (micros int64, rest []byte) {
	if len(t) == 0 || t[0] != '.' && t[0] != ',' {
		return 0, t
	}
	worth := int64(second)
	i := 1
	for ; i < len(t) && t[i] >= '0' && t[i] <= '9'; i++ {
		worth /= 10
		micros += worth * int64(t[i]-'0')
	}
	return micros, t[i:]
}

// atZone converts a local time to UTC. The zone is "", "Z", "+0200" or "+02:00"; a name such
// as "GMT" is read as UTC.
func atZone(local int64, zone []byte) (int64, bool) {
	if len(zone) > 0 && zone[0] == ' ' {
		zone = zone[1:]
	}
	if len(zone) == 0 || isZoneName(zone) {
		return local, true
	}
	if len(zone) == 6 && zone[3] == ':' {
		h, ok1 := digits(zone[1:3])
		m, ok2 := digits(zone[4:6])
		return ahead(local, zone[0], h, m, ok1 && ok2)
	}
	if len(zone) != 5 {
		return 0, false
	}
	h, ok1 := digits(zone[1:3])
	m, ok2 := digits(zone[3:5])
	return ahead(local, zone[0], h, m, ok1 && ok2)
}

// isZoneName reports whether a zone is "Z" or a name such as "CET".
func isZoneName(zone []byte) bool {
	for _, c := range zone {
		if (c < 'A' || c > 'Z') && (c != 'z' || len(zone) > 1) {
			return false
		}
	}
	return len(zone) <= 5
}

func ahead(local int64, sign byte, h, m int64, ok bool) (int64, bool) {
	offset := h*hour + m*minute
	ok = ok && h <= 24 && m < 60 // as in the standard library
	switch sign {
	case '+':
		return local - offset, ok
	case '-':
		return local + offset, ok
	}
	return 0, false
}

// parseEpoch parses Unix time. 1e11 seconds are in the year 5138, so numbers from 1e11 are
// milliseconds, from 1e14 microseconds, and from 1e17 nanoseconds.
func parseEpoch(t []byte) (int64, bool) {
	var whole int64
	i := 0
	for ; i < len(t) && i < 19 && t[i] >= '0' && t[i] <= '9'; i++ {
		if whole > (1<<62)/10 {
			return 0, false
		}
		whole = whole*10 + int64(t[i]-'0')
	}
	if i == 0 || whole < 0 {
		return 0, false
	}
	fraction, rest := parseFraction(t[i:])
	if len(rest) > 0 {
		return 0, false
	}
	switch {
	case whole < 1e11:
		return whole*second + fraction, true
	case whole < 1e14:
		return whole*1000 + fraction/1000, true
	case whole < 1e17:
		return whole, true
	}
	return whole / 1000, true
}

// digits parses a number that consists of digits only.
func digits(t []byte) (n int64, ok bool) {
	for _, c := range t {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// monthOf parses Jan to Dec, and returns 0 for other texts.
func monthOf(t []byte) int64 {
	switch string(t) {
	case "Jan":
		return 1
	case "Feb":
		return 2
	case "Mar":
		return 3
	case "Apr":
		return 4
	case "May":
		return 5
	case "Jun":
		return 6
	case "Jul":
		return 7
	case "Aug":
		return 8
	case "Sep":
		return 9
	case "Oct":
		return 10
	case "Nov":
		return 11
	case "Dec":
		return 12
	}
	return 0
}

// date returns the start of a day, by days_from_civil in
// https://howardhinnant.github.io/date_algorithms.html.
func date(year, month, dayOfMonth int64) (midnight int64, ok bool) {
	if month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > daysIn(year, month) {
		return 0, false
	}
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + dayOfMonth - 1
	ofDays := ofEra*365 + ofEra/4 - ofEra/100 + ofYear
	return (era*146097 + ofDays - 719468) * day, true
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

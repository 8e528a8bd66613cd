package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The formats that have a name, in the notation of nginx. Lines of the common and
// of the combined format are the same as far as they matter here.
var named = []struct{ name, notation string }{
	{"vhost", `$host $remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`},
	{"combined", `$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`},
	{"common", `$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent`},
	{"gin", `[GIN] $time_local |$status|$latency|$remote_addr|$request_method "$request_uri"`},
}

// Names lists what Choose knows.
func Names() string {
	return "vhost, combined, common, gin, json, csv"
}

// Choose makes a format from a name, or from the notation of nginx, which has a
// "$" in it. JSON and CSV look into the sample for the names of the fields.
func Choose(text string, sample [][]byte, wanted Wanted) (Format, error) {
	if strings.Contains(text, "$") {
		return fromPattern("as given", text, wanted)
	}
	for _, known := range named {
		if text == known.name {
			return fromPattern(known.name, known.notation, Wanted{Extra: wanted.Extra})
		}
	}
	switch text {
	case "json":
		return fromJSON(sample, wanted)
	case "csv":
		return fromCSV(sample, wanted)
	}
	return Format{}, fmt.Errorf("%q is not a format; give one of %s, or the notation of nginx, as '$remote_addr [$time_local] \"$request\" $status'", text, Names())
}

// Recognise finds the format of a log by its first lines: the one that reads
// most of them, the more telling one first.
func Recognise(sample [][]byte, wanted Wanted) (Format, error) {
	var best Format
	most := 0
	var reasons []error
	for _, name := range strings.Split(Names(), ", ") {
		format, err := Choose(name, sample, wanted)
		if err != nil {
			reasons = append(reasons, fmt.Errorf("%s: %w", name, err))
			continue
		}
		read, reason := readable(format, sample)
		if read > most {
			best, most = format, read
		}
		if reason != nil {
			reasons = append(reasons, fmt.Errorf("%s: %w", name, reason))
		}
	}
	if most == 0 {
		return Format{}, fmt.Errorf("the format is not recognised; give it with --format (%s, or the notation of nginx). What does not fit:\n%w", Names(), errors.Join(reasons...))
	}
	return best, nil
}

// readable counts the lines of the sample that a format can read.
func readable(format Format, sample [][]byte) (read int, reason error) {
	parser := format.NewParser()
	var record Record
	for _, line := range sample {
		switch err := parser.Parse(line, &record); {
		case err == nil || errors.Is(err, ErrNoRequest):
			read++
		case reason == nil:
			reason = err
		}
	}
	return read, reason
}

func fromPattern(name, notation string, wanted Wanted) (Format, error) {
	p, err := newPattern(notation, wanted)
	if err != nil {
		return Format{}, err
	}
	return Format{name, func() Parser { return p }}, nil
}

// usual are the names that servers give to the fields of JSON and CSV, the
// surest first. A dot leads into an object.
var usual = map[role][]string{
	roleTime: {
		"time", "ts", "timestamp", "@timestamp", "time_iso8601", "time_local", "msec", "StartUTC", "start_time",
		"datetime", "date",
	},
	roleClient: {
		"client_ip", "remote_ip", "remote_addr", "clientip", "request.client_ip", "request.remote_ip", "ClientHost",
		"c-ip", "remoteAddr", "remote_host", "client", "ip", "host_ip",
	},
	roleMethod:  {"method", "request_method", "request.method", "verb", "RequestMethod", "cs-method"},
	rolePath:    {"path", "request_uri", "uri", "request.uri", "url", "RequestPath", "cs-uri-stem"},
	roleRequest: {"request"},
	roleStatus: {
		"status", "status_code", "statusCode", "response_status", "DownstreamStatus", "OriginStatus", "sc-status",
		"response", "code",
	},
}

// chooseFields decides which field has which role. suits tells whether the sample
// has a field, and something in it that the role can be read from: a duration
// named "time" is no time.
func chooseFields(wanted Wanted, suits func(role, string) bool) (map[role]string, error) {
	chosen := map[role]string{}
	for as, names := range usual {
		for _, name := range names {
			if suits(as, name) {
				chosen[as] = name
				break
			}
		}
	}
	for name, field := range wanted.Fields {
		chosen[roleNames[name]] = field
	}
	if wanted.Extra != "" {
		chosen[roleExtra] = wanted.Extra
	}
	if chosen[rolePath] != "" {
		delete(chosen, roleRequest)
	}
	if chosen[roleTime] == "" {
		return nil, fmt.Errorf("no field tells the time; name it, as --field time=%s", usual[roleTime][0])
	}
	if chosen[roleClient] == "" && wanted.Extra == "" {
		return nil, fmt.Errorf("no field tells the client; name it, as --field client=%s", usual[roleClient][0])
	}
	return chosen, nil
}

// anyFits tells whether one of some values can be read as what a role asks for.
func anyFits(as role, values []string) bool {
	return slices.ContainsFunc(values, func(value string) bool {
		var r Record
		return r.set(as, []byte(value)) == nil && (as != roleTime || r.Time >= earliest)
	})
}

// earliest is before all logs of web servers: a lower number is no time.
const earliest = 20 * 365 * day

func fromJSON(sample [][]byte, wanted Wanted) (Format, error) {
	values := map[string][]string{}
	for _, line := range sample {
		var object map[string]any
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.UseNumber() // as it is written
		if decoder.Decode(&object) == nil {
			addValues(values, "", object)
		}
	}
	if len(values) == 0 {
		return Format{}, errNotJSON
	}
	chosen, err := chooseFields(wanted, func(as role, name string) bool { return anyFits(as, values[name]) })
	if err != nil {
		return Format{}, err
	}
	return Format{"json, " + describe(chosen), func() Parser { return newJSONLine(chosen) }}, nil
}

// addValues notes all values in an object that are texts or numbers, by their
// paths.
func addValues(values map[string][]string, before string, object map[string]any) {
	for name, value := range object {
		switch value := value.(type) {
		case map[string]any:
			addValues(values, before+name+".", value)
		case string, json.Number:
			values[before+name] = append(values[before+name], fmt.Sprint(value))
		}
	}
}

// describe says which field was taken for what.
func describe(chosen map[role]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(roleNames)) {
		if field := chosen[roleNames[name]]; field != "" {
			parts = append(parts, name+"="+field)
		}
	}
	return strings.Join(parts, " ")
}

// fromCSV reads the names of the columns from the first line. Columns can also be
// given by number, the first being 1.
func fromCSV(sample [][]byte, wanted Wanted) (Format, error) {
	if len(sample) == 0 {
		return Format{}, errEmpty
	}
	first := bytes.TrimRight(sample[0], "\r")
	header := bytes.TrimPrefix(first, []byte("\ufeff"))
	separator := byte(',')
	for _, other := range []byte{';', '\t', '|'} {
		if bytes.Count(header, []byte{other}) > bytes.Count(header, []byte{separator}) {
			separator = other
		}
	}
	names, err := splitCSV(header, separator)
	if err != nil {
		return Format{}, err
	}
	columns, values := map[string]int{}, map[string][]string{}
	for i, name := range names {
		columns[strings.TrimSpace(name)] = i
		columns[strconv.Itoa(i+1)] = i
	}
	for _, line := range sample[1:] {
		row, err := splitCSV(bytes.TrimRight(line, "\r"), separator)
		for i := 0; err == nil && i < min(len(names), len(row)); i++ {
			name := strings.TrimSpace(names[i])
			values[name] = append(values[name], row[i])
		}
	}
	chosen, err := chooseFields(wanted, func(as role, name string) bool {
		_, exists := columns[name]
		return exists && (len(sample) == 1 || anyFits(as, values[name]))
	})
	if err != nil {
		return Format{}, err
	}
	roles := []role{}
	for as, name := range chosen {
		column, ok := columns[name]
		if !ok {
			return Format{}, fmt.Errorf("there is no column %q", name)
		}
		for len(roles) <= column {
			roles = append(roles, roleNone)
		}
		roles[column] = as
	}
	if _, numbered := strconv.Atoi(chosen[roleTime]); numbered == nil {
		first = nil // there is no line with names
	}
	return Format{"csv, " + describe(chosen), func() Parser {
		return &csvLine{separator: separator, header: first, roles: roles}
	}}, nil
}

func splitCSV(line []byte, separator byte) (values []string, err error) {
	c := csvLine{separator: separator}
	for more := true; more; {
		var value []byte
		if value, line, more, err = c.next(line, &c.spare[0]); err != nil {
			return nil, err
		}
		values = append(values, string(value))
	}
	return values, nil
}

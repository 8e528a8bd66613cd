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
			return fromPattern(known.name, known.notation, wanted)
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
		case err == nil:
			read++
		case reason == nil && !errors.Is(err, ErrNoRequest):
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

// chooseFields decides which field has which role. exists tells whether the
// sample has a field.
func chooseFields(wanted Wanted, exists func(string) bool) (map[role]string, error) {
	chosen := map[role]string{}
	for as, names := range usual {
		for _, name := range names {
			if exists(name) {
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

func fromJSON(sample [][]byte, wanted Wanted) (Format, error) {
	found := map[string]bool{}
	for _, line := range sample {
		var object map[string]any
		if json.Unmarshal(line, &object) == nil {
			addPaths(found, "", object)
		}
	}
	if len(found) == 0 {
		return Format{}, errNotJSON
	}
	chosen, err := chooseFields(wanted, func(name string) bool { return found[name] })
	if err != nil {
		return Format{}, err
	}
	return Format{"json, " + describe(chosen), func() Parser { return newJSONLine(chosen) }}, nil
}

// addPaths notes the paths of all values in an object that are no objects.
func addPaths(found map[string]bool, before string, object map[string]any) {
	for name, value := range object {
		if inner, ok := value.(map[string]any); ok {
			addPaths(found, before+name+".", inner)
		} else {
			found[before+name] = true
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
	columns := map[string]int{}
	splitter := csvLine{separator: separator}
	rest, more := header, true
	count := 0
	for more {
		var value []byte
		var err error
		if value, rest, more, err = splitter.next(rest, &splitter.spare[0]); err != nil {
			return Format{}, err
		}
		columns[string(bytes.TrimSpace(value))] = count
		count++
		columns[strconv.Itoa(count)] = count - 1
	}
	chosen, err := chooseFields(wanted, func(name string) bool { _, ok := columns[name]; return ok })
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

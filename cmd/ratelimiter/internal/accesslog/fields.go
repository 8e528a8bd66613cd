package accesslog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// usual are the names that servers give to the fields of JSON, logfmt, CSV and
// W3C, the surest first. A dot leads into an object.
var usual = map[role][]string{
	roleTime: {
		"time", "ts", "timestamp", "@timestamp", "time_iso8601", "time_local", "msec", "StartUTC", "start_time", "startTime",
		"datetime", "date", "requestTime", "request_time", "EdgeStartTimestamp", "request.time", "eventTime", "asctime",
	},
	roleDate:  {"date"},
	roleClock: {"time"},
	roleClient: {
		"client_ip", "clientIP", "clientIp", "ClientIP", "clientip", "remote_ip", "remoteIp", "remote_addr", "remoteAddr", "RemoteAddr",
		"request.client_ip", "request.remote_ip", "request.ip", "http.request.ip", "request.remote_addr", "ClientHost", "c-ip",
		"httpRequest.remoteIp", "client.ip", "source.ip", "client.address", "source.address", "downstream_remote_address",
		"sourceIp", "identity.sourceIp", "remote_host", "client", "ip", "host_ip", "remote", "peer", "fwd",
	},
	roleForwarded: {"x_forwarded_for", "x-forwarded-for", "http_x_forwarded_for", "X-Forwarded-For", "xff", "fwd", "forwarded_for"},
	roleMethod: {
		"method", "request_method", "request.method", "verb", "RequestMethod", "cs-method", "httpMethod",
		"ClientRequestMethod", "httpRequest.requestMethod", "http.request.method", "http_method",
	},
	rolePath: {
		"path", "request_uri", "requestURI", "uri", "request.uri", "request.path", "http.request.path", "url", "request.url", "RequestPath", "cs-uri-stem",
		"ClientRequestURI", "ClientRequestPath", "httpRequest.requestUrl", "url.path", "url.original", "resourcePath", "http_path",
	},
	roleRequest: {"request", "request_line"},
	roleHost: {
		"host", "http_host", "request.host", "RequestHost", "ClientRequestHost", "x-host-header", "cs(Host)", "cs-host",
		"authority", ":authority", "url.domain", "domainName", "server_name", "vhost",
	},
	roleStatus: {
		"status", "status_code", "statusCode", "response_status", "response.status", "http.response.status", "response_code", "DownstreamStatus", "OriginStatus",
		"EdgeResponseStatus", "sc-status", "httpRequest.status", "http.response.status_code", "http_status", "response", "code",
	},
}

// values are those of the fields that a sample shows.
type values map[string][]string

// suit tells whether one of a field's values can be read as what a role asks for:
// a duration named "time" is no time, and the client must be an address.
func (v values) suit(as role, name string) bool {
	return slices.ContainsFunc(v[name], func(value string) bool {
		var r Record
		if r.set(as, []byte(value)) != nil {
			return false
		}
		switch as {
		case roleTime:
			return r.Time >= earliest
		case roleClient:
			return plausible(r.Client)
		}
		return true
	})
}

// earliest is before all logs of web servers: a lower number is no time.
const earliest = 20 * 365 * day

// choose decides which field has which role.
func (v values) choose(wanted Wanted) (map[role]string, error) {
	chosen := map[role]string{}
	for as, names := range usual {
		for _, name := range names {
			if v.suit(as, name) {
				chosen[as] = name
				break
			}
		}
	}
	for name, field := range wanted.Fields {
		as := roleNames[name]
		if as == roleTime && wanted.Fields["date"] != "" {
			as = roleClock
		}
		chosen[as] = field
	}
	if wanted.Extra != "" {
		chosen[roleExtra] = wanted.Extra
	}
	dropNeedless(chosen, wanted)
	if chosen[roleClient] == "" && chosen[roleForwarded] == "" && wanted.Extra == "" {
		return nil, fmt.Errorf("no field tells the address of the client; name the one that tells the client, as --field client=%s", usual[roleClient][0])
	}
	return chosen, nil
}

// timeless tells whether no field tells the time: it must come from a prefix then.
func timeless(chosen map[role]string) bool {
	return chosen[roleTime] == "" && chosen[roleClock] == ""
}

// dropNeedless leaves out what another field tells, or nobody asks for.
func dropNeedless(chosen map[role]string, wanted Wanted) {
	if chosen[roleTime] != "" && wanted.Fields["date"] == "" || chosen[roleDate] == "" || chosen[roleClock] == "" {
		delete(chosen, roleDate)
		delete(chosen, roleClock)
	} else {
		delete(chosen, roleTime)
	}
	if chosen[rolePath] != "" {
		delete(chosen, roleRequest)
	}
	if wanted.Forwarded == nil {
		delete(chosen, roleForwarded)
	}
	if !wanted.Host {
		delete(chosen, roleHost)
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
	if clock := chosen[roleClock]; clock != "" {
		parts = append(parts, "time="+clock)
	}
	return strings.Join(parts, " ")
}

// fields tell what the values of a line said: which roles were filled.
type fields uint32

func (f *fields) note(as role)    { *f |= 1 << as }
func (f fields) has(as role) bool { return f&(1<<as) != 0 }

// settle says what a line of named fields lacks, and finishes its record. A line
// that has nothing of a request but a time is one of an application's other lines.
// The client may be told by the address or by the field that was named instead.
func (f fields) settle(asked fields, r *Record, forwarded *Forwarded) error {
	request := f.has(roleRequest) || f.has(rolePath)
	if !f.has(roleClient) && !f.has(roleExtra) && !f.has(roleForwarded) && !f.has(roleStatus) && !request {
		return ErrNoRequest
	}
	for _, as := range []role{roleTime, roleDate, roleClock} {
		if asked.has(as) && !f.has(as) {
			return errNoTime
		}
	}
	if err := r.finish(forwarded); err != nil {
		return err
	}
	if !request && (asked.has(roleRequest) || asked.has(rolePath)) {
		return errNoRequest
	}
	return nil
}

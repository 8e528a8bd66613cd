package accesslog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// usual are common field names in JSON, logfmt, CSV and W3C, the most reliable first. A dot
// separates the names of nested objects.
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

// values are the values of each field in a sample.
type values map[string][]string

// suit reports whether a value of a field is valid for a role: a field named "time" may be a
// duration, and the client must be an address.
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

// earliest is before all logs of web servers: a lower number is not a time.
const earliest = 20 * 365 * day

// choose assigns fields to roles.
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
		return nil, fmt.Errorf("no field contains the address of the client; name the field of the client, such as --field client=%s", usual[roleClient][0])
	}
	return chosen, nil
}

// timeless reports whether no field has the time, so that a prefix must provide it.
func timeless(chosen map[role]string) bool {
	return chosen[roleTime] == "" && chosen[roleClock] == ""
}

// dropNeedless removes fields that another field makes redundant, or that are not needed.
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

// describe lists the fields by role.
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

// fields is the set of roles that a line has filled.
type fields uint32

func (f *fields) note(as role)    { *f |= 1 << as }
func (f fields) has(as role) bool { return f&(1<<as) != 0 }

// settle completes the record of a line with named fields, or returns what is missing. A
// line with nothing but a time is other output of the application. The client is the
// address, or the field that is named instead.
func (f fields) settle(expected fields, r *Record, forwarded *Forwarded) error {
	request := f.has(roleRequest) || f.has(rolePath)
	if !f.has(roleClient) && !f.has(roleExtra) && !f.has(roleForwarded) && !f.has(roleStatus) && !request {
		return ErrNoRequest
	}
	for _, as := range []role{roleTime, roleDate, roleClock} {
		if expected.has(as) && !f.has(as) {
			return errNoTime
		}
	}
	if err := r.finish(forwarded); err != nil {
		return err
	}
	if !request && (expected.has(roleRequest) || expected.has(rolePath)) {
		return errNoRequest
	}
	return nil
}

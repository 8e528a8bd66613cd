package accesslog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// named are the formats without named fields, in the notation of nginx, the more specific
// first. The relevant parts of the common and combined formats are the same.
var named = []struct{ name, notation string }{
	{"gin", `[GIN] $time_local |$status|$latency|$remote_addr|$request_method "$request_uri"`},
	{"uvicorn", `$level:     $remote_addr - "$request" $status`},
	{"alb", `$type $time_iso8601 $elb $remote_addr $target $request_time $target_time $response_time $status $target_status $received $sent "$request" "`},
	{"elb", `$time_iso8601 $elb $remote_addr $target $request_time $target_time $response_time $status $target_status $received $sent "$request" "`},
	{"s3", `$owner $bucket [$time_local] $remote_addr $requester $request_id $operation $key "$request" $status $error `},
	{"cloudfront", "$date\t$time\t$edge\t$bytes\t$remote_addr\t$request_method\t$host\t$uri\t$status\t"},
	{"haproxy", `$remote_addr [$time_local] $frontend $backend $timers $status $bytes $request_cookie $response_cookie $state $connections $queues $captures"$request"`},
	{"envoy", `[$time_iso8601] "$request" $status $flags $received $sent $duration $upstream_time "$remote_addr" "$user_agent" "`},
	{"istio", `[$time_iso8601] "$request" $status $flags $details $termination "$failure" $received $sent $duration $upstream_time "$http_x_forwarded_for" "$user_agent" "$request_id" "$host" "$upstream" $cluster $upstream_local $downstream_local $remote_addr `},
	{"apigateway", `$remote_addr $caller $user [$time_local]"$request" $status $bytes `},
	{"vhost", `$host $remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`},
	{forwardedName, `$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"`},
	{"combined", `$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`},
	{"common", `$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent`},
	{"gin-custom", `$remote_addr - [$time] "$request_method $request_uri HTTP/$protocol $status $latency `},
}

// forwardedName is the combined format followed by X-Forwarded-For, which nginx suggests as
// "main". Other servers write other fields there, so it is detected only if the caller needs
// forwarded addresses.
const forwardedName = "combined-forwarded"

// fielded are the formats with named fields, which are found in the sample.
var fielded = []struct {
	name string
	read func(sample [][]byte, wanted Wanted) (Format, error)
}{
	{"json", fromJSON},
	{"w3c", fromW3C},
	{"logfmt", fromPairs},
	{"csv", fromCSV},
}

// aliases are other names for the formats above.
var aliases = map[string]string{
	"nginx": "combined", "apache": "combined", "traefik": "combined", "gunicorn": "combined",
	"caddy": "json", "cloudflare": "json", "gcp": "json", "ecs": "json", "envoy-json": "json", "apigateway-json": "json",
	"slog-gin": "json", "slog": "logfmt", "logrus": "logfmt", "iis": "w3c",
}

// Names lists the names that Choose accepts.
func Names() []string {
	var list []string
	for _, known := range named {
		list = append(list, known.name)
	}
	for _, known := range fielded {
		list = append(list, known.name)
	}
	for alias := range aliases {
		list = append(list, alias)
	}
	slices.Sort(list)
	return list
}

// build makes a format from its name. Formats with named fields find them in the sample.
func build(name string, sample [][]byte, wanted Wanted) (Format, error) {
	if usual := aliases[name]; usual != "" {
		name = usual
	}
	for _, known := range fielded {
		if known.name == name {
			return known.read(sample, wanted)
		}
	}
	for _, known := range named {
		if known.name == name {
			return fromPattern(known.name, known.notation, Wanted{Extra: wanted.Extra, Forwarded: wanted.Forwarded})
		}
	}
	return Format{}, fmt.Errorf("%q is not a format; use one of %s, or a format string of nginx or Apache, such as '$remote_addr - $remote_user [$time_local] \"$request\" $status'", name, strings.Join(Names(), ", "))
}

func fromPattern(name, notation string, wanted Wanted) (Format, error) {
	p, err := newPattern(notation, wanted)
	if err != nil {
		return Format{}, err
	}
	switch name {
	case "gin":
		p.noRequest = func(line []byte) bool { return !bytes.HasPrefix(line, []byte("[GIN] ")) }
	case "uvicorn":
		p.noRequest = isLevelLine
	}
	return Format{Name: name, NewParser: p.parser, timeless: p.timeless()}, nil
}

// isLevelLine recognises a line such as "INFO:     Started server process [1]", which uvicorn
// writes between requests.
func isLevelLine(line []byte) bool {
	level, rest, found := bytes.Cut(line, []byte(": "))
	return found && len(level) < 9 && isMethod(level) && !bytes.Contains(rest, []byte(` HTTP/`))
}

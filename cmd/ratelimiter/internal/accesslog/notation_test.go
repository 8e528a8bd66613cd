package accesslog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAFormatIsAcceptedAsInAServerConfiguration(t *testing.T) {
	const (
		line  = `192.0.2.7 - ann [17/May/2015:10:05:03 +0000] "GET /users/7?page=2 HTTP/1.1" 404 23 "-" "curl/8.14.1" "203.0.113.7"`
		plain = `192.0.2.7 - ann [17/May/2015:10:05:03 +0000] "GET /users/7 HTTP/1.1" 404`
	)
	for _, c := range []struct{ name, notation, line string }{
		{"nginx", "log_format  main  '$remote_addr - $remote_user [$time_local] \"$request\" '\n                  '$status $body_bytes_sent \"$http_referer\" '\n                  '\"$http_user_agent\" \"$http_x_forwarded_for\"';", line},
		{"nginx, in its quotes", `'$remote_addr - $remote_user [$time_local] "$request" $status'`, line},
		{"nginx, in double quotes", `"$remote_addr - $remote_user [$time_local] \"$request\" $status"`, line},
		{"nginx, in JSON", `log_format json escape=json '{"at":"$time_iso8601","who":"$remote_addr","what":"$request","status":$status}';`,
			`{"at":"2015-05-17T10:05:03+00:00","who":"192.0.2.7","what":"GET /users/7?page=2 HTTP/1.1","status":404}`},
		{"Apache, common", `%h %l %u %t "%r" %>s %b`, line},
		{"Apache, its whole line", `LogFormat "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined`, line},
		{"Apache, with a virtual host", `%v:%p %h %l %u %t \"%r\" %>s %O`, "www.example.com:443 " + line},
		{"Apache, the parts of a request", `%a %t %m %U%q %H %>s`, `192.0.2.7 [17/May/2015:10:05:03 +0000] GET /users/7?page=2 HTTP/1.1 404`},
		{"Apache, another time", `%{c}a %{%Y-%m-%dT%H:%M:%S%z}t "%r" %s`, `192.0.2.7 2015-05-17T10:05:03+0000 "GET /users/7 HTTP/1.1" 404`},
		{"a last variable ends where its kind ends: a status", `$remote_addr - $remote_user [$time_local] "$request" $status`, line},
		{"a status at the end of the line", `$remote_addr - $remote_user [$time_local] "$request" $status`, plain},
		{"a request", `$remote_addr - $remote_user [$time_local] "$request`, line},
		{"a request without quotes", `$remote_addr $time_iso8601 $request`, `192.0.2.7 2015-05-17T10:05:03Z GET /users/7 HTTP/1.1 404 23`},
		{"a time", `$remote_addr - $remote_user [$time_local`, line},
		{"a time with a space", `$remote_addr $request_method $uri $time`, `192.0.2.7 GET /users/7 2015-05-17 10:05:03.000 +0000 404`},
		{"a client", `$time_iso8601 $request_method $uri $remote_addr`, `2015-05-17T10:05:03Z GET /users/7 192.0.2.7 404`},
		{"a date and a time of day", `$date $time $remote_addr $request_method $uri $status`, `2015-05-17 10:05:03.000 192.0.2.7 GET /users/7 404 12`},
		{"RFC 1123", `$remote_addr [$time] "$request"`, `192.0.2.7 [Sun, 17 May 2015 10:05:03 GMT] "GET /users/7 HTTP/1.1"`},
		{"a fraction of a second", `$remote_addr [$time_local] "$request"`, `192.0.2.7 [17/May/2015:10:05:03.000 +0000] "GET /users/7 HTTP/1.1"`},
		{"a name, behind syslog", "nginx", "<190>May 17 10:05:03 web-1 nginx: " + line},
		{"its own notation, behind syslog", `$remote_addr - $remote_user [$time_local] "$request"`, "<190>May 17 10:05:03 web-1 nginx: " + line},
		{"without a time, behind one", `$remote_addr "$request"`, `2015-05-17T10:05:03.000000000Z stdout F 192.0.2.7 "GET /users/7 HTTP/1.1"`},
	} {
		format, err := Choose(c.notation, linesOf(c.line), Wanted{})
		require.NoError(t, err, c.name)
		var r Record
		require.NoError(t, format.NewParser().Parse([]byte(c.line), &r), c.name)
		require.Equal(t, requested, r.Time, c.name)
		require.Equal(t, "192.0.2.7", string(r.Client), c.name)
		if len(r.Path) > 0 {
			require.Equal(t, "GET", string(r.Method), c.name)
			require.Equal(t, "/users/7", string(r.Path), c.name)
		}
		if r.Status != 0 {
			require.Equal(t, 404, r.Status, c.name)
		}
	}
	_, err := Choose(`%h %Z %t`, nil, Wanted{})
	require.ErrorContains(t, err, "%Z, which is not a letter of Apache")
}

func TestEveryFormatNameParsesItsLogs(t *testing.T) {
	logs := map[string]string{"combined-forwarded": combined + ` "203.0.113.7"`}
	for _, c := range builtIn {
		logs[c.format] = c.log
	}
	logs["common"], logs["uvicorn"] = combined, logs["timestamped uvicorn"]
	for _, name := range Names() {
		log := logs[name]
		if usual := aliases[name]; usual != "" {
			log = logs[usual]
		}
		lines := linesOf(log)
		format, err := Choose(name, lines, Wanted{})
		require.NoError(t, err, name)
		var r Record
		require.NoError(t, format.NewParser().Parse(lines[len(lines)-1], &r), name)
		require.Contains(t, string(r.Client), "192.0.2.7", name)
	}
}

func TestAbsoluteURLsLoseTheirSchemeAndHost(t *testing.T) {
	for url, want := range map[string][2]string{
		"https://www.example.com:443/users/7?page=2": {"/users/7", "www.example.com:443"}, "http://example.com": {"/", "example.com"},
		"http://example.com?a=/b": {"/", "example.com"}, "ws://example.com/x": {"/x", "example.com"},
		"/a://b": {"/a://b", ""}, "*": {"*", ""}, "example.com:443": {"example.com:443", ""},
	} {
		var r Record
		r.setPath([]byte(url))
		require.Equal(t, want, [2]string{string(r.Path), string(r.Host)}, url)
	}
}

func TestNumbersMayBeWholeFloats(t *testing.T) {
	line := `{"ts":1431857103.0,"client_ip":"192.0.2.7","path":"/","status":404.0}`
	format, err := Recognise(linesOf(line), Wanted{})
	require.NoError(t, err)
	var r Record
	require.NoError(t, format.NewParser().Parse([]byte(line), &r))
	require.Equal(t, 404, r.Status)
	require.Equal(t, requested, r.Time)
}

// A syslog timestamp has no year: the latest year that does not put it in the future counts.
func TestATimestampWithoutAYearIsNotInTheFuture(t *testing.T) {
	tomorrow := started.Add(48 * time.Hour)
	_, micros, ok := cutStamp([]byte(tomorrow.Format("Jan _2 15:04:05") + " web-1 nginx: x"))
	require.True(t, ok)
	require.Equal(t, tomorrow.AddDate(-1, 0, 0).Unix(), micros/1e6)
	rest, micros, ok := cutStamp([]byte(started.Format("Jan _2 15:04:05") + " web-1 nginx: x"))
	require.True(t, ok)
	require.Equal(t, started.Unix(), micros/1e6)
	require.Equal(t, "web-1 nginx: x", string(rest))
}

func TestOtherOutputOfAnApplicationIsNotARequest(t *testing.T) {
	for name, c := range map[string]struct{ request, other string }{
		"json":    {`{"time":"2015-05-17T10:05:03Z","client_ip":"192.0.2.7","path":"/","status":200}`, `{"time":"2015-05-17T10:05:03Z","level":"info","msg":"started"}`},
		"logfmt":  {`time=2015-05-17T10:05:03Z client_ip=192.0.2.7 path=/ status=200`, `time=2015-05-17T10:05:03Z level=info msg="the cache is cold"`},
		"gin":     {`[GIN] 2015/05/17 - 10:05:03 | 404 | 1.234ms | 192.0.2.7 | GET "/"`, "Error #01: it is gone"},
		"uvicorn": {`2015-05-17T10:05:03Z INFO:     192.0.2.7:54321 - "GET / HTTP/1.1" 200 OK`, `2015-05-17T10:05:03Z INFO:     Application startup complete.`},
	} {
		format, err := Recognise(linesOf(c.request+"\n"+c.other), Wanted{})
		require.NoError(t, err, name)
		var r Record
		require.ErrorIs(t, format.NewParser().Parse([]byte(c.other), &r), ErrNoRequest, name)
	}
}

func TestAPartialLineIsNotARequest(t *testing.T) {
	format, err := Recognise(linesOf("2015-05-17T10:05:03.000000000Z stdout F "+combined), Wanted{})
	require.NoError(t, err)
	var r Record
	require.ErrorIs(t, format.NewParser().Parse([]byte("2015-05-17T10:05:03.000000000Z stdout P 192.0.2.7 - -"), &r), errPart)
	require.ErrorIs(t, format.NewParser().Parse([]byte(combined), &r), errPrefix)
}

func FuzzRecognise(f *testing.F) {
	for _, c := range builtIn {
		f.Add(c.log)
	}
	f.Add("<1>1 - - - - - -")
	f.Add("2015-05-17 10:05:03 stdout F")
	f.Add("2000-01-01 00:00:00A stdout  0")
	f.Add("0000-01-01\t00:00:00\t\t\t0A000.0\t\t\t\t0\t")
	f.Fuzz(func(t *testing.T, log string) {
		lines := linesOf(log)
		if len(lines) == 0 {
			return
		}
		format, err := Recognise(lines, Wanted{})
		if err != nil {
			return
		}
		parser := format.NewParser()
		for _, line := range lines {
			var r Record
			if parser.Parse(line, &r) == nil {
				require.NotEmpty(t, r.Client)
				require.GreaterOrEqual(t, r.Time, int64(0))
				require.Less(t, r.Time, int64(latest+day))
			}
		}
	})
}

func FuzzNotation(f *testing.F) {
	f.Add(`%h %l %u %t "%r" %>s %b`)
	f.Add("log_format main '$remote_addr' '$time_local';")
	f.Fuzz(func(_ *testing.T, text string) {
		notation, err := nginxNotation(text)
		if err == nil {
			_, _ = newPattern(notation, Wanted{}) // it must not panic
		}
	})
}

package accesslog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const tail = `"GET /users/7?page=2 HTTP/1.1" 404 23 "http://a.example/" "Mozilla/5.0"`

// builtIn are lines in the formats of well-known software, with documentation addresses. All
// are for the same request.
var builtIn = []struct{ name, format, log string }{
	{"nginx", "combined", combined},
	{"nginx behind ingress-nginx", "combined", `192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /users/7?page=2 HTTP/1.1" 404 23 "-" "curl/8.14.1" 93 0.002 [default-web-80] [] 10.244.0.9:8080 23 0.002 404 5f9a5d2d8a4ddc31`},
	{"old ingress-nginx", "combined", `192.0.2.7 - [192.0.2.7] - - [17/May/2015:10:05:03 +0000] "GET /users/7?page=2 HTTP/1.1" 404 23 "-" "curl/7.54.0" 93 0.002 [default-web-80] 10.244.0.9:8080 23 0.002 404`},
	{"a user name with a space", "combined", `192.0.2.7 - John Smith [17/May/2015:10:05:03 +0000] ` + tail},
	{"Apache", "combined", `192.0.2.7 - - [17/May/2015:12:05:03 +0200] "GET /users/7 HTTP/1.1" 404 -`},
	{"Apache with virtual hosts", "vhost", `www.example.com:443 192.0.2.7 - - [17/May/2015:10:05:03 +0000] ` + tail},
	{"Traefik", "combined", `192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /users/7?page=2 HTTP/1.1" 404 19 "-" "curl/8.14.1" 1 "web@docker" "http://172.18.0.3:80" 2ms`},
	{"Gin", "gin", `[GIN] 2015/05/17 - 10:05:03 | 404 |     1.234ms |       192.0.2.7 | GET      "/users/7?page=2"`},
	{"Gin in colour", "gin", "[GIN] 2015/05/17 - 10:05:03 |\x1b[90;43m 404 \x1b[0m|     1.234ms |       192.0.2.7 |\x1b[97;44m GET     \x1b[0m \"/users/7?page=2\""},
	{"Gin behind its debug start", "gin", "[GIN-debug] [WARNING] Running in \"debug\" mode. Switch to \"release\" mode in production.\n - using env:\texport GIN_MODE=release\n\n[GIN-debug] GET    /users/:id                --> main.user (3 handlers)\n[GIN-debug] Listening and serving HTTP on :8080\n" +
		`[GIN] 2015/05/17 - 10:05:03 | 404 |     1.234ms |       192.0.2.7 | GET      "/users/7?page=2"`},
	{"Gin with RFC 1123 times", "gin-custom", `192.0.2.7 - [Sun, 17 May 2015 10:05:03 UTC] "GET /users/7?page=2 HTTP/1.1 404 122.767µs "curl/8.14.1" "`},
	{"Gin under journald", "syslog gin", `May 17 10:05:03 web-1 shop[4711]: [GIN] 2015/05/17 - 10:05:03 | 404 |     1.234ms |       192.0.2.7 | GET      "/users/7?page=2"`},
	{"Gin under compose", "compose gin", `web-1  | [GIN] 2015/05/17 - 10:05:03 | 404 |     1.234ms |       192.0.2.7 | GET      "/users/7?page=2"`},
	{"Gin under compose in colour", "compose gin", "\x1b[36mweb_1  |\x1b[0m [GIN] 2015/05/17 - 10:05:03 | 404 |     1.234ms |       192.0.2.7 | GET      \"/users/7?page=2\""},
	{"slog-gin in JSON", "json", `{"time":"2015-05-17T10:05:03.000Z","level":"WARN","msg":"404: Not Found","request":{"time":"2015-05-17T10:05:03.000Z","method":"GET","host":"www.example.com","path":"/users/7","query":"page=2","params":{"id":"7"},"route":"/users/:id","ip":"192.0.2.7","referer":"","length":0},"response":{"time":"2015-05-17T10:05:03.001Z","latency":1000000,"status":404,"length":23},"id":"229c7fc8-64f5-4467-bc4a-940700503b0d"}`},
	{"slog-gin as text", "logfmt", `time=2015-05-17T10:05:03.000Z level=WARN msg="404: Not Found" request.time=2015-05-17T10:05:03.000Z request.method=GET request.path=/users/7 request.query="page=2" request.route=/users/:id request.ip=192.0.2.7:63932 request.length=0 response.latency=100ms response.status=404 response.length=7 id=229c7fc8`},
	{"slog-gin in a group", "json", `{"time":"2015-05-17T10:05:03.000Z","level":"INFO","msg":"Incoming request","gin_mode":"release","http":{"request":{"time":"2015-05-17T10:05:03.000Z","method":"GET","path":"/users/7","query":"page=2","route":"","ip":"192.0.2.7:55296","length":0},"response":{"time":"2015-05-17T10:05:03.000Z","latency":100000,"status":404,"length":7},"id":""}}`},
	{"slog-gin as text in a group", "logfmt", `time=2015-05-17T10:05:03.000Z level=INFO msg="Incoming request" env=production http.request.time=2015-05-17T10:05:03.000Z http.request.method=GET http.request.path=/users/7 http.request.query="page=2" http.request.route="" http.request.ip=192.0.2.7:63932 http.request.length=0 http.response.latency=100ms http.response.status=404 http.response.length=7 http.id=""`},
	{"gin-contrib/zap", "json", `{"level":"info","ts":1431857103.000,"caller":"zap@v1/zap.go:123","msg":"/users/7","status":404,"method":"GET","path":"/users/7","query":"page=2","ip":"192.0.2.7","user-agent":"curl/8.14.1","latency":0.000122,"time":"2015-05-17T10:05:03Z"}`},
	{"nginx in JSON", "json", `{"time_iso8601":"2015-05-17T10:05:03+00:00","remote_addr":"192.0.2.7","request":"GET \/users\/7?page=2 HTTP\/1.1","status":"404","request_time":"0.001"}`},
	{"Caddy", "json", `{"level":"info","ts":1431857103.0,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.0.0.1","remote_port":"4711","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"GET","host":"www.example.com","uri":"/users/7?page=2","headers":{"User-Agent":["curl/8.14.1"]}},"bytes_read":0,"duration":0.0009,"size":23,"status":404}`},
	{"logrus in JSON", "json", `{"clientIP":"192.0.2.7","dataLength":23,"hostname":"web-1","latency":1,"level":"warning","method":"GET","msg":"","path":"/users/7","referer":"","statusCode":404,"time":"2015-05-17T10:05:03Z","userAgent":"curl/8.14.1"}`},
	{"logrus as text", "logfmt", `time="2015-05-17T10:05:03Z" level=warning msg="GET \"/users/7\"" clientIP=192.0.2.7 latency=1 method=GET path=/users/7 statusCode=404`},
	{"logfmt", "logfmt", `ts=2015-05-17T10:05:03.000Z caller=http.go:42 method=GET path="/users/7?page=2" status=404 remote_addr=192.0.2.7:4711 took=1.2ms`},
	{"AWS ALB", "alb", `https 2015-05-17T10:05:03.000000Z app/web/50dc6c495c0c9188 192.0.2.7:2817 10.0.0.1:80 0.086 0.048 0.037 404 404 0 57 "GET https://www.example.com:443/users/7?page=2 HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/web/73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "-" 1 2015-05-17T10:05:02.914000Z "forward" "-" "-" "10.0.0.1:80" "404" "-" "-"`},
	{"AWS classic ELB", "elb", `2015-05-17T10:05:03.000000Z web 192.0.2.7:2817 10.0.0.1:80 0.000073 0.001048 0.000057 404 404 0 29 "GET http://www.example.com:80/users/7?page=2 HTTP/1.1" "curl/7.38.0" - -`},
	{"AWS S3", "s3", `79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 [17/May/2015:10:05:03 +0000] 192.0.2.7 79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be 3E57427F3EXAMPLE REST.GET.OBJECT users/7 "GET /users/7?page=2 HTTP/1.1" 404 NoSuchKey 113 - 7 - "-" "S3Console/0.4" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com TLSV1.2 - -`},
	{"AWS CloudFront", "w3c", "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query\n2015-05-17\t10:05:03\tFRA56-P1\t2390282\t192.0.2.7\tGET\td111111abcdef8.cloudfront.net\t/users/7\t404\t-\tcurl/8.14.1\tpage=2"},
	{"AWS CloudFront without its head", "cloudfront", "2015-05-17\t10:05:03\tFRA56-P1\t2390282\t192.0.2.7\tGET\td111111abcdef8.cloudfront.net\t/users/7\t404\t-\tcurl/8.14.1\tpage=2"},
	{"AWS API Gateway in JSON", "json", `{ "requestId":"8bc3b4ee-9f1c-4c55-b7e0-1f1ce9f8a1d3", "ip": "192.0.2.7", "caller":"-", "user":"-", "requestTime":"17/May/2015:10:05:03 +0000", "httpMethod":"GET","resourcePath":"/users/7", "status":"404","protocol":"HTTP/1.1", "responseLength":"23" }`},
	{"AWS API Gateway in CLF", "apigateway", `192.0.2.7 - - [17/May/2015:10:05:03 +0000]"GET /users/7 HTTP/1.1" 404 23 8bc3b4ee-9f1c-4c55-b7e0-1f1ce9f8a1d3`},
	{"IIS", "w3c", "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Date: 2015-05-17 10:05:03\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\r\n2015-05-17 10:05:03 10.0.0.5 GET /users/7 page=2 443 - 192.0.2.7 curl/8.14.1 - 404 0 2 15\r"},
	{"HAProxy", "syslog haproxy", `May 17 10:05:03 lb-1 haproxy[14389]: 192.0.2.7:33317 [17/May/2015:10:05:03.000] http-in static/srv1 10/0/30/69/109 404 2750 - - ---- 1/1/1/1/0 0/0 {www.example.com} {} "GET /users/7?page=2 HTTP/1.1"`},
	{"HAProxy without captures, to a file", "haproxy", `192.0.2.7:33317 [17/May/2015:10:05:03.000] http-in static/srv1 10/0/30/69/109 404 2750 - - ---- 1/1/1/1/0 0/0 "GET /users/7?page=2 HTTP/1.1"`},
	{"Envoy", "envoy", `[2015-05-17T10:05:03.000Z] "GET /users/7?page=2 HTTP/2" 404 - 154 0 226 100 "192.0.2.7" "curl/8.14.1" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "www.example.com" "tcp://10.0.2.1:80"`},
	{"Istio", "istio", `[2015-05-17T10:05:03.000Z] "GET /users/7?page=2 HTTP/1.1" 404 - via_upstream - "-" 0 135 5 2 "-" "curl/8.14.1" "d209e46f-9ed5-9b61-bbdd-43e22662702a" "web:8000" "127.0.0.1:80" inbound|8000|http|web.default.svc.cluster.local 127.0.0.1:44854 10.44.1.27:80 192.0.2.7:37652 outbound_.8000_._.web.default.svc.cluster.local default`},
	{"Envoy in JSON", "json", `{"start_time":"2015-05-17T10:05:03.000Z","method":"GET","path":"/users/7?page=2","protocol":"HTTP/1.1","response_code":404,"response_flags":"-","bytes_received":0,"bytes_sent":23,"duration":5,"x_forwarded_for":null,"user_agent":"curl/8.14.1","authority":"www.example.com","upstream_host":"127.0.0.1:80","downstream_remote_address":"192.0.2.7:37652"}`},
	{"Cloudflare", "json", `{"ClientIP":"192.0.2.7","ClientRequestHost":"www.example.com","ClientRequestMethod":"GET","ClientRequestURI":"/users/7?page=2","EdgeEndTimestamp":"2015-05-17T10:05:04Z","EdgeResponseBytes":4600,"EdgeResponseStatus":404,"EdgeStartTimestamp":"2015-05-17T10:05:03Z","RayID":"3a6050bcbe121a87"}`},
	{"Cloudflare with times in nanoseconds", "json", `{"ClientIP":"192.0.2.7","ClientRequestMethod":"GET","ClientRequestURI":"/users/7","EdgeResponseStatus":404,"EdgeStartTimestamp":1431857103000000000}`},
	{"Google load balancer", "json", `{"httpRequest":{"cacheLookup":true,"latency":"0.041s","protocol":"HTTP/1.1","remoteIp":"192.0.2.7","requestMethod":"GET","requestSize":"57","requestUrl":"https://www.example.com/users/7?page=2","responseSize":"23","serverIp":"10.128.0.5","status":404,"userAgent":"curl/8.14.1"},"insertId":"1bk5aeaf5xtdkm","jsonPayload":{"@type":"type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry","statusDetails":"response_sent_by_backend"},"logName":"projects/p/logs/requests","receiveTimestamp":"2015-05-17T10:05:04.0Z","severity":"WARNING","timestamp":"2015-05-17T10:05:03.000000Z"}`},
	{"ECS with dotted keys", "json", `{"@timestamp":"2015-05-17T10:05:03.000Z","log.level":"info","client.ip":"192.0.2.7","http.request.method":"GET","http.response.status_code":404,"url.path":"/users/7","url.query":"page=2","ecs.version":"1.6.0"}`},
	{"ECS in objects", "json", `{"@timestamp":"2015-05-17T10:05:03.000Z","source":{"ip":"192.0.2.7"},"http":{"request":{"method":"GET"},"response":{"status_code":404}},"url":{"path":"/users/7"}}`},
	{"uvicorn under docker logs -t", "timestamped uvicorn", `2015-05-17T10:05:03.000000000Z INFO:     192.0.2.7:54321 - "GET /users/7?page=2 HTTP/1.1" 404 Not Found`},
	{"uvicorn with its own times", "timestamped uvicorn", `2015-05-17 10:05:03,000 INFO:     192.0.2.7:54321 - "GET /users/7?page=2 HTTP/1.1" 404 Not Found`},
	{"uvicorn in colour", "timestamped uvicorn", "2015-05-17T10:05:03.000000000Z \x1b[32mINFO\x1b[0m:     192.0.2.7:54321 - \"\x1b[1mGET /users/7?page=2 HTTP/1.1\x1b[0m\" \x1b[31m404 Not Found\x1b[0m"},
	{"JSON without a time under Kubernetes", "cri json", `2015-05-17T10:05:03.000000000Z stdout F {"level":"info","client_ip":"192.0.2.7","method":"GET","path":"/users/7","status":404}`},
	{"Heroku", "syslog logfmt", `2015-05-17T10:05:03.000000+00:00 heroku[router]: at=info method=GET path="/users/7?page=2" host=www.example.com request_id=8601b555 fwd="192.0.2.7" dyno=web.1 connect=1ms service=18ms status=404 bytes=13 protocol=https`},
	{"nginx under Kubernetes", "cri combined", `2015-05-17T10:05:03.000000000Z stdout F ` + combined},
	{"nginx under kubectl logs --prefix --timestamps", "kubectl timestamped combined", `[pod/web-5d9c/nginx] 2015-05-17T10:05:03.000000000Z ` + combined},
	{"nginx under docker", "json-wrapped combined", `{"log":"192.0.2.7 - - [17/May/2015:10:05:03 +0000] \"GET /users/7?page=2 HTTP/1.1\" 404 23 \"-\" \"curl/8.14.1\"\n","stream":"stdout","time":"2015-05-17T10:05:03.1Z"}`},
	{"nginx in the JSON of journald", "json-wrapped combined", `{"__REALTIME_TIMESTAMP":"1431857103000000","_COMM":"nginx","MESSAGE":"192.0.2.7 - - [17/May/2015:10:05:03 +0000] \"GET /users/7?page=2 HTTP/1.1\" 404 23 \"-\" \"curl/8.14.1\""}`},
	{"nginx to syslog", "syslog combined", `May 17 10:05:03 web-1 nginx: ` + combined},
	{"nginx to syslog, with a priority", "syslog combined", `<190>May 17 10:05:03 web-1 nginx: ` + combined},
	{"nginx to syslog, RFC 5424", "syslog combined", `<190>1 2015-05-17T10:05:03.000000+00:00 web-1 nginx - - - ` + combined},
	{"nginx to rsyslog", "syslog combined", `2015-05-17T10:05:03.000000+00:00 web.example.com nginx: ` + combined},
	{"journalctl -o short-iso", "syslog gin", `2015-05-17T10:05:03+0000 web-1 shop[4711]: [GIN] 2015/05/17 - 10:05:03 | 404 |     1.234ms |       192.0.2.7 | GET      "/users/7?page=2"`},
	{"CSV", "csv", "time,ip,method,path,status\n1431857103000,192.0.2.7,GET,\"/users/7?a=\"\"b\"\"\",404"},
	{"CSV with date and time apart", "csv", "date;time;ip;method;path;status\n2015-05-17;10:05:03.000;192.0.2.7;GET;/users/7;404"},
	{"tabs", "csv", "timestamp\tclient\trequest\tstatus\n2015-05-17 10:05:03\t192.0.2.7\tGET /users/7 HTTP/1.1\t404"},
}

// linesOf splits a log as the reader of logs does.
func linesOf(log string) (lines [][]byte) {
	for line := range strings.SplitSeq(log, "\n") {
		if line != "" {
			lines = append(lines, bytes.TrimRight([]byte(line), "\r"))
		}
	}
	return lines
}

func TestEveryFormatIsDetectedAndParsed(t *testing.T) {
	for _, c := range builtIn {
		t.Run(c.name, func(t *testing.T) {
			lines := linesOf(c.log)
			format, err := Recognise(lines, Wanted{})
			require.NoError(t, err)
			require.Equal(t, c.format, strings.Split(format.Name, ",")[0])
			parser := format.NewParser()
			var r Record
			for _, line := range lines[:len(lines)-1] {
				require.ErrorIs(t, parser.Parse(line, &r), ErrNoRequest, "%s", line)
			}
			require.NoError(t, parser.Parse(lines[len(lines)-1], &r))
			require.Equal(t, requested, r.Time)
			client, _, _ := strings.Cut(string(r.Client), ":") // the port goes later
			require.Equal(t, "192.0.2.7", client)
			require.Equal(t, "GET", string(r.Method))
			require.Equal(t, "/users/7", string(r.Path))
			require.Equal(t, 404, r.Status)
		})
	}
}

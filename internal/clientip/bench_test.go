package clientip

import (
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// usual are requests as most applications see them.
var usual = []struct {
	name    string
	engine  []engineOption
	peer    string
	headers []string
	allocs  float64 // -1 if it depends on a sync.Pool
}{
	{"IPv4", nil, "192.0.2.7:1234", nil, 0},
	{"IPv4 without a port", nil, "192.0.2.7", nil, 0},
	{"IPv6", nil, "[2001:db8::7]:1234", nil, 1},
	{"IPv4 and a header that is not trusted", nil, "203.0.113.9:1234", []string{"X-Forwarded-For", "198.51.100.7"}, 1},
	{"a platform", []engineOption{trustNobody, trustPlatform("CF-Connecting-IP")}, "203.0.113.9:1234", []string{"Cf-Connecting-Ip", "198.51.100.7"}, 1},
	{"a trusted proxy", []engineOption{trust10}, "10.0.0.1:1234", []string{"X-Forwarded-For", "198.51.100.7"}, -1},
	{"a trusted proxy that appends", []engineOption{trust10}, "10.0.0.1:1234", []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.7"}, -1},
	{"two trusted proxies", []engineOption{trust10}, "10.0.0.1:1234", []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.7:1, 10.0.0.2"}, -1},
}

// usualRequest returns a request with as many headers as browsers send.
func usualRequest(engine *gin.Engine, peer string, headers ...string) *gin.Context {
	return request(engine, peer, append([]string{"User-Agent", "Mozilla/5.0", "Accept", "*/*", "Accept-Language", "en",
		"Accept-Encoding", "gzip", "Cookie", "session=1", "Referer", "/", "Connection", "keep-alive"}, headers...)...)
}

func TestUsualRequestsAllocateLittle(t *testing.T) {
	for _, test := range usual {
		if test.allocs < 0 {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			finder, c := &Finder{}, usualRequest(newEngine(test.engine...), test.peer, test.headers...)
			require.Equal(t, test.allocs, testing.AllocsPerRun(100, func() { finder.Text(c, 32, 64) }))
		})
	}
}

func BenchmarkText(b *testing.B) {
	for _, test := range usual {
		b.Run(test.name, func(b *testing.B) {
			finder, c := &Finder{}, usualRequest(newEngine(test.engine...), test.peer, test.headers...)
			b.ReportAllocs()
			for b.Loop() {
				finder.Text(c, 32, 64)
			}
		})
	}
}

// BenchmarkGin measures the same in Gin, for comparison.
func BenchmarkGin(b *testing.B) {
	for _, test := range usual {
		b.Run(test.name, func(b *testing.B) {
			c := usualRequest(newEngine(test.engine...), test.peer, test.headers...)
			b.ReportAllocs()
			for b.Loop() {
				c.ClientIP()
			}
		})
	}
}

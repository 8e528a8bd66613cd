package traffic

import (
	"hash/maphash"
	"net/netip"
	"regexp"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
	"github.com/stretchr/testify/require"
)

func look(view View, r accesslog.Record) (key string, kept bool) {
	var b Batch
	NewLens(&view, maphash.MakeSeed()).Look(&r, &b)
	if len(b.Events) == 0 {
		return "", false
	}
	return string(b.KeyOf(&b.Events[0])), true
}

func TestAClientHasTheNameOfItsScope(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "2001:DB8:1:2::9": "2001:db8:1:2::/64",
		"::ffff:192.0.2.7": "192.0.2.7", "192.0.2.7:4711": "192.0.2.7", "[2001:db8:1:2::9]:4711": "2001:db8:1:2::/64", "host.example": "host.example", "-": "-",
	} {
		key, _ := look(View{Prefix4: 32, Prefix6: 64}, accesslog.Record{Client: []byte(address)})
		require.Equal(t, want, key)
	}
	key, _ := look(View{Prefix4: 24, Prefix6: 64}, accesslog.Record{Client: []byte("192.0.2.7")})
	require.Equal(t, "192.0.2.0/24", key)
	for user, want := range map[string]string{"ann": "ann", "": "192.0.2.7", "-": "192.0.2.7"} {
		key, _ := look(View{Prefix4: 32, Prefix6: 64}, accesslog.Record{Client: []byte("192.0.2.7"), Extra: []byte(user)})
		require.Equal(t, want, key, "the library falls back to the address")
	}
	key, _ = look(View{Prefix4: 32, Prefix6: 64}, accesslog.Record{Extra: []byte("-")})
	require.Equal(t, "-", key)
}

func TestFiltersExcludeRequests(t *testing.T) {
	r := accesslog.Record{Time: 50, Client: []byte("192.0.2.7"), Method: []byte("GET"), Path: []byte("/api/x"), Status: 404}
	network := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, c := range map[string]struct {
		view View
		kept bool
	}{
		"method":         {View{Methods: []string{"GET"}}, true},
		"other method":   {View{Methods: []string{"POST"}}, false},
		"status":         {View{Statuses: []Range{{400, 499}}}, true},
		"other status":   {View{Statuses: []Range{{200, 299}}}, false},
		"path":           {View{Path: regexp.MustCompile("^/api/")}, true},
		"not the path":   {View{NotPath: regexp.MustCompile("^/api/")}, false},
		"client":         {View{Client: network}, true},
		"not the client": {View{NotClient: network}, false},
		"since":          {View{Since: 51}, false},
		"until":          {View{Until: 50}, false},
		"in between":     {View{Since: 50, Until: 51}, true},
	} {
		c.view.Prefix4, c.view.Prefix6 = 32, 64
		_, kept := look(c.view, r)
		require.Equal(t, c.kept, kept, name)
	}
}

func TestAssetsAreRecognisedByTheirExtension(t *testing.T) {
	for path, want := range map[string]bool{"/a.css": true, "/x/y.woff2": true, "/a": false, "": false, "/a.html": false, "/css": false, "png": false} {
		require.Equal(t, want, isAsset([]byte(path)), path)
	}
}

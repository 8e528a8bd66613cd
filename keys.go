package ratelimiter

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/internal/clientip"
)

// This file holds the functions for WithKey and WithScope, and how what they
// return becomes the key and the scope that a backend stores.

// Shared is a key that routes share, by its name: Shared("uploads").
//
//go:noinline
func Shared(name string) func(*gin.Context) string {
	mustName("Shared", name, "uploads")
	return func(*gin.Context) string { return name }
}

// sharedPointer identifies the functions that Shared returns, whose key is known
// without a request. Shared is not inlined, which would give each caller a copy.
var sharedPointer = reflect.ValueOf(Shared("any")).Pointer()

// sharedName is the key of a limit that Shared alone decides.
func sharedName(key []func(*gin.Context) string) (name string, ok bool) {
	if len(key) != 1 || reflect.ValueOf(key[0]).Pointer() != sharedPointer {
		return "", false
	}
	return safe(key[0](nil)), true
}

// mustName panics on a name that no request could have.
func mustName(function, name, example string) {
	if name == "" {
		panic(fmt.Sprintf("ratelimiter: %s was given no name; write for example %s(%q)", function, function, example))
	}
}

// ByRoute is the route, as "GET /users/:id": one counter for each route in a
// key or scope that has more parts. Requests that match no route are one.
func ByRoute(c *gin.Context) string { return routeOf(c).String() }

// ByPath is the path of the route without the method, as "/users/:id". As a key it
// gives all methods of a path one counter: engine.Any registers nine routes, each
// of which has a counter of its own otherwise. Requests that match no route are one.
func ByPath(c *gin.Context) string {
	if path := c.FullPath(); path != "" {
		return path
	}
	return unmatched
}

// wholeIPv4 is how many bits an IPv4 address has, all of which tell clients apart.
const wholeIPv4 = 32

// ByAddress is the scope of the client address, an IPv4 address cut to its first
// ipv4Bits (1 to 32) and an IPv6 address to its first ipv6Bits (1 to 128):
// ByAddress(24, 48) limits whole networks. It panics on other numbers.
func (r *RateLimiter) ByAddress(ipv4Bits, ipv6Bits int) func(*gin.Context) string {
	if ipv4Bits < 1 || ipv4Bits > wholeIPv4 || ipv6Bits < 1 || ipv6Bits > 128 {
		panic(fmt.Sprintf("ratelimiter: ByAddress(%d, %d) must be from 1 to 32 bits of an IPv4 address and 1 to 128 of an IPv6 address", ipv4Bits, ipv6Bits))
	}
	return func(c *gin.Context) string { return r.clients.Text(c, ipv4Bits, ipv6Bits) }
}

// FromNetworks reports whether a request comes from one of these addresses or networks (in
// CIDR notation), for WithSkip: WithSkip(limiter.FromNetworks("10.0.0.0/8", "2001:db8::7")).
// The address is that of the default scope, which cannot be forged. Behind a proxy that
// the engine was not told of (see gin.Engine.SetTrustedProxies) that is the proxy's, for
// all clients. It panics on a text that is neither an address nor a network.
func (r *RateLimiter) FromNetworks(networks ...string) func(*gin.Context) bool {
	list, err := clientip.ParseNetworks(networks)
	if err != nil {
		panic(fmt.Sprintf("ratelimiter: FromNetworks: %v", err))
	}
	return r.clients.Within(list)
}

// ByEveryone is the scope of a limit that all clients share.
func ByEveryone(*gin.Context) string { return "everyone" }

// ByParam is a parameter of the path: ByParam("id") on /users/:id.
func ByParam(name string) func(*gin.Context) string {
	mustName("ByParam", name, "id")
	return func(c *gin.Context) string { return c.Param(name) }
}

// ByHeader is a header of the request, such as an API key. Clients can send what
// they want: an earlier middleware must have rejected unknown keys, or each
// made-up key gets a limit of its own. "Host" is the host that was asked for, in lower
// case, without a final dot and without the default port (80 or 443).
func ByHeader(name string) func(*gin.Context) string {
	mustName("ByHeader", name, "X-API-Key")
	if http.CanonicalHeaderKey(name) == "Host" {
		return func(c *gin.Context) string { return plainHost(c.Request.Host) } // Go takes it out of the headers
	}
	return func(c *gin.Context) string { return c.GetHeader(name) }
}

// plainHost removes the differences between spellings of one host.
func plainHost(host string) string {
	for _, port := range []string{":80", ":443"} {
		if bare, found := strings.CutSuffix(host, port); found && (!strings.Contains(bare, ":") || strings.HasSuffix(bare, "]")) {
			host = bare
		}
	}
	name, port := host, ""
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		name, port = host[:colon], host[colon:]
	}
	return strings.ToLower(strings.TrimSuffix(name, ".")) + strings.TrimSuffix(port, ":")
}

// ByContext is a value that an earlier middleware has stored in the context, such
// as the user: a string, a whole number (also as a float64, as JSON numbers are
// decoded) or a fmt.Stringer. An absent value, nil and "" are empty. A value of
// any other type counts as empty too, and is reported through c.Error the first time.
func ByContext(key any) func(*gin.Context) string {
	var reported atomic.Bool
	return func(c *gin.Context) string {
		value, _ := c.Get(key)
		text, ok := scopeText(value)
		if !ok && reported.CompareAndSwap(false, true) {
			_ = c.Error(fmt.Errorf("ratelimiter: the context value %v is a %T, which cannot be a key or scope; store a string, a whole number or a fmt.Stringer", key, value))
		}
		return text
	}
}

// scopeText writes a value as a key or scope, if it can be one.
func scopeText(value any) (text string, ok bool) {
	switch value := value.(type) {
	case nil:
		return "", true
	case string:
		return value, true
	case fmt.Stringer:
		if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer && v.IsNil() {
			return "", true
		}
		return value.String(), true
	}
	switch v := reflect.ValueOf(value); {
	case v.Kind() == reflect.String, v.CanInt(), v.CanUint():
		return fmt.Sprint(v.Interface()), true
	case v.CanFloat() && v.Float() == math.Trunc(v.Float()) && math.Abs(v.Float()) < 1<<53:
		return strconv.FormatFloat(v.Float(), 'f', 0, 64), true
	}
	return "", false
}

// namespace keeps keys of different origin apart: no text that a client sends can
// name the counter of a route, nor a route that of a configured limit.
type namespace uint8

const (
	ofRoute       namespace = iota // a RateLimit without WithKey
	ofKey                          // what key functions return
	ofDefault                      // a default limit, by route
	ofApplication                  // an application limit
	ofFallback                     // a limit of RATELIMITER_FALLBACK_LIMITS, by route
)

// storedKey is a key as backends see it.
func (s *settings) storedKey(of namespace, position int, key string) string {
	return s.prefixed(ownKey(of, position, key))
}

// ownKey is a stored key without the prefix: "GET /users/:id", "route2/GET /users/:id" for
// the second RateLimit of a route, "key/uploads", "default/GET /users/:id" or "application".
// No method has a slash in it, so none of these is another.
func ownKey(of namespace, position int, key string) string {
	switch {
	case of == ofApplication:
		return "application"
	case of == ofDefault:
		return "default/" + key
	case of == ofFallback:
		return "fallback/" + key
	case of == ofKey:
		return "key/" + key
	case position > 1:
		return "route" + strconv.Itoa(position) + "/" + key
	}
	return key
}

// storedKey is the key of a limit as backends see it. Requests in progress have a
// namespace of their own: "concurrent/GET /users/:id".
func (l *limitRule) storedKey(s *settings, of namespace, position int, key string) string {
	if l.concurrent {
		return s.prefixed("concurrent/" + ownKey(of, position, key))
	}
	return s.storedKey(of, position, key)
}

// isRoute reports whether a key that people read may be that of a route.
func isRoute(key string) bool {
	_, path, found := strings.Cut(key, " ")
	return key == unmatched || found && strings.HasPrefix(path, "/")
}

// prefixed adds the prefix of the configuration.
func (s *settings) prefixed(key string) string {
	if s.prefix == "" {
		return key
	}
	return s.prefix + "/" + key
}

// joinParts joins what key or scope functions find in a request. instead takes
// the place of an empty part.
func joinParts(c *gin.Context, parts []func(*gin.Context) string, instead func() string) string {
	if len(parts) == 1 {
		if part := parts[0](c); part != "" {
			return safe(part)
		}
		return instead()
	}
	list := make([]string, len(parts))
	for i, find := range parts {
		part := find(c)
		if part == "" {
			if list[i] = instead(); list[i] == "" {
				return ""
			}
			continue
		}
		list[i] = joinable(part)
	}
	return printable(strings.Join(list, separator))
}

// Join is the key or scope that a request gets of several parts, as Reset and
// Status want it: Join(account, address) for WithScope(account, address). A part
// that is long or holds characters that cannot be printed is replaced by its hash,
// and so is the whole if it becomes too long.
func Join(parts ...string) string {
	if len(parts) == 1 {
		return safe(parts[0])
	}
	list := make([]string, len(parts))
	for i, part := range parts {
		list[i] = joinable(part)
	}
	return printable(strings.Join(list, separator))
}

// separator stands between the parts of a key or scope.
const separator = "|"

// joinable is a part that cannot be mistaken for two.
func joinable(part string) string {
	if strings.Contains(part, separator) {
		return hashed(part)
	}
	return safe(part)
}

// fallbackMark begins the scope of a client that a scope function found nothing
// for: its address, which must not be the account of that name.
const fallbackMark = "address:"

// hashMark begins a hash.
const hashMark = "sha256:"

// maxPart is the longest key or scope, or part of one, that is used as it is, in
// bytes.
const maxPart = 128

// safe is a text that a client may have made up, so changed that it cannot look
// like the hash of another text or like an address that stands in for a scope.
func safe(text string) string {
	if strings.HasPrefix(text, hashMark) || strings.HasPrefix(text, fallbackMark) {
		return hashed(text)
	}
	return printable(text)
}

// printable replaces what is long or cannot be printed by its hash.
func printable(text string) string {
	if len(text) <= maxPart && plainASCII(text) {
		return text
	}
	if len(text) > maxPart || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return hashed(text)
	}
	return text
}

// plainASCII reports whether a text is printable ASCII, as most are.
func plainASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// hashed is half of SHA-256, in which nobody can make two texts meet by chance or
// on purpose.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashMark + base64.RawURLEncoding.EncodeToString(sum[:16])
}

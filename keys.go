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

// This file contains the functions for WithKey and WithScope, and converts their results
// to the key and scope that a backend stores.

// Shared returns a key function for WithKey that always returns name, so that all routes
// with this key share a counter: Shared("uploads"). It panics if name is empty.
//
//go:noinline
func Shared(name string) func(*gin.Context) string {
	mustName("Shared", name, "uploads")
	return func(*gin.Context) string { return name }
}

// sharedPointer identifies functions returned by Shared, whose key is known without a
// request. Shared is not inlined, because each caller would get its own copy.
var sharedPointer = reflect.ValueOf(Shared("any")).Pointer()

// sharedName returns the key of a limit whose only key function comes from Shared.
func sharedName(key []func(*gin.Context) string) (name string, ok bool) {
	if len(key) != 1 || reflect.ValueOf(key[0]).Pointer() != sharedPointer {
		return "", false
	}
	return sanitize(key[0](nil)), true
}

// mustName panics if a name is empty.
func mustName(function, name, example string) {
	if name == "" {
		panic(fmt.Sprintf("ratelimiter: %s was given an empty name; use for example %s(%q)", function, function, example))
	}
}

// ByRoute returns the route of the request, such as "GET /users/:id". Use it to count
// each route separately in a key or scope with several parts. All requests that match no
// route count as one route, "unmatched".
func ByRoute(c *gin.Context) string { return routeOf(c).String() }

// ByPath returns the path of the route without the method, such as "/users/:id". As a
// key, it gives all methods of a path one counter; engine.Any, for example, registers
// nine routes, which otherwise count separately. All requests that match no route count
// as one path, "unmatched".
func ByPath(c *gin.Context) string {
	if path := c.FullPath(); path != "" {
		return path
	}
	return unmatched
}

// maxIPv4Bits is the length of an IPv4 address in bits.
const maxIPv4Bits = 32

// ByAddress returns a scope function for the client's IP address, cut to the first
// ipv4Bits (1 to 32) of an IPv4 address and the first ipv6Bits (1 to 128) of an IPv6
// address. For example, ByAddress(24, 48) limits whole networks. It panics if a number is
// out of range.
func (r *RateLimiter) ByAddress(ipv4Bits, ipv6Bits int) func(*gin.Context) string {
	if ipv4Bits < 1 || ipv4Bits > maxIPv4Bits || ipv6Bits < 1 || ipv6Bits > 128 {
		panic(fmt.Sprintf("ratelimiter: ByAddress(%d, %d) is out of range; pass 1 to 32 bits of an IPv4 address and 1 to 128 bits of an IPv6 address", ipv4Bits, ipv6Bits))
	}
	return func(c *gin.Context) string { return r.clients.Text(c, ipv4Bits, ipv6Bits) }
}

// FromNetworks returns a function for WithSkip that reports whether a request comes from
// one of the given IP addresses or networks in CIDR notation:
//
//	ratelimiter.WithSkip(limiter.FromNetworks("10.0.0.0/8", "2001:db8::7"))
//
// It uses the same client address as the default scope, which a client cannot forge.
// Behind a proxy that is not configured with gin.Engine.SetTrustedProxies, that is the
// address of the proxy for every client. FromNetworks panics if a text is neither an
// address nor a network.
func (r *RateLimiter) FromNetworks(networks ...string) func(*gin.Context) bool {
	list, err := clientip.ParseNetworks(networks)
	if err != nil {
		panic(fmt.Sprintf("ratelimiter: FromNetworks: %v", err))
	}
	return r.clients.Within(list)
}

// ByEveryone is a scope function for a limit that all clients share.
func ByEveryone(*gin.Context) string { return "everyone" }

// ByParam returns a function that returns a path parameter: ByParam("id") for /users/:id.
// It panics if name is empty.
func ByParam(name string) func(*gin.Context) string {
	mustName("ByParam", name, "id")
	return func(c *gin.Context) string { return c.Param(name) }
}

// ByHeader returns a function that returns a request header, such as an API key. It
// panics if name is empty.
//
// Clients choose what they send, and every new value gets its own counter. Reject unknown
// keys in an earlier middleware. For "Host", the function returns the requested host in
// lower case, without a trailing dot and without the default port (80 or 443).
func ByHeader(name string) func(*gin.Context) string {
	mustName("ByHeader", name, "X-API-Key")
	if http.CanonicalHeaderKey(name) == "Host" {
		return func(c *gin.Context) string { return plainHost(c.Request.Host) } // net/http moves it out of the headers
	}
	return func(c *gin.Context) string { return c.GetHeader(name) }
}

// plainHost normalises the spelling of a host.
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

// ByContext returns a function that returns a value which an earlier middleware has
// stored in the context, such as the user. The value can be a string, a whole number
// (also as a float64, as JSON numbers are decoded) or a fmt.Stringer. A missing value and
// nil count as "". A value of any other type also counts as "" and is reported through
// c.Error the first time.
func ByContext(key any) func(*gin.Context) string {
	var reported atomic.Bool
	return func(c *gin.Context) string {
		value, _ := c.Get(key)
		text, ok := scopeText(value)
		if !ok && reported.CompareAndSwap(false, true) {
			_ = c.Error(fmt.Errorf("ratelimiter: the context value %v is of type %T, which cannot be a key or scope; store a string, a whole number or a fmt.Stringer", key, value))
		}
		return text
	}
}

// scopeText converts a value to a key or scope. ok is false if its type cannot be one.
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

// namespace separates keys of different origin. A key that a client sends can never equal
// the key of a route, and a route can never equal the key of a configured limit.
type namespace uint8

const (
	routeNamespace       namespace = iota // a RateLimit without WithKey
	keyNamespace                          // the result of key functions
	defaultNamespace                      // a default limit, by route
	applicationNamespace                  // an application limit
	fallbackNamespace                     // a limit of RATELIMITER_FALLBACK_LIMITS, by route
)

// storedKey returns the key that backends use.
func (s *settings) storedKey(of namespace, position int, key string) string {
	return s.prefixed(unprefixedKey(of, position, key))
}

// unprefixedKey returns a stored key without the prefix: "GET /users/:id", "route2/GET
// /users/:id" for the second RateLimit of a route, "key/uploads", "default/GET
// /users/:id" or "application". They cannot collide, because an HTTP method contains no
// slash.
func unprefixedKey(of namespace, position int, key string) string {
	switch {
	case of == applicationNamespace:
		return "application"
	case of == defaultNamespace:
		return "default/" + key
	case of == fallbackNamespace:
		return "fallback/" + key
	case of == keyNamespace:
		return "key/" + key
	case position > 1:
		return "route" + strconv.Itoa(position) + "/" + key
	}
	return key
}

// storedKey returns the key of a limit that backends use. Concurrent has its own
// namespace: "concurrent/GET /users/:id".
func (l *limitRule) storedKey(s *settings, of namespace, position int, key string) string {
	if l.concurrent {
		return s.prefixed("concurrent/" + unprefixedKey(of, position, key))
	}
	return s.storedKey(of, position, key)
}

// isRoute reports whether a public key can be the key of a route.
func isRoute(key string) bool {
	_, path, found := strings.Cut(key, " ")
	return key == unmatched || found && strings.HasPrefix(path, "/")
}

// prefixed adds the configured prefix.
func (s *settings) prefixed(key string) string {
	if s.prefix == "" {
		return key
	}
	return s.prefix + "/" + key
}

// joinParts joins the results of key or scope functions. fallback replaces an empty
// result.
func joinParts(c *gin.Context, parts []func(*gin.Context) string, fallback func() string) string {
	if len(parts) == 1 {
		if part := parts[0](c); part != "" {
			return sanitize(part)
		}
		return fallback()
	}
	list := make([]string, len(parts))
	for i, find := range parts {
		part := find(c)
		if part == "" {
			if list[i] = fallback(); list[i] == "" {
				return ""
			}
			continue
		}
		list[i] = sanitizePart(part)
	}
	return printable(strings.Join(list, separator))
}

// Join returns the key or scope of a request from the results of several functions, as
// Reset, Status, Ban and Take expect it: Join(account, address) for WithScope(account,
// address). A part that is longer than 128 bytes or contains unprintable characters is
// replaced by its hash, and so is the whole result.
func Join(parts ...string) string {
	if len(parts) == 1 {
		return sanitize(parts[0])
	}
	list := make([]string, len(parts))
	for i, part := range parts {
		list[i] = sanitizePart(part)
	}
	return printable(strings.Join(list, separator))
}

// separator separates the parts of a key or scope.
const separator = "|"

// sanitizePart returns a part that cannot be mistaken for two.
func sanitizePart(part string) string {
	if strings.Contains(part, separator) {
		return hashed(part)
	}
	return sanitize(part)
}

// fallbackMark begins the scope of a client for which a scope function returned "". The
// rest is its address, so the scope cannot equal an account with that name.
const fallbackMark = "address:"

// hashMark begins a hashed text.
const hashMark = "sha256:"

// maxPart is the length in bytes above which a key, a scope or a part is hashed.
const maxPart = 128

// sanitize returns a text that a client may have chosen, changed so that it cannot look
// like a hash or like a fallback address.
func sanitize(text string) string {
	if strings.HasPrefix(text, hashMark) || strings.HasPrefix(text, fallbackMark) {
		return hashed(text)
	}
	return printable(text)
}

// printable returns a text, or its hash if it is long or unprintable.
func printable(text string) string {
	if len(text) <= maxPart && plainASCII(text) {
		return text
	}
	if len(text) > maxPart || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return hashed(text)
	}
	return text
}

// plainASCII reports whether a text is printable ASCII. It is a fast path: most texts
// are.
func plainASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// hashed returns a hash of a text: the first half of SHA-256, which is
// collision-resistant.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashMark + base64.RawURLEncoding.EncodeToString(sum[:16])
}

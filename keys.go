package ratelimiter

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// The functions in this file are for WithKey and WithScope, alone or several
// together.

// Shared is a key that routes share, by its name: Shared("uploads").
func Shared(name string) func(*gin.Context) string {
	mustName("Shared", name, "uploads")
	return func(*gin.Context) string { return name }
}

// mustName panics on a name that no request could have.
func mustName(function, name, example string) {
	if name == "" {
		panic(fmt.Sprintf("ratelimiter: %s was given no name; write for example %s(%q)", function, function, example))
	}
}

// ByRoute is the route, as "GET /users/:id": one counter for each route in a
// scope or key that has more parts. Requests that no route matches are one.
func ByRoute(c *gin.Context) string { return shownRoute(idOf(c)) }

// ByEveryone is the scope of a limit that all clients share.
func ByEveryone(*gin.Context) string { return "everyone" }

// ByParam is a parameter of the path: ByParam("id") on /users/:id.
func ByParam(name string) func(*gin.Context) string {
	mustName("ByParam", name, "id")
	return func(c *gin.Context) string { return c.Param(name) }
}

// ByHeader is a header of the request, such as an API key. Clients can send what
// they want: a middleware before must have refused keys that are not known, or
// each made-up one has a limit of its own. "Host" is the host that was asked for.
func ByHeader(name string) func(*gin.Context) string {
	mustName("ByHeader", name, "X-API-Key")
	if http.CanonicalHeaderKey(name) == "Host" {
		return func(c *gin.Context) string { return c.Request.Host } // Go takes it out of the headers
	}
	return func(c *gin.Context) string { return c.GetHeader(name) }
}

// ByContext is a value that a middleware before has put into the context, such as
// the user: a string, a whole number or a fmt.Stringer. Anything else counts as
// empty.
func ByContext(key any) func(*gin.Context) string {
	return func(c *gin.Context) string {
		value, _ := c.Get(key)
		switch value := value.(type) {
		case string:
			return value
		case fmt.Stringer:
			if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer && v.IsNil() {
				return ""
			}
			return value.String()
		}
		switch v := reflect.ValueOf(value); {
		case v.Kind() == reflect.String, v.CanInt(), v.CanUint():
			return fmt.Sprint(v.Interface())
		}
		return ""
	}
}

// together joins what functions find in a request. instead is what takes the
// place of an empty part.
func together(c *gin.Context, parts []func(*gin.Context) string, instead func() string) string {
	if len(parts) == 1 {
		if part := parts[0](c); part != "" {
			return safe(part)
		}
		return instead()
	}
	list := make([]string, len(parts))
	for i, find := range parts {
		if list[i] = find(c); list[i] == "" {
			list[i] = instead()
		}
		if list[i] == "" {
			return ""
		}
	}
	return Join(list...)
}

// Join is the key or scope that a request gets of several parts, as Reset and Status
// want it: Join(account, address) for WithScope(account, address). Parts that are not
// as simple as that, and all of them if they are long, are replaced by their hash.
func Join(parts ...string) string {
	if len(parts) == 1 {
		return safe(parts[0])
	}
	list := make([]string, len(parts))
	for i, part := range parts {
		if list[i] = safe(part); strings.Contains(part, between) {
			list[i] = hashed(part) // or two lists could read the same
		}
	}
	return printable(strings.Join(list, between))
}

// between stands between the parts of a key or scope.
const between = "|"

// maxPart is the longest key or scope, or part of one, that is used as it is, in
// bytes.
const maxPart = 128

// safe is what takes the place of a text that clients may have made up. It cannot be
// made to look like the hash of another.
func safe(text string) string {
	if strings.HasPrefix(text, hashMark) {
		return hashed(text)
	}
	return printable(text)
}

// printable replaces what is long or cannot be printed by its hash, and leaves a hash
// as it is.
func printable(text string) string {
	if len(text) > maxPart || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return hashed(text)
	}
	return text
}

// hashMark begins a hash.
const hashMark = "sha256:"

// hashed is half of SHA-256, which nobody can make two texts meet in by chance or
// purpose.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashMark + base64.RawURLEncoding.EncodeToString(sum[:16])
}

package ratelimiter

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

// headerSet is a set of response headers; see ConfigHeaders. Retry-After is independent
// of it.
type headerSet struct {
	xHeaders        bool // X-RateLimit-Limit, -Remaining and -Reset
	standardHeaders bool // RateLimit-Policy and RateLimit, of draft 11
	draft7Headers   bool
	draft6Headers   bool
}

// defaultHeaders are the default headers.
var defaultHeaders = headerSet{xHeaders: true, standardHeaders: true}

// headerNames are the names in RATELIMITER_HEADERS, in the order of String.
var headerNames = []string{"x", "draft-11", "draft-7", "draft-6"}

// flag returns the field with a name.
func (set *headerSet) flag(name string) *bool {
	return []*bool{&set.xHeaders, &set.standardHeaders, &set.draft7Headers, &set.draft6Headers}[slices.Index(headerNames, name)]
}

// String returns the names in the format of RATELIMITER_HEADERS.
func (set headerSet) String() string {
	names := slices.DeleteFunc(slices.Clone(headerNames), func(name string) bool { return !*set.flag(name) })
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// any reports whether the set is not empty.
func (set headerSet) any() bool { return set != headerSet{} }

// hasEarlierDrafts reports whether the set contains headers of a draft before 11.
func (set headerSet) hasEarlierDrafts() bool { return set.draft7Headers || set.draft6Headers }

// readHeaders reads the headers that are sent by default and those that WithHeaders(true)
// sends: the configured ones, or the defaults if none are configured.
func readHeaders(read *options.Reader) (sent, switchedOn headerSet) {
	value, given := read.Value(ConfigHeaders)
	xHeaders, rateLimitHeaders := read.Flag(ConfigInjectXHeaders, true), read.Flag(ConfigInjectRateLimitHeaders, true)
	if !given {
		return headerSet{xHeaders: xHeaders, standardHeaders: rateLimitHeaders}, defaultHeaders
	}
	for _, name := range headerList(read, value) {
		*sent.flag(name) = true
	}
	if sent.standardHeaders && sent.draft7Headers {
		read.Reject(fmt.Errorf("%s contains draft-11 and draft-7, which use the same header names; remove one of them", ConfigHeaders))
	}
	rejectContradiction(read, ConfigInjectXHeaders, xHeaders, sent.xHeaders, "x")
	rejectContradiction(read, ConfigInjectRateLimitHeaders, rateLimitHeaders, sent.standardHeaders || sent.hasEarlierDrafts(), "a draft")
	if !sent.any() {
		return sent, defaultHeaders
	}
	return sent, sent
}

// headerList reads RATELIMITER_HEADERS. "none" means an empty list.
func headerList(read *options.Reader, value any) (list []string) {
	var given []string
	switch value := value.(type) {
	case string:
		given = strings.Split(value, ",")
	case []string:
		given = value
	case []any:
		for _, item := range value {
			given = append(given, fmt.Sprint(item))
		}
	default:
		given = []string{""} // not a valid name
	}
	for _, name := range given {
		switch name := strings.ToLower(strings.TrimSpace(name)); {
		case slices.Contains(headerNames, name):
			list = append(list, name)
		case name != "none" || len(given) > 1:
			read.Fault(ConfigHeaders, value, `"none", or one or more of "x", "draft-11", "draft-7" and "draft-6", as a list or as a string with commas`)
			return nil
		}
	}
	return list
}

// rejectContradiction rejects a switch that contradicts RATELIMITER_HEADERS.
func rejectContradiction(read *options.Reader, name string, on, sent bool, what string) {
	if !read.Given(name) || on == sent {
		return
	}
	verb := "contains"
	if on {
		verb = "does not contain"
	}
	read.Reject(fmt.Errorf("%s is %v, but %s %s %s; remove %s", name, on, ConfigHeaders, verb, what, name))
}

// writeEarlierDrafts writes the headers of drafts 6 and 7: the current state of the limit
// that is closest to rejecting, and the policies of all limits. The items have no names,
// so it replaces what earlier RateLimits wrote.
func (q *request) writeEarlierDrafts(header http.Header) {
	var strictest *request
	var closest int
	var best standing
	var policy []byte
	for e := q; e != nil; e = e.earlier {
		if e.at == 0 || !e.hasEarlierDrafts() {
			continue
		}
		policy = e.appendDraftPolicies(policy)
		for i := range e.details().limits {
			if now := e.currentStanding(i); strictest == nil || now.stricter(best) {
				strictest, closest, best = e, i, now
			}
		}
	}
	if strictest == nil || best.shadow {
		return
	}
	if !strictest.standardHeaders { // otherwise RateLimit-Policy is that of draft 11
		header[headers.Policy] = []string{string(policy)}
	}
	limit := strictest.number(closest)
	if strictest.draft7Headers {
		header[headers.RateLimit] = []string{string(headers.AppendDraft7(nil, limit, best.Remaining, best.ResetAfter))}
	}
	if strictest.draft6Headers {
		header[headers.Draft6Limit] = []string{limit}
		header[headers.Draft6Remaining] = []string{strconv.FormatInt(best.Remaining, 10)}
		header[headers.Draft6Reset] = []string{strconv.FormatInt(headers.SecondsUp(best.ResetAfter), 10)}
	}
}

// appendDraftPolicies prepends the policies of this request to those of later ones.
func (q *request) appendDraftPolicies(behind []byte) []byte {
	var b []byte
	d := q.details()
	for i := range d.quotas {
		if quota := &d.quotas[i]; !quota.Shadow {
			b = headers.AppendDraftPolicy(headers.AppendSeparator(b), quota.Limit, quota.Per)
		}
	}
	if len(behind) > 0 {
		b = append(headers.AppendSeparator(b), behind...)
	}
	return b
}

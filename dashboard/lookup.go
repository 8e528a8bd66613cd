package dashboard

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"mime"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

const (
	// tokenHeader carries the token of the page. Other sites cannot set a header of their
	// own, even if they know its value.
	tokenHeader   = "X-Dashboard-Token"
	maxQuery      = 4096 // bytes
	lookupTimeout = 5 * time.Second
)

// query names a client, by its scope or by the identifier of its entry in a list. Without
// a key it covers all keys.
type query struct {
	Scope string `json:"scope"`
	ID    string `json:"id"`
	Key   string `json:"key"`
}

// result is what a client has left.
type result struct {
	Scope  string     `json:"scope"` // as the page may show it
	Note   string     `json:"note,omitempty"`
	Limits []standing `json:"limits"`
	Error  string     `json:"error,omitempty"`
}

// standing is what a client has left of a limit.
type standing struct {
	Key       string `json:"key"`
	Name      string `json:"name"`
	Text      string `json:"text"`  // the limit as "100/minute"
	Limit     int64  `json:"limit"` // the most that can remain
	Remaining int64  `json:"remaining"`
	Reset     int64  `json:"reset"` // milliseconds since 1970; 0 if unknown
	Banned    bool   `json:"banned,omitempty"`
	Shadow    bool   `json:"shadow,omitempty"`
}

func standingOf(info ratelimiter.Info) standing {
	s := standing{
		Key: info.Key, Name: info.Name, Text: limitText(info.Limit, info.Per),
		Limit: most(&info), Remaining: info.Remaining, Banned: info.Banned, Shadow: info.Shadow,
	}
	if !info.Reset.IsZero() {
		s.Reset = info.Reset.UnixMilli()
	}
	return s
}

// limitText is "100/minute", or "10 at once" for requests in progress.
func limitText(limit int64, per time.Duration) string {
	if per == 0 {
		return fmt.Sprintf("%d at once", limit)
	}
	return ratelimiter.Limit{Limit: limit, Per: per}.String()
}

// forgery says why a request may come from another site; "" if it comes from the page.
func (h *Handler) forgery(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	token := r.Header.Get(tokenHeader)
	switch {
	case h.crossOrigin.Check(r) != nil:
		return "This request comes from another site."
	case err != nil || kind != "application/json":
		return "This request is not JSON, so it does not come from the dashboard."
	case subtle.ConstantTimeCompare([]byte(token), []byte(h.token)) != 1:
		return "This page belongs to another process, or to one that has restarted. Reload it."
	}
	return ""
}

// readQuery reads a query. If it is invalid, readQuery writes the response and returns false.
func (h *Handler) readQuery(w http.ResponseWriter, r *http.Request) (q query, note string, ok bool) {
	if reason := h.forgery(r); reason != "" {
		reply(w, http.StatusForbidden, result{Error: reason})
		return q, "", false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuery))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		reply(w, http.StatusBadRequest, result{Error: fmt.Sprintf("The request cannot be read: %v.", err)})
		return q, "", false
	}
	if q.ID != "" {
		scope, found := h.scopeOf(func(scope string) bool { return h.mask.ID(scope) == q.ID })
		if !found {
			reply(w, http.StatusNotFound, result{Error: "This client is no longer in a list. Enter its full scope."})
			return q, "", false
		}
		q.Scope = scope
		return q, "", true
	}
	if q.Scope, note = h.normalise(strings.TrimSpace(q.Scope)); q.Scope == "" {
		reply(w, http.StatusBadRequest, result{Error: "Enter a scope: an address, a user, an API key, or whatever identifies clients here."})
		return q, "", false
	}
	if masked.MatchString(q.Scope) { // copied from a list or from the log
		if scope, found := h.scopeOf(func(scope string) bool { return h.mask.Scope(scope) == q.Scope }); found {
			return query{Scope: scope, ID: h.mask.ID(scope), Key: q.Key}, "", true
		}
		note = "This looks like a masked client, but no list contains it. Enter its full scope."
	}
	return q, note, true
}

// masked matches the end of a masked scope.
var masked = regexp.MustCompile(`#[0-9a-f]{6}$`)

// normalise writes a scope as the limiter does: an IPv6 address stands for its network.
func (h *Handler) normalise(scope string) (normal, note string) {
	address, err := netip.ParseAddr(scope)
	if err != nil {
		return scope, ""
	}
	normal = address.Unmap().WithZone("").String()
	if !address.Unmap().Is4() {
		bits, _ := h.limiter.Config()["RATELIMITER_IPV6_PREFIX"].(int)
		network, err := address.WithZone("").Prefix(bits)
		if err != nil || bits == 0 {
			return scope, "" // the limiter is not initialised
		}
		normal = network.String()
	}
	if normal == scope {
		return scope, ""
	}
	return normal, fmt.Sprintf("%s counts as %s.", scope, normal)
}

// lookup shows what a client has left.
func (h *Handler) lookup(w http.ResponseWriter, r *http.Request) {
	q, note, ok := h.readQuery(w, r)
	if !ok {
		return
	}
	found := h.result(q, note)
	ctx, cancel := context.WithTimeout(r.Context(), lookupTimeout)
	defer cancel()
	keys := h.keys(q)
	if len(keys) > maxKeys {
		found.note("These are the first %d of %d keys; enter a key for the others.", maxKeys, len(keys))
		keys = keys[:maxKeys]
	}
	var dynamic []string // keys whose limits functions decide
	for _, key := range keys {
		infos, err := h.limiter.Status(ctx, key, q.Scope)
		if q.Key == "" && errors.Is(err, ratelimiter.ErrUnknownKey) {
			dynamic = append(dynamic, key)
			continue
		}
		if err != nil {
			found.Error = sentence(err)
			break
		}
		for _, info := range infos {
			found.Limits = append(found.Limits, standingOf(info))
		}
	}
	if len(dynamic) > 0 {
		found.note("Functions decide the limits on %s for each request, so the remaining quota there is unknown.", summary(dynamic))
	}
	if len(keys) == 0 {
		found.note("No request has met a limit in this process yet, so there is nothing to look up.")
	}
	reply(w, http.StatusOK, found)
}

// reset forgets what a client has used.
func (h *Handler) reset(w http.ResponseWriter, r *http.Request) {
	if !h.allowReset {
		reply(w, http.StatusForbidden, result{Error: "This dashboard is read-only. The application allows resets with dashboard.WithReset()."})
		return
	}
	q, note, ok := h.readQuery(w, r)
	if !ok {
		return
	}
	done := h.result(q, note)
	ctx, cancel := context.WithTimeout(r.Context(), lookupTimeout)
	defer cancel()
	keys := h.keys(q)
	for i, key := range keys {
		if err := h.limiter.Reset(ctx, key, q.Scope); err != nil {
			done.Error = fmt.Sprintf("%d of %d keys were reset. Then: %s", i, len(keys), sentence(err))
			reply(w, http.StatusBadGateway, done)
			return
		}
	}
	hash := maphash.String(h.record.seed, q.Scope)
	h.record.each(func(s *series) { s.closest.forget(hash) })
	if len(keys) == 1 {
		done.note("Reset on %s.", keys[0])
	} else {
		done.note("Reset on %d keys.", len(keys))
	}
	reply(w, http.StatusOK, done)
}

func (h *Handler) result(q query, note string) result {
	found := result{Scope: q.Scope, Note: note, Limits: []standing{}}
	if q.ID != "" {
		found.Scope = h.shown(q.Scope)
	}
	return found
}

// note adds a sentence.
func (r *result) note(format string, values ...any) {
	r.Note = strings.TrimSpace(r.Note + " " + fmt.Sprintf(format, values...))
}

func (h *Handler) keys(q query) []string {
	if q.Key != "" {
		return []string{q.Key}
	}
	return h.limiter.Keys()
}

// summary lists keys in a sentence, at most three of them.
func summary(keys []string) string {
	const listed = 3
	if len(keys) <= listed {
		return strings.Join(keys, ", ")
	}
	return fmt.Sprintf("%s and %d more keys", strings.Join(keys[:listed], ", "), len(keys)-listed)
}

// sentence is an error as the page shows it.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func reply(w http.ResponseWriter, status int, body result) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // it fails only if the page is gone
}

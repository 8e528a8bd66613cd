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
	// tokenHeader sends back the token of the page. Other sites could not send a header
	// of their own, even if they knew it.
	tokenHeader = "X-Dashboard-Token"
	maxQuestion = 4096 // bytes
	longest     = 5 * time.Second
)

// question is what a page asks about a client: by its scope, or by the id that stands
// for it in a list. Without a key it is about all of them.
type question struct {
	Scope string `json:"scope"`
	ID    string `json:"id"`
	Key   string `json:"key"`
}

// answer is how a client stands.
type answer struct {
	Scope  string     `json:"scope"` // as it is shown
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
	Reset     int64  `json:"reset"` // milliseconds since 1970; 0 where nobody knows
	Banned    bool   `json:"banned,omitempty"`
	Shadow    bool   `json:"shadow,omitempty"`
}

func standingOf(info ratelimiter.Info) standing {
	return standing{
		Key: info.Key, Name: info.Name, Text: limitText(&info),
		Limit: most(&info), Remaining: info.Remaining, Reset: resetOf(&info), Banned: info.Banned, Shadow: info.Shadow,
	}
}

// limitText is a limit as people write it: "100/minute", or "10 at once" for requests in
// progress.
func limitText(info *ratelimiter.Info) string {
	if info.Per == 0 {
		return fmt.Sprintf("%d at once", info.Limit)
	}
	return ratelimiter.Limit{Limit: info.Limit, Per: info.Per}.String()
}

func resetOf(info *ratelimiter.Info) int64 {
	if info.Reset.IsZero() {
		return 0
	}
	return info.Reset.UnixMilli()
}

// doubt says why a request may come from a page of another site; it is empty for one
// that comes from ours.
func (h *Handler) doubt(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	token := r.Header.Get(tokenHeader)
	switch {
	case h.foreign.Check(r) != nil:
		return "This request comes from another site."
	case err != nil || kind != "application/json":
		return "This request is not JSON, so it does not come from the dashboard."
	case subtle.ConstantTimeCompare([]byte(token), []byte(h.token)) != 1:
		return "This page is of another process, or from before a restart. Load it again."
	}
	return ""
}

// ask reads a question, and answers itself where there is none to be believed.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request) (q question, note string, ok bool) {
	if doubt := h.doubt(r); doubt != "" {
		reply(w, http.StatusForbidden, answer{Error: doubt})
		return q, "", false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		reply(w, http.StatusBadRequest, answer{Error: fmt.Sprintf("The question cannot be read: %v.", err)})
		return q, "", false
	}
	if q.ID != "" {
		scope, found := h.scopeOf(func(scope string) bool { return h.mask.ID(scope) == q.ID })
		if !found {
			reply(w, http.StatusNotFound, answer{Error: "This client is not in the lists any more; type its scope in full."})
			return q, "", false
		}
		q.Scope = scope
		return q, "", true
	}
	if q.Scope, note = h.spelt(strings.TrimSpace(q.Scope)); q.Scope == "" {
		reply(w, http.StatusBadRequest, answer{Error: "Give a scope: an address, a user, an API key, whatever the limits go by."})
		return q, "", false
	}
	if masked.MatchString(q.Scope) { // as copied from a list or from the log
		if scope, found := h.scopeOf(func(scope string) bool { return h.mask.Scope(scope) == q.Scope }); found {
			return question{Scope: scope, ID: h.mask.ID(scope), Key: q.Key}, "", true
		}
		note = "This looks like the mask of a client, but of none in the lists: type its scope in full."
	}
	return q, note, true
}

// masked is what the mask of a scope ends like.
var masked = regexp.MustCompile(`#[0-9a-f]{6}$`)

// spelt is a scope as the limiter spells it: an IPv6 address counts as its network.
func (h *Handler) spelt(scope string) (spelt, note string) {
	address, err := netip.ParseAddr(scope)
	if err != nil {
		return scope, ""
	}
	spelt = address.Unmap().WithZone("").String()
	if !address.Unmap().Is4() {
		bits, _ := h.limiter.Config()["RATELIMITER_IPV6_PREFIX"].(int)
		network, err := address.WithZone("").Prefix(bits)
		if err != nil || bits == 0 {
			return scope, "" // not initialised
		}
		spelt = network.String()
	}
	if spelt == scope {
		return scope, ""
	}
	return spelt, fmt.Sprintf("%s counts as %s.", scope, spelt)
}

// lookup tells what a client has left.
func (h *Handler) lookup(w http.ResponseWriter, r *http.Request) {
	q, note, ok := h.ask(w, r)
	if !ok {
		return
	}
	found := h.answer(q, note)
	ctx, cancel := context.WithTimeout(r.Context(), longest)
	defer cancel()
	keys := h.keys(q)
	if len(keys) > maxKeys {
		found.Note = strings.TrimSpace(fmt.Sprintf("%s The first %d of %d keys; type one for others.", found.Note, maxKeys, len(keys)))
		keys = keys[:maxKeys]
	}
	var decided []string // by functions
	for _, key := range keys {
		infos, err := h.limiter.Status(ctx, key, q.Scope)
		if q.Key == "" && errors.Is(err, ratelimiter.ErrUnknownKey) {
			decided = append(decided, key)
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
	if len(decided) > 0 {
		found.Note = strings.TrimSpace(fmt.Sprintf("%s Functions decide the limits on %s request by request, so what is left of them is not known.", found.Note, few(decided)))
	}
	if len(keys) == 0 {
		found.Note = strings.TrimSpace(found.Note + " No limit was asked yet in this process, so there is nothing to look up.")
	}
	reply(w, http.StatusOK, found)
}

// reset forgets what a client has used.
func (h *Handler) reset(w http.ResponseWriter, r *http.Request) {
	if !h.allowReset {
		reply(w, http.StatusForbidden, answer{Error: "This dashboard only shows. The application allows a reset with dashboard.WithReset()."})
		return
	}
	q, note, ok := h.ask(w, r)
	if !ok {
		return
	}
	done := h.answer(q, note)
	ctx, cancel := context.WithTimeout(r.Context(), longest)
	defer cancel()
	keys := h.keys(q)
	for i, key := range keys {
		if err := h.limiter.Reset(ctx, key, q.Scope); err != nil {
			done.Error = fmt.Sprintf("%d of %d keys were reset, then: %s", i, len(keys), sentence(err))
			reply(w, http.StatusBadGateway, done)
			return
		}
	}
	hash := maphash.String(h.record.seed, q.Scope)
	h.record.each(func(s *series) { s.closest.forget(hash) })
	done.Note = strings.TrimSpace(fmt.Sprintf("%s Reset on %d keys.", done.Note, len(keys)))
	if len(keys) == 1 {
		done.Note = strings.TrimSpace(note + " Reset on " + keys[0] + ".")
	}
	reply(w, http.StatusOK, done)
}

func (h *Handler) answer(q question, note string) answer {
	a := answer{Scope: q.Scope, Note: note, Limits: []standing{}}
	if q.ID != "" {
		a.Scope = h.shown(q.Scope)
	}
	return a
}

func (h *Handler) keys(q question) []string {
	if q.Key != "" {
		return []string{q.Key}
	}
	return h.limiter.Keys()
}

// few is a list of keys that fits into a sentence.
func few(keys []string) string {
	const most = 3
	if len(keys) <= most {
		return strings.Join(keys, ", ")
	}
	return fmt.Sprintf("%s and %d more keys", strings.Join(keys[:most], ", "), len(keys)-most)
}

// sentence is an error as a page shows it.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func reply(w http.ResponseWriter, status int, body answer) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the page has left
}

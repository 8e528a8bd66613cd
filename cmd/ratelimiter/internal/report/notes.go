package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/plan"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/stream"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// warnings are what makes the figures doubtful, a line each.
func (r *Report) warnings(census *traffic.Census, tally *stream.Tally, heaviest uint32) (list []string) {
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if name, requests := r.dominant(census, heaviest); 2*requests > int64(r.Requests) && isPrivate(name) {
		warn("%s made %s of the requests and is a private address: most likely a proxy, behind which all clients look like one. Read the log of the proxy, or its X-Forwarded-For with --client-from-forwarded.",
			Plain(name), share(requests, int64(r.Requests)))
	}
	if r.Throttled > 0 {
		warn("A limit has cut this traffic already, so clients wanted more than the log shows: %s of the requests (%d) got 429.",
			share(int64(r.Throttled), int64(r.Requests)), r.Throttled)
	}
	if 100*r.Checks > r.Requests {
		warn("About %.0f %% of the requests are health checks, as %s. Leave them out with --not-path or --not-client.", percent(int64(r.Checks), int64(r.Requests)), Plain(tally.HealthPath))
	}
	if 100*r.Crawlers > r.Requests {
		warn("About %.0f %% of the requests are from crawlers, as they call themselves. Leave them out with --not-client to plan for people.", percent(int64(r.Crawlers), int64(r.Requests)))
	}
	return list
}

// tooShortFor are warnings of given limits that a log is too short to judge.
func tooShortFor(census *traffic.Census, candidates [][]ratelimiter.Limit) (list []string) {
	for _, limit := range slices.Concat(candidates...) {
		if why := plan.NotCovered(census, limit.Per); why != "" {
			list = append(list, fmt.Sprintf("The log says little about %s: it %s.", LimitsText([]ratelimiter.Limit{limit}), strings.TrimPrefix(why, "the log ")))
		}
	}
	return list
}

// dominant is the client with the most requests, on all routes together.
func (r *Report) dominant(census *traffic.Census, heaviest uint32) (name string, requests int64) {
	if !r.ByRoute {
		name, _ = census.Name(heaviest)
		return name, int64(census.Client(heaviest).Requests)
	}
	counts := map[string]int64{}
	for id := range uint32(census.Clients()) {
		client, _ := census.Name(id)
		counts[client] += int64(census.Client(id).Requests)
		if counts[client] > requests {
			name, requests = client, counts[client]
		}
	}
	return name, requests
}

// isPrivate tells whether no client on the internet has an address, or a network.
func isPrivate(client string) bool {
	if client == "unix:" || client == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(client)
	if network, errNetwork := netip.ParsePrefix(client); errNetwork == nil {
		address, err = network.Addr(), nil
	}
	return err == nil && (address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast())
}

func (r *Report) notes(census *traffic.Census, tally *stream.Tally, q Question) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if tally.Interrupted {
		note("Interrupted: this is about what was read until then.")
	}
	if tally.Late > 0 {
		note("%s out of order by more than --reorder, the worst by %s, and left out.", countIs(tally.Late, "request"), tally.LateWorst)
	}
	if tally.Ahead > 0 {
		note("%s dated ahead of those behind by more than --reorder, as by a wrong clock, and left out.", countIs(tally.Ahead, "request"))
	}
	if tally.Sorted {
		note("All requests were sorted by time, because the newest came first or --sort was given.")
	}
	if r.Unnamed > 0 {
		note("%s without %s. They are counted by their address, as the library does when a scope is empty.", countIs(r.Unnamed, "request"), q.ClientField)
	}
	if q.ClientField != "" && !strings.HasPrefix(q.ClientField, "http_") {
		note("The Go line takes %s from the context, where a middleware before must have put it.", q.ClientField)
	}
	if !census.Fine {
		note("The log tells whole seconds. Periods of a few seconds are counted as they are written: a real second can hold up to what two of the log do.")
	}
	if !r.Given && r.Limits != "" {
		note("What is recommended is the lowest that meets the target in this log, at a round number. Leave room for busier days.")
	}
	note("A replay cannot know how clients would have backed off: rejected ones here go on asking as they did.")
	note("Whoever attacked during the log is a client like any other, and may be among those that the target spares.")
	return notes
}

// Judge compares a report with what was allowed: a share that may be rejected, nil
// for any, and per cent of the log that may be missing.
func (r *Report) Judge(maxRejected *plan.Target, maxSkipped float64) {
	r.Incomplete = r.Skipped > maxSkipped || r.columnsChange()
	if maxRejected == nil {
		return
	}
	for _, p := range r.judged() {
		if maxRejected.Exceeded(p.Clients, r.Clients, p.Requests, int64(r.Requests)) {
			r.OverThreshold = true
			r.Verdict = fmt.Sprintf("--max-rejected %s: %s; %s rejects %d of %s (%s) and %d of %s (%s)",
				maxRejected.Text, maxRejected.Meaning(r.Clients, int64(r.Requests)), p.Limits,
				p.Clients, count(r.Clients, "client"), share(int64(p.Clients), int64(r.Clients)),
				p.Requests, count(r.Requests, "request"), share(p.Requests, int64(r.Requests)))
			return
		}
	}
}

// judged are the limits that must hold: all that were given.
func (r *Report) judged() []Candidate {
	if len(r.Candidates) > 0 {
		return r.Candidates
	}
	for _, p := range r.Replays {
		if p.Algorithm == r.Algorithm {
			return []Candidate{{r.Limits, p.Clients, p.Requests}}
		}
	}
	return nil
}

func (r *Report) columnsChange() bool {
	return (&stream.Tally{Reasons: r.Reasons}).ColumnsChange()
}

// WhatIsMissing says why the figures of an incomplete report are not those of the
// whole log, and what may help.
func (r *Report) WhatIsMissing(maxSkipped float64) string {
	if r.columnsChange() {
		return "the columns of the log change, and what is behind that place was read wrongly; split the log there"
	}
	what := fmt.Sprintf("%.3g %% of the log is missing from these figures, more than --max-skipped %g%%: %d unreadable, %d out of order, %d dated ahead",
		r.Skipped, maxSkipped, r.Unreadable, r.Late, r.Ahead)
	switch {
	case r.Late+r.Ahead > r.Unreadable:
		what += ". Give the logs in the order of their time, or --sort"
	case len(r.FirstFaults) > 0:
		what += ". The first: " + r.FirstFaults[0]
	}
	return what
}

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

// warnings lists the reasons to doubt the figures, one line each.
func (r *Report) warnings(census *traffic.Census, tally *stream.Tally, heaviest uint32) (list []string) {
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if name, requests := r.dominant(census, heaviest); 2*requests > int64(r.Requests) && isPrivate(name) {
		warn("%s sent %s of the requests and is a private address, most likely a proxy that makes all clients look like one. Use the log of the proxy, or read X-Forwarded-For with --client-from-forwarded.",
			Plain(name), share(requests, int64(r.Requests)))
	}
	if r.Throttled > 0 {
		warn("%s of the requests (%d) got status 429: this traffic was already limited, so clients would have sent more than the log shows.",
			share(int64(r.Throttled), int64(r.Requests)), r.Throttled)
	}
	if 100*r.Checks > r.Requests {
		warn("About %.0f %% of the requests are health checks, such as %s. Exclude them with --not-path or --not-client.", percent(int64(r.Checks), int64(r.Requests)), Plain(tally.HealthPath))
	}
	if 100*r.Crawlers > r.Requests {
		warn("About %.0f %% of the requests are from crawlers, according to their user agents. Exclude them with --not-client to plan for human visitors.", percent(int64(r.Crawlers), int64(r.Requests)))
	}
	return list
}

// tooShortFor warns about given limits that the log is too short to judge.
func tooShortFor(census *traffic.Census, candidates [][]ratelimiter.Limit) (list []string) {
	for _, limit := range slices.Concat(candidates...) {
		if why := plan.NotCovered(census, limit.Per); why != "" {
			list = append(list, fmt.Sprintf("The log is too short to judge %s: it %s.", LimitsText([]ratelimiter.Limit{limit}), strings.TrimPrefix(why, "the log ")))
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

// isPrivate reports whether an address or a network is not on the public internet.
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
		note("Interrupted: the report covers what was read until then.")
	}
	if tally.Late > 0 {
		note("Ignored %s out of order by more than --reorder, by up to %s.", count(tally.Late, "request"), tally.LateWorst)
	}
	if tally.Ahead > 0 {
		note("Ignored %s dated more than --reorder ahead of the requests that follow, probably by a wrong clock.", count(tally.Ahead, "request"))
	}
	if tally.Sorted {
		note("All requests were sorted by time, because a log has its newest line first or --sort is set.")
	}
	if r.Unnamed > 0 {
		note("Requests without %s: %d. They are counted by address, as in the library if a scope is empty.", q.ClientField, r.Unnamed)
	}
	if q.ClientField != "" && !strings.HasPrefix(q.ClientField, "http_") {
		note("The Go code reads %s from the Gin context, where an earlier middleware must set it.", q.ClientField)
	}
	if !census.Fine {
		note("Times in the log are whole seconds, so figures for periods of a few seconds are rough: a real second can hold as many requests as two seconds of the log.")
	}
	if !r.Given && r.Limits != "" {
		note("The recommended limits are the lowest round numbers that meet the target in this log. Leave room for busier days.")
	}
	note("A replay cannot know how rejected clients would have backed off. Here they keep sending requests as in the log.")
	note("An attacker in the log is a client like any other, and may be among the clients that the target allows.")
	return notes
}

// Judge compares a report with the allowed share of rejections (nil for any) and the
// allowed percentage of unusable lines.
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

// judged returns the limits that --max-rejected applies to: all given limits.
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

// WhatIsMissing explains why an incomplete report does not cover the whole log, and what
// may help.
func (r *Report) WhatIsMissing(maxSkipped float64) string {
	if r.columnsChange() {
		return "the columns of the log change, and the lines after the change were misread; split the log there"
	}
	what := fmt.Sprintf("%.3g %% of the log is missing from these figures, more than --max-skipped %g%%: %d unreadable, %d out of order, %d dated ahead",
		r.Skipped, maxSkipped, r.Unreadable, r.Late, r.Ahead)
	switch {
	case r.Late+r.Ahead > r.Unreadable:
		what += ". Pass the logs in chronological order, or use --sort"
	case len(r.FirstFaults) > 0:
		what += ". The first: " + r.FirstFaults[0]
	}
	return what
}

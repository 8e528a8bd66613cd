package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/plan"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/stream"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
	"github.com/spf13/cobra"
)

// address is the value of --client-field for the address of the client.
const address = "address"

// planFlags are the options of plan as they were written.
type planFlags struct {
	limits                         []string
	target, maxRejected, algorithm string
	periods, recommend             []string
	html                           string
	json                           bool

	format     string
	fields     map[string]string
	reorder    time.Duration
	sort       bool
	maxSkipped string

	clientField      string
	hops             int
	proxies          []string
	prefix4, prefix6 int
	byRoute          bool
	routes           []string
	routesFile       string

	methods, statuses, clients, notClients, hosts []string
	path, notPath, since, until                   string
	last                                          time.Duration
}

func (f *planFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&f.limits, "limit", nil, `replay these limits, as "100/minute; 5/second", and recommend none; given more than once, they are compared`)
	flags.StringVar(&f.target, "target", "0.1%-clients", "what limits may cost: 0.1%-clients, 1%-requests, or what the server serves, as 200/second")
	flags.StringVar(&f.maxRejected, "max-rejected", "", "exit with 1 when --limit rejects more: 1%, 1%-clients or 1%-requests")
	flags.StringVar(&f.algorithm, "algorithm", replay.Algorithms[0], "the algorithm that the application runs: "+strings.Join(replay.Algorithms, ", "))
	flags.StringSliceVar(&f.periods, "periods", []string{"1s", "10s", "1m", "10m", "1h", "24h"}, "the rolling periods to measure")
	flags.StringSliceVar(&f.recommend, "recommend-periods", []string{"1m", "1h"}, "the periods to recommend limits for; the log must cover three of each")
	flags.StringVar(&f.html, "html", "", "write a page with plots to this file")
	flags.BoolVar(&f.json, "json", false, "write JSON in place of the table")

	flags.StringVar(&f.format, "format", "", "format of the logs: a name, as nginx, apache, alb or json, or the notation of nginx or Apache; recognised when it is not given")
	flags.StringToStringVar(&f.fields, "field", nil, "names of fields in JSON, logfmt and CSV, as time=when,client=request.ip")
	flags.DurationVar(&f.reorder, "reorder", 2*time.Minute, "how far lines may be out of order")
	flags.BoolVar(&f.sort, "sort", false, "sort all requests by time, which takes 16 bytes of memory for each; logs with their newest line first are sorted anyway")
	flags.StringVar(&f.maxSkipped, "max-skipped", "1%", "exit with 2 when more of the log is unreadable or out of order")

	flags.StringVar(&f.clientField, "client-field", address, "who a client is: address, or the name of a field or variable, as remote_user")
	flags.IntVar(&f.hops, "client-from-forwarded", 0, "the client is this address of X-Forwarded-For, counted from the right; 1 is the last")
	flags.StringSliceVar(&f.proxies, "trusted-proxy", nil, "the client is the first address of X-Forwarded-For, from the right, that is in none of these networks")
	flags.IntVar(&f.prefix4, "ipv4-prefix", 32, "how many bits of an IPv4 address make a client")
	flags.IntVar(&f.prefix6, "ipv6-prefix", 64, "how many bits of an IPv6 address make a client")
	flags.BoolVar(&f.byRoute, "by-route", false, "count each client on each route by itself, as default limits do")
	flags.StringArrayVar(&f.routes, "route", nil, "template of a route, as /users/:id or GET /users/:id; learnt when none is given")
	flags.StringVar(&f.routesFile, "routes", "", "file with templates, one a line, as limiter.Routes returns them")

	flags.StringSliceVar(&f.methods, "method", nil, "only these methods")
	flags.StringSliceVar(&f.statuses, "status", nil, "only these statuses, as 200, 4xx or 200-399")
	flags.StringVar(&f.path, "path", "", "only paths that match this regular expression")
	flags.StringVar(&f.notPath, "not-path", "", "no paths that match this regular expression")
	flags.StringSliceVar(&f.clients, "client", nil, "only these addresses or networks")
	flags.StringSliceVar(&f.notClients, "not-client", nil, "without these addresses or networks")
	flags.StringSliceVar(&f.hosts, "host", nil, "only requests to these hosts, where the log tells them")
	flags.StringVar(&f.since, "since", "", "only from this time on, as 2026-01-31 or 2026-01-31T12:00:00Z; UTC without a zone")
	flags.StringVar(&f.until, "until", "", "only before this time")
	flags.DurationVar(&f.last, "last", 0, "only what came this long before the last request, as 24h; reads files twice")
	completeFlags(cmd)
}

// job is what the flags ask for.
type job struct {
	options     *stream.Options
	question    report.Question
	periods     []time.Duration
	maxRejected *plan.Target
	maxSkipped  float64 // per cent
}

func (f *planFlags) job(names []string) (*job, error) {
	view, errView := f.view()
	question, errQuestion := f.question()
	periods, errPeriods := parsePeriods(f.periods)
	forwarded, errForwarded := f.forwarded()
	j := &job{question: question}
	var errRejected, errSkipped error
	j.maxRejected, errRejected = f.share()
	j.maxSkipped, errSkipped = parsePercent(f.maxSkipped)
	if err := errors.Join(errView, errQuestion, errPeriods, errForwarded, errRejected, errSkipped, f.checkRest(names)); err != nil {
		return nil, err
	}
	j.periods = measured(periods, question.Recommend...)
	for _, limits := range question.Limits {
		for _, limit := range limits {
			j.periods = measured(j.periods, limit.Per)
		}
	}
	j.options = &stream.Options{
		Names: names, Format: f.format, View: view, Reorder: f.reorder, Sort: f.sort, Workers: runtime.GOMAXPROCS(0),
		Wanted: accesslog.Wanted{Fields: f.fields, Forwarded: forwarded, Host: len(f.hosts) > 0},
	}
	if f.clientField != address {
		j.options.Wanted.Extra = f.clientField
	}
	return j, nil
}

// share is what --max-rejected allows; nil when it is not given. It is about given
// limits: recommended ones are made to fit.
func (f *planFlags) share() (*plan.Target, error) {
	if f.maxRejected == "" {
		return nil, nil
	}
	target, err := plan.ParseTarget(f.maxRejected)
	switch {
	case err == nil && !target.IsShare():
		err = fmt.Errorf("--max-rejected %q must be a share, as 1%% or 1%%-requests", f.maxRejected)
	case err == nil && len(f.limits) == 0:
		err = errors.New("--max-rejected is about given limits; add --limit, as --limit 100/minute")
	}
	return &target, err
}

// forwarded says which address of X-Forwarded-For is the client; nil for none.
func (f *planFlags) forwarded() (*accesslog.Forwarded, error) {
	trusted, err := parseNetworks(f.proxies)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--trusted-proxy: %w", err)
	case f.hops < 0 || f.hops > 0 && len(trusted) > 0:
		return nil, errors.New("give either --client-from-forwarded, from 1 on, or --trusted-proxy")
	case f.hops == 0 && len(trusted) == 0:
		return nil, nil
	}
	return &accesslog.Forwarded{Hops: f.hops, Trusted: trusted}, nil
}

// checkRest is about flags that are used as they are.
func (f *planFlags) checkRest(names []string) error {
	if f.reorder < 0 || f.reorder > 24*time.Hour {
		return fmt.Errorf("--reorder %v is not from 0 to 24h", f.reorder)
	}
	if f.last < 0 || f.last > 0 && f.since != "" {
		return errors.New("give either --last, as 24h, or --since")
	}
	if f.last > 0 && slices.Contains(names, "-") {
		return errors.New("--last reads a log twice, which the standard input does not allow; name a file")
	}
	if f.html != "" {
		// A long log is not read for a page that cannot be written.
		file, err := os.OpenFile(f.html, os.O_WRONLY|os.O_CREATE, 0o666)
		if err != nil {
			return fmt.Errorf("--html: %w", err)
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	for name := range f.fields {
		if err := accesslog.CheckRole(name); err != nil {
			return fmt.Errorf("--field: %w", err)
		}
	}
	return nil
}

func (f *planFlags) question() (q report.Question, err error) {
	q = report.Question{Algorithm: f.algorithm, ByRoute: f.byRoute, Prefix4: f.prefix4, Prefix6: f.prefix6}
	if f.clientField != address {
		q.ClientField = f.clientField
	}
	if _, err = backends.ParseAlgorithm(f.algorithm); err != nil {
		return q, fmt.Errorf("--algorithm: %w", err)
	}
	if q.Target, err = plan.ParseTarget(f.target); err != nil {
		return q, fmt.Errorf("--target: %w", err)
	}
	for _, text := range f.limits {
		limits, err := ratelimiter.ParseLimits(text)
		if err == nil && len(limits) == 0 {
			err = errors.New("it is empty; give limits, as 100/minute")
		}
		if err != nil {
			return q, fmt.Errorf("--limit %q: %w", text, err)
		}
		q.Limits = append(q.Limits, limits)
	}
	if q.Recommend, err = parsePeriods(f.recommend); err != nil {
		return q, err
	}
	if server := q.Target.Server.Per; server > 0 {
		q.Recommend = append(q.Recommend, server)
	}
	return q, nil
}

func (f *planFlags) view() (v *traffic.View, err error) {
	v = &traffic.View{
		Prefix4: f.prefix4, Prefix6: f.prefix6, Hosts: f.hosts,
		Methods: strings.Fields(strings.ToUpper(strings.Join(f.methods, " "))),
	}
	if f.prefix4 < 1 || f.prefix4 > 32 || f.prefix6 < 1 || f.prefix6 > 128 {
		return nil, fmt.Errorf("--ipv4-prefix %d and --ipv6-prefix %d must be from 1 to 32, and to 128", f.prefix4, f.prefix6)
	}
	if v.Routes, err = f.readRoutes(); err != nil {
		return nil, err
	}
	if v.Statuses, err = parseStatuses(f.statuses); err != nil {
		return nil, err
	}
	if v.Client, err = parseNetworks(f.clients); err != nil {
		return nil, err
	}
	if v.NotClient, err = parseNetworks(f.notClients); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		text string
		into **regexp.Regexp
	}{{f.path, &v.Path}, {f.notPath, &v.NotPath}} {
		if p.text == "" {
			continue
		}
		if *p.into, err = regexp.Compile(p.text); err != nil {
			return nil, fmt.Errorf("the path %q is no regular expression: %w", p.text, err)
		}
	}
	if v.Since, err = parseMoment(f.since); err != nil {
		return nil, err
	}
	v.Until, err = parseMoment(f.until)
	return v, err
}

func (f *planFlags) readRoutes() (*traffic.Routes, error) {
	if !f.byRoute && len(f.routes) == 0 && f.routesFile == "" {
		return nil, nil
	}
	f.byRoute = true // whoever names routes wants them
	templates := f.routes
	if f.routesFile != "" {
		text, err := os.ReadFile(f.routesFile)
		if err != nil {
			return nil, err
		}
		templates = append(templates, strings.Split(string(text), "\n")...)
	}
	return traffic.NewRoutes(templates)
}

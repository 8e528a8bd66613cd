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

// address is the value of --client-field that stands for the client address.
const address = "address"

// planFlags are the flags of plan, as written.
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
	flags.StringArrayVar(&f.limits, "limit", nil, `replay these limits, such as "100/minute; 5/second", instead of recommending some; repeat to compare several`)
	flags.StringVar(&f.target, "target", "0.1%-clients", "largest acceptable share of rejections, such as 0.1%-clients or 1%-requests, or the capacity of the server, such as 200/second")
	flags.StringVar(&f.maxRejected, "max-rejected", "", "exit with 1 if --limit rejects more than this: 1%, 1%-clients or 1%-requests")
	flags.StringVar(&f.algorithm, "algorithm", replay.Algorithms[0], "algorithm of the application: "+strings.Join(replay.Algorithms, ", "))
	flags.StringSliceVar(&f.periods, "periods", []string{"1s", "10s", "1m", "10m", "1h", "24h"}, "rolling periods to measure")
	flags.StringSliceVar(&f.recommend, "recommend-periods", []string{"1m", "1h"}, "periods to recommend limits for; the log must cover three of each")
	flags.StringVar(&f.html, "html", "", "write an HTML report with charts to this file")
	flags.BoolVar(&f.json, "json", false, "print JSON instead of tables")

	flags.StringVar(&f.format, "format", "", "log format: a name such as nginx, apache, alb or json, or a format string of nginx or Apache; detected by default")
	flags.StringToStringVar(&f.fields, "field", nil, "field names in JSON, logfmt and CSV, such as time=when,client=request.ip")
	flags.DurationVar(&f.reorder, "reorder", 2*time.Minute, "largest time by which lines may be out of order")
	flags.BoolVar(&f.sort, "sort", false, "sort all requests by time, using 16 bytes of memory each; logs with the newest line first are always sorted")
	flags.StringVar(&f.maxSkipped, "max-skipped", "1%", "exit with 2 if more of the log than this is unreadable or out of order")

	flags.StringVar(&f.clientField, "client-field", address, "what identifies a client: address, or the name of a field or variable, such as remote_user")
	flags.IntVar(&f.hops, "client-from-forwarded", 0, "take the client from X-Forwarded-For at this position from the right; 1 is the last address")
	flags.StringSliceVar(&f.proxies, "trusted-proxy", nil, "take the client from X-Forwarded-For: the first address from the right that is in none of these networks")
	flags.IntVar(&f.prefix4, "ipv4-prefix", 32, "prefix length that identifies an IPv4 client")
	flags.IntVar(&f.prefix6, "ipv6-prefix", 64, "prefix length that identifies an IPv6 client")
	flags.BoolVar(&f.byRoute, "by-route", false, "count each client on each route separately, as default limits do")
	flags.StringArrayVar(&f.routes, "route", nil, "route template, such as /users/:id or GET /users/:id; inferred by default")
	flags.StringVar(&f.routesFile, "routes", "", "file with one route template per line, as limiter.Routes returns them")

	flags.StringSliceVar(&f.methods, "method", nil, "include only these methods")
	flags.StringSliceVar(&f.statuses, "status", nil, "include only these statuses, such as 200, 4xx or 200-399")
	flags.StringVar(&f.path, "path", "", "include only paths that match this regular expression")
	flags.StringVar(&f.notPath, "not-path", "", "exclude paths that match this regular expression")
	flags.StringSliceVar(&f.clients, "client", nil, "include only these addresses or networks")
	flags.StringSliceVar(&f.notClients, "not-client", nil, "exclude these addresses or networks")
	flags.StringSliceVar(&f.hosts, "host", nil, "include only requests to these hosts; the log must contain the host")
	flags.StringVar(&f.since, "since", "", "include only requests from this time on, such as 2026-01-31 or 2026-01-31T12:00:00Z; UTC without a zone")
	flags.StringVar(&f.until, "until", "", "include only requests before this time")
	flags.DurationVar(&f.last, "last", 0, "include only this much time up to the last request, such as 24h; reads the files twice")
	completeFlags(cmd)
}

// job is the work that the flags describe.
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

// share returns the value of --max-rejected, or nil if it is not set. The flag requires
// --limit, because recommended limits meet the target anyway.
func (f *planFlags) share() (*plan.Target, error) {
	if f.maxRejected == "" {
		return nil, nil
	}
	target, err := plan.ParseTarget(f.maxRejected)
	switch {
	case err == nil && !target.IsShare():
		err = fmt.Errorf("--max-rejected %q must be a share, such as 1%% or 1%%-requests", f.maxRejected)
	case err == nil && len(f.limits) == 0:
		err = errors.New("--max-rejected needs limits to check; add --limit, such as --limit 100/minute")
	}
	return &target, err
}

// forwarded returns which address of X-Forwarded-For is the client, or nil for none.
func (f *planFlags) forwarded() (*accesslog.Forwarded, error) {
	trusted, err := parseNetworks(f.proxies)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--trusted-proxy: %w", err)
	case f.hops < 0 || f.hops > 0 && len(trusted) > 0:
		return nil, errors.New("use either --client-from-forwarded with 1 or more, or --trusted-proxy")
	case f.hops == 0 && len(trusted) == 0:
		return nil, nil
	}
	return &accesslog.Forwarded{Hops: f.hops, Trusted: trusted}, nil
}

// checkRest checks the flags that need no conversion.
func (f *planFlags) checkRest(names []string) error {
	if f.reorder < 0 || f.reorder > 24*time.Hour {
		return fmt.Errorf("--reorder %v must be from 0 to 24h", f.reorder)
	}
	if f.last < 0 || f.last > 0 && f.since != "" {
		return errors.New("use either --last, such as 24h, or --since")
	}
	if f.last > 0 && slices.Contains(names, "-") {
		return errors.New("--last reads the log twice, which is impossible with standard input; name a file")
	}
	if f.html != "" {
		// Fail before reading a long log.
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
			err = errors.New("it is empty; write a limit such as 100/minute")
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
		return nil, fmt.Errorf("--ipv4-prefix %d must be from 1 to 32, and --ipv6-prefix %d from 1 to 128", f.prefix4, f.prefix6)
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
			return nil, fmt.Errorf("the path %q is not a regular expression: %w", p.text, err)
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
	f.byRoute = true // naming routes implies it
	templates := f.routes
	if f.routesFile != "" {
		text, err := readSmall(f.routesFile)
		if err != nil {
			return nil, err
		}
		templates = append(templates, strings.Split(string(text), "\n")...)
	}
	return traffic.NewRoutes(templates)
}

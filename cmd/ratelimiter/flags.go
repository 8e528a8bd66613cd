package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strconv"
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

// address is the value of --who for the address of the client.
const address = "address"

// planFlags are the options of plan as they were written.
type planFlags struct {
	limit, target, failOver, algorithm string
	periods, advise                    []string
	html                               string
	json                               bool

	format  string
	fields  map[string]string
	reorder time.Duration

	who              string
	prefix4, prefix6 int
	byRoute          bool
	routes           []string
	routesFile       string

	methods, statuses, clients, notClients []string
	path, notPath, since, until            string
}

func (f *planFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.limit, "limit", "", `replay these limits, as "100/minute; 5/second", and recommend none`)
	flags.StringVar(&f.target, "target", "0.1%-clients", "what limits may cost: 0.1%-clients, 1%-requests, or what the server serves, as 200/second")
	flags.StringVar(&f.failOver, "fail-over", "", "exit with 1 when more is refused: 1%, 1%-clients or 1%-requests")
	flags.StringVar(&f.algorithm, "algorithm", replay.Algorithms[0], "the algorithm that the application runs: "+strings.Join(replay.Algorithms, ", "))
	flags.StringSliceVar(&f.periods, "periods", []string{"1s", "10s", "1m", "10m", "1h", "24h"}, "the rolling periods to measure")
	flags.StringSliceVar(&f.advise, "advise", []string{"1m", "1h"}, "the periods to recommend limits for")
	flags.StringVar(&f.html, "html", "", "write a page with plots to this file")
	flags.BoolVar(&f.json, "json", false, "write JSON in place of the table")

	flags.StringVar(&f.format, "format", "", "format of the logs: "+accesslog.Names()+", or in the notation of nginx; recognised when it is not given")
	flags.StringToStringVar(&f.fields, "field", nil, "names of fields in JSON and CSV, as time=when,client=request.ip")
	flags.DurationVar(&f.reorder, "reorder", 2*time.Minute, "how far lines may be out of order")

	flags.StringVar(&f.who, "who", address, "who a client is: address, or the name of a field or variable, as remote_user")
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
	flags.StringVar(&f.since, "since", "", "only from this time on, as 2026-01-31 or 2026-01-31T12:00:00Z; UTC without a zone")
	flags.StringVar(&f.until, "until", "", "only before this time")
	completeFlags(cmd)
}

// job is what the flags ask for.
type job struct {
	options  *stream.Options
	question report.Question
	periods  []time.Duration
	failOver *plan.Target
}

func (f *planFlags) job(names []string) (*job, error) {
	view, errView := f.view()
	question, errQuestion := f.question()
	periods, errPeriods := parsePeriods(f.periods)
	j := &job{question: question}
	var errFail error
	if f.failOver != "" {
		target, err := plan.ParseTarget(f.failOver)
		if err == nil && !target.IsShare() {
			err = fmt.Errorf("--fail-over %q must be a share, as 1%% or 1%%-requests", f.failOver)
		}
		j.failOver, errFail = &target, err
	}
	if err := errors.Join(errView, errQuestion, errPeriods, errFail, f.checkRest()); err != nil {
		return nil, err
	}
	j.periods = measured(periods, question.Advise...)
	for _, limit := range question.Limits {
		j.periods = measured(j.periods, limit.Per)
	}
	j.options = &stream.Options{
		Names: names, Format: f.format, View: view, Reorder: f.reorder, Workers: runtime.GOMAXPROCS(0),
		Wanted: accesslog.Wanted{Fields: f.fields},
	}
	if f.who != address {
		j.options.Wanted.Extra = f.who
	}
	return j, nil
}

// checkRest is about flags that are used as they are.
func (f *planFlags) checkRest() error {
	if f.reorder < 0 || f.reorder > 24*time.Hour {
		return fmt.Errorf("--reorder %v is not from 0 to 24h", f.reorder)
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
	if f.who != address {
		q.Who = f.who
	}
	if _, err = backends.ParseAlgorithm(f.algorithm); err != nil {
		return q, fmt.Errorf("--algorithm: %w", err)
	}
	if q.Target, err = plan.ParseTarget(f.target); err != nil {
		return q, fmt.Errorf("--target: %w", err)
	}
	if f.limit != "" {
		if q.Limits, err = ratelimiter.ParseLimits(f.limit); err != nil {
			return q, fmt.Errorf("--limit: %w", err)
		}
	}
	if q.Advise, err = parsePeriods(f.advise); err != nil {
		return q, err
	}
	if server := q.Target.Server.Per; server > 0 {
		q.Advise = append(q.Advise, server)
	}
	return q, nil
}

func parsePeriods(texts []string) (periods []time.Duration, err error) {
	for _, text := range texts {
		limits, err := ratelimiter.ParseLimits("1/" + text)
		if err != nil || len(limits) != 1 {
			return nil, fmt.Errorf("%q is not a period; write it as 10s, minute or 24h", text)
		}
		periods = append(periods, limits[0].Per)
	}
	if len(periods) == 0 {
		return nil, errors.New("at least one period is needed, as 1m")
	}
	return periods, nil
}

func (f *planFlags) view() (v *traffic.View, err error) {
	v = &traffic.View{Prefix4: f.prefix4, Prefix6: f.prefix6, Methods: strings.Fields(strings.ToUpper(strings.Join(f.methods, " ")))}
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

var statusForm = regexp.MustCompile(`^(?:(\d\d\d)|(\d)xx|(\d\d\d)-(\d\d\d))$`)

func parseStatuses(texts []string) (ranges []traffic.Range, err error) {
	for _, text := range texts {
		parts := statusForm.FindStringSubmatch(text)
		if parts == nil || parts[3] > parts[4] {
			return nil, fmt.Errorf("--status %q is not a status, as 200, 4xx or 200-399", text)
		}
		low, _ := strconv.Atoi(parts[1] + parts[3]) // it is of digits
		high, _ := strconv.Atoi(parts[1] + parts[4])
		if parts[2] != "" {
			low, _ = strconv.Atoi(parts[2] + "00")
			high = low + 99
		}
		ranges = append(ranges, traffic.Range{From: low, To: high})
	}
	return ranges, nil
}

func parseNetworks(texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if one, single := netip.ParseAddr(text); single == nil {
			network, err = one.Prefix(one.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not an address or a network, as 192.0.2.7 or 192.0.2.0/24", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func parseMoment(text string) (micros int64, err error) {
	if text == "" {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if moment, err := time.Parse(layout, text); err == nil {
			return moment.UnixMicro(), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time, as 2026-01-31 or 2026-01-31T12:00:00Z", text)
}

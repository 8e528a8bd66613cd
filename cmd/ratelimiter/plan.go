package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/stream"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const planLong = `Reads access logs and says what limits would fit the traffic in them, or what given
limits would have done. Logs may be packed with gzip, zstd, bzip2, xz or zip; several are
merged by time. Without a file, or with "-", standard input is read.

Formats are recognised: the common and combined formats of Apache and nginx, Gin's
logger and slog, load balancers and clouds, JSON lines, logfmt, CSV and W3C.
--format takes a name, or the notation of nginx or Apache.

Exit code 0 when all is well, 1 when --max-rejected is exceeded, 2 for wrong usage,
a log that cannot be read to its end or of which more than --max-skipped cannot be
used, or one too short to recommend anything, 130 after Ctrl-C, which reports what
was read so far.`

const planExamples = `  ratelimiter plan access.log.gz
  ratelimiter plan --limit 100/minute access.log
  ratelimiter plan --target 0.1%-clients --html report.html *.log
  ratelimiter plan --target 200/second access.log
  ratelimiter plan --limit 100/minute --limit 60/minute access.log
  ratelimiter plan --limit 100/minute --max-rejected 1% access.log
  ratelimiter plan --format '$remote_addr - $remote_user [$time_local] "$request" $status' access.log
  ratelimiter plan --format '%h %l %u %t "%r" %>s %b' access.log`

func newPlan() *cobra.Command {
	f := &planFlags{}
	cmd := &cobra.Command{
		Use:     "plan [log...]",
		Short:   "Say what limits fit the traffic in access logs",
		Long:    planLong,
		Example: planExamples,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if file, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(file.Fd())) {
					return errors.New("name a log, as in ratelimiter plan access.log.gz, or pipe one in")
				}
				args = []string{"-"}
			}
			return runPlan(cmd, f, args)
		},
	}
	f.register(cmd)
	return cmd
}

// runPlan answers, and then says by its error how the program is to end.
func runPlan(cmd *cobra.Command, f *planFlags, names []string) (err error) {
	job, err := f.job(names)
	if err != nil {
		return err
	}
	if f.last > 0 {
		if err := sinceLast(cmd, job.options, f.last); err != nil {
			return err
		}
	}
	census := traffic.NewCensus(job.periods)
	defer func() { err = errors.Join(err, census.History.Close()) }()
	tally, err := read(cmd, job.options, census)
	if err != nil {
		return err
	}
	if err := f.nothingToPlan(tally); err != nil {
		return err
	}
	// What was read until Ctrl-C is still worth its answer.
	r, err := report.Build(census, tally, job.question)
	if err != nil {
		return err
	}
	r.Judge(job.maxRejected, job.maxSkipped)
	if err := f.write(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	switch unusable := unusable(tally, r, job.maxSkipped); {
	case tally.Interrupted:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case r.OverThreshold:
		return &exitError{exitOver, errors.Join(errors.New(r.Verdict), unusable)}
	default:
		return unusable
	}
}

// read reads the logs into a census, and shows how far it is.
func read(cmd *cobra.Command, options *stream.Options, census *traffic.Census) (*stream.Tally, error) {
	options.Stdin = cmd.InOrStdin()
	done := showProgress(cmd.ErrOrStderr(), options)
	defer done()
	return stream.Read(cmd.Context(), options, census)
}

// sinceLast finds the last request, and lets only those count that came shortly
// before it.
func sinceLast(cmd *cobra.Command, options *stream.Options, last time.Duration) (err error) {
	census := traffic.NewCensus(nil)
	defer func() { err = errors.Join(err, census.History.Close()) }()
	if _, err := read(cmd, options, census); err != nil {
		return err
	}
	options.View.Since = max(1, census.Last-last.Microseconds())
	options.Read.Store(0)
	return nil
}

// unusable says why the figures of a report are not those of the whole log, or why
// there are none.
func unusable(tally *stream.Tally, r *report.Report, maxSkipped float64) error {
	all := brokenOff(tally)
	if r.Incomplete {
		all = errors.Join(all, errors.New(r.WhatIsMissing(maxSkipped)))
	}
	if r.TooShort {
		all = errors.Join(all, fmt.Errorf("no limit is recommended: %s", r.NoLimits))
	}
	return all
}

// brokenOff is about logs that could not be read to their end.
func brokenOff(tally *stream.Tally) (all error) {
	for _, file := range tally.Files {
		if file.Short != nil {
			all = errors.Join(all, fmt.Errorf("%s could not be read to its end: %w", report.Plain(file.Name), file.Short))
		}
	}
	return all
}

// nothingToPlan says why there is no request, or none that has what was asked for.
func (f *planFlags) nothingToPlan(tally *stream.Tally) error {
	switch {
	case tally.Requests == 0:
		return nothingRead(tally)
	case f.clientField != address && tally.Named == 0:
		return fmt.Errorf("no request has a %s; name the field that tells the client with --client-field", f.clientField)
	}
	return nil
}

func nothingRead(tally *stream.Tally) error {
	if tally.Interrupted {
		return &exitError{exitInterrupted, errors.New("interrupted before any request was read")}
	}
	if err := brokenOff(tally); err != nil {
		return err
	}
	if tally.Hostless > 0 && tally.Hostless == tally.Filtered {
		return errors.New("no request tells its host, so --host cannot choose any")
	}
	why := ""
	for _, fault := range tally.First {
		why += fmt.Sprintf("\n%s:%d: %s", report.Plain(fault.File), fault.Line, fault.Reason)
	}
	return fmt.Errorf("there is no request to plan for: %d lines, %d of them no requests, %d taken out by filters, %d cannot be read%s", tally.Lines, tally.Passed, tally.Filtered, tally.Faults, why)
}

// write puts the report where it was asked for.
func (f *planFlags) write(out io.Writer, r *report.Report) error {
	if f.html != "" {
		file, err := os.Create(f.html)
		if err != nil {
			return err
		}
		if err := errors.Join(r.HTML(file), file.Close()); err != nil {
			return err
		}
	}
	if f.json {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	return r.Text(out)
}

// measured are the periods of the table, and those of limits beside them.
func measured(periods []time.Duration, others ...time.Duration) []time.Duration {
	all := slices.Concat(periods, others)
	slices.Sort(all)
	return slices.Compact(all)
}

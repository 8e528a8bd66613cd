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

const planLong = `Reads access logs and recommends limits that fit the traffic in them, or reports what
given limits would have rejected. Logs may be compressed with gzip, zstd, bzip2, xz or
zip; several logs are merged by time. Without a file, or with "-", plan reads standard
input.

The format is detected: the common and combined formats of Apache and nginx, Gin's
logger and slog, load balancers and cloud services, JSON lines, logfmt, CSV and W3C.
--format takes a name, or a format string of nginx or Apache.

Exit codes:
  0    success
  1    --max-rejected is exceeded
  2    wrong usage, a log that is not readable to the end, a log of which more than
       --max-skipped is unusable, or a log that is too short for a recommendation
  130  interrupted by Ctrl-C; the report covers what was read until then`

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
		Short:   "Recommend limits that fit the traffic in access logs",
		Long:    planLong,
		Example: planExamples,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if file, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(file.Fd())) {
					return errors.New("name a log, such as ratelimiter plan access.log.gz, or pipe one in")
				}
				args = []string{"-"}
			}
			return runPlan(cmd, f, args)
		},
	}
	f.register(cmd)
	return cmd
}

// runPlan writes the report. Its error determines the exit code.
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
	// After Ctrl-C, report what was read so far.
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

// read reads the logs into a census and shows the progress.
func read(cmd *cobra.Command, options *stream.Options, census *traffic.Census) (*stream.Tally, error) {
	options.Stdin = cmd.InOrStdin()
	done := showProgress(cmd.ErrOrStderr(), options)
	defer done()
	return stream.Read(cmd.Context(), options, census)
}

// sinceLast finds the last request and restricts the view to the time shortly before it.
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

// unusable explains why the report does not cover the whole log, or contains no
// recommendation.
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

// brokenOff reports the logs that could not be read to the end.
func brokenOff(tally *stream.Tally) (all error) {
	for _, file := range tally.Files {
		if file.Short != nil {
			all = errors.Join(all, fmt.Errorf("%s could not be read to the end: %w", report.Plain(file.Name), file.Short))
		}
	}
	return all
}

// nothingToPlan explains why there is no usable request; nil if there is one.
func (f *planFlags) nothingToPlan(tally *stream.Tally) error {
	switch {
	case tally.Requests == 0:
		return nothingRead(tally)
	case f.clientField != address && tally.Named == 0:
		return fmt.Errorf("no request has the field %s; name the field that identifies the client with --client-field", f.clientField)
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
		return errors.New("--host matches nothing, because no request in the log has a host")
	}
	why := ""
	for _, fault := range tally.First {
		why += fmt.Sprintf("\n%s:%d: %s", report.Plain(fault.File), fault.Line, fault.Reason)
	}
	return fmt.Errorf("there is no request to plan for: %d lines, of which %d are not requests, %d are filtered out and %d are unreadable%s", tally.Lines, tally.Passed, tally.Filtered, tally.Faults, why)
}

// write writes the report in the requested formats.
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

// measured merges the periods of the table with those of the limits.
func measured(periods []time.Duration, others ...time.Duration) []time.Duration {
	all := slices.Concat(periods, others)
	slices.Sort(all)
	return slices.Compact(all)
}

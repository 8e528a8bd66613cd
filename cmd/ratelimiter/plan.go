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
limits would have done. Logs may be packed with gzip, zstd or bzip2; several are
merged by time. Without a file, or with "-", standard input is read.

Formats are recognised: the common and combined formats of Apache and nginx, Gin's
logger, JSON lines (nginx, Caddy, Gin), CSV. --format takes the notation of nginx.

Exit code 0 when all is well, 1 when --fail-over is exceeded, 2 for wrong usage or
a log that cannot be read to its end, 130 after Ctrl-C, which reports what was
read so far.`

const planExamples = `  ratelimiter plan access.log.gz
  ratelimiter plan --limit 100/minute access.log
  ratelimiter plan --target 0.1%-clients --html report.html *.log
  ratelimiter plan --target 200/second access.log
  ratelimiter plan --limit 100/minute --fail-over 1% access.log
  ratelimiter plan --format '$remote_addr [$time_iso8601] "$request" $status' access.log`

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
	job.options.Stdin = cmd.InOrStdin()
	census := traffic.NewCensus(job.periods)
	defer func() { err = errors.Join(err, census.History.Close()) }()
	done := showProgress(cmd.ErrOrStderr(), job.options)
	tally, err := stream.Read(cmd.Context(), job.options, census)
	done()
	if err != nil {
		return err
	}
	if tally.Requests == 0 {
		return nothingRead(tally)
	}
	if job.question.Who != "" && tally.Named == 0 {
		return fmt.Errorf("no request has a %s; name the field that tells the client with --who", job.question.Who)
	}
	// What was read until Ctrl-C is still worth its answer.
	r, err := report.Build(census, tally, job.question)
	if err != nil {
		return err
	}
	if job.failOver != nil {
		r.OverThreshold = r.Exceeds(*job.failOver)
	}
	if err := f.write(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	switch {
	case tally.Interrupted:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case r.OverThreshold:
		return &exitError{exitOver, fmt.Errorf("more is refused than --fail-over %s allows", f.failOver)}
	}
	return brokenOff(tally)
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

func nothingRead(tally *stream.Tally) error {
	if tally.Interrupted {
		return &exitError{exitInterrupted, errors.New("interrupted before any request was read")}
	}
	if err := brokenOff(tally); err != nil {
		return err
	}
	why := ""
	for _, fault := range tally.First {
		why += fmt.Sprintf("\n%s:%d: %s", report.Plain(fault.File), fault.Line, fault.Reason)
	}
	return fmt.Errorf("there is no request to plan for: %d lines, %d taken out by filters, %d cannot be read%s", tally.Lines, tally.Filtered, tally.Faults, why)
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

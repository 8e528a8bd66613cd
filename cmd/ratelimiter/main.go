// Command ratelimiter chooses rate limits from access logs, checks
// configurations, and shows what the algorithms let through.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/spf13/cobra"
)

// The exit codes, for scripts.
const (
	exitOver        = 1 // more is rejected than --max-rejected allows, or a configuration is wrong
	exitUsage       = 2 // wrong usage, or an input that cannot be read
	exitInterrupted = 130
)

// exitError is an error that has an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	err := newRoot().ExecuteContext(ctx)
	os.Exit(exitCode(err))
}

// exitCode prints an error and says how the program ends.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "ratelimiter:", message(err))
	var own *exitError
	if errors.As(err, &own) {
		return own.code
	}
	return exitUsage
}

// message is an error as a terminal may show it: names of files and texts of logs may hold
// characters that command one.
func message(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = report.Plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "ratelimiter",
		Short:         "Choose rate limits from access logs, and check them",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.AddCommand(newPlan(), newCheck(), newSimulate())
	return root
}

// version is that of the module, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && (version == "" || version == "(devel)") {
			version = setting.Value
		}
	}
	return version + ", " + info.GoVersion
}

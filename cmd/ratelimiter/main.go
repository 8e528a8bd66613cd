// Command ratelimiter recommends rate limits from access logs, checks configurations, and
// shows what the algorithms allow.
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

// Exit codes for scripts.
const (
	exitOver        = 1 // a limit rejects more than --max-rejected allows, or a configuration is invalid
	exitUsage       = 2 // wrong usage, or unreadable input
	exitInterrupted = 130
)

// exitError is an error with its own exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C exits at once
	err := newRoot().ExecuteContext(ctx)
	os.Exit(exitCode(err))
}

// exitCode prints an error and returns the exit code for it.
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
		Short:         "Recommend rate limits from access logs, and check configurations",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.AddCommand(newPlan(), newCheck(), newSimulate())
	return root
}

// version is the module version, or the commit of the build.
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

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/spf13/cobra"
)

const checkLong = `Checks RATELIMITER_... keys as the application would at its start, and says what
they mean. They come from a JSON or YAML object, a .env file, "-" for one of these
from standard input, or with --env from the environment. A backend redis is asked,
as at a start: one that rejects the credentials is an error, one that does not
answer is none.

Exit code 0 when the configuration is right, 1 when it is wrong, 2 when it cannot
be read.`

func newCheck() *cobra.Command {
	var env bool
	cmd := &cobra.Command{
		Use:   "check [config.json|config.yaml|.env|-]",
		Short: "Say whether a configuration is right, and what it means",
		Long:  checkLong,
		Example: `  ratelimiter check config.json
  ratelimiter check --env
  echo '{"RATELIMITER_DEFAULT_LIMITS": "100/minute"}' | ratelimiter check -`,
		Args: cobra.MaximumNArgs(1),

		ValidArgsFunction: cobra.FixedCompletions([]string{"json", "yaml", "yml", "env"}, cobra.ShellCompDirectiveFilterFileExt),
		RunE: func(cmd *cobra.Command, args []string) error {
			if env == (len(args) == 1) {
				return errors.New("name a configuration, as config.json, or give --env for the environment")
			}
			name, config, err := "the environment", ratelimiter.Config(nil), error(nil)
			if env {
				config, err = ratelimiter.ConfigFromEnv()
			} else {
				name = report.Plain(args[0])
				var text []byte
				if text, err = readAll(cmd.InOrStdin(), args[0]); err != nil {
					return err
				}
				config, err = parseConfig(filepath.Ext(args[0]), text)
			}
			if err == nil {
				err = checkConfig(config)
			}
			if err != nil {
				return &exitError{exitOver, err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is right\n%s", name, understood(config))
			return nil
		},
	}
	cmd.Flags().BoolVar(&env, "env", false, "check the RATELIMITER_... variables of the environment")
	return cmd
}

func readAll(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// checkConfig asks the library, and rejects what it would read nothing of: names
// that it knows, written otherwise.
func checkConfig(config ratelimiter.Config) error {
	gin.SetMode(gin.ReleaseMode)
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(config)) {
		if ours := strings.ToUpper(name); ours != name && strings.HasPrefix(ours, ownPrefix) && !isRead(name) {
			faults = append(faults, fmt.Errorf("%q is not read by the library; write it as %s", name, ours))
		}
	}
	limiter, err := ratelimiter.New(gin.New(), config)
	if err = errors.Join(append(faults, err)...); limiter != nil {
		err = errors.Join(err, limiter.Close())
	}
	return err
}

const ownPrefix = "RATELIMITER_"

// isRead tells whether the library reads a key: it rejects a value that is of no
// type it knows.
func isRead(name string) bool {
	limiter, err := ratelimiter.New(gin.New(), ratelimiter.Config{name: struct{}{}})
	if limiter != nil {
		_ = limiter.Close() // it has a backend in memory
	}
	return err != nil
}

// understood says what a configuration that is right means.
func understood(config ratelimiter.Config) string {
	var lines, foreign []string
	enabled := true
	for _, name := range slices.Sorted(maps.Keys(config)) {
		switch strings.ToUpper(name) {
		case "RATELIMITER_DEFAULT_LIMITS":
			lines = append(lines, limitLines(config[name], "for each client on each route")...)
		case "RATELIMITER_APPLICATION_LIMITS":
			lines = append(lines, limitLines(config[name], "for each client on all routes together")...)
		case "RATELIMITER_ENABLED":
			enabled, _ = config[name].(bool) // it is right, so it is one
		}
		if !strings.HasPrefix(strings.ToUpper(name), ownPrefix) {
			foreign = append(foreign, report.Plain(name))
		}
	}
	if len(lines) == 0 {
		lines = []string{"no limits are set: only routes with a RateLimit of their own are limited"}
	}
	if !enabled {
		lines = append(lines, "but RATELIMITER_ENABLED is false: nothing is limited")
	}
	if len(foreign) > 0 {
		lines = append(lines, "not read, as their names do not begin with "+ownPrefix+": "+strings.Join(foreign, ", "))
	}
	return "  " + strings.Join(lines, "\n  ") + "\n"
}

func limitLines(value any, whose string) (lines []string) {
	text, _ := value.(string) // it is right, so it is one
	limits, _ := ratelimiter.ParseLimits(text)
	for _, limit := range limits {
		lines = append(lines, fmt.Sprintf("%d per %s %s", limit.Limit, report.PerText(limit.Per), whose))
	}
	return lines
}

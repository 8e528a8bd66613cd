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

const checkLong = `Checks RATELIMITER_... keys as the application does at startup, and explains them.
The keys come from a JSON or YAML object, from a .env file, from standard input
("-"), or with --env from the environment. With the redis backend, check connects to
Redis: rejected credentials are an error, a server that does not answer is not.

Exit codes:
  0  the configuration is valid
  1  the configuration is invalid
  2  the configuration is unreadable`

func newCheck() *cobra.Command {
	var env bool
	cmd := &cobra.Command{
		Use:   "check [config.json|config.yaml|.env|-]",
		Short: "Check and explain a configuration",
		Long:  checkLong,
		Example: `  ratelimiter check config.json
  ratelimiter check --env
  echo '{"RATELIMITER_DEFAULT_LIMITS": "100/minute"}' | ratelimiter check -`,
		Args: cobra.MaximumNArgs(1),

		ValidArgsFunction: cobra.FixedCompletions([]string{"json", "yaml", "yml", "env"}, cobra.ShellCompDirectiveFilterFileExt),
		RunE: func(cmd *cobra.Command, args []string) error {
			if env == (len(args) == 1) {
				return errors.New("name a configuration file, such as config.json, or use --env for the environment")
			}
			name, config, err := "the environment", ratelimiter.Config(nil), error(nil)
			if env {
				config, err = ratelimiter.ConfigFromEnv()
			} else {
				name = report.Plain(args[0])
				var text []byte
				if args[0] == "-" {
					text, err = readAllOf(cmd.InOrStdin(), "standard input")
				} else {
					text, err = readSmall(args[0])
				}
				if err != nil {
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
			fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n%s", name, understood(config))
			return nil
		},
	}
	cmd.Flags().BoolVar(&env, "env", false, "check the RATELIMITER_... variables of the environment")
	return cmd
}

// maxSmall is the size of the largest configuration or list of routes that is read.
const maxSmall = 4 << 20

// readSmall reads a small file.
func readSmall(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	return readAllOf(file, name)
}

func readAllOf(reader io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(reader, maxSmall+1))
	if len(text) > maxSmall {
		return nil, fmt.Errorf("%s is larger than %d MiB; name a configuration or a list of routes", name, maxSmall>>20)
	}
	return text, err
}

// checkConfig checks a configuration with the library. It also rejects known names in
// another spelling that the library would ignore.
func checkConfig(config ratelimiter.Config) error {
	gin.SetMode(gin.ReleaseMode)
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(config)) {
		if ours := strings.ToUpper(name); ours != name && strings.HasPrefix(ours, ownPrefix) && !isRead(name) {
			faults = append(faults, fmt.Errorf("the library ignores %q; write it as %s", name, ours))
		}
	}
	limiter, err := ratelimiter.New(gin.New(), config)
	if err = errors.Join(append(faults, err)...); limiter != nil {
		err = errors.Join(err, limiter.Close())
	}
	return err
}

const ownPrefix = "RATELIMITER_"

// isRead reports whether the library reads a key, by its reaction to a value of an unknown
// type.
func isRead(name string) bool {
	limiter, err := ratelimiter.New(gin.New(), ratelimiter.Config{name: struct{}{}})
	if limiter != nil {
		_ = limiter.Close() // the memory backend does not fail
	}
	return err != nil
}

// understood explains a valid configuration.
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
			enabled, _ = config[name].(bool) // checked before
		}
		if !strings.HasPrefix(strings.ToUpper(name), ownPrefix) {
			foreign = append(foreign, report.Plain(name))
		}
	}
	if len(lines) == 0 {
		lines = []string{"no limits are set: only routes with their own RateLimit are limited"}
	}
	if !enabled {
		lines = append(lines, "RATELIMITER_ENABLED is false: nothing is limited")
	}
	if len(foreign) > 0 {
		lines = append(lines, "ignored, because the name does not begin with "+ownPrefix+": "+strings.Join(foreign, ", "))
	}
	return "  " + strings.Join(lines, "\n  ") + "\n"
}

func limitLines(value any, whose string) (lines []string) {
	text, _ := value.(string) // checked before
	limits, _ := ratelimiter.ParseLimits(text)
	for _, limit := range limits {
		lines = append(lines, fmt.Sprintf("%d per %s %s", limit.Limit, report.PerText(limit.Per), whose))
	}
	return lines
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check config.json",
		Short: "Say whether a configuration is right",
		Long: `Checks a JSON object of RATELIMITER_... keys as the application would at its start.
"-" reads standard input. A backend redis is asked, as at a start: one that
refuses the credentials is an error, one that does not answer is none.

Exit code 0 when it is right, 1 when it is wrong, 2 when it cannot be read.`,
		Example: "  ratelimiter check config.json\n  echo '{\"RATELIMITER_DEFAULT_LIMITS\": \"100/minute\"}' | ratelimiter check -",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveFilterFileExt),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readAll(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if err := checkConfig(text); err != nil {
				return &exitError{exitOver, err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is right\n", args[0])
			return nil
		},
	}
}

func readAll(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

func checkConfig(text []byte) error {
	var config ratelimiter.Config
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("the configuration is not a JSON object: %w", err)
	}
	if config == nil {
		return errors.New("the configuration is null; it must be a JSON object")
	}
	gin.SetMode(gin.ReleaseMode)
	limiter, err := ratelimiter.New(gin.New(), config)
	if err != nil {
		return err
	}
	return limiter.Close()
}

package main

import (
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/simulate"
	"github.com/spf13/cobra"
)

// suggestions are the completions of the flags that take no file. nil means any text.
var suggestions = map[string][]string{
	"algorithm":         replay.Algorithms,
	"traffic":           simulate.Names,
	"format":            accesslog.Names(),
	"limit":             {"100/minute", "5/second"},
	"target":            {"0.1%-clients", "1%-requests", "200/second"},
	"max-rejected":      {"1%-clients", "1%-requests"},
	"periods":           {"1s", "10s", "1m", "10m", "1h", "24h"},
	"recommend-periods": {"1s", "10s", "1m", "10m", "1h", "24h"},
	"client-field":      {address, "remote_user", "http_x_api_key"},
	"method":            {"GET", "POST", "PUT", "PATCH", "DELETE"},
	"status":            {"2xx", "3xx", "4xx", "5xx"},
	"reorder":           {"2m", "10m"},
	"field":             nil, "ipv4-prefix": nil, "ipv6-prefix": nil, "route": nil, "path": nil, "not-path": nil,
	"client": nil, "not-client": nil, "host": nil, "since": nil, "until": nil,
	"client-from-forwarded": {"1", "2"},
	"trusted-proxy":         {"10.0.0.0/8"},
	"max-skipped":           {"1%", "5%"},
	"last":                  {"24h", "1h"},
}

// completeFlags registers the suggestions for the flags of a command.
func completeFlags(cmd *cobra.Command) {
	for name, texts := range suggestions {
		if cmd.Flags().Lookup(name) != nil {
			// It fails only for unknown flags.
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(texts, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

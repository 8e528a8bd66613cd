package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/simulate"
	"github.com/spf13/cobra"
)

func newSimulate() *cobra.Command {
	var limit, traffic string
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Draw what each algorithm lets through of made-up traffic",
		Long: `Runs made-up traffic against a limit, over four of its periods, and draws what gets
through for each algorithm. The traffic is one of
  steady  one client, a quarter over the limit all the time
  edge    one client, the whole limit just before and just after a window ends
  crowd   a hundred clients, each at half the limit at random times
  attack  one client, ten times the limit in the second of the periods`,
		Example: "  ratelimiter simulate --limit 100/minute --traffic edge",
		Args:    cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limits, err := ratelimiter.ParseLimits(limit)
			if err != nil {
				return err
			}
			if len(limits) != 1 || limits[0].Limit < 1 || limits[0].Limit > 10_000 {
				return errors.New("simulate takes one limit from 1 to 10000 units, as 100/minute")
			}
			events, err := simulate.Traffic(traffic, limits[0])
			if err != nil {
				return err
			}
			return drawAll(cmd.OutOrStdout(), traffic, limits[0], events)
		},
	}
	cmd.Flags().StringVar(&limit, "limit", "100/minute", "the limit")
	cmd.Flags().StringVar(&traffic, "traffic", "edge", "one of "+strings.Join(simulate.Names, ", "))
	completeFlags(cmd)
	return cmd
}

const columns = 60

func drawAll(to io.Writer, traffic string, limit ratelimiter.Limit, events []simulate.Event) error {
	var b strings.Builder
	all := make([]int, columns)
	for _, e := range events {
		all[simulate.Stretch(e, limit, columns)]++
	}
	highest := slices.Max(all)
	fmt.Fprintf(&b, "%s, traffic %s, over %d periods, each of which begins at a bar\n\n", report.LimitsText([]ratelimiter.Limit{limit}), traffic, simulate.Periods)
	fmt.Fprintf(&b, "%-16s%s\n%-16s%s %d requests\n", "", ruler(), "asked", bars(all, highest), len(events))
	for _, algorithm := range replay.Algorithms {
		passed, worst, count := simulate.Run(algorithm, limit, events, columns)
		fmt.Fprintf(&b, "%-16s%s %d passed\n%-16sat most %d of one client in any rolling period, %d allowed\n",
			algorithm, bars(passed, highest), count, "", worst, limit.Limit)
	}
	_, err := io.WriteString(to, b.String())
	return err
}

// ruler marks where periods begin.
func ruler() string {
	return strings.TrimRight(strings.Repeat("|"+strings.Repeat(" ", columns/simulate.Periods-1), simulate.Periods), " ")
}

func bars(counts []int, highest int) string {
	levels := []rune(" ▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, n := range counts {
		level := (n*8 + highest - 1) / max(1, highest)
		b.WriteRune(levels[level])
	}
	return b.String()
}

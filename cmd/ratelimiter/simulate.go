package main

import (
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
		Short: "Draw what each algorithm allows of synthetic traffic",
		Long: `Runs synthetic traffic against limits and draws what each algorithm allows. The
traffic is generated for the limit with the longest period, and lasts four periods.
Kinds of traffic:
  steady  one client, constantly a quarter over the limit
  edge    one client, the full limit just before and just after the end of a window
  crowd   a hundred clients, each at half the limit at random times
  attack  one client, ten times the limit in the second period`,
		Example: "  ratelimiter simulate --limit 100/minute --traffic edge\n  ratelimiter simulate --limit '100/minute; 5/second' --traffic attack",
		Args:    cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limits, err := ratelimiter.ParseLimits(limit)
			if err != nil {
				return err
			}
			if len(limits) == 0 || slices.ContainsFunc(limits, func(l ratelimiter.Limit) bool { return l.Limit < 1 || l.Limit > 10_000 }) {
				return fmt.Errorf("--limit %q must be one or more limits from 1 to 10000, such as 100/minute", limit)
			}
			events, err := simulate.Traffic(traffic, simulate.Longest(limits))
			if err != nil {
				return err
			}
			return drawAll(cmd.OutOrStdout(), traffic, limits, events)
		},
	}
	cmd.Flags().StringVar(&limit, "limit", "100/minute", `limits, such as "100/minute" or "100/minute; 5/second"`)
	cmd.Flags().StringVar(&traffic, "traffic", "edge", "kind of traffic: "+strings.Join(simulate.Names, ", "))
	completeFlags(cmd)
	return cmd
}

const columns = 60

func drawAll(to io.Writer, traffic string, limits []ratelimiter.Limit, events []simulate.Event) error {
	var b strings.Builder
	longest := simulate.Longest(limits)
	all := make([]int, columns)
	for _, e := range events {
		all[simulate.Stretch(e, longest, columns)]++
	}
	highest := slices.Max(all)
	fmt.Fprintf(&b, "%s, %s traffic over %d periods; a bar marks the start of each\n\n", report.LimitsText(limits), traffic, simulate.Periods)
	fmt.Fprintf(&b, "%-16s%s\n%-16s%s %d requests\n", "", ruler(), "sent", bars(all, highest), len(events))
	for _, algorithm := range replay.Algorithms {
		result := simulate.Run(algorithm, limits, longest, events, columns)
		fmt.Fprintf(&b, "%-16s%s %d allowed\n", algorithm, bars(result.Passed, highest), result.Count)
		for i, limit := range limits {
			fmt.Fprintf(&b, "%-16sat most %d from one client in any rolling %s, limit %d\n", "", result.Worst[i], report.PerText(limit.Per), limit.Limit)
		}
	}
	_, err := io.WriteString(to, b.String())
	return err
}

// ruler marks the starts of the periods.
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

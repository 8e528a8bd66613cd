package main

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

func parsePeriods(texts []string) (periods []time.Duration, err error) {
	for _, text := range texts {
		limits, err := ratelimiter.ParseLimits("1/" + text)
		if err != nil || len(limits) != 1 {
			return nil, fmt.Errorf("%q is not a period; write a period such as 10s, minute or 24h", text)
		}
		periods = append(periods, limits[0].Per)
	}
	if len(periods) == 0 {
		return nil, errors.New("the list of periods is empty; write at least one, such as 1m")
	}
	return periods, nil
}

var statusForm = regexp.MustCompile(`^(?:(\d\d\d)|(\d)xx|(\d\d\d)-(\d\d\d))$`)

func parseStatuses(texts []string) (ranges []traffic.Range, err error) {
	for _, text := range texts {
		parts := statusForm.FindStringSubmatch(text)
		if parts == nil || parts[3] > parts[4] {
			return nil, fmt.Errorf("--status %q is not a status; write a status such as 200, 4xx or 200-399", text)
		}
		low, _ := strconv.Atoi(parts[1] + parts[3]) // digits only
		high, _ := strconv.Atoi(parts[1] + parts[4])
		if parts[2] != "" {
			low, _ = strconv.Atoi(parts[2] + "00")
			high = low + 99
		}
		ranges = append(ranges, traffic.Range{From: low, To: high})
	}
	return ranges, nil
}

func parseNetworks(texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if one, single := netip.ParseAddr(text); single == nil {
			network, err = one.Prefix(one.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not an address or a network; write one such as 192.0.2.7 or 192.0.2.0/24", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func parseMoment(text string) (micros int64, err error) {
	if text == "" {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if moment, err := time.Parse(layout, text); err == nil {
			return moment.UnixMicro(), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time; write a time such as 2026-01-31 or 2026-01-31T12:00:00Z", text)
}

func parsePercent(text string) (float64, error) {
	percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("--max-skipped %q is not a percentage from 0 to 100, such as 1%%", text)
	}
	return percent, nil
}

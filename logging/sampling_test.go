package logging_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/logging"
	"github.com/stretchr/testify/require"
)

// An attack from a hundred thousand addresses for an hour, while one other client is
// rejected.
func TestAnAttackWritesFewRecordsThatCoverEveryRejection(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t)
		const addresses, seconds = 100_000, 3600
		for second := range seconds {
			for i := range addresses / 600 { // each of them comes back every ten minutes
				n := (second*(addresses/600) + i) % addresses
				log.Observe(about(ratelimiter.Rejected, fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)))
			}
			<-time.After(time.Second)
		}
		lines := out.lines()
		require.LessOrEqual(t, len(lines), 60*61+60, "60 a minute, 60 at once, and a sum per minute")
		require.Greater(t, len(lines), 1000)
		advance(10 * time.Minute)
		require.NoError(t, log.Close())
		lines = append(lines, out.lines()...)
		require.Equal(t, seconds*(addresses/600), rejections(t, lines))
		sums := 0
		for _, line := range lines {
			if strings.Contains(line, "other clients") {
				sums++
			}
		}
		require.Equal(t, 60, sums)
	})(t)
}

// rejections adds up the rejections in summaries and sums.
func rejections(t *testing.T, lines []string) (sum int) {
	t.Helper()
	for _, line := range lines {
		for _, match := range regexp.MustCompile(` (?:would_be_)?rejected=(\d+)`).FindAllStringSubmatch(line, -1) {
			n, err := strconv.Atoi(match[1])
			require.NoError(t, err)
			sum += n
		}
	}
	return sum
}

func TestTheNumberOfTrackedClientsIsBounded(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t, logging.WithMaxClients(2), logging.WithMaxRecords(1000))
		for range 2 {
			for _, scope := range []string{"a", "b", "c", "d"} {
				log.Observe(about(ratelimiter.Rejected, scope))
			}
			log.Observe(about(ratelimiter.Shadowed, "e"))
		}
		require.Len(t, out.lines(), 2)
		advance(time.Minute)
		lines := out.lines()
		require.Len(t, lines, 3)
		require.Equal(t, `level=WARN msg="rate limit: other clients rejected" rejected=4 would_be_rejected=2 since=00:00:00 until=00:01:00`, lines[2])
		log.Observe(about(ratelimiter.Rejected, "c"))
		require.Len(t, out.lines(), 1, "there is room again")
	})(t)
}

func TestAContinuingClientIsReportedOnceRecordsAreAvailable(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t, logging.WithMaxRecords(2))
		log.Observe(about(ratelimiter.Rejected, "first"))
		for range 40 {
			log.Observe(about(ratelimiter.Rejected, "second"))
			log.Observe(about(ratelimiter.Banned, "first"))
			advance(time.Second)
		}
		log.Observe(about(ratelimiter.Rejected, "second"))
		lines := out.lines()
		require.Len(t, lines, 2)
		require.Contains(t, lines[1], "client banned", "a ban needs only one record")
		advance(time.Minute)
		log.Observe(about(ratelimiter.Rejected, "second"))
		lines = out.lines()
		require.Contains(t, lines[len(lines)-1], "scope=se#")
	})(t)
}

func TestConcurrentRequestsAreCounted(t *testing.T) {
	log, out := open(t, logging.WithMaxClients(8), logging.WithMaxRecords(1<<20))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 2000 {
				log.Observe(about([]ratelimiter.Outcome{ratelimiter.Rejected, ratelimiter.Banned, ratelimiter.Shadowed}[i%3], strconv.Itoa(i%20)))
			}
		})
	}
	group.Wait()
	require.NoError(t, log.Close())
	lines := out.lines()
	require.Equal(t, 16000, rejections(t, lines))
}

package traffic

import (
	"fmt"
	"hash/maphash"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type happened struct {
	at     int64
	client int
}

// someEvents draws events in order of time, with gaps from zero to more than a period.
func someEvents(t *rapid.T, per int64) []happened {
	events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) happened {
		return happened{rapid.Int64Range(0, 4*per).Draw(t, "at"), rapid.IntRange(0, 3).Draw(t, "client")}
	}), 1, 200).Draw(t, "events")
	slices.SortStableFunc(events, func(a, b happened) int { return int(a.at - b.at) })
	return events
}

func count(events []happened, periods ...time.Duration) *Census {
	census := NewCensus(periods)
	seed := maphash.MakeSeed()
	for _, e := range events {
		key := fmt.Appendf(nil, "client %d", e.client)
		census.Add(e.at, census.ID(key, maphash.Bytes(seed, key)), 0)
	}
	return census
}

func TestTheRollingMaximaAgreeWithANaiveCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		per := rapid.SampledFrom([]int64{1, 7, 1000, 60_000_000}).Draw(t, "per")
		events := someEvents(t, per)
		census := count(events, time.Duration(per)*time.Microsecond, time.Duration(3*per)*time.Microsecond)
		for id := range uint32(census.Clients()) {
			name, _ := census.Name(id)
			for k, period := range census.Periods {
				var most, everybody int64
				for _, last := range events {
					var n, all int64
					for _, e := range events {
						if e.at > last.at-period && e.at <= last.at {
							all++
							if fmt.Sprintf("client %d", e.client) == name {
								n++
							}
						}
					}
					most, everybody = max(most, n), max(everybody, all)
				}
				require.Equal(t, most, census.Most(id, k))
				require.Equal(t, everybody, census.AllMost(k))
			}
		}
	})
}

func TestAHistoryReturnsItsEventsFromMemoryAndFromTheFile(t *testing.T) {
	h := NewHistory()
	h.inside = 1
	early := h.Cursor()
	const events = 200_000
	for i := range int64(events) {
		h.Add(i*i, uint32(i)*7)
		if i%3 == 0 {
			require.True(t, early.Next())
		}
	}
	require.NoError(t, h.Err())
	require.NotEmpty(t, h.sizes, "the file was not needed")
	cursor := h.Cursor()
	for i := range int64(events) {
		require.True(t, cursor.Next())
		if i*i != cursor.Time || uint32(i)*7 != cursor.ID {
			require.Failf(t, "another event", "%d: %d at %d", i, cursor.ID, cursor.Time)
		}
	}
	require.False(t, cursor.Next())
	name := h.file.Name()
	require.NoError(t, h.Close())
	require.NoFileExists(t, name)
}

func TestATimelineCountsEveryEventWhenItWidens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := Timeline{}
		at, n := int64(1_400_000_000_000_000), 0
		for _, step := range rapid.SliceOf(rapid.Int64Range(0, 1e11)).Draw(t, "steps") {
			at += step
			line.add(at)
			n++
			require.Equal(t, len(line.Counts)-1, line.Place(at))
		}
		var sum int64
		for _, c := range line.Counts {
			sum += c
		}
		require.EqualValues(t, n, sum)
		require.LessOrEqual(t, len(line.Counts), maxStretches)
	})
}

func TestEventsOverALimitAreCountedExactlyUpTo65535(t *testing.T) {
	var r ranking
	for n := range uint32(100_000) {
		r.add(n + 1)
	}
	require.EqualValues(t, 100_000, r.over(0))
	require.EqualValues(t, 99_000, r.over(1000))
	require.EqualValues(t, 100_000-65_535, r.over(65_535))
	require.InDelta(t, 20_000, r.over(80_000), 3)
	require.Zero(t, r.over(1<<40))
}

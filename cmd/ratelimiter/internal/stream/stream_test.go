package stream

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// line is a request some seconds after noon.
func line(client string, seconds int) string {
	if !strings.Contains(client, ".") {
		client += ".example"
	}
	at := noon.Add(time.Duration(seconds) * time.Second).Format("02/Jan/2006:15:04:05 -0700")
	return fmt.Sprintf("%s - - [%s] \"GET / HTTP/1.1\" 200 1\n", client, at)
}

func options(names ...string) *Options {
	return &Options{Names: names, View: &traffic.View{Prefix4: 32, Prefix6: 64}, Reorder: time.Minute, Workers: 2}
}

func fromStdin(text string) *Options {
	o := options("-")
	o.Stdin = strings.NewReader(text)
	return o
}

func write(t *testing.T, name string, text []byte) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

// seen reads logs, and lists clients and times.
func seen(t *testing.T, o *Options) ([]string, *Tally) {
	census := traffic.NewCensus([]time.Duration{time.Second})
	tally, err := Read(t.Context(), o, census)
	require.NoError(t, err)
	var list []string
	for cursor := census.History.Cursor(); cursor.Next(); {
		name, _ := census.Name(cursor.ID)
		list = append(list, fmt.Sprintf("%s %d", strings.TrimSuffix(name, ".example"), cursor.Time/1e6-noon.Unix()))
	}
	return list, tally
}

func TestSeveralPackedLogsAreMergedByTime(t *testing.T) {
	var zipped, zstandard bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write([]byte(line("b", 1) + line("b", 3)))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	s, err := zstd.NewWriter(&zstandard)
	require.NoError(t, err)
	_, err = s.Write([]byte(line("c", 100) + line("c", 101)))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	o := options(write(t, "c.zst", zstandard.Bytes()), write(t, "b.gz", zipped.Bytes()), "-", write(t, "empty", nil))
	o.Stdin = strings.NewReader(line("a", 0) + line("a", 2) + strings.TrimSpace(line("a", 4)))
	list, tally := seen(t, o)
	require.Equal(t, []string{"a 0", "b 1", "a 2", "b 3", "a 4", "c 100", "c 101"}, list)
	require.Equal(t, 7, tally.Lines)
}

func TestUnreadableLinesAreCountedAndTheFirstOnesShown(t *testing.T) {
	text := line("a", 0) + "\n" + strings.Repeat("garbage\n", 10) + line("a", 1)
	o := options(write(t, "log", []byte(text)))
	o.Format = "common"
	list, tally := seen(t, o)
	require.Len(t, list, 2)
	require.Equal(t, 11, tally.Faults)
	require.Len(t, tally.First, shownFaults)
	require.Equal(t, 2, tally.First[0].Line)
	require.Equal(t, "garbage", tally.First[1].Text)
	require.Equal(t, map[string]int{"the line is empty": 1, `" " is missing after $remote_addr`: 10}, tally.Reasons)
}

func TestLinesSlightlyOutOfOrderAreSorted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		begun := rapid.SliceOfN(rapid.IntRange(0, 2000), 1, 50).Draw(rt, "begun")
		slices.Sort(begun)
		type logged struct{ ended, begun int }
		var lines []logged
		var want []string
		for _, s := range begun {
			lines = append(lines, logged{s + rapid.IntRange(0, 60).Draw(rt, "took"), s})
			want = append(want, fmt.Sprintf("a %d", s))
		}
		slices.SortStableFunc(lines, func(a, b logged) int { return a.ended - b.ended })
		var text string
		for _, l := range lines {
			text += line("a", l.begun)
		}
		list, tally := seen(t, fromStdin(text))
		require.Equal(rt, want, list)
		require.Zero(rt, tally.Late+tally.Ahead)
	})
}

func TestLinesFarOutOfOrderAreCountedAndIgnored(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seconds := rapid.SliceOfN(rapid.IntRange(0, 500), 1, 50).Draw(rt, "seconds")
		var text string
		for _, s := range seconds {
			text += line("a", s)
		}
		list, tally := seen(t, fromStdin(text))
		require.Equal(rt, len(seconds), len(list)+tally.Late+tally.Ahead)
		require.True(rt, slices.IsSortedFunc(list, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }))
	})
	list, tally := seen(t, fromStdin(line("a", 0)+line("a", 100)+line("a", 39)+line("a", 40)+line("a", 101)+line("a", 102)))
	require.Equal(t, []string{"a 0", "a 40", "a 100", "a 101", "a 102"}, list)
	require.Equal(t, 1, tally.Late)
	require.Equal(t, 61*time.Second, tally.LateWorst)
}

func TestAWrongClockDoesNotMakeTheFollowingLinesLate(t *testing.T) {
	const years = 20 * 365 * 86400
	var usual []string
	for i := range 40_000 { // several pieces
		usual = append(usual, line("a", i/10))
	}
	for name, wrong := range map[string][]int{
		"the first line": {0}, "the second": {1}, "two in a row": {100, 101}, "the last": {39_999},
		"one in three": {3, 6, 9, 12, 15, 18}, "at the end of a piece": {9361, 9362, 9363, 9364},
	} {
		lines := slices.Clone(usual)
		for _, i := range wrong {
			lines[i] = line("a", years+i)
		}
		o := options(write(t, "log", []byte(strings.Join(lines, ""))), write(t, "other", []byte(line("b", 10)+line("b", 20))))
		list, tally := seen(t, o)
		require.Equal(t, len(wrong), tally.Ahead, name)
		require.Zero(t, tally.Late, name)
		require.Len(t, list, len(usual)-len(wrong)+2, name)
	}
	list, tally := seen(t, fromStdin(line("a", 0)+line("a", years)+line("a", years+1)))
	require.Len(t, list, 3, "a log may rest for years")
	require.Zero(t, tally.Ahead)
}

func TestTheLastLineMayComeADayLater(t *testing.T) {
	list, tally := seen(t, fromStdin(line("a", 0)+line("a", 1)+line("a", 86400)+line("b", 3*86400)))
	require.Equal(t, []string{"a 0", "a 1", "a 86400", "b 259200"}, list)
	require.Zero(t, tally.Lost())
}

func TestBytesThatAreNotPartOfALineAreRemoved(t *testing.T) {
	log := line("a", 0) + line("b", 1)
	want := []string{"a 0", "b 1"}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, part := range []string{line("a", 0), strings.TrimSpace(line("b", 1))} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "log", Mode: 0o600, Size: int64(len(part))}))
		_, err := w.Write([]byte(part))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	for name, text := range map[string]string{
		"a mark before UTF-8":            "\ufeff" + log,
		"marks where logs are joined":    "\ufeff" + line("a", 0) + "\ufeff" + line("b", 1),
		"NULs of a truncated copy":       strings.Repeat("\x00", 70_000) + log,
		"NULs in between":                line("a", 0) + strings.Repeat("\x00", 5000) + line("b", 1),
		"NULs at the end":                log + strings.Repeat("\x00", 5000),
		"a hole in the file":             line("a", 0) + strings.Repeat("\x00", longestLine+pieceBytes) + line("b", 1),
		"a tar":                          archive.String(),
		"UTF-16":                         utf16Text(t, log, unicode.LittleEndian, unicode.UseBOM),
		"UTF-16, the greater byte first": utf16Text(t, log, unicode.BigEndian, unicode.UseBOM),
		"UTF-16 without a mark":          utf16Text(t, log, unicode.LittleEndian, unicode.IgnoreBOM),
		"ends of lines of Windows":       strings.ReplaceAll(log, "\n", "\r\n"),
	} {
		for _, o := range []*Options{fromStdin(text), options(write(t, "log", []byte(text)))} {
			list, tally := seen(t, o)
			require.Equal(t, want, list, name)
			require.Zero(t, tally.Lost(), name)
		}
	}
}

func utf16Text(t *testing.T, text string, order unicode.Endianness, mark unicode.BOMPolicy) string {
	encoded, err := unicode.UTF16(order, mark).NewEncoder().String(text)
	require.NoError(t, err)
	return encoded
}

func TestObjectsInAnArrayAreRead(t *testing.T) {
	one, two := `{"ts":1769860800,"client_ip":"192.0.2.7","path":"/{[\"x"}`, `{"ts":1769860801,"client_ip":"192.0.2.8","path":"/"}`
	pretty := strings.NewReplacer("{\"ts", "{\n  \"ts", ",", ",\n\t", "\"}", "\"\n}").Replace
	for name, text := range map[string]string{
		"on a line":         "[" + one + "," + two + "]",
		"a line each":       "[\n" + one + ",\n" + two + "\n]\n",
		"over many lines":   "[" + pretty(one) + "," + pretty(two) + "]\n",
		"without the array": pretty(one) + "\n" + pretty(two) + "\n",
	} {
		list, tally := seen(t, fromStdin(text))
		require.Equal(t, []string{"192.0.2.7 0", "192.0.2.8 1"}, list, name)
		require.Zero(t, tally.Faults, name)
	}
	list, tally := seen(t, fromStdin("["+one+", oops\n"+two+"]"))
	require.Len(t, list, 2)
	require.Equal(t, 1, tally.Faults)
}

func TestObjectsOverSeveralLinesAreJoined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		objects := rapid.SliceOfN(rapid.MapOfN(rapid.String(), rapid.String(), 1, 4), 1, 5).Draw(t, "objects")
		pretty, err := json.MarshalIndent(objects, "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		require.NoError(t, err)
		text, err := plainText(iotest.OneByteReader(bytes.NewReader(pretty)))
		require.NoError(t, err)
		lines, err := io.ReadAll(text)
		require.NoError(t, err)
		var got []map[string]string
		for line := range strings.SplitSeq(strings.TrimSpace(string(lines)), "\n") {
			var object map[string]string
			require.NoError(t, json.Unmarshal([]byte(line), &object), line)
			got = append(got, object)
		}
		require.Equal(t, objects, got)
	})
}

func TestALogWithItsNewestLineFirstIsSorted(t *testing.T) {
	var text strings.Builder
	for i := range 5000 {
		text.WriteString(line("a", 5000-i))
	}
	list, tally := seen(t, fromStdin(text.String()))
	require.Len(t, list, 5000)
	require.Equal(t, "a 1", list[0])
	require.True(t, tally.Sorted)
	require.Zero(t, tally.Lost())
}

func TestALineWithAWrongClockInASortedLogIsIgnored(t *testing.T) {
	text := line("a", 0) + line("a", 400*86400) + line("a", 500*86400)
	for i := range 300 {
		text += line("a", i)
	}
	o := fromStdin(text)
	o.Sort = true
	list, tally := seen(t, o)
	require.Len(t, list, 301)
	require.Equal(t, 2, tally.Ahead)
	o = fromStdin(line("a", 400*86400) + line("a", 0))
	o.Sort = true
	list, _ = seen(t, o)
	require.Len(t, list, 2, "a log may rest for a year")
}

func TestLogsJoinedInTheWrongOrderAreSortedOnRequest(t *testing.T) {
	var older, newer strings.Builder
	for i := range 1000 {
		older.WriteString(line("a", i))
		newer.WriteString(line("a", 10_000+i))
	}
	o := fromStdin(newer.String() + older.String())
	_, tally := seen(t, o)
	require.InDelta(t, 50, tally.LostShare(), 1)
	o = fromStdin(newer.String() + older.String())
	o.Sort = true
	list, tally := seen(t, o)
	require.Len(t, list, 2000)
	require.Zero(t, tally.Lost())
}

func TestALogMayBeAPipe(t *testing.T) {
	if _, err := os.Stat("/dev/fd"); err != nil {
		t.Skip("here a pipe has no name")
	}
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	go func() {
		for i := range 30_000 {
			_, _ = writer.WriteString(line("a", i)) // the count below would tell
		}
		_ = writer.Close()
	}()
	list, tally := seen(t, options(fmt.Sprintf("/dev/fd/%d", reader.Fd())))
	require.NoError(t, reader.Close())
	require.Len(t, list, 30_000)
	require.Equal(t, 30_000, tally.Lines)
}

func TestPiecesEndWithLines(t *testing.T) {
	var text strings.Builder
	const lines = 30_000 // several pieces
	for i := range lines {
		text.WriteString(line(fmt.Sprintf("10.0.%d.%d", i/250, i%250), i/100))
	}
	list, tally := seen(t, options(write(t, "log", []byte(text.String()))))
	require.Len(t, list, lines)
	require.Equal(t, lines, tally.Lines)
	require.Zero(t, tally.Faults)
}

func TestATruncatedLogIsReadAsFarAsPossible(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	for i := range 20_000 {
		_, err := fmt.Fprint(z, line(fmt.Sprintf("10.1.%d.%d", i*7%250, i*13%250), i/100))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	list, tally := seen(t, options(write(t, "log.gz", zipped.Bytes()[:zipped.Len()*3/4])))
	require.NotEmpty(t, list)
	require.Error(t, tally.Files[0].Short)
}

func TestAnInterruptionKeepsWhatWasRead(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	tally, err := Read(ctx, options(write(t, "log", []byte(line("a", 0)))), traffic.NewCensus([]time.Duration{time.Second}))
	require.NoError(t, err)
	require.True(t, tally.Interrupted)
}

func TestALogInAnUnknownFormatIsRejectedWithTheReason(t *testing.T) {
	_, err := Read(t.Context(), options(write(t, "log", []byte("some words\n"))), traffic.NewCensus(nil))
	require.ErrorContains(t, err, "the format is not recognised")
	_, err = Read(t.Context(), options("absent.log"), traffic.NewCensus(nil))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Read(t.Context(), options(t.TempDir()), traffic.NewCensus(nil))
	require.ErrorContains(t, err, "is a directory")
	broken := options("-")
	broken.Stdin = strings.NewReader("\x1f\x8bno gzip")
	_, err = Read(t.Context(), broken, traffic.NewCensus(nil))
	require.ErrorContains(t, err, "standard input: unexpected EOF")
}

package stream

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
	"github.com/stretchr/testify/require"
)

// Logs that were made to keep the planner busy or to fill the memory.

// repeated is a text so many times.
type repeated struct {
	text string
	left int64
}

func (r *repeated) Read(p []byte) (n int, err error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n = min(len(p), int(min(r.left, 1<<30)))
	for i := 0; i < n; {
		i += copy(p[i:n], r.text)
	}
	r.left -= int64(n)
	return n, nil
}

// squeezed packs a stream.
func squeezed(t *testing.T, from io.Reader) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	require.NoError(t, err)
	_, err = io.Copy(w, from)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// squeezedZeros packs so many MiB of zeros. A file may consist of several packed parts, so
// one part is packed and repeated.
func squeezedZeros(t *testing.T, mib int) []byte {
	return bytes.Repeat(squeezed(t, &repeated{"\x00", 1 << 20}), mib)
}

// skippedInTar is a packed tar whose first file is not read and holds so many MiB of zeros.
func skippedInTar(t *testing.T, mib int) []byte {
	var head, tail bytes.Buffer
	w := tar.NewWriter(&head)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "a", Mode: 0o600, Size: int64(mib) << 20}))
	header := head.Bytes()[:512]
	header[156] = 'V' // a volume label, whatever its size
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:156], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	log := line("a", 0)
	w = tar.NewWriter(&tail)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "access.log", Mode: 0o600, Size: int64(len(log))}))
	_, err := w.Write([]byte(log))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return slices.Concat(squeezed(t, bytes.NewReader(header)), squeezedZeros(t, mib), squeezed(t, &tail))
}

func TestAFileInATarThatIsNotReadIsNotUnpackedWithoutEnd(t *testing.T) {
	bomb := squeezed(t, bytes.NewReader(skippedInTar(t, safeBytes>>20+1)))
	require.Less(t, len(bomb), safeBytes/maxGrowth)
	_, err := Read(t.Context(), options(write(t, "log", bomb)), traffic.NewCensus([]time.Duration{time.Second}))
	require.ErrorContains(t, err, "unpacks to more than 2000 times its size")
}

// sameFile is a zip whose directory names one packed file many times.
func sameFile(t *testing.T, text io.Reader, times int) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	part, err := w.Create("access.log")
	require.NoError(t, err)
	_, err = io.Copy(part, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	archive := b.Bytes()
	end := bytes.LastIndex(archive, []byte("PK\x05\x06"))
	start := int(binary.LittleEndian.Uint32(archive[end+16:]))
	bomb := slices.Concat(archive[:start], bytes.Repeat(archive[start:end], times), archive[end:])
	end = len(bomb) - (len(archive) - end)
	binary.LittleEndian.PutUint16(bomb[end+8:], uint16(times))
	binary.LittleEndian.PutUint16(bomb[end+10:], uint16(times))
	binary.LittleEndian.PutUint32(bomb[end+12:], uint32(end-start))
	return bomb
}

func TestAZipThatNamesOneFileManyTimesIsNotReadToItsEnd(t *testing.T) {
	bomb := sameFile(t, &repeated{"\x00", 16 << 20}, 1000)
	require.Less(t, len(bomb), safeBytes/maxGrowth)
	_, err := Read(t.Context(), options(write(t, "log", bomb)), traffic.NewCensus([]time.Duration{time.Second}))
	require.ErrorContains(t, err, "unpacks to more than 2000 times its size")
}

func TestAWindowOfZstandardIsBounded(t *testing.T) {
	bomb := []byte("\x28\xb5\x2f\xfd\x00\xa8" + "\x23\x03\x00x") // a window of 2 GiB, and a hundred bytes in it
	_, err := Read(t.Context(), options(write(t, "log", bomb)), traffic.NewCensus([]time.Duration{time.Second}))
	require.ErrorContains(t, err, "its zstd window is larger than 256 MiB; pipe it in")
}

func TestEndlessZerosTakeBoundedMemory(t *testing.T) {
	log := slices.Concat(squeezedZeros(t, 200), squeezed(t, strings.NewReader(line("a", 0))))
	allocated := func() (bytes uint64) {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.TotalAlloc
	}
	before := allocated()
	list, tally := seen(t, options(write(t, "log", log)))
	require.Equal(t, []string{"a 0"}, list)
	require.NoError(t, tally.Files[0].Short)
	require.Less(t, allocated()-before, uint64(32<<20))
}

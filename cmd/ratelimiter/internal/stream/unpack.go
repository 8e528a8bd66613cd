package stream

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const (
	magicBytes = 512 // sample for detecting the packing: the header of tar
	maxLayers  = 4   // a log in a tar in a gzip file has two

	// maxWindow bounds the memory that zstd takes: "zstd --long" asks for 128 MiB.
	maxWindow = 256 << 20

	// A log unpacks to some dozens of times its size. A large file that grows far beyond
	// that is probably an attempt to fill the disk or memory.
	maxGrowth = 2000
	safeBytes = 256 << 20
)

// packings are the packings that are detected by the first bytes.
var packings = []struct {
	magic string
	open  func(io.Reader) (io.Reader, error)
}{
	{"\x1f\x8b", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"\x28\xb5\x2f\xfd", openZstandard},
	{"BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"\xfd7zXZ\x00", openXZ},
	{"PK\x03\x04", named("zip", "unzip -p")},
	{"\x04\x22\x4d\x18", named("lz4", "lz4 -dc")},
	{"\x1f\x9d", named("compress", "uncompress -c")},
	{"7z\xbc\xaf\x27\x1c", named("7z", "7z x -so")},
}

// named rejects an unsupported packing, and names the command that unpacks it.
func named(packing, command string) func(io.Reader) (io.Reader, error) {
	return func(io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("it is packed with %s, which is not supported; run %s FILE | ratelimiter plan", packing, command)
	}
}

// openZstandard reads zstd and says what to do about a window that is too large.
func openZstandard(packed io.Reader) (io.Reader, error) {
	unpacked, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	return largeWindow{unpacked}, err
}

type largeWindow struct{ io.Reader }

func (w largeWindow) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = errors.New("its zstd window is larger than 256 MiB; pipe it in, as zstd -dc --long=31 FILE | ratelimiter plan")
	}
	return n, err
}

// unpack removes all packings of a log.
func unpack(packed *counted) (io.Reader, error) {
	unpacked, err := unpackLayers(packed, maxLayers, packed)
	if err != nil {
		return nil, err
	}
	return plainText(unpacked)
}

// unpackLayers takes off packings one by one. Each of them is guarded, as a reader of
// archives skips files that nobody asks for.
func unpackLayers(reader io.Reader, layers int, packed *counted) (io.Reader, error) {
	buffered := bufio.NewReaderSize(reader, 256<<10)
	magic, err := buffered.Peek(magicBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		if len(magic) == 0 {
			return nil, err
		}
		return buffered, nil // further reading returns the error
	}
	layer, err := unpackLayer(buffered, magic, layers, packed)
	switch {
	case err != nil:
		return nil, err
	case layer == nil:
		return buffered, nil
	case layers == 1:
		return nil, fmt.Errorf("it is packed more than %d times", maxLayers-1)
	}
	return unpackLayers(&guarded{layer, packed, 0}, layers-1, packed)
}

// unpackLayer removes one packing; nil if there is none.
func unpackLayer(reader io.Reader, magic []byte, layers int, packed *counted) (io.Reader, error) {
	for _, p := range packings {
		if bytes.HasPrefix(magic, []byte(p.magic)) {
			return p.open(reader)
		}
	}
	if len(magic) > 262 && string(magic[257:262]) == "ustar" {
		archive := tar.NewReader(reader)
		return &members{layers: layers, packed: packed, next: func() (io.Reader, error) { return nextInTar(archive) }}, nil
	}
	return nil, nil
}

// maxDictionary bounds the memory for xz to 256 MiB, in the encoding of xz. "xz -9" needs
// 64 MiB.
const maxDictionary = 32

// openXZ opens an xz file. The header of its first block has the size of the dictionary as
// the property of LZMA2, after two optional lengths.
func openXZ(packed io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(packed, magicBytes)
	head, _ := buffered.Peek(40) // a shorter file has no blocks
	if len(head) == 40 {
		filter := head[14:]
		for lengths := head[13] >> 6; lengths > 0; lengths &= lengths - 1 {
			_, n := binary.Uvarint(filter)
			filter = filter[max(0, n):]
		}
		if len(filter) > 2 && filter[0] == 0x21 && filter[2] > maxDictionary {
			return nil, errors.New("its xz dictionary is larger than 256 MiB; run xz -dc FILE | ratelimiter plan")
		}
	}
	return xz.NewReader(buffered)
}

// guarded fails if a log unpacks to an implausible size.
type guarded struct {
	io.Reader
	packed *counted
	bytes  int64
}

func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	g.bytes += int64(n)
	if g.bytes > safeBytes && g.bytes/maxGrowth > g.packed.own {
		return n, fmt.Errorf("it unpacks to more than %d times its size, so it is probably not a log", maxGrowth)
	}
	return n, err
}

// members reads the files of an archive one after the other, and unpacks them.
type members struct {
	next    func() (io.Reader, error)
	layers  int
	packed  *counted
	current io.Reader
	last    byte
}

func (m *members) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if m.current == nil {
			current, err := m.next()
			if err == nil {
				current, err = unpackLayers(current, max(1, m.layers-1), m.packed)
			}
			if err != nil {
				return 0, err
			}
			m.current = current
		}
		n, err := m.current.Read(p)
		if n > 0 {
			m.last = p[n-1]
		}
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		m.current = nil
		if n > 0 {
			return n, nil
		}
		if m.last != 0 && m.last != '\n' { // the next file starts a new line
			m.last = '\n'
			p[0] = '\n'
			return 1, nil
		}
	}
	return 0, nil
}

func nextInTar(archive *tar.Reader) (io.Reader, error) {
	for {
		header, err := archive.Next()
		if err != nil || header.Typeflag == tar.TypeReg {
			return archive, err
		}
	}
}

// openZip opens a zip file, whose directory is at its end. It returns nil for other files.
func openZip(file *os.File, packed *counted) (io.Reader, error) {
	var magic [4]byte
	if _, err := file.ReadAt(magic[:], 0); err != nil || binary.BigEndian.Uint32(magic[:]) != 0x504b0304 {
		return nil, nil //nolint:nilerr // too short for a zip file
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(countedAt{file, packed}, info.Size())
	if err != nil {
		return nil, err
	}
	packed.own = info.Size() // each file may name the same bytes, so what is read says nothing
	files := archive.File
	all := &members{layers: maxLayers, packed: packed, next: func() (io.Reader, error) {
		for len(files) > 0 {
			next := files[0]
			files = files[1:]
			if next.Mode().IsRegular() {
				return next.Open()
			}
		}
		return nil, io.EOF
	}}
	return plainText(&guarded{all, packed, 0})
}

// countedAt counts the bytes that are read at any position of a file.
type countedAt struct {
	file  *os.File
	total *counted
}

func (c countedAt) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.file.ReadAt(p, at)
	c.total.total.Add(int64(n))
	return n, err
}

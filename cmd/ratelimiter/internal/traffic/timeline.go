package traffic

// Timeline counts events in equal intervals. It starts with seconds, and lengthens the
// intervals whenever there are too many.
type Timeline struct {
	Start  int64 // µs
	Width  int64 // µs, of an interval
	Counts []int64
}

const maxStretches = 720

// widths are lengths in seconds, each a multiple of the one before. After the last they
// double.
var widths = []int64{1, 5, 10, 30, 60, 300, 600, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}

func (t *Timeline) add(now int64) {
	if t.Width == 0 {
		t.Width = 1_000_000
		t.Start = now - now%t.Width
	}
	for (now-t.Start)/t.Width >= maxStretches {
		t.widen()
	}
	place := int((now - t.Start) / t.Width)
	for len(t.Counts) <= place {
		t.Counts = append(t.Counts, 0)
	}
	t.Counts[place]++
}

// widen merges intervals into longer ones, which start at multiples of their length.
func (t *Timeline) widen() {
	width := 2 * t.Width
	for _, seconds := range widths {
		if seconds*1_000_000 > t.Width {
			width = seconds * 1_000_000
			break
		}
	}
	start := t.Start - t.Start%width
	counts := make([]int64, 0, maxStretches)
	for i, count := range t.Counts {
		place := int((t.Start + int64(i)*t.Width - start) / width)
		for len(counts) <= place {
			counts = append(counts, 0)
		}
		counts[place] += count
	}
	t.Start, t.Width, t.Counts = start, width, counts
}

// Place is the index of the interval that contains a time.
func (t *Timeline) Place(now int64) int {
	return int((now - t.Start) / t.Width)
}

package traffic

// Timeline counts events in equal stretches of time. It begins with seconds, and
// joins two stretches to one whenever there are too many.
type Timeline struct {
	Start  int64 // µs
	Width  int64 // µs, of a stretch
	Counts []int64
}

const maxStretches = 720

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

func (t *Timeline) widen() {
	t.Width *= 2
	half := t.Counts[:0]
	for i := 0; i < len(t.Counts); i += 2 {
		sum := t.Counts[i]
		if i+1 < len(t.Counts) {
			sum += t.Counts[i+1]
		}
		half = append(half, sum)
	}
	t.Counts = half
}

// Place is the stretch that a time of the log lies in.
func (t *Timeline) Place(now int64) int {
	return int((now - t.Start) / t.Width)
}

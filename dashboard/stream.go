package dashboard

import (
	"net/http"
	"sync"
	"time"
)

const (
	maxStreams = 16
	// patience is how long a page may take to read an event.
	patience = 10 * time.Second
)

// What a page is told that gets no stream.
const (
	full   = "This dashboard is open on 16 pages already, and more would cost the application too much. Close one."
	closed = "This dashboard was closed by its application."
)

// streams are the pages that are open.
type streams struct {
	mu     sync.Mutex
	watch  func(watched bool) // called with mu held, when there may be a first or a last one
	open   map[chan []byte]bool
	closed bool
}

func (s *streams) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) > 0
}

// add opens a stream. It is closed for a page that does not keep up, which comes back by
// itself and is told everything anew.
//
// Where there is none for it, rejection says why.
func (s *streams) add() (stream <-chan []byte, rejection string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, closed
	case len(s.open) >= maxStreams:
		return nil, full
	case s.open == nil:
		s.open = map[chan []byte]bool{}
	}
	events := make(chan []byte, 4)
	s.open[events] = true
	s.watch(true)
	return events, ""
}

func (s *streams) remove(events <-chan []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		if one == events {
			delete(s.open, one)
		}
	}
	s.watch(len(s.open) > 0)
}

func (s *streams) send(event []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		select {
		case one <- event:
		default:
			close(one)
			delete(s.open, one)
		}
	}
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for one := range s.open {
		close(one)
		delete(s.open, one)
	}
}

// stream sends a page what happens, until one of both leaves. There is an event each
// second, so that neither a proxy nor the page takes the silence for an end.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	events, rejection := h.streams.add()
	if rejection != "" {
		w.Header().Set("Retry-After", "10")
		http.Error(w, rejection, http.StatusServiceUnavailable)
		return
	}
	defer h.streams.remove(events)
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx would keep events until there are many
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // where it cannot be set, the page comes back
	if send(w, control, append([]byte("retry: 2000\n\n"), h.history()...)) != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case event, ok := <-events:
			if !ok || send(w, control, event) != nil {
				return
			}
		}
	}
}

// send writes an event, for which the server's WriteTimeout begins anew.
func send(w http.ResponseWriter, control *http.ResponseController, event []byte) error {
	_ = control.SetWriteDeadline(time.Now().Add(patience)) // where it cannot be set, the page comes back
	if _, err := w.Write(event); err != nil {
		return err
	}
	return control.Flush()
}

package dashboard

import (
	"net/http"
	"sync"
	"time"
)

const (
	maxStreams = 16
	// writeTimeout is how long a page may take to read an event.
	writeTimeout = 10 * time.Second
)

// Why a page gets no stream.
const (
	reasonFull   = "This dashboard is already open on 16 pages, the most it allows. Close one of them."
	reasonClosed = "The application has closed this dashboard."
)

// streams are the open pages.
type streams struct {
	mu     sync.Mutex
	watch  func(watched bool) // called with mu held, when pages come and go
	open   map[chan []byte]bool
	closed bool
}

func (s *streams) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) > 0
}

// add opens a stream, or returns the reason why it does not. The stream of a page that
// does not keep up is closed; the page reconnects and gets the whole history again.
func (s *streams) add() (stream <-chan []byte, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, reasonClosed
	case len(s.open) >= maxStreams:
		return nil, reasonFull
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

// stream sends events to a page until either side closes. An event each second keeps
// proxies and the page from assuming that the connection is dead.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	events, reason := h.streams.add()
	if reason != "" {
		w.Header().Set("Retry-After", "10")
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	defer h.streams.remove(events)
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // keeps nginx from buffering events
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // if it cannot be set, the page reconnects
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

// send writes an event, with a deadline of its own in place of the server's WriteTimeout.
func send(w http.ResponseWriter, control *http.ResponseController, event []byte) error {
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // if it cannot be set, the page reconnects
	if _, err := w.Write(event); err != nil {
		return err
	}
	return control.Flush()
}

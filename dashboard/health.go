package dashboard

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"

	"github.com/gin-ratelimiter/ratelimiter"
)

// backendState is how the backend does.
type backendState struct {
	// Word is one of "waiting" (for InitApp), "off", "here" (in the process), "ok",
	// "failing" (now and then) and "away". Text says it to people.
	Word  string `json:"word"`
	Text  string `json:"text"`
	Since int64  `json:"since,omitempty"` // of an outage
	Error string `json:"error,omitempty"` // of an outage, or the last one

	Down     float64 `json:"down"` // seconds, all outages together
	Failures uint64  `json:"failures"`

	// Second is that of backendSecond: median and 99 % in microseconds, and fallbacks.
	Second  [3]float64 `json:"second"`
	Quarter [3]float64 `json:"quarter"`

	Seconds  [][3]float64 `json:"seconds,omitempty"`
	Quarters [][3]float64 `json:"quarters,omitempty"`

	Remembered    int    `json:"remembered"` // limits of clients, in this process
	Evictions     uint64 `json:"evictions"`
	CachedDenials uint64 `json:"cached_denials"`
	Panics        uint64 `json:"observer_panics"`
}

// unsteady is how many seconds a backend that has failed is called failing.
const unsteady = 10

func (h *Handler) backendState(whole bool) backendState {
	stats := h.limiter.Stats()
	s := backendState{
		Down: stats.Health.Down.Seconds(), Failures: stats.Health.Failures,
		Remembered: stats.Memory.Keys, Evictions: stats.Memory.Evictions,
		CachedDenials: stats.CachedDenials, Panics: stats.ObserverPanics,
	}
	if stats.Health.Err != nil {
		s.Error = stats.Health.Err.Error()
	}
	trouble := h.record.backendStates(&s, whole)
	config := h.limiter.Config()
	onError, _ := config["RATELIMITER_ON_ERROR"].(string)
	switch enabled, _ := config["RATELIMITER_ENABLED"].(bool); {
	case config == nil:
		s.Word, s.Text = "waiting", "The limiter is not initialised yet."
	case !enabled:
		s.Word, s.Text = "off", "Limiting is switched off (RATELIMITER_ENABLED): every request goes through."
	case stats.Health.Open:
		s.Word, s.Since = "away", stats.Health.Since.Unix()
		s.Text = "The backend does not answer. " + instead[onError]
	case stats.Health.Since.IsZero():
		s.Word, s.Text = "here", "The counters are in this process."
	case trouble:
		s.Word, s.Text = "failing", "The backend answers, but not always: some questions have failed within ten seconds."
	default:
		s.Word, s.Text = "ok", "The backend answers."
	}
	return s
}

// instead says what happens to requests that the backend does not decide.
var instead = map[string]string{
	"fallback": "This process limits by itself.",
	"allow":    "Requests go through without a limit.",
	"deny":     "Requests are answered 503.",
}

// backendStates writes what the rings know of the backend, and tells whether it has
// failed in the last seconds.
func (r *record) backendStates(s *backendState, whole bool) (trouble bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &r.backend
	s.Second = b.seconds[r.at%minutesSeconds].micros()
	s.Quarter = b.quarters[lastQuarter(r.at)%quarterPlaces].micros()
	if whole {
		for _, one := range unrolled(b.seconds[:], r.at) {
			s.Seconds = append(s.Seconds, one.micros())
		}
		for _, one := range unrolled(b.quarters[:], lastQuarter(r.at))[1:] {
			s.Quarters = append(s.Quarters, one.micros())
		}
	}
	for at := r.at - unsteady + 1; at <= r.at; at++ {
		place := (at + minutesSeconds) % minutesSeconds
		trouble = trouble || b.seconds[place].fallbacks > 0
		r.each(func(one *series) { trouble = trouble || one.seconds[place][ratelimiter.BackendError] > 0 })
	}
	return trouble
}

func (b backendSecond) micros() [3]float64 {
	return [3]float64{float64(b.median) / 10, float64(b.p99) / 10, float64(b.fallbacks)}
}

// lastSent is the configuration and the keys that pages have last been told.
type lastSent struct {
	mu     sync.Mutex
	config []byte
	keys   []string
}

// maxKeys is how many keys a page is told, and how many are looked at together.
const maxKeys = 200

// news is the configuration in force and the keys of the lookup, if they have changed or
// all is wanted.
func (l *lastSent) news(limiter *ratelimiter.RateLimiter, whole bool) (config json.RawMessage, keys []string) {
	config, err := json.Marshal(limiter.Config())
	if err != nil {
		config = []byte("null") // what is in it is for people, and can be written
	}
	keys = limiter.Keys()
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := !bytes.Equal(l.config, config) || !slices.Equal(l.keys, keys)
	if !whole && !changed {
		return nil, nil
	}
	if !whole { // pages that are open must still be told what a new one was told first
		l.config, l.keys = config, keys
	}
	return config, keys[:min(len(keys), maxKeys)]
}

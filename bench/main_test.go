package bench

import (
	"encoding/json"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	if name := os.Getenv(measureVariable); name != "" {
		_ = json.NewEncoder(os.Stdout).Encode(measure(byName(name)))
		return
	}
	os.Exit(m.Run())
}

func byName(name string) contender {
	for _, c := range contenders() {
		if c.name == name {
			return c
		}
	}
	panic("nobody is called " + name)
}

// label writes a name so that a test may have it.
func label(name string) string { return strings.NewReplacer(" ", "+", "/", "|").Replace(name) }

// failures counts the decisions, and those that were not reached.
type failures struct{ all, failed atomic.Int64 }

// note is called after so many decisions.
func (f *failures) note(all, failed int) {
	f.all.Add(int64(all))
	f.failed.Add(int64(failed))
}

// share is how many of all failed.
func (f *failures) share() float64 { return float64(f.failed.Load()) / float64(max(1, f.all.Load())) }

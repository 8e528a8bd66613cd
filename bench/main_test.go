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

// label writes a name so that a benchmark may have it, and cmd/table can read it.
func label(name string) string { return strings.NewReplacer(" ", "+", "/", "|").Replace(name) }

// failures counts the decisions that were not reached.
type failures struct{ atomic.Int64 }

func (f *failures) note(err error) {
	if err != nil {
		f.Add(1)
	}
}

// report is silent when there were none.
func (f *failures) report(b *testing.B) {
	if n := f.Load(); n > 0 {
		b.ReportMetric(100*float64(n)/float64(b.N), "%errors")
	}
}

// Soak runs three servers with rate limiters and sends them the requests of clients of all
// kinds, while a single Redis, one with Sentinel, the nodes of a Cluster and one of the
// servers are killed, stopped, flushed and failed over. It checks the answers against the
// documentation.
//
//	go run . -duration 1h
//
// It needs redis-server on the PATH, and Linux or another Unix. Built with -race, the
// servers look for data races too: they are this program, started once more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/model"
)

var (
	duration = flag.Duration("duration", time.Hour, "how long to run; ten seconds at least")
	clients  = flag.Int("clients", 300, "how many clients; a few of each kind at least")
	seed     = flag.Uint64("seed", 1, "what the choices of faults and clients are drawn from")
	out      = flag.String("out", "", "folder for the log of the run, which is made; a temporary one if empty")
	check    = flag.String("check", "", "check the log of an earlier run in this folder once more, and run nothing")
)

func main() {
	if text, isServer := os.LookupEnv(serverVariable); isServer {
		exitWith(serve(text))
	}
	flag.Parse()
	exitWith(command())
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// errViolated is the end of a run that has found something.
var errViolated = errors.New("something is wrong: see the violations above")

func command() error {
	h, err := seen()
	if err != nil {
		return err
	}
	report := model.Check(h)
	fmt.Print(report)
	if report.Violations() > 0 {
		return errViolated
	}
	return nil
}

// seen is the history of a run: of an earlier one, or of one that is made now.
func seen() (*history.History, error) {
	if *check != "" {
		return history.Read(*check)
	}
	if *duration < 10*time.Second {
		return nil, fmt.Errorf("-duration %v is too short; 10s is the least", *duration)
	}
	folder, err := makeFolder(*out)
	if err != nil {
		return nil, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(os.Stderr, "soak: %v with %d clients, seed %d; the log of the run will be in %s\n", *duration, *clients, *seed, folder)
	h, err := soak(ctx, settings{duration: *duration, clients: *clients, seed: *seed, folder: folder})
	if err != nil {
		return nil, err
	}
	return h, h.Write(folder)
}

func makeFolder(path string) (string, error) {
	if path == "" {
		return os.MkdirTemp("", "soak-")
	}
	return path, os.MkdirAll(path, 0o700)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/instances"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// settings are those of a run.
type settings struct {
	duration time.Duration
	clients  int
	seed     uint64
	folder   string // for the logs of the servers and the files of Redis
}

// run is a soak test in progress.
type run struct {
	settings
	single  *instances.Server
	group   *instances.Group
	cluster instances.Nodes
	servers []*process
	begun   time.Time

	// operations is held while an operator or a fault changes a server.
	operations   sync.Mutex
	defaultUnits int // of the default limit that is in force

	mu      sync.Mutex
	history history.History
}

// soak runs the whole test and returns what it has seen.
func soak(ctx context.Context, s settings) (_ *history.History, err error) {
	r := &run{settings: s, defaultUnits: routes.LowerUnits}
	defer func() { r.single.Kill(); r.group.Stop(); r.cluster.Stop() }()
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	r.load(ctx)
	ctx = context.WithoutCancel(ctx) // a run that was interrupted is checked too
	r.settle(ctx)
	r.history.Final = r.sampleAll(true)
	r.takeAllSlots(ctx)
	err = r.lookIntoStores(ctx)
	return &r.history, errors.Join(err, r.stop())
}

// start starts Redis and the servers, and takes the baseline.
func (r *run) start(ctx context.Context) (err error) {
	instances.Silence()
	if err = removeLeftovers(r.folder); err != nil {
		return err
	}
	if r.single, err = instances.Start(ctx, r.folder, "--dbfilename", "single.rdb"); err != nil {
		return err
	}
	if r.group, err = instances.StartGroup(ctx, r.folder); err != nil {
		return err
	}
	if r.cluster, err = instances.StartCluster(ctx, r.folder, routes.Nodes); err != nil {
		return err
	}
	r.begun = time.Now()
	r.history = history.History{
		Started: r.begun, Duration: r.duration, Clients: r.clients, Seed: r.seed, Race: raceDetector,
		Version: runtime.Version() + ", " + instances.Version(),
	}
	for n := range routes.Processes {
		server, err := r.spawn(n)
		if err != nil {
			return err
		}
		r.servers = append(r.servers, server)
	}
	r.warmUp(ctx)
	return nil
}

// removeLeftovers removes what an earlier run has left in a folder and this one would read.
func removeLeftovers(folder string) error {
	for _, pattern := range []string{"*.rdb", "nodes-*.conf", "server-*"} {
		names, err := filepath.Glob(filepath.Join(folder, pattern))
		for _, name := range names {
			err = errors.Join(err, os.Remove(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) spawn(number int) (*process, error) {
	return spawn(serverSettings{
		Single: r.single.Addr, Sentinels: r.group.Addrs(), Nodes: r.cluster.Addrs(), Logs: r.folder, Process: number,
		Begun: r.begun, Duration: r.duration, Default: r.defaultUnits,
	})
}

// lasting are the servers that are not killed.
func (r *run) lasting() []*process { return r.servers[:routes.Victim] }

// warmUp sends one request to each route, so that the baseline has all that is made once.
func (r *run) warmUp(ctx context.Context) {
	for n := range r.servers {
		visitor := r.newClient("warm-up", n)
		for i := range routes.All {
			visitor.send(ctx, &routes.All[i], request{process: n, hold: time.Millisecond})
		}
	}
	r.settle(ctx)
	r.history.Baseline = r.sampleAll(true)
}

// settle waits until the servers have closed the connections of clients that have left.
// If they do not, the model sees that in the samples.
func (r *run) settle(ctx context.Context) {
	quiet := func(s history.Sample) bool { return s.Waiting == 0 }
	if len(r.history.Baseline) > 0 {
		quiet = func(s history.Sample) bool {
			return s.Waiting == 0 && s.Goroutines <= r.history.Baseline[s.Process].Goroutines
		}
	}
	var last []history.Sample
	err := instances.Until(ctx, "the servers are quiet", func(context.Context) bool {
		last = r.sampleAll(false)
		for _, s := range last {
			if !quiet(s) {
				return false
			}
		}
		return len(last) == len(r.lasting())
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak: the servers did not become quiet:", last)
	}
}

// load lets clients, faults, operators and monitors work until the time is over.
func (r *run) load(ctx context.Context) {
	faults, stopFaults := context.WithTimeout(ctx, r.duration-r.calmEnd())
	defer stopFaults()
	clients, stopClients := context.WithTimeout(ctx, r.duration)
	defer stopClients()
	var group sync.WaitGroup
	group.Go(func() { r.watchStalls(clients) })
	r.startFaults(faults, &group)
	group.Go(func() { r.operate(faults) })
	group.Go(func() { r.monitor(clients) })
	r.startClients(clients, &group)
	group.Wait()
}

// takeAllSlots sends as many requests at once as there are slots, when all others have
// ended. A slot whose question was not answered is free a lease later.
func (r *run) takeAllSlots(ctx context.Context) {
	pause(ctx, routes.Lease+time.Second)
	var group sync.WaitGroup
	for _, k := range kinds {
		for number := 0; k.name == "busy" && number*k.group < k.count(r.clients); number++ {
			c, route := r.newClient(k.name, number), routes.ByPath(k.paths[number%len(k.paths)])
			c.kind = "last"
			for range route.Slots {
				process := c.anyProcess()
				group.Go(func() { c.send(ctx, route, request{process: process, hold: time.Second}) })
			}
		}
	}
	group.Wait()
}

// calmEnd is how long there are no faults at the end.
func (r *run) calmEnd() time.Duration { return min(15*time.Second, r.duration/5) }

// since turns Unix microseconds into microseconds since the start.
func (r *run) since(unix int64) int64 { return unix - r.begun.UnixMicro() }

// now is the time since the start, in microseconds.
func (r *run) now() int64 { return time.Since(r.begun).Microseconds() }

// sampleAll samples the servers over connections that are closed before.
func (r *run) sampleAll(collect bool) (list []history.Sample) {
	for _, server := range r.lasting() {
		server.client.CloseIdleConnections()
		s, err := server.sample(collect)
		if err != nil {
			r.pollFailed(err)
			continue
		}
		s.At = r.now()
		list = append(list, s)
	}
	return list
}

func (r *run) pollFailed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.PollFailures = append(r.history.PollFailures, fmt.Sprintf("%v after the start: %v", time.Since(r.begun).Round(time.Millisecond), err))
}

// stallAfter is how late a tick of the harness may be.
const stallAfter = 100 * time.Millisecond

// watchStalls notes when this process did not run, as on a machine that is too busy.
func (r *run) watchStalls(ctx context.Context) {
	const tick = 20 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for last := r.now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := r.now()
		if now-last > (tick + stallAfter).Microseconds() {
			r.mu.Lock()
			r.history.Stalls = append(r.history.Stalls, history.Span{From: last, To: now})
			r.mu.Unlock()
		}
		last = now
	}
}

// pause lets time pass, and reports whether the context has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

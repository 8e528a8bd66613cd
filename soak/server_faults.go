package main

import (
	"context"
	"syscall"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

var serverFaults = []fault{
	{routes.Server, "killed and restarted", false, true, 100 * time.Millisecond, 4 * time.Second, (*run).killServer},
	{routes.Server, "stopped and continued", true, false, 500 * time.Millisecond, 8 * time.Second, (*run).stopServer},
}

// victim is the server that is killed and stopped.
func (r *run) victim() *process { return r.servers[routes.Victim] }

// killServer kills a server, and starts it again with the limits that are in force.
func (r *run) killServer(ctx context.Context, d time.Duration) error {
	r.operations.Lock()
	defer r.operations.Unlock()
	exit := r.victim().kill()
	r.mu.Lock()
	r.history.Exits = append(r.history.Exits, exit)
	r.mu.Unlock()
	pause(ctx, d)
	r.victim().Default = r.defaultUnits
	return r.victim().start()
}

// stopServer stops a server, and continues it.
func (r *run) stopServer(ctx context.Context, d time.Duration) error {
	r.operations.Lock()
	defer r.operations.Unlock()
	if err := r.victim().signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, d)
	return r.victim().signal(syscall.SIGCONT)
}

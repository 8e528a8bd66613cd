package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// fault is something that can be done to a Redis or to a server.
type fault struct {
	store         string
	kind          string
	outage, loses bool
	shortest      time.Duration // how long it lasts
	longest       time.Duration
	inflict       func(r *run, ctx context.Context, d time.Duration) error
}

var singleFaults = []fault{
	{routes.Single, "kill and restart", true, true, 200 * time.Millisecond, 8 * time.Second, (*run).killSingle},
	{routes.Single, "stop and continue", true, false, 50 * time.Millisecond, 6 * time.Second, (*run).stopSingle},
	{routes.Single, "out of memory", true, false, time.Second, 5 * time.Second, (*run).fillSingle},
	{routes.Single, "FLUSHALL", false, true, 0, 0, (*run).flushSingle},
}

var sentinelFaults = []fault{
	{routes.Sentinel, "master killed, failover", true, true, time.Second, 4 * time.Second, (*run).killMaster},
	{routes.Sentinel, "failover on command", true, true, 0, 0, (*run).switchMaster},
	{routes.Sentinel, "master stopped, failover", true, true, 0, 0, (*run).stopMaster},
	{routes.Sentinel, "FLUSHALL", false, true, 0, 0, (*run).flushMaster},
}

// startFaults inflicts faults on each store, and on one of the servers, one after the other.
func (r *run) startFaults(ctx context.Context, group *sync.WaitGroup) {
	group.Go(func() { r.inflictAll(ctx, singleFaults, 1) })
	group.Go(func() { r.inflictAll(ctx, sentinelFaults, 2) })
	group.Go(func() { r.inflictAll(ctx, serverFaults, 4) })
	group.Go(func() { r.inflictAll(ctx, clusterFaults(), 5) })
}

// inflictAll inflicts faults until the context ends, each kind as often as the others. A
// fault that has begun goes on to its end.
func (r *run) inflictAll(ctx context.Context, kinds []fault, stream uint64) {
	kinds = slices.Clone(kinds)
	random := rand.New(rand.NewPCG(r.seed, stream))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)+1))
	}
	least, most := 12*time.Second, 30*time.Second
	if r.duration < time.Minute { // a short run has to see some
		least, most = 3*time.Second, 5*time.Second
	}
	for turn := 0; ; turn++ {
		if turn%len(kinds) == 0 {
			random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		}
		if !pause(ctx, between(least, most)) {
			return
		}
		chosen := kinds[turn%len(kinds)]
		length := between(chosen.shortest, chosen.longest)
		if r.duration < time.Minute {
			length = min(length, 2*time.Second)
		}
		began := r.now()
		err := chosen.inflict(r, context.WithoutCancel(ctx), length)
		entry := history.Fault{
			Span: history.Span{From: began, To: r.now()}, Store: chosen.store,
			Kind: chosen.kind, Outage: chosen.outage, Loses: chosen.loses,
		}
		r.mu.Lock()
		r.history.Faults = append(r.history.Faults, entry)
		r.mu.Unlock()
		if err != nil {
			fmt.Fprintf(os.Stderr, "soak: %s of %s: %v\n", chosen.kind, chosen.store, err)
		}
		if chosen.store == routes.Sentinel { // before the next fault, outside of this one
			if err := r.group.AwaitReady(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintf(os.Stderr, "soak: after %s: %v\n", chosen.kind, err)
			}
		}
	}
}

func (r *run) killSingle(ctx context.Context, d time.Duration) error {
	r.single.Kill()
	pause(ctx, d)
	return r.single.Restart(ctx)
}

func (r *run) stopSingle(ctx context.Context, d time.Duration) error {
	if err := r.single.Pause(); err != nil {
		return err
	}
	pause(ctx, d)
	return r.single.Continue()
}

func (r *run) flushSingle(ctx context.Context, _ time.Duration) error {
	return r.single.Client.FlushAll(ctx).Err()
}

// fillSingle writes until the server has no memory left, and frees it later. In between it
// lowers the maximum, as buffers that the server frees would make room again.
func (r *run) fillSingle(ctx context.Context, d time.Duration) error {
	client := r.single.Client
	if err := client.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err(); err != nil {
		return err
	}
	used, err := client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return err
	}
	var bytes int
	if _, err := fmt.Sscan(used["Memory"]["used_memory"], &bytes); err != nil {
		return err
	}
	if err := client.ConfigSet(ctx, "maxmemory", fmt.Sprint(bytes+1<<20)).Err(); err != nil {
		return err
	}
	var written []string
	junk := strings.Repeat("x", 1<<16)
	for i := range 1000 {
		key := fmt.Sprint("junk:", i)
		if err = client.Set(ctx, key, junk, 0).Err(); err != nil {
			break
		}
		written = append(written, key)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		return fmt.Errorf("the server did not run out of memory: %w", err)
	}
	if err := client.ConfigSet(ctx, "maxmemory", fmt.Sprint(bytes)).Err(); err != nil {
		return err
	}
	pause(ctx, d)
	if err := client.Del(ctx, written...).Err(); err != nil {
		return err
	}
	return client.ConfigSet(ctx, "maxmemory", "0").Err()
}

// killMaster kills the master, and starts it again later as a replica of its successor.
func (r *run) killMaster(ctx context.Context, d time.Duration) error {
	master, replica, err := r.group.Roles(ctx)
	if err != nil {
		return err
	}
	master.Kill()
	err = r.group.AwaitMaster(ctx, replica)
	go func() {
		pause(ctx, d)
		_ = r.group.Rejoin(ctx, master, replica) // AwaitReady reports that it did not
	}()
	return err
}

// switchMaster lets the Sentinels promote the replica while the master works.
func (r *run) switchMaster(ctx context.Context, _ time.Duration) error {
	_, replica, err := r.group.Roles(ctx)
	if err != nil {
		return err
	}
	if err := r.group.Failover(ctx); err != nil {
		return err
	}
	return r.group.AwaitMaster(ctx, replica)
}

// stopMaster stops the master until another is promoted. When it continues, it acts as a
// master until the Sentinels demote it.
func (r *run) stopMaster(ctx context.Context, _ time.Duration) error {
	master, replica, err := r.group.Roles(ctx)
	if err != nil {
		return err
	}
	if err := master.Pause(); err != nil {
		return err
	}
	err = r.group.AwaitMaster(ctx, replica)
	if err := master.Continue(); err != nil {
		return err
	}
	return err
}

func (r *run) flushMaster(ctx context.Context, _ time.Duration) error {
	master, _, err := r.group.Roles(ctx)
	if err != nil {
		return err
	}
	return master.Client.FlushAll(ctx).Err()
}

package main

import (
	"context"
	"errors"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// clusterFaults are those of each node of the Cluster.
func clusterFaults() (all []fault) {
	for node := range routes.Nodes {
		all = append(all, faultsOfNode(node)...)
	}
	return all
}

func faultsOfNode(node int) []fault {
	store := routes.NodeStore(node)
	on := func(inflict func(*run, context.Context, int, time.Duration) error) func(*run, context.Context, time.Duration) error {
		return func(r *run, ctx context.Context, d time.Duration) error { return inflict(r, ctx, node, d) }
	}
	return []fault{
		{store, "kill and restart", true, true, 200 * time.Millisecond, 5 * time.Second, on((*run).killNode)},
		{store, "stop and continue", true, false, 200 * time.Millisecond, 6 * time.Second, on((*run).stopNode)},
		{store, "FLUSHALL", false, true, 0, 0, on((*run).flushNode)},
		{store, "slots moved, and back", false, false, 500 * time.Millisecond, 3 * time.Second, on((*run).moveSlots)},
	}
}

// killNode kills a node, and restarts it without its counters. It takes two seconds until
// it dares to write.
func (r *run) killNode(ctx context.Context, node int, d time.Duration) error {
	r.cluster[node].Kill()
	pause(ctx, d)
	if err := r.cluster[node].Restart(ctx); err != nil {
		return err
	}
	return r.cluster.AwaitReady(ctx)
}

func (r *run) stopNode(ctx context.Context, node int, d time.Duration) error {
	if err := r.cluster[node].Pause(); err != nil {
		return err
	}
	pause(ctx, d)
	if err := r.cluster[node].Continue(); err != nil {
		return err
	}
	return r.cluster.AwaitReady(ctx)
}

func (r *run) flushNode(ctx context.Context, node int, _ time.Duration) error {
	return r.cluster[node].Client.FlushAll(ctx).Err()
}

// slotsToMove is how many slots move at a time.
const slotsToMove = 16

// moveSlots moves slots that are in use to the next node, and back.
func (r *run) moveSlots(ctx context.Context, node int, d time.Duration) error {
	slots, err := r.cluster.SlotsInUse(ctx, node, slotsToMove)
	if err != nil {
		return err
	}
	next := (node + 1) % len(r.cluster)
	err = r.cluster.MoveSlots(ctx, slots, node, next)
	pause(ctx, d)
	return errors.Join(err, r.cluster.MoveSlots(ctx, slots, next, node))
}

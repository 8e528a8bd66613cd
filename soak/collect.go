package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/instances"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// mostKeys is how many keys that are wrong are kept of each Redis.
const mostKeys = 20

// lookIntoStores looks for keys in the Redis servers that do not expire, and for keys of the
// Cluster that are not where the model expects them.
func (r *run) lookIntoStores(ctx context.Context) error {
	master, _, err := r.group.Roles(ctx)
	if err != nil {
		return err
	}
	servers := map[string]*instances.Server{routes.Single: r.single, routes.Sentinel: master}
	for n, node := range r.cluster {
		servers[routes.NodeStore(n)] = node
	}
	for name, server := range servers {
		store := history.Store{Name: name}
		keys := server.Client.Scan(ctx, 0, "*", 1000).Iterator()
		for keys.Next(ctx) {
			key := keys.Val()
			left, err := server.Client.PTTL(ctx, key).Result()
			if err != nil {
				return err
			}
			if store.Keys++; left == -1 && len(store.Eternal) < mostKeys { // -1 says that it does not expire
				store.Eternal = append(store.Eternal, key)
			}
			if routes.IsOn(routes.Cluster, name) && name != routes.NodeStore(routes.NodeOf(key)) && len(store.Astray) < mostKeys {
				store.Astray = append(store.Astray, key)
			}
		}
		if err := keys.Err(); err != nil {
			return err
		}
		r.history.Stores = append(r.history.Stores, store)
	}
	return nil
}

// stop ends the servers and reads their logs.
func (r *run) stop() (failed error) {
	for _, server := range r.servers {
		exit, summary, err := server.stop()
		r.history.Exits = append(r.history.Exits, exit)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		failed = errors.Join(failed, r.readLogs(server, summary))
	}
	r.history.ClockDrift = time.Since(r.begun) - time.Since(r.begun.Round(0))
	return failed
}

// readLogs reads what the limiters of a server have written.
func (r *run) readLogs(server *process, summary map[string]history.Log) error {
	alone, err := readAlone(r.folder, server.Process)
	if err != nil {
		return err
	}
	for _, limiter := range routes.Limiters {
		log, err := readLog(r.folder, server.Process, limiter)
		if err != nil {
			return fmt.Errorf("the log of %s in server %d: %w", limiter, server.Process, err)
		}
		log.From = r.since(server.started.UnixMicro())
		log.Events, log.UnwellDecisions = summary[limiter].Events, summary[limiter].UnwellDecisions
		log.Unwell = map[string][]history.Span{}
		for _, opened := range alone[limiter].opened {
			log.Opened = append(log.Opened, r.since(opened))
		}
		for store, spans := range alone[limiter].spans {
			for _, span := range spans {
				log.Unwell[store] = append(log.Unwell[store], history.Span{From: r.since(span.From), To: r.since(span.To)})
			}
		}
		r.history.Logs = append(r.history.Logs, log)
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// operate resets and bans clients, resets everything, and changes limits.
func (r *run) operate(ctx context.Context) {
	random := rand.New(rand.NewPCG(r.seed, 3))
	least, most := 3*time.Second, 9*time.Second
	if r.duration < time.Minute {
		least, most = time.Second, 3*time.Second
	}
	for turn := 0; pause(ctx, least+time.Duration(random.Int64N(int64(most-least)))); turn++ {
		r.operations.Lock()
		r.operateOnce(random, turn)
		r.operations.Unlock()
	}
}

func (r *run) operateOnce(random *rand.Rand, turn int) {
	switch {
	case turn%20 == 7:
		limiter := routes.Limiters[random.IntN(len(routes.Limiters))]
		r.change(random.IntN(routes.Processes), history.Change{Kind: "reset all", Limiter: limiter},
			"/admin/reset-all?limiter="+limiter)
	case turn%4 == 3:
		r.defaultUnits = routes.LowerUnits + routes.DefaultUnits - r.defaultUnits
		r.update()
	case turn%4 == 1:
		r.toClient(random, "ban")
	default:
		r.toClient(random, "reset")
	}
}

// update changes the limits of one server after the other.
func (r *run) update() {
	query := url.Values{"default": {defaultLimits(r.defaultUnits)}, "application": {applicationLimits(r.defaultUnits)}}
	for n := range r.servers {
		r.change(n, history.Change{Kind: "update", Limiter: routes.Shared}, "/admin/update?"+query.Encode())
	}
}

// toClient resets or bans a client that is being limited on some route.
func (r *run) toClient(random *rand.Rand, operation string) {
	var limited []kind
	for _, k := range kinds {
		if k.name == "obedient" || k.name == "burst" || k.name == "hammer" || k.name == "banned" || k.name == "calendar" {
			limited = append(limited, k)
		}
	}
	k := limited[random.IntN(len(limited))]
	number := random.IntN(k.count(r.clients))
	route, client := routes.ByPath(k.paths[number%len(k.paths)]), r.newClient(k.name, number)
	change := history.Change{Kind: operation, Limiter: route.Limiter, Key: route.Key(), Scope: client.scopeOn(route)}
	query := url.Values{"limiter": {route.Limiter}, "key": {change.Key}, "scope": {change.Scope}}
	r.change(random.IntN(routes.Processes), change, "/admin/"+operation+"?"+query.Encode())
}

// change calls an operation of a server, and notes it.
func (r *run) change(process int, change history.Change, path string) {
	change.Process, change.From = process, r.now()
	response, err := r.servers[process].client.Post(r.servers[process].url+path, "", nil)
	if err == nil {
		text, _ := io.ReadAll(response.Body) // it is only shown
		_ = response.Body.Close()            // it was read
		if response.StatusCode != http.StatusNoContent {
			err = fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text)))
		}
	}
	change.To = r.now()
	if err != nil {
		change.Failure = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Changes = append(r.history.Changes, change)
}

// monitor polls samples, metrics and dashboards of the servers that are not killed.
func (r *run) monitor(ctx context.Context) {
	const every = 2 * time.Second
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	collectEvery := max(5, int(r.duration/every/60))
	for turn := 1; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for n, server := range r.lasting() {
			s, err := server.sample(turn%collectEvery == 0)
			if err != nil {
				r.pollFailed(err)
				continue
			}
			s.At = r.now()
			r.mu.Lock()
			r.history.Samples = append(r.history.Samples, s)
			r.history.Polls += 3
			r.mu.Unlock()
			r.poll(ctx, n, "/admin/metrics", "ratelimiter_decisions_total")
			limiter := routes.Limiters[turn%2]
			r.poll(ctx, n, "/admin/limits-"+limiter+"/", "<html")
			if turn%5 == 0 {
				r.poll(ctx, n, "/admin/limits-"+limiter+"/events", "data:")
			}
		}
	}
}

// poll reads an answer of a server until it has seen what it looks for.
func (r *run) poll(ctx context.Context, process int, path, wanted string) {
	patient, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.look(patient, process, path, wanted); err != nil && ctx.Err() == nil {
		r.pollFailed(fmt.Errorf("%s: %w", path, err))
	}
}

func (r *run) look(ctx context.Context, process int, path, wanted string) error {
	message, err := http.NewRequestWithContext(ctx, http.MethodGet, r.servers[process].url+path, nil)
	if err != nil {
		return err
	}
	response, err := r.servers[process].client.Do(message)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // a stream does not end by itself
	var seen strings.Builder
	piece := make([]byte, 1<<16)
	for {
		n, err := response.Body.Read(piece)
		seen.Write(piece[:n])
		switch {
		case strings.Contains(seen.String(), wanted):
			return nil
		case err != nil:
			return fmt.Errorf("no %q in the answer (%s): %w", wanted, response.Status, err)
		}
	}
}

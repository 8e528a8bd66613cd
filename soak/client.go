package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// client is one of the clients. Its methods may be called by one goroutine at a time,
// but for send.
type client struct {
	run     *run
	kind    string
	address string
	group   string // X-Group, for routes that limit groups
	random  *rand.Rand
}

// kindNames are the kinds of clients. The place of a kind is in the addresses of its clients.
var kindNames = []string{"warm-up", "visitor", "polite", "obedient", "burst", "hammer", "banned", "leaver", "waiter",
	"slow", "busy", "cost", "chat", "login", "stranger", "plan", "leased", "calendar"} // and "last", which have the addresses of others

// newClient makes a client with an address of its own.
func (r *run) newClient(kind string, number int) *client {
	kindNumber := slices.Index(kindNames, kind)
	return &client{
		run: r, kind: kind,
		address: fmt.Sprintf("10.%d.%d.%d", kindNumber, number/250, number%250+1),
		group:   fmt.Sprintf("%s-%d", kind, number),
		random:  rand.New(rand.NewPCG(r.seed, uint64(kindNumber*10_000+number))),
	}
}

// between draws a duration.
func (c *client) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.random.Int64N(int64(most-least)+1))
}

// request is what differs between the requests to a route.
type request struct {
	process int // of the server; see anyProcess
	cost    int
	actual  int // cost of a chat
	plan    int
	hold    time.Duration
	right   bool // password
	body    io.Reader
}

func (c *client) anyProcess() int { return c.random.IntN(routes.Processes) }

// send sends a request, and notes what came of it.
func (c *client) send(ctx context.Context, route *routes.Route, what request) history.Request {
	server := c.run.servers[what.process]
	record := history.Request{
		Kind: c.kind, Path: route.Path, Scope: c.scopeOn(route), Process: what.process,
		Cost: what.cost, Actual: what.actual, Plan: what.plan,
	}
	if route.Path == "/chat" {
		record.Cost = estimate
	}
	query := url.Values{}
	query.Set("cost", strconv.Itoa(what.cost))
	query.Set("actual", strconv.Itoa(what.actual))
	query.Set("plan", strconv.Itoa(what.plan))
	query.Set("hold", strconv.FormatInt(what.hold.Milliseconds(), 10))
	if what.right {
		query.Set("password", "right")
	}
	message, err := http.NewRequestWithContext(ctx, route.Method, server.url+route.Path+"?"+query.Encode(), what.body)
	if err != nil {
		panic(err) // the addresses are made here
	}
	message.Header.Set("X-Forwarded-For", c.address)
	message.Header.Set("X-Group", c.group)
	record.Sent = c.run.now()
	err = c.exchange(server.client, message, &record)
	record.Received = c.run.now()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		record.Status, record.Started = history.Left, 0
	default:
		record.Status, record.Failure = history.Broken, err.Error()
	}
	c.run.mu.Lock()
	c.run.history.Requests = append(c.run.history.Requests, record)
	c.run.mu.Unlock()
	return record
}

func (c *client) scopeOn(route *routes.Route) string {
	if route.Group {
		return c.group
	}
	return c.address
}

// exchange sends a message and reads the answer.
func (c *client) exchange(over *http.Client, message *http.Request, record *history.Request) error {
	response, err := over.Do(message)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was read, or is of no use
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	record.Status = response.StatusCode
	record.RetryAfter, _ = strconv.Atoi(response.Header.Get("Retry-After")) // 0 where there is none
	record.Banned = strings.Contains(string(text), "is banned")
	if started, err := strconv.ParseInt(response.Header.Get(startedHeader), 10, 64); err == nil {
		record.Started = c.run.since(started)
	}
	if ended, err := strconv.ParseInt(response.Header.Get(endedHeader), 10, 64); err == nil {
		record.Ended = c.run.since(ended)
	}
	return nil
}

// slowBody is a body that comes in pieces.
type slowBody struct {
	ctx    context.Context
	pieces int
	pause  time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.pieces == 0 {
		return 0, io.EOF
	}
	b.pieces--
	if !pause(b.ctx, b.pause) {
		return 0, b.ctx.Err()
	}
	return copy(p, "a piece of a body that takes its time\n"), nil
}

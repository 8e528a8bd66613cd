package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// makeTraffic sends requests from many clients until the context ends.
func makeTraffic(ctx context.Context, url string) {
	var clients sync.WaitGroup
	every := func(period time.Duration, act func()) {
		clients.Go(func() {
			for pause(ctx, time.Duration(rand.Int64N(int64(period)))); ctx.Err() == nil; pause(ctx, period) {
				act()
			}
		})
	}
	// Visitors that search now and then.
	for i := range 30 {
		every(2*time.Second, func() { send(ctx, "GET", url+"/search?q=shoes", address(i)) })
	}
	// A client without back-off: thirty requests at once, every five seconds.
	every(5*time.Second, func() {
		for range 30 {
			send(ctx, "GET", url+"/search?q=boots", "203.0.113.77")
		}
	})
	// A client that guesses passwords, and users that know theirs.
	every(2*time.Second, func() { send(ctx, "POST", url+"/login?password=guess", "192.0.2.66") })
	for i := range 10 {
		every(10*time.Second, func() { send(ctx, "POST", url+"/login?password=right", address(i)) })
	}
	// Customers that fetch files, one of them continuously.
	for i := range 8 {
		every(3*time.Second, func() {
			send(ctx, "GET", fmt.Sprintf("%s/files/%d", url, i), address(i), "X-API-Key", fmt.Sprint("customer-", i))
		})
	}
	every(250*time.Millisecond, func() {
		send(ctx, "GET", url+"/files/all", "2001:db8:5::1", "X-API-Key", "customer-in-a-hurry")
	})
	for i := range 3 {
		every(2*time.Second, func() { send(ctx, "POST", url+"/chat", address(50+i)) })
	}
	// Reports that wait for their turn.
	for range 3 {
		every(2*time.Second, func() { send(ctx, "GET", url+"/report", "198.51.100.200") })
	}
	clients.Wait()
}

// address is the address of a visitor.
func address(i int) string { return fmt.Sprintf("198.51.100.%d", i) }

// pause waits for a duration or the end of the context.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// send sends a request from a client and ignores the result.
func send(ctx context.Context, method, url, client string, header ...string) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return
	}
	request.Header.Set("X-Forwarded-For", client)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, response.Body) // so that the connection can be reused
	_ = response.Body.Close()
}

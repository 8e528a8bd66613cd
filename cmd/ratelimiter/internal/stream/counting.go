package stream

import "github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"

// counting adds requests to a census in its own goroutine. It is half of the work that cannot
// run on all cores.
type counting struct {
	block  []waiter
	blocks chan []waiter
	done   chan struct{}
}

const (
	blockRequests = 1024
	aheadBlocks   = 16
)

func startCounting(census *traffic.Census) *counting {
	c := &counting{blocks: make(chan []waiter, aheadBlocks), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for block := range c.blocks {
			for _, w := range block {
				census.Add(w.time, w.id, w.traits)
			}
		}
	}()
	return c
}

func (c *counting) add(now int64, id uint32, traits traffic.Traits) {
	if c.block == nil {
		c.block = make([]waiter, 0, blockRequests)
	}
	c.block = append(c.block, waiter{now, id, traits})
	if len(c.block) == blockRequests {
		c.blocks <- c.block
		c.block = nil
	}
}

// finish waits until all requests are counted.
func (c *counting) finish() {
	c.blocks <- c.block
	close(c.blocks)
	<-c.done
}

package pages_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestMailsToAnAddressAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, limiter := application(t, ratelimiter.Config{"RATELIMITER_ALGORITHM": "sliding-log"})
		delivered := 0
		deliver := func(_, text string) error {
			if text == "" {
				return errors.New("an empty mail")
			}
			delivered++
			return nil
		}

		perAddress := ratelimiter.Limit{Limit: 3, Per: time.Hour}

		sendMail := func(ctx context.Context, address, text string) error {
			info, err := limiter.Take(ctx, perAddress, "mail", ratelimiter.Join(address), 1)
			if err != nil {
				return err
			}
			if info.Exceeded {
				return fmt.Errorf("%s got %d mails in %v; the next one may be sent in %v", address, info.Limit, info.Per, info.RetryAfter)
			}
			return deliver(address, text)
		}

		for range 3 {
			require.NoError(t, sendMail(t.Context(), "ann@example.org", "hello"))
		}
		require.EqualError(t, sendMail(t.Context(), "ann@example.org", "hello"),
			"ann@example.org got 3 mails in 1h0m0s; the next one may be sent in 1h0m0s")
		require.NoError(t, sendMail(t.Context(), "ben@example.org", "hello"))
		pass(time.Hour)
		require.NoError(t, sendMail(t.Context(), "ann@example.org", "hello"))
		require.Equal(t, 5, delivered)
	})
}

func TestTheConnectionsOfAUserShareALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		_, limiter := application(t, nil)
		handled := 0
		handle := func(string) { handled++ }

		perUser := ratelimiter.Limit{Limit: 5, Per: time.Second}

		receive := func(ctx context.Context, user string, messages <-chan string) error {
			for message := range messages {
				info, err := limiter.Take(ctx, perUser, "messages", user, 1)
				switch {
				case err != nil:
					return err
				case info.Exceeded:
					return fmt.Errorf("too many messages: wait %v", info.RetryAfter)
				}
				handle(message)
			}
			return nil
		}

		connection := func(n int) <-chan string {
			messages := make(chan string, n)
			for range n {
				messages <- "hello"
			}
			close(messages)
			return messages
		}
		require.NoError(t, receive(t.Context(), "ann", connection(3)))
		require.ErrorContains(t, receive(t.Context(), "ann", connection(9)), "too many messages")
		require.NoError(t, receive(t.Context(), "ben", connection(5)))
		require.Equal(t, 10, handled)
	})
}

func TestScheduledExportsAndExportsOnTheWebsiteShareACounter(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) { c.Set("user", c.GetHeader("X-User")) })
	export := ok

	engine.POST("/export", limiter.RateLimit(10, 24*time.Hour,
		ratelimiter.WithKey(ratelimiter.Shared("export")), ratelimiter.WithScope(ratelimiter.ByContext("user"))), export)

	scheduled := func(ctx context.Context, user string) (bool, error) {
		info, err := limiter.Take(ctx, ratelimiter.Limit{Limit: 10, Per: 24 * time.Hour}, "export", user, 1)
		return err == nil && !info.Exceeded, err
	}

	for range 5 {
		require.Equal(t, 200, ask(engine, http.MethodPost, "/export", with("X-User", "ann")).Code)
		allowed, err := scheduled(t.Context(), "ann")
		require.NoError(t, err)
		require.True(t, allowed)
	}
	require.Equal(t, 429, ask(engine, http.MethodPost, "/export", with("X-User", "ann")).Code)
	allowed, err := scheduled(t.Context(), "ann")
	require.NoError(t, err)
	require.False(t, allowed)
}

package pages_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// piece is a part of an answer with its number of tokens.
type piece struct {
	text   string
	tokens int
}

// model replaces a language model. The request contains its answer: the tokens of each piece,
// "fail" where it fails, and "leave" where the client disconnects.
type model struct{ leave func() }

func (m model) stream(ctx context.Context, body string) func(yield func(piece, error) bool) {
	return func(yield func(piece, error) bool) {
		for _, word := range strings.Fields(body) {
			if word == "leave" {
				m.leave()
			}
			tokens, _ := strconv.Atoi(word)
			err := ctx.Err()
			if word == "fail" {
				err = errors.New("the model has failed")
			}
			if !yield(piece{word, tokens}, err) || err != nil {
				return
			}
		}
	}
}

func (m model) answer(ctx context.Context, body string) (text string, tokens int, err error) {
	for piece, err := range m.stream(ctx, body) {
		if err != nil {
			return "", 0, err
		}
		text, tokens = text+piece.text, tokens+piece.tokens
	}
	return text, tokens, nil
}

// tokensApplication is the application of the page count-tokens.md.
func tokensApplication(t *testing.T, model model) (*gin.Engine, *ratelimiter.RateLimiter) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) { c.Set("user", c.GetHeader("X-User")) })

	const maxTokens = 400 // passed to the model as max_tokens
	estimate := func(c *gin.Context) int { return int(max(0, c.Request.ContentLength))/4 + maxTokens }

	tokens := limiter.RateLimit(10_000, 24*time.Hour,
		ratelimiter.WithName("tokens"),
		ratelimiter.WithKey(ratelimiter.Shared("tokens")), ratelimiter.WithScope(ratelimiter.ByContext("user")),
		ratelimiter.WithCost(estimate))

	engine.POST("/chat", tokens, func(c *gin.Context) {
		prompt, err := c.GetRawData()
		if err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		answer, used, err := model.answer(c.Request.Context(), string(prompt))
		if err != nil && c.Request.Context().Err() != nil {
			return // the client has disconnected: the estimate stays charged
		}
		if charged := ratelimiter.SetCost(c, used); charged != nil {
			_ = c.Error(charged) // the estimate stays charged
		}
		if err != nil {
			c.Status(http.StatusBadGateway)
			return
		}
		c.String(http.StatusOK, answer)
	})

	engine.POST("/chat/stream", tokens, func(c *gin.Context) {
		prompt, err := c.GetRawData()
		if err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		unpaid := -estimate(c) // the estimate is already charged
		defer func() { _ = ratelimiter.AddCost(c, unpaid) }()
		for piece, err := range model.stream(c.Request.Context(), string(prompt)) {
			if err != nil {
				return // the client has disconnected or the model has failed: charge what was generated
			}
			if unpaid += piece.tokens; unpaid >= 100 && ratelimiter.AddCost(c, unpaid) == nil {
				unpaid = 0
			}
			c.SSEvent("message", piece.text)
			c.Writer.Flush()
		}
	})

	// 60 requests a minute and 100 megabytes a day.
	bytes := limiter.RateLimit(60, time.Minute,
		ratelimiter.WithLimit(100_000_000, 24*time.Hour, ratelimiter.WithName("bytes"), ratelimiter.WithCost(0)))
	countBytes := func(c *gin.Context) {
		defer func() { _ = ratelimiter.SetCost(c, max(0, c.Writer.Size())) }()
		c.Next()
	}
	engine.GET("/export", bytes, countBytes, func(c *gin.Context) {
		_, _ = io.Copy(c.Writer, strings.NewReader(strings.Repeat("x", 60_000_000)))
	})
	return engine, limiter
}

func chat(handler http.Handler, path, body string, change ...func(*http.Request)) int {
	change = append(change, with("X-User", "ann"), func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	})
	return ask(handler, http.MethodPost, path, change...).Code
}

func tokensUsed(t *testing.T, limiter *ratelimiter.RateLimiter) int64 {
	limits, err := limiter.Status(t.Context(), "tokens", "ann")
	require.NoError(t, err)
	require.Len(t, limits, 1)
	return limits[0].Limit - limits[0].Remaining
}

func TestTheTokensUsedAreCharged(t *testing.T) {
	for name, test := range map[string]struct {
		path, body string
		status     int
		used       int64
	}{
		"fewer than the estimate":              {"/chat", "30 20", 200, 50},
		"more than the estimate":               {"/chat", "900", 200, 900},
		"a model that fails costs nothing":     {"/chat", "30 fail", 502, 0},
		"a stream, fewer than the estimate":    {"/chat/stream", "30 20 10", 200, 60},
		"a stream, more than the estimate":     {"/chat/stream", "300 300 300", 200, 900},
		"a stream that fails costs what it is": {"/chat/stream", "300 fail", 200, 300},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := tokensApplication(t, model{})
			require.Equal(t, test.status, chat(engine, test.path, test.body))
			require.Equal(t, test.used, tokensUsed(t, limiter))
		})
	}
}

func TestAClientThatDisconnectsPaysForGeneratedTokens(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	engine, limiter := tokensApplication(t, model{leave})
	chat(engine, "/chat/stream", "300 200 leave 300", func(r *http.Request) { *r = *r.WithContext(ctx) })
	require.EqualValues(t, 500, tokensUsed(t, limiter))
	ctx, leave = context.WithCancel(t.Context())
	engine, limiter = tokensApplication(t, model{leave})
	chat(engine, "/chat", "300 200 leave 300", func(r *http.Request) { *r = *r.WithContext(ctx) })
	require.EqualValues(t, 400+17/4, tokensUsed(t, limiter), "the estimate, if the usage is unknown")
}

func TestALowEstimateExceedsTheLimitOnce(t *testing.T) {
	engine, limiter := tokensApplication(t, model{})
	require.Equal(t, 200, chat(engine, "/chat", "9000"))
	require.Equal(t, 200, chat(engine, "/chat", "9000"), "there was room for the estimate")
	require.EqualValues(t, 10_000, tokensUsed(t, limiter), "nothing remains")
	require.Equal(t, 429, chat(engine, "/chat", "1"))
	require.Equal(t, 429, chat(engine, "/chat/stream", "1"), "one limit for both")
}

func TestTheEstimateIsReserved(t *testing.T) {
	var engine *gin.Engine
	others := []int{}
	engine, _ = tokensApplication(t, model{leave: func() { others = append(others, chat(engine, "/chat", "1")) }})
	require.Equal(t, 200, chat(engine, "/chat", "9500"))
	require.Equal(t, 200, chat(engine, "/chat/stream", "leave 1 leave"))
	require.Equal(t, []int{429, 429}, others,
		"500 are left, and 400 of them are reserved until the stream ends")
	require.Equal(t, 200, chat(engine, "/chat", "1"))
}

func TestARequestForMoreThanTheLimitIsRejected(t *testing.T) {
	engine, _ := tokensApplication(t, model{})
	require.Equal(t, 429, chat(engine, "/chat", strings.Repeat("1 ", 30_000)))
}

// sink discards what is written to it.
type sink struct{ *httptest.ResponseRecorder }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func TestBytesAreChargedAfterTheResponse(t *testing.T) {
	engine, _ := tokensApplication(t, model{})
	for _, status := range []int{200, 200, 429} {
		answer := sink{httptest.NewRecorder()}
		engine.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/export", nil))
		require.Equal(t, status, answer.Code)
	}
}

package pages_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// loginApplication is the application of the page limit-logins.md.
func loginApplication(t *testing.T, check func(account, password string) bool) (*gin.Engine, *ratelimiter.RateLimiter) {
	engine, limiter := application(t, nil)

	readAccount := func(c *gin.Context) {
		c.Set("account", strings.ToLower(strings.TrimSpace(c.PostForm("account"))))
	}
	failed := func(c *gin.Context) bool { return c.Writer.Status() == http.StatusUnauthorized }
	account, address := ratelimiter.ByContext("account"), limiter.ByAddress(32, 64)

	engine.POST("/login", readAccount, limiter.RateLimit(5, 15*time.Minute,
		ratelimiter.WithCountIf(failed),
		ratelimiter.WithName("guesses"),
		ratelimiter.WithKey(ratelimiter.Shared("login")), ratelimiter.WithScope(account, address),
		ratelimiter.WithLimit(50, 15*time.Minute, ratelimiter.WithName("account"),
			ratelimiter.WithKey(ratelimiter.Shared("login of account")), ratelimiter.WithScope(account)),
		ratelimiter.WithLimit(100, 15*time.Minute, ratelimiter.WithName("address"),
			ratelimiter.WithKey(ratelimiter.Shared("login from address")), ratelimiter.WithScope(address)),
		ratelimiter.WithBan(10, time.Hour, 24*time.Hour),
	), func(c *gin.Context) {
		if !check(c.GetString("account"), c.PostForm("password")) {
			c.String(http.StatusUnauthorized, "Wrong account or password.\n")
			return
		}
		clearFailures(c, limiter)
		c.String(http.StatusOK, "Welcome.\n")
	})

	solved := func(c *gin.Context) bool { return c.PostForm("captcha") == "solved" }
	engine.POST("/captcha", readAccount, func(c *gin.Context) {
		if !solved(c) {
			c.Status(http.StatusForbidden)
			return
		}
		if err := limiter.Reset(c.Request.Context(), "login of account", c.GetString("account")); err != nil {
			_ = c.AbortWithError(http.StatusServiceUnavailable, err)
		}
	})
	engine.POST("/unban", func(c *gin.Context) {
		err := limiter.Reset(c.Request.Context(), "login", ratelimiter.Join(c.PostForm("account"), c.PostForm("address")))
		require.NoError(t, err)
	})
	return engine, limiter
}

func clearFailures(c *gin.Context, limiter *ratelimiter.RateLimiter) {
	limits, err := limiter.Peek(c)
	for _, limit := range limits {
		if limit.Key == "login" {
			err = limiter.Reset(c.Request.Context(), limit.Key, limit.Scope)
		}
	}
	if err != nil {
		_ = c.Error(err) // the login itself succeeded; earlier failures still count for a while
	}
}

func isRight(_, password string) bool { return password == "right" }

func guess(account string) func(*http.Request) { return form("account", account, "password", "guess") }

func right() func(*http.Request) { return form("account", "ann", "password", "right") }

func login(handler http.Handler, times int, change ...func(*http.Request)) []int {
	return statuses(handler, times, http.MethodPost, "/login", change...)
}

func TestFiveFailedLoginsAreAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := loginApplication(t, isRight)
		typed(t, "limit-logins.md", engine)
	})
}

func TestAllSpellingsOfAnAccountAreOneScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := loginApplication(t, isRight)
		for _, written := range []string{"ann", "Ann", " ann", "ANN ", "aNN"} {
			require.Equal(t, []int{401}, login(engine, 1, guess(written)))
		}
		require.Equal(t, []int{429}, login(engine, 1, guess("ann")))
		require.Equal(t, []int{429}, login(engine, 1, right()), "even with the right password")
		require.Equal(t, []int{401}, login(engine, 1, guess("bob")), "another account")
		require.Equal(t, []int{401}, login(engine, 1, guess("ann"), from("203.0.113.9:1")), "another address")
	})
}

func TestASuccessCostsNothingAndClearsTheFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := loginApplication(t, isRight)
		for range 30 { // more requests than any limit allows
			require.Equal(t, []int{200, 200, 200, 200}, login(engine, 4, right()))
		}
		require.Equal(t, []int{401, 401, 401, 401}, login(engine, 4, guess("ann")))
		require.Equal(t, []int{200}, login(engine, 1, right()))
		require.Equal(t, []int{401, 401, 401, 401, 401, 429}, login(engine, 6, guess("ann")), "five guesses again")

		left, err := limiter.Status(t.Context(), "login from address", "192.0.2.1")
		require.NoError(t, err)
		require.EqualValues(t, 100-9, left[0].Remaining, "a success does not clear the failures of the address")
	})
}

func TestConcurrentGuessesCannotExceedTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		checked := 0
		engine, _ := loginApplication(t, func(string, string) bool {
			mu.Lock()
			defer mu.Unlock()
			checked++
			return false
		})
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() { login(engine, 1, guess("ann")) })
		}
		group.Wait()
		require.Equal(t, 5, checked)
	})
}

func TestLoginsInProgressCountAsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var engine *gin.Engine
		var others []int
		engine, _ = loginApplication(t, func(string, string) bool {
			if len(others) < 5 {
				others = append(others, 0)
				others = append(others, login(engine, 1, right())...)
			}
			return true
		})
		require.Equal(t, []int{200}, login(engine, 1, right()))
		require.Equal(t, []int{0, 0, 0, 0, 0, 429, 200, 200, 200, 200}, others, "the last of six concurrent logins is rejected")
		require.Equal(t, []int{200, 200, 200, 200, 200, 200}, login(engine, 6, right()))
	})
}

func TestManyAddressesHaveFiftyGuessesAtAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := loginApplication(t, isRight)
		admitted := 0
		for host := range 30 {
			for _, status := range login(engine, 5, guess("ann"), from(fmt.Sprintf("203.0.113.%d:1", host))) {
				if status == 401 {
					admitted++
				}
			}
		}
		require.Equal(t, 50, admitted)
		require.Equal(t, []int{429}, login(engine, 1, right(), from("198.51.100.1:1")), "the owner is locked out too")
		require.Equal(t, []int{403}, statuses(engine, 1, http.MethodPost, "/captcha", form("account", "ann")))
		require.Equal(t, []int{200}, statuses(engine, 1, http.MethodPost, "/captcha", form("account", "Ann", "captcha", "solved")))
		require.Equal(t, []int{200}, login(engine, 1, right(), from("198.51.100.1:1")))
	})
}

func TestAClientThatIsRejectedTenTimesIsBannedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := loginApplication(t, isRight)
		login(engine, 5, guess("ann"))
		login(engine, 9, guess("ann"))
		pass(31 * time.Minute)
		require.Equal(t, []int{401, 401, 401, 401, 401, 429}, login(engine, 6, guess("ann")), "the tenth rejection")
		pass(23 * time.Hour)
		require.Equal(t, []int{429}, login(engine, 1, right()))
		require.Equal(t, []int{200}, login(engine, 1, right(), from("198.51.100.1:1")), "the owner logs in from another address")
		limits, err := limiter.Status(t.Context(), "login", "ann|192.0.2.1")
		require.NoError(t, err)
		require.True(t, limits[0].Banned)
		require.Equal(t, []int{200}, statuses(engine, 1, http.MethodPost, "/unban", form("account", "ann", "address", "192.0.2.1")))
		require.Equal(t, []int{200}, login(engine, 1, right()))
	})
}

func TestAnAddressHasAHundredGuessesAtAllAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := loginApplication(t, isRight)
		admitted := 0
		for i := range 150 {
			if login(engine, 1, guess(fmt.Sprint("account-", i)))[0] == 401 {
				admitted++
			}
		}
		require.Equal(t, 100, admitted)
	})
}

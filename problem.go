package ratelimiter

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
)

// problem is a problem document of RFC 9457.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Violated []string `json:"violated-policies,omitempty"`
}

// refuse answers a request that is over the limit.
func refuse(c *gin.Context, info *Info, violated []string) {
	detail := "At most " + strconv.FormatInt(info.Limit, 10) + " " + strings.ReplaceAll(policyName(info.Per), "-", " ") + " are allowed."
	if info.Limit == 0 {
		detail = "Nothing is allowed here at present."
	}
	answer(c, problem{
		Type:     "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Title:    "Rate limit was exceeded",
		Status:   http.StatusTooManyRequests,
		Detail:   detail,
		Violated: violated,
	})
}

// fail answers a request that could not be decided, and reports why through the
// context: to the application, not to the client.
func fail(c *gin.Context, status int, err error) {
	_ = c.Error(err) // it returns what it was given
	if status == http.StatusServiceUnavailable {
		c.Writer.Header()[headerRetry] = []string{"1"}
	}
	answer(c, problem{Type: "about:blank", Title: http.StatusText(status), Status: status})
}

func answer(c *gin.Context, p problem) {
	c.Abort()
	body, err := json.Marshal(p)
	if err != nil { // cannot be: it holds texts and a number
		c.Status(http.StatusInternalServerError)
		return
	}
	const contentType = "application/problem+json"
	c.Header("Content-Type", contentType) // Data would keep one that was set before
	c.Data(p.Status, contentType, body)
}

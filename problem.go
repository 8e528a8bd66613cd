package ratelimiter

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// refusal is the answer to a request that is over one limit or several, of which
// the first is described.
func refusal(limit int64, per time.Duration, violated ...string) []byte {
	detail := "At most " + strconv.FormatInt(limit, 10) + " " + strings.ReplaceAll(policyName(per), "-", " ") + " are allowed."
	if limit == 0 {
		detail = "Nothing is allowed here at present."
	}
	return problem{
		Type:     "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Title:    "Rate limit was exceeded",
		Status:   http.StatusTooManyRequests,
		Detail:   detail,
		Violated: violated,
	}.document()
}

// fail answers a request that could not be decided, and reports why through the
// context: to the application, not to the client.
func fail(c *gin.Context, status int, err error) {
	_ = c.Error(err) // it returns what it was given
	if status == http.StatusServiceUnavailable {
		c.Writer.Header()[headerRetry] = []string{"1"}
	}
	answer(c, status, problem{Type: "about:blank", Title: http.StatusText(status), Status: status}.document())
}

func (p problem) document() []byte {
	document, _ := json.Marshal(p) // texts and a number cannot fail
	return document
}

func answer(c *gin.Context, status int, document []byte) {
	c.Abort()
	const contentType = "application/problem+json"
	c.Header("Content-Type", contentType) // Data would keep one that was set before
	c.Data(status, contentType, document)
}

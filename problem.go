package ratelimiter

import (
	"encoding/json"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/elnormous/contenttype"
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
	return exceeded(detail, violated)
}

// banRefusal is the answer to a client that is banned from limits.
func banRefusal(violated []string) []byte {
	return exceeded("Too many requests were refused. All are until the time in Retry-After is over.", violated)
}

func exceeded(detail string, violated []string) []byte {
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
	contentType := problemJSON
	header := c.Writer.Header()
	header["Vary"] = append(header["Vary"], "Accept")
	if wantsPage(c.GetHeader("Accept")) {
		contentType, document = "text/html; charset=utf-8", page(document, header[headerRetry])
	}
	c.Header("Content-Type", contentType) // Data would keep one that was set before
	c.Data(status, contentType, document)
}

const problemJSON = "application/problem+json"

// answers are what a client can choose from. The first is for those who take
// anything.
var answers = []contenttype.MediaType{
	contenttype.NewMediaType(problemJSON),
	contenttype.NewMediaType("application/json"),
	contenttype.NewMediaType("text/html"),
}

// wantsPage tells whether a client prefers HTML, as browsers do.
func wantsPage(accept string) bool {
	if !strings.Contains(accept, "html") {
		return false // as nearly all that are no browsers
	}
	best, _, err := contenttype.GetAcceptableMediaTypeFromHeader(accept, answers)
	return err == nil && best.Subtype == "html"
}

// page says in HTML what a problem document says, and when to come back.
func page(document []byte, retry []string) []byte {
	var p problem
	_ = json.Unmarshal(document, &p) // written by this file
	wait := ""
	if len(retry) == 1 {
		wait = "Try again in " + retry[0] + " s."
	}
	return []byte(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>` +
		html.EscapeString(p.Title) + `</title></head>
<body style="font-family: system-ui, sans-serif; margin: 3em auto; max-width: 40em; padding: 0 1em">
<h1>` + html.EscapeString(p.Title) + `</h1>
<p>` + html.EscapeString(p.Detail) + `</p>
<p>` + html.EscapeString(wait) + `</p>
</body>
</html>
`)
}

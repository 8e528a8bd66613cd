package headers

import (
	"encoding/json"
	"html"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/period"
)

// ProblemJSON is the media type of a problem document.
const ProblemJSON = "application/problem+json"

// Problem is a problem document (RFC 9457), with the member that the type quota-exceeded
// adds (draft-ietf-httpapi-ratelimit-headers-11).
type Problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Violated []string `json:"violated-policies,omitempty"` // names of limits
}

// Document returns the problem as JSON.
func (p Problem) Document() []byte {
	document, _ := json.Marshal(p) // strings and a number always encode
	return document
}

// Rejection returns the document for a request over a limit: "Limit: 3 requests per 15
// minutes." unit is the plural of what is limited: "requests", or "units" if requests may
// have other costs than 1. violated are the names of all limits that reject the request.
func Rejection(limit int64, unit string, per time.Duration, violated []string) []byte {
	return quotaExceeded("Limit: "+count(limit, unit)+" per "+period.InWords(per)+".", violated)
}

// TooManyInProgress returns the document for a request over a limit on requests in
// progress: "Limit: 10 requests in progress at once."
func TooManyInProgress(limit int64, violated []string) []byte {
	return quotaExceeded("Limit: "+count(limit, "requests")+" in progress at once.", violated)
}

// NothingAllowed returns the document for a limit of 0. Waiting does not help, so the
// response must not have a Retry-After.
func NothingAllowed(violated []string) []byte {
	return quotaExceeded("No requests are allowed here at present.", violated)
}

// CostsTooMuch returns the document for a request whose cost exceeds its limit. Waiting
// does not help, so the response must not have a Retry-After.
func CostsTooMuch(cost, limit int64, violated []string) []byte {
	detail := "This request costs " + strconv.FormatInt(cost, 10) + ", the limit is " + strconv.FormatInt(limit, 10) + "."
	return quotaExceeded(detail, violated)
}

// Banned returns the document for a client that is banned.
func Banned(violated []string) []byte {
	return quotaExceeded("This client is banned. Retry-After says when the ban ends.", violated)
}

func quotaExceeded(detail string, violated []string) []byte {
	return Problem{
		Type:     "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Title:    "Rate limit was exceeded",
		Status:   http.StatusTooManyRequests,
		Detail:   detail,
		Violated: violated,
	}.Document()
}

// Error returns the document for a request that could not be decided. It contains only the
// status, 503 or 500.
func Error(status int) []byte {
	return Problem{Type: "about:blank", Title: http.StatusText(status), Status: status}.Document()
}

// Page returns a problem document as an HTML page. retryAfter is the value of the
// Retry-After header, or empty.
func Page(document []byte, retryAfter string) []byte {
	var p Problem
	_ = json.Unmarshal(document, &p) // written by this package
	page := `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>` +
		html.EscapeString(p.Title) + `</title></head>
<body style="font-family: system-ui, sans-serif; margin: 3em auto; max-width: 40em; padding: 0 1em">
<h1>` + html.EscapeString(p.Title) + "</h1>\n"
	if p.Detail != "" {
		page += "<p>" + html.EscapeString(p.Detail) + "</p>\n"
	}
	if seconds, err := strconv.ParseInt(retryAfter, 10, 64); err == nil {
		page += "<p>Try again in " + count(seconds, "seconds") + ".</p>\n"
	}
	return []byte(page + "</body>\n</html>\n")
}

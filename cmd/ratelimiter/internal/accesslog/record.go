// Package accesslog parses lines of access logs: the formats of common servers, proxies and
// cloud services, JSON lines, logfmt, CSV and W3C, and custom formats in the notation of
// nginx or Apache. Parsing a line allocates nothing.
package accesslog

import (
	"bytes"
	"errors"
	"fmt"
)

// Record is the content of one line. The texts are parts of the line or of reused buffers
// of the parser: they are valid until its next Parse.
type Record struct {
	Time   int64 // µs since the Unix epoch
	Client []byte
	Method []byte // empty if the request is not HTTP
	Path   []byte // without scheme, host and query
	Host   []byte // empty if it is not in the log
	Status int    // 0 if it is not in the log
	Extra  []byte // the field named by Wanted.Extra

	forwarded []byte // the value of X-Forwarded-For
	list      bool   // the client is a list of addresses
}

// Parser parses the lines of one format. It is not safe for concurrent use.
type Parser interface {
	// Parse fills the record, or returns what is wrong with the line. ErrNoRequest means
	// that the line is valid but not a request.
	Parse(line []byte, record *Record) error
}

// ErrNoRequest is returned for a valid line that is not a request, such as the header of a
// CSV file or the startup output of an application.
var ErrNoRequest = errors.New("the line is not a request")

// ErrColumnsChange is returned where a W3C log declares different columns than before. The
// lines after it cannot be trusted.
var ErrColumnsChange = errors.New("the columns change here; split the log before this line")

// ErrEmpty is returned for an empty line.
var ErrEmpty = errors.New("the line is empty")

// Format is a log format.
type Format struct {
	Name string
	// NewParser makes a parser, one for each goroutine.
	NewParser func() Parser

	timeless bool // a prefix must provide the time
}

// Wanted describes the log and what the caller needs from it.
type Wanted struct {
	// Extra is the field that identifies the client; empty for the address.
	Extra string
	// Fields maps roles ("time", "date", "client", "forwarded", "method", "path",
	// "request", "host", "status") to the names of fields in JSON, logfmt and CSV, and of
	// variables in a custom format. Only unusual names are needed. Named formats ignore it.
	Fields map[string]string
	// Forwarded selects the client from a list of forwarded addresses; nil if the client is
	// a single address.
	Forwarded *Forwarded
	// Host is true if the caller needs the host.
	Host bool
}

var (
	errTime      = errors.New("the time is invalid")
	errNoTime    = errors.New("the time is missing")
	errClient    = errors.New("the client is missing")
	errSpace     = errors.New("the client contains a space")
	errList      = errors.New("the client is a list of addresses; select one with --client-from-forwarded or --trusted-proxy")
	errStatus    = errors.New("the status is not a number")
	errNotJSON   = errors.New("the line is not a JSON object")
	errNotPairs  = errors.New("the line has no key=value pairs")
	errNoColumn  = errors.New("the line has too few columns")
	errQuote     = errors.New("a quote is not closed")
	errNoRequest = errors.New("the request is missing")
)

// role is the meaning of a field.
type role uint8

const (
	roleNone role = iota
	roleTime
	roleDate  // the date of a time in two fields
	roleClock // the time of day in the other field
	roleClient
	roleForwarded
	roleMethod
	rolePath
	roleRequest
	roleHost
	roleStatus
	roleExtra
	roles
)

var roleNames = map[string]role{
	"time": roleTime, "date": roleDate, "client": roleClient, "forwarded": roleForwarded, "method": roleMethod,
	"path": rolePath, "request": roleRequest, "host": roleHost, "status": roleStatus,
}

// CheckRole returns an error for an unknown role of Wanted.Fields.
func CheckRole(name string) error {
	if _, known := roleNames[name]; !known {
		return fmt.Errorf("%q is not a role of a field; it must be time, date, client, forwarded, method, path, request, host or status", name)
	}
	return nil
}

// set stores the value of a field.
func (r *Record) set(as role, value []byte) error {
	switch as {
	case roleTime:
		time, ok := parseTime(value)
		if !ok {
			return errTime
		}
		r.Time = time
	case roleDate, roleClock: // in either order
		part, ok := parseDate(value)
		if as == roleClock {
			part, ok = parseTimeOfDay(value)
		}
		if !ok {
			return errTime
		}
		r.Time += part
	case roleClient:
		return r.setClient(value)
	case roleForwarded:
		r.forwarded = value
	case roleMethod:
		r.Method = value
	case rolePath:
		r.setPath(value)
	case roleRequest:
		r.setRequest(value)
	case roleHost:
		r.Host = value
	case roleStatus:
		return r.setStatus(value)
	case roleExtra:
		r.Extra = value
	}
	return nil
}

// setClient stores an address, a name, or a list of addresses, which finish resolves.
// Servers write a dash for an unknown client.
func (r *Record) setClient(value []byte) error {
	if len(value) == 1 && value[0] == '-' {
		return nil
	}
	for _, c := range value {
		if c == ',' {
			r.list = true
			break
		}
		if c == ' ' {
			return errSpace
		}
	}
	r.Client = value
	return nil
}

// setStatus parses a status, which some JSON encoders write as 200.0. Servers write a dash
// if they sent none.
func (r *Record) setStatus(value []byte) error {
	if len(value) == 1 && value[0] == '-' {
		return nil
	}
	value = bytes.TrimSuffix(value, []byte(".0"))
	if len(value) == 0 || len(value) > 4 {
		return errStatus
	}
	status := 0
	for _, c := range value {
		if c < '0' || c > '9' {
			return errStatus
		}
		status = status*10 + int(c-'0')
	}
	r.Status = status
	return nil
}

// finish determines the client after all fields are set.
func (r *Record) finish(forwarded *Forwarded) error {
	if forwarded != nil {
		if err := forwarded.resolve(r); err != nil {
			return err
		}
	} else if r.list {
		return errList
	}
	if len(r.Client) == 0 && len(r.Extra) == 0 {
		return errClient
	}
	return nil
}

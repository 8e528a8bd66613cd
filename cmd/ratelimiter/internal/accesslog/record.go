// Package accesslog reads one line of an access log: the formats of Apache,
// nginx, Caddy, Gin, JSON lines and CSV, and any other in the notation of nginx.
// Reading a line allocates nothing.
package accesslog

import (
	"errors"
	"fmt"
)

// Record is what one line says. The texts are parts of the line, or of memory
// that the parser uses again: they are good until its next Parse.
type Record struct {
	Time   int64 // µs since the Unix epoch
	Client []byte
	Method []byte // empty when the request was not HTTP
	Path   []byte // without the query
	Status int    // 0 when the log does not tell
	Extra  []byte // the field that Wanted.Extra names
}

// Parser reads the lines of one format. It is not safe for use by several
// goroutines at once.
type Parser interface {
	// Parse fills the record, or says what is wrong with the line. ErrNoRequest
	// means that the line is right and tells of no request.
	Parse(line []byte, record *Record) error
}

// ErrNoRequest is returned for a line that belongs to the log and is no request,
// such as the header of a CSV file.
var ErrNoRequest = errors.New("the line is no request")

// Format is a way to write a log.
type Format struct {
	Name string
	// NewParser makes a parser, one for each goroutine.
	NewParser func() Parser
}

// Wanted is what the caller knows about the log.
type Wanted struct {
	// Extra is the field that tells who the client is, where it is not the address.
	Extra string
	// Fields names the fields of JSON and CSV and the variables of a given notation
	// by their role ("time", "client", "method", "path", "request", "status"), where
	// they have unusual names. Formats that have a name need none.
	Fields map[string]string
}

var (
	errEmpty     = errors.New("the line is empty")
	errTime      = errors.New("the time cannot be read")
	errNoTime    = errors.New("the time is missing")
	errClient    = errors.New("the client is missing")
	errSpace     = errors.New("the client holds a space")
	errStatus    = errors.New("the status is not a number")
	errNotJSON   = errors.New("the line is not a JSON object")
	errNoColumn  = errors.New("the line has too few columns")
	errQuote     = errors.New("a quote is not closed")
	errNoRequest = errors.New("the request is missing")
)

// role is what a field means to us.
type role uint8

const (
	roleNone role = iota
	roleTime
	roleClient
	roleMethod
	rolePath
	roleRequest
	roleStatus
	roleExtra
)

var roleNames = map[string]role{
	"time": roleTime, "client": roleClient, "method": roleMethod,
	"path": rolePath, "request": roleRequest, "status": roleStatus,
}

// CheckRole tells whether a role of Wanted.Fields is known.
func CheckRole(name string) error {
	if _, known := roleNames[name]; !known {
		return fmt.Errorf("%q is not what a field can tell; it must be time, client, method, path, request or status", name)
	}
	return nil
}

// set puts the value of a field into the record.
func (r *Record) set(as role, value []byte) error {
	switch as {
	case roleTime:
		time, ok := parseTime(value)
		if !ok {
			return errTime
		}
		r.Time = time
	case roleClient:
		return r.setClient(value)
	case roleMethod:
		r.Method = value
	case rolePath:
		r.Path = withoutQuery(value)
	case roleRequest:
		r.Method, r.Path = splitRequest(value)
	case roleStatus:
		return r.setStatus(value)
	case roleExtra:
		r.Extra = value
	}
	return nil
}

func (r *Record) setClient(value []byte) error {
	if len(value) == 0 {
		return errClient
	}
	for _, c := range value {
		if c == ' ' {
			return errSpace
		}
	}
	r.Client = value
	return nil
}

// setStatus reads a number. A dash is what servers write when none was sent.
func (r *Record) setStatus(value []byte) error {
	if len(value) == 1 && value[0] == '-' {
		return nil
	}
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

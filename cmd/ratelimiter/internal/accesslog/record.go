// Package accesslog reads one line of an access log: the formats of common
// servers, proxies and clouds, JSON lines, logfmt, CSV and W3C, and any other in
// the notation of nginx or Apache. Reading a line allocates nothing.
package accesslog

import (
	"bytes"
	"errors"
	"fmt"
)

// Record is what one line says. The texts are parts of the line, or of memory
// that the parser uses again: they are valid until its next Parse.
type Record struct {
	Time   int64 // µs since the Unix epoch
	Client []byte
	Method []byte // empty when the request was not HTTP
	Path   []byte // without scheme, host and query
	Host   []byte // empty when the log does not tell
	Status int    // 0 when the log does not tell
	Extra  []byte // the field that Wanted.Extra names

	forwarded []byte // the value of X-Forwarded-For
	list      bool   // the client is a list of addresses
}

// Parser reads the lines of one format. It is not safe for use by several
// goroutines at once.
type Parser interface {
	// Parse fills the record, or says what is wrong with the line. ErrNoRequest
	// means that the line is right and tells of no request.
	Parse(line []byte, record *Record) error
}

// ErrNoRequest is returned for a line that belongs to the log and is no request,
// such as the header of a CSV file or what an application prints at its start.
var ErrNoRequest = errors.New("the line is no request")

// ErrColumnsChange is returned where a W3C log announces other columns than its
// first lines did. The lines behind it cannot be trusted.
var ErrColumnsChange = errors.New("the columns change here; split the log before this line")

// ErrEmpty is returned for an empty line, which is no loss.
var ErrEmpty = errors.New("the line is empty")

// Format is a way to write a log.
type Format struct {
	Name string
	// NewParser makes a parser, one for each goroutine.
	NewParser func() Parser

	timeless bool // the time must come from a prefix
}

// Wanted is what the caller knows about the log.
type Wanted struct {
	// Extra is the field that tells who the client is, where it is not the address.
	Extra string
	// Fields names the fields of JSON, logfmt and CSV and the variables of a given
	// notation by their role ("time", "date", "client", "forwarded", "method",
	// "path", "request", "host", "status"), where they have unusual names. Formats
	// that have a name need none.
	Fields map[string]string
	// Forwarded says which address of a forwarded list is the client; nil when the
	// client is a single address.
	Forwarded *Forwarded
	// Host is true when the host of requests matters.
	Host bool
}

var (
	errTime      = errors.New("the time cannot be read")
	errNoTime    = errors.New("the time is missing")
	errClient    = errors.New("the client is missing")
	errSpace     = errors.New("the client holds a space")
	errList      = errors.New("the client is a list of addresses; say which one counts with --client-from-forwarded or --trusted-proxy")
	errStatus    = errors.New("the status is not a number")
	errNotJSON   = errors.New("the line is not a JSON object")
	errNotPairs  = errors.New("the line has no key=value pairs")
	errNoColumn  = errors.New("the line has too few columns")
	errQuote     = errors.New("a quote is not closed")
	errNoRequest = errors.New("the request is missing")
)

// role is what a field means to us.
type role uint8

const (
	roleNone role = iota
	roleTime
	roleDate  // of a time in two fields
	roleClock // the other of them
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

// CheckRole tells whether a role of Wanted.Fields is known.
func CheckRole(name string) error {
	if _, known := roleNames[name]; !known {
		return fmt.Errorf("%q is not what a field can tell; it must be time, date, client, forwarded, method, path, request, host or status", name)
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
	case roleDate, roleClock: // they come in either order
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

// setClient takes a single address or a name, or a list of addresses, which
// finish looks into. A dash is what servers write when they know none.
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

// setStatus reads a number, which some JSON encoders write as 200.0. A dash is
// what servers write when none was sent.
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

// finish settles who the client is when all fields are set.
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

package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Choose makes a format from a name or from a format string of nginx or Apache. A prefix of
// the lines, such as that of syslog, is detected and removed.
func Choose(text string, sample [][]byte, wanted Wanted) (Format, error) {
	candidates := func(rest [][]byte) []candidate { return []candidate{try(text, rest, wanted)} }
	notation, err := nginxNotation(text)
	if err != nil {
		return Format{}, err
	}
	if strings.Contains(notation, "$") {
		format, err := fromPattern("as given", notation, wanted)
		if err != nil {
			return Format{}, err
		}
		candidates = func(rest [][]byte) []candidate { return []candidate{judge(format, rest, wanted)} }
	} else if !slices.Contains(Names(), text) {
		return build(text, sample, wanted)
	}
	best := nearest(search(sample, candidates, maxPrefixes, wanted))
	switch {
	case best.err != nil:
		return Format{}, best.err
	case best.format.timeless:
		return Format{}, fmt.Errorf("the format %q has no time; it needs $time_local, $time_iso8601 or $msec, a field named with --field time=..., or lines with a time in their prefix", text)
	case best.strange > tolerated(best.read):
		return Format{}, fmt.Errorf("the format %s does not fit: %w.\nThe first line is\n  %s\nIf these values are the clients, name their field with --client-field", best.format.Name, best.reason, firstLine(sample))
	}
	return best.format, nil
}

// Recognise detects the format of a log by its first lines: a format that parses nearly all
// of them, with addresses or host names as clients.
func Recognise(sample [][]byte, wanted Wanted) (Format, error) {
	found := search(sample, func(rest [][]byte) (list []candidate) {
		for _, known := range named {
			if known.name != forwardedName || wanted.Forwarded != nil {
				list = append(list, try(known.name, rest, wanted))
			}
		}
		for _, known := range fielded {
			list = append(list, try(known.name, rest, wanted))
		}
		return list
	}, maxPrefixes, wanted)
	best, fits := bestOf(found, sample)
	switch {
	case fits:
		return best.format, mixed(best, found)
	case wanted.Extra != "":
		without := wanted
		without.Extra = ""
		if format, err := Recognise(sample, without); err == nil {
			return Format{}, fmt.Errorf("the format %s has no $%s, which --client-field names as the client", format.Name, wanted.Extra)
		}
	}
	return Format{}, rejection(sample, found)
}

// bestOf returns the format that fits most lines, if any fits. Of two equals the first wins,
// which has removed a prefix or is more specific.
func bestOf(found []candidate, sample [][]byte) (best candidate, fits bool) {
	for _, c := range found {
		if c.fits(sample) && (!fits || c.good > best.good) {
			best, fits = c, true
		}
	}
	return best, fits
}

// mixed returns an error if lines that are not requests in one format are requests in
// another.
func mixed(best candidate, found []candidate) error {
	if best.passed <= tolerated(best.lines) {
		return nil
	}
	for _, other := range found {
		if other.format.Name != best.format.Name && other.good > tolerated(other.lines) && other.good <= best.passed {
			return fmt.Errorf("the log mixes two formats, %s and %s; separate them, or select one with --format", best.format.Name, other.format.Name)
		}
	}
	return nil
}

// rejection explains why no format was accepted.
func rejection(sample [][]byte, found []candidate) error {
	best := nearest(found)
	why := "No format matches any of the lines"
	switch about := aboutFields(sample[0], found); {
	case best.read == 0 && about != nil:
		why = about.Error()
	case best.timeless():
		why = fmt.Sprintf("The closest format is %s, without a time. Name the field of the time, such as --field time=when, or use lines with a time in their prefix, such as those of docker logs -t or journalctl -o short-iso", best.format.Name)
	case best.read > 0 || best.depth >= 50:
		why = fmt.Sprintf("The closest format is %s, which fits %d of the first %d lines; an error in another: %v", best.format.Name, best.good, best.lines, best.reason)
	}
	return fmt.Errorf("the format is not recognised. The first line is\n  %s\n%s.\nSet the format with --format: one of %s, or a format string of nginx or Apache", firstLine(sample), why, strings.Join(Names(), ", "))
}

// aboutFields returns what is wrong with the fields of a log that looks like JSON or W3C; nil
// for other logs.
func aboutFields(first []byte, found []candidate) error {
	prefix := ""
	switch {
	case bytes.HasPrefix(first, []byte("{")):
		prefix = "json: "
	case bytes.HasPrefix(first, []byte("#")):
		prefix = "w3c: "
	default:
		return nil
	}
	for _, c := range slices.Backward(found) { // candidates without a prefix come last
		if c.err != nil && strings.HasPrefix(c.err.Error(), prefix) && !errors.Is(c.err, errNotJSON) && !errors.Is(c.err, errNoFields) {
			return c.err
		}
	}
	return nil
}

const shownBytes = 160 // of a line

func firstLine(sample [][]byte) string {
	line := bytes.ToValidUTF8(sample[0], []byte("?"))
	if len(line) > shownBytes {
		line = append(line[:shownBytes:shownBytes], "..."...)
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, string(line))
}

// candidate is a format with its results on a sample.
type candidate struct {
	format  Format
	err     error // the format is impossible for this sample
	lines   int   // in the sample
	read    int   // lines that are requests
	good    int   // requests with a plausible client
	strange int   // requests with an implausible client
	passed  int   // valid lines that are not requests
	reason  error // the first error in another line
	depth   int   // largest percentage of a pattern that matches a line with an error
}

// fits reports whether a format parses nearly all of the sample with plausible clients: all
// but one line and a tenth.
func (c candidate) fits(sample [][]byte) bool {
	bad := c.lines - c.good - c.passed
	if c.err != nil || c.format.timeless || bad > tolerated(c.lines) {
		return false
	}
	return c.good > bad || c.good+bad == 0 && c.begun(sample)
}

// begun reports whether a sample without requests is the start of a log: column names, or
// the startup output of Gin.
func (c candidate) begun(sample [][]byte) bool {
	name := c.format.Name
	return strings.HasPrefix(name, "csv") || strings.HasPrefix(name, "w3c") ||
		strings.HasSuffix(name, "gin") && slices.ContainsFunc(sample, func(line []byte) bool { return bytes.Contains(line, []byte("[GIN-debug]")) })
}

func tolerated(lines int) int { return 1 + lines/10 }

func (c candidate) timeless() bool { return c.err == nil && c.format.timeless && c.read > 0 }

// nearest returns the candidate with the best results, even if it does not fit.
func nearest(found []candidate) candidate {
	best := found[len(found)-1]
	for _, c := range found {
		switch {
		case best.err != nil && c.err == nil, c.good > best.good,
			best.format.timeless && !c.format.timeless && c.good > 0,
			c.good == best.good && c.read > best.read && c.err == nil,
			c.good == best.good && c.read == best.read && c.depth > best.depth && c.err == nil:
			best = c
		}
	}
	return best
}

const maxPrefixes = 3

// search tries formats on a sample, with and without removing prefixes.
func search(sample [][]byte, candidates func([][]byte) []candidate, depth int, wanted Wanted) (found []candidate) {
	for _, p := range prefixes {
		rest, ok := p.cutAll(sample)
		if !ok || depth == 0 {
			continue
		}
		for _, c := range search(rest, candidates, depth-1, wanted) {
			if c.err == nil {
				inner := c.depth
				c = judge(withPrefix(p, c.format), sample, wanted)
				c.depth = inner
			}
			found = append(found, c)
		}
	}
	return append(found, candidates(sample)...)
}

// cutAll removes a prefix from a sample if nearly all of its lines have it.
func (p prefix) cutAll(sample [][]byte) (rest [][]byte, ok bool) {
	for _, line := range sample {
		var spare []byte
		if len(line) == 0 {
			continue
		}
		behind, _, ok := p.cut(line, &spare)
		if ok && len(behind) > 0 {
			rest = append(rest, behind)
		}
	}
	return rest, len(rest) > 0 && len(sample)-len(rest) <= tolerated(len(sample)) && len(rest) > len(sample)/2
}

// try makes a format for a sample and evaluates it.
func try(name string, sample [][]byte, wanted Wanted) candidate {
	format, err := build(name, sample, wanted)
	if err != nil {
		return candidate{err: fmt.Errorf("%s: %w", name, err), lines: len(sample)}
	}
	return judge(format, sample, wanted)
}

// judge evaluates a format on a sample. If the caller names the field of the client, any
// value is plausible.
func judge(format Format, sample [][]byte, wanted Wanted) candidate {
	c := candidate{format: format, lines: len(sample)}
	parser := format.NewParser()
	clientNamed := wanted.Fields["client"] != ""
	var r Record
	for _, line := range sample {
		err := parser.Parse(line, &r)
		switch {
		case errors.Is(err, ErrNoRequest), errors.Is(err, ErrEmpty):
			c.passed++
			continue
		case err != nil:
			c.deepen(parser, line)
		case !clientNamed && len(r.Extra) == 0 && !plausible(r.Client):
			c.read++
			c.strange++
			err = fmt.Errorf("the client would be %q, which is neither an address nor a host name", r.Client)
		case strings.HasSuffix(format.Name, "vhost") && !plausibleHost(r.Host):
			err = fmt.Errorf("the host would be %q", r.Host)
		default:
			c.read++
			c.good++
		}
		if err != nil && c.reason == nil {
			c.reason = err
		}
	}
	return c
}

// deepen records how far a pattern matches a line with an error.
func (c *candidate) deepen(parser Parser, line []byte) {
	if p, ok := parser.(*pattern); ok {
		var r Record
		fits, _ := p.parse(line, &r)
		c.depth = max(c.depth, 100*fits/len(p.fields))
	}
}

package headers

import (
	"strconv"
	"strings"
)

// PrefersHTML reports whether a client prefers an HTML page to a problem document, as
// browsers do. That is the case if its Accept header gives text/html a greater weight than
// application/problem+json and application/json, or the same weight and an earlier position
// (RFC 9110, section 12.5.1). Parameters of media ranges, such as charset, are ignored. The
// caller joins several Accept headers with commas.
func PrefersHTML(accept string) bool {
	accept = strings.ToLower(accept)
	if !strings.Contains(accept, "html") { // not a browser
		return false
	}
	page := preferenceFor(accept, "text/html")
	return page.weight > 0 &&
		page.before(preferenceFor(accept, ProblemJSON)) &&
		page.before(preferenceFor(accept, "application/json"))
}

// preference is the preference of an Accept header for a media type.
type preference struct {
	weight float64 // 0 to 1; 0 means not acceptable
	place  int     // position in the header
}

func (p preference) before(other preference) bool {
	return p.weight > other.weight || p.weight == other.weight && p.place < other.place
}

// preferenceFor returns the preference of the most specific range that matches a media
// type, or the first of them. It skips ranges that it cannot parse.
func preferenceFor(accept, mediaType string) (found preference) {
	family, _, _ := strings.Cut(mediaType, "/")
	specificity := 0
	for place := 0; accept != ""; place++ {
		var item string
		item, accept = CutItem(accept)
		mediaRange, parameters := cut(item, ';')
		weight, ok := weightIn(parameters)
		if !ok {
			continue
		}
		match := 0
		switch mediaRange {
		case mediaType:
			match = 3
		case family + "/*":
			match = 2
		case "*/*":
			match = 1
		}
		if match > specificity {
			specificity, found = match, preference{weight, place}
		}
	}
	return found
}

// weightIn returns the weight among the parameters of a range. The default is 1.
func weightIn(parameters string) (weight float64, ok bool) {
	for parameters != "" {
		var parameter string
		parameter, parameters = cut(parameters, ';')
		if name, value, _ := strings.Cut(parameter, "="); name == "q" {
			weight, err := strconv.ParseFloat(value, 64)
			return weight, err == nil && weight >= 0 && weight <= 1
		}
	}
	return 1, true
}

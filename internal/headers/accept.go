package headers

import (
	"strconv"
	"strings"
)

// PrefersHTML reports whether a client would rather have a page than a problem
// document, as browsers do: its Accept header gives text/html a greater weight than
// application/problem+json and application/json, or the same weight and an earlier
// place (RFC 9110, section 12.5.1). Parameters of media ranges, as charset, are ignored.
// Several Accept headers are to be joined with commas.
func PrefersHTML(accept string) bool {
	accept = strings.ToLower(accept)
	if !strings.Contains(accept, "html") { // no browser
		return false
	}
	page := preferenceFor(accept, "text/html")
	return page.weight > 0 &&
		page.before(preferenceFor(accept, ProblemJSON)) &&
		page.before(preferenceFor(accept, "application/json"))
}

// preference is what an Accept header says of a media type.
type preference struct {
	weight float64 // 0 to 1; 0 for a type that is not acceptable
	place  int     // in the header
}

func (p preference) before(other preference) bool {
	return p.weight > other.weight || p.weight == other.weight && p.place < other.place
}

// preferenceFor finds the range that matches a media type, of several the most
// specific, of those the first. A range that cannot be read is skipped.
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

// weightIn reads the weight among the parameters of a range: 1 if there is none.
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

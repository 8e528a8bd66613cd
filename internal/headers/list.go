package headers

import (
	"iter"
	"strings"
)

// The RateLimit headers are lists, to which every middleware and server on the way of
// a response may add items. This file reads such lists without changing what others
// have written.

// AppendSeparator appends a comma if b holds an item already.
func AppendSeparator(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	return append(b, ", "...)
}

// AppendOthers appends the items that a header has already, but for those with a name
// for which replaced is true: they give way to new ones. existing are the values of the
// header, each a list.
func AppendOthers(b []byte, existing []string, replaced func(name string) bool) []byte {
	for item := range Items(existing) {
		if name := ItemName(item); name == "" || !replaced(name) {
			b = append(AppendSeparator(b), item...)
		}
	}
	return b
}

// Items are the items of a header that is a list, whatever number of values it was
// split into. No item is empty.
func Items(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, list := range values {
			for {
				var item string
				if item, list = CutItem(list); item == "" {
					break
				}
				if !yield(item) {
					return
				}
			}
		}
	}
}

// CutItem cuts the first item off a list of structured fields. Empty items, which no
// valid list has, are skipped; item is empty only if there is none left.
func CutItem(list string) (item, rest string) {
	item, rest = cut(strings.TrimLeft(list, ", \t"), ',')
	return item, strings.TrimLeft(rest, ", \t")
}

// cut cuts a text at the first separator that is not inside a quoted string, and trims
// white space around both parts.
func cut(text string, separator byte) (before, after string) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case separator:
			return strings.Trim(text[:i], " \t"), strings.Trim(text[i+1:], " \t")
		case '"':
			// In a display string, %"...", a backslash is an ordinary character.
			length, _ := quoted(text[i:], i == 0 || text[i-1] != '%')
			i += length - 1
		}
	}
	return strings.Trim(text, " \t"), ""
}

// quoted finds the end of the quoted string that a text begins with. One that is never
// closed is as long as the text.
func quoted(text string, escapes bool) (length int, closed bool) {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return i + 1, true
		case text[i] == '\\' && escapes:
			i++ // the character after it is not a closing quote
		}
	}
	return len(text), false
}

// ItemName is the name of the limit that an item of a RateLimit header is about. It is
// empty if the item does not begin with a string, as is the case in earlier drafts.
func ItemName(item string) string {
	if item == "" || item[0] != '"' {
		return ""
	}
	end, closed := quoted(item, true)
	if !closed || end < len(item) && item[end] != ';' {
		return "" // not a valid item
	}
	name := item[1 : end-1]
	if strings.Contains(name, `\`) {
		name = unescaper.Replace(name)
	}
	return name
}

var unescaper = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

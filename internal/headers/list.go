package headers

import (
	"iter"
	"strings"
)

// The RateLimit headers are lists, to which any middleware and server that handles the
// response may add items. The functions in this file parse such lists and preserve the
// items of others.

// AppendSeparator appends a comma if b already contains an item.
func AppendSeparator(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	return append(b, ", "...)
}

// AppendOthers appends the existing items of a header, except for those with a name for
// which replaced returns true. existing are the values of the header, each of them a list.
func AppendOthers(b []byte, existing []string, replaced func(name string) bool) []byte {
	for item := range Items(existing) {
		if name := ItemName(item); name == "" || !replaced(name) {
			b = append(AppendSeparator(b), item...)
		}
	}
	return b
}

// Items returns the items of a header that is a list, which may have several values. No
// item is empty.
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

// CutItem removes the first item from a list of structured fields. It skips empty items,
// which are invalid; item is empty only if none is left.
func CutItem(list string) (item, rest string) {
	item, rest = cut(strings.TrimLeft(list, ", \t"), ',')
	return item, strings.TrimLeft(rest, ", \t")
}

// cut splits a text at the first separator outside of quoted strings, and trims white space
// around both parts.
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

// quoted returns the length of the quoted string at the start of a text. An unclosed string
// extends to the end of the text.
func quoted(text string, escapes bool) (length int, closed bool) {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return i + 1, true
		case text[i] == '\\' && escapes:
			i++ // the next character is escaped
		}
	}
	return len(text), false
}

// ItemName returns the name of the limit in an item of a RateLimit header. It is empty if
// the item does not begin with a string, as in earlier drafts.
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

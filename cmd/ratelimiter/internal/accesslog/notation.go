package accesslog

import (
	"fmt"
	"regexp"
	"strings"
)

// nginxNotation converts a format from a server configuration to the notation of patterns:
// a log_format of nginx, pasted with its name and quoted parts, or a LogFormat of Apache with
// percent signs. A format in the notation of patterns stays as it is.
func nginxNotation(text string) (string, error) {
	text = strings.TrimSpace(text)
	if rest, pasted := strings.CutPrefix(text, "log_format"); pasted {
		text = rest
		if at := strings.IndexAny(text, `'"`); at >= 0 {
			text = text[at:] // the name, and "escape=json"
		}
	}
	text = strings.TrimSuffix(text, ";")
	if len(text) > 1 && (text[0] == '\'' || text[0] == '"') && text[len(text)-1] == text[0] {
		text = joinQuoted(text)
	}
	if strings.Contains(text, "$") {
		return text, nil
	}
	if rest, pasted := strings.CutPrefix(text, "LogFormat"); pasted {
		text = strings.TrimSpace(rest)
		if end := strings.LastIndexByte(text, '"'); len(text) > 1 && text[0] == '"' && end > 0 {
			text = text[1:end] // drops a nickname
		}
	}
	if strings.Contains(text, "%") {
		return apacheNotation(strings.ReplaceAll(text, `\"`, `"`))
	}
	return text, nil
}

var quotedPart = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"`)

// joinQuoted joins the quoted parts of a log_format, as nginx does.
func joinQuoted(text string) string {
	var joined strings.Builder
	for _, part := range quotedPart.FindAllStringSubmatch(text, -1) {
		joined.WriteString(part[1])
		joined.WriteString(part[2])
	}
	return strings.NewReplacer(`\'`, `'`, `\"`, `"`).Replace(joined.String())
}

// apacheVariables are the letters of Apache's notation, with names for messages.
var apacheVariables = map[string]string{
	"h": "$remote_addr", "a": "$remote_addr", "l": "$ident", "u": "$remote_user", "t": "[$time_local]", "r": "$request",
	"s": "$status", "b": "$body_bytes_sent", "O": "$bytes_sent", "I": "$request_length", "D": "$duration_us", "T": "$duration",
	"m": "$request_method", "U": "$uri", "q": "$query", "H": "$protocol", "v": "$host", "V": "$host", "p": "$port",
	"A": "$server_addr", "B": "$body_bytes_sent", "f": "$filename", "k": "$keepalives", "L": "$log_id", "P": "$pid",
	"R": "$handler", "X": "$connection", "S": "$bytes",
}

var apacheVariable = regexp.MustCompile(`%(?:%|[!,0-9]*[<>]?(?:\{([^}]*)\}(\^?[a-zA-Z]{1,2})|([a-zA-Z])))`)

// apacheNotation translates the letters of Apache, such as %h.
func apacheNotation(text string) (string, error) {
	var wrong error
	translated := apacheVariable.ReplaceAllStringFunc(text, func(found string) string {
		parts := apacheVariable.FindStringSubmatch(found)
		argument, kind, letter := parts[1], parts[2], parts[3]
		switch {
		case found == "%%":
			return "%"
		case letter != "":
			if known := apacheVariables[letter]; known != "" {
				return known
			}
			wrong = fmt.Errorf("the format %q has %s, which is not a letter of Apache", text, found)
			return found
		case kind == "t":
			return apacheTime(argument)
		case kind == "i":
			return "${http_" + strings.ToLower(strings.ReplaceAll(argument, "-", "_")) + "}"
		case kind == "a":
			return "$remote_addr"
		}
		return "${" + argument + "}"
	})
	// %U%q is one URL, without text in between.
	return strings.ReplaceAll(translated, "$uri$query", "$uri"), wrong
}

// apacheTime translates %{...}t: a number, or a strftime format.
func apacheTime(format string) string {
	format = strings.TrimPrefix(strings.TrimPrefix(format, "begin:"), "end:")
	switch {
	case format == "sec" || format == "msec" || format == "usec":
		return "$msec"
	case format == "msec_frac" || format == "usec_frac":
		return "$fraction"
	case strings.HasPrefix(format, "[") && strings.HasSuffix(format, "]"):
		return "[$time_local]"
	}
	return "$time_local"
}

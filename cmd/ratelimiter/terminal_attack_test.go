package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Logs hold what clients have sent: it must not command a terminal, a browser or a
// spreadsheet, nor become code that somebody pastes.

const commands = "\x1b]0;title\x07\x1b[31m\u009b2J"

func TestAnErrorCommandsNoTerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access"+commands+".log")
	require.NoError(t, os.WriteFile(path, []byte(commands+"\n"), 0o600))
	for _, args := range [][]string{{"plan", path}, {"plan", path + ".absent"}, {"plan", "--format", "$a" + commands, path}, {"plan", "--limit", commands, path}, {"plan", "--" + commands}, {commands}, {"check", path}} {
		_, _, err := run(t, "", args...)
		require.Error(t, err)
		require.NotContains(t, message(err), "\x1b", args)
		require.NotContains(t, message(err), "\u009b", args)
	}
	_, _, err := run(t, "", "plan", path)
	require.Contains(t, message(err), "\nNo format", "its lines stay lines")
}

// hostile is a log whose clients have put commands wherever they can.
func hostile() string {
	var log strings.Builder
	for i := range 6000 {
		path := []string{"/<script>alert(1)</script>", `/a", nil); panic("x`, "/=cmd|calc" + commands, "/`}"}[i%4]
		at := fmt.Sprintf("01/Jan/2026:%02d:%02d:00 +0000", i/60/10, i/10%60)
		fmt.Fprintf(&log, "192.0.2.%d - =user%s [%s] \"GET %s HTTP/1.1\" 200 5 \"-\" \"robot%s\"\n", i%9, commands, at, path, commands)
	}
	return log.String()
}

func TestNothingOfALogCommandsATerminalOrABrowser(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	for _, options := range [][]string{{}, {"--by-route"}, {"--client-field", "remote_user"}, {"--limit", "1/minute", "--by-route"}, {"--by-route", "--json"}} {
		out, _, err := run(t, hostile(), append([]string{"plan", "--html", page}, options...)...)
		require.NoError(t, err)
		html, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, text := range []string{out, string(html)} {
			require.NotContains(t, text, "\x1b", options)
			require.NotContains(t, text, "\u009b", options)
		}
		require.NotContains(t, string(html), "<script>alert", options)
	}
}

func TestARouteOfALogIsATextInTheCodeToPaste(t *testing.T) {
	out, _, err := run(t, hostile(), "plan", "--by-route")
	require.NoError(t, err)
	require.Contains(t, out, `engine.GET("/a\", nil); panic(\"x", limiter.RateLimit(`)
}

// A spreadsheet takes a cell that is pasted into it for a formula if it begins with one of
// these characters.
func TestNoCellOfAReportIsAFormulaInASpreadsheet(t *testing.T) {
	const formulas = "=+-@"
	var log strings.Builder
	for i := range 6000 {
		at := fmt.Sprintf("01/Jan/2026:%02d:%02d:%02d +0000", i/3600, i/60%60, i%60)
		fmt.Fprintf(&log, "192.0.2.%d - %c1+cmd|x [%s] \"%[2]cGET /%[4]d HTTP/1.1\" 200 5\n", i%9, formulas[i%4], at, i%7)
	}
	page := filepath.Join(t.TempDir(), "report.html")
	out, _, err := run(t, log.String(), "plan", "--html", page, "--client-field", "remote_user", "--by-route", "--limit", "1/minute")
	require.NoError(t, err)
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, c := range formulas {
		require.Contains(t, out, fmt.Sprintf("\n'%c1+cmd|x ", c))
		require.NotContains(t, out, fmt.Sprintf("\n%c", c))
	}
	cells := regexp.MustCompile(`<td[^>]*> *(&[#\w]+;|[^< ])[^<]`).FindAllStringSubmatch(string(html), -1)
	require.Greater(t, len(cells), 50)
	for _, cell := range cells {
		require.NotContains(t, []string{"=", "+", "-", "@", "&#43;", "&#61;"}, cell[1], cell[0])
	}
	out, _, err = run(t, log.String(), "plan", "--json", "--client-field", "remote_user")
	require.NoError(t, err)
	require.Contains(t, out, `"=1+cmd|x"`, "JSON holds the texts as they are")
}

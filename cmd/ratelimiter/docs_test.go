package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func page(t *testing.T) string {
	text, err := os.ReadFile("../../docs/plan.md")
	require.NoError(t, err)
	return string(text)
}

var shownRun = regexp.MustCompile("(?s)```text\n\\$ ratelimiter ([^\n]*)\n(.*?)\n```")

// The worked case is about a log that is not in the repository. Whoever has it
// names it in RATELIMITER_TEST_LOG, its file being access.log.gz.
func TestThePageOfTheManualShowsWhatTheToolPrints(t *testing.T) {
	runs := shownRun.FindAllStringSubmatch(page(t), -1)
	require.Len(t, runs, 4)
	for _, shown := range runs {
		args := strings.Fields(shown[1])
		t.Run(shown[1], func(t *testing.T) {
			if last := args[len(args)-1]; last == "access.log.gz" {
				log := os.Getenv("RATELIMITER_TEST_LOG")
				if log == "" {
					t.Skip("RATELIMITER_TEST_LOG does not name the log")
				}
				t.Chdir(filepath.Dir(log))
			}
			out, _, err := run(t, "", args...)
			require.NoError(t, err)
			for part := range strings.SplitSeq("\n"+shown[2]+"\n", "\n...\n") {
				at := strings.Index("\n"+out, part)
				require.GreaterOrEqual(t, at, 0, "not printed any more:\n%s\nbut\n%s", part, out)
				out = out[max(0, at-1):]
			}
		})
	}
}

// Without that log the headings of the worked case are still held to the tool.
func TestTheWorkedCaseHasTheHeadingsOfTheTool(t *testing.T) {
	out, _, err := run(t, "", "plan", excerpt)
	require.NoError(t, err)
	shown := page(t)
	words := regexp.MustCompile(`^[a-z][a-z -]*  +[a-z]`)
	for text := range strings.SplitSeq(out, "\n") {
		if strings.HasSuffix(text, ":") || words.MatchString(text) && !strings.ContainsAny(text, "0123456789") {
			require.Contains(t, shown, "\n"+text+"\n")
		}
	}
}

func TestThePageNamesAllFlagsAndNoOthers(t *testing.T) {
	shown, known := page(t), map[string]bool{"--help": true, "--version": true}
	for _, cmd := range []*cobra.Command{newPlan(), newCheck(), newSimulate()} {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			known["--"+f.Name] = true
			require.Regexp(t, "--"+f.Name+`\b`, shown)
		})
	}
	for _, name := range regexp.MustCompile(`--[a-z][a-z0-9-]*`).FindAllString(shown, -1) {
		require.True(t, known[name], name)
	}
}

func TestThePageNamesAllFieldsOfTheJSON(t *testing.T) {
	shown := page(t)
	var visit func(of reflect.Type)
	visit = func(of reflect.Type) {
		switch {
		case of.Kind() == reflect.Slice:
			visit(of.Elem())
		case of.Kind() == reflect.Struct && of.Name() != "Time":
			for i := range of.NumField() {
				name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
				require.NotEmpty(t, name, of.Field(i).Name)
				require.Contains(t, shown, "`"+name+"`")
				visit(of.Field(i).Type)
			}
		}
	}
	visit(reflect.TypeFor[report.Report]())
}

// A format that the page shows reads the lines that everybody has.
func TestTheFormatsOfThePageReadOrdinaryLines(t *testing.T) {
	formats := regexp.MustCompile("(?s)`'([$%][^`]*)'`").FindAllStringSubmatch(page(t), -1)
	require.Len(t, formats, 2)
	for _, format := range formats {
		r := inJSON(t, "", "--format", strings.ReplaceAll(format[1], "\n ", ""), excerpt)
		require.Equal(t, inJSON(t, "", excerpt).Periods, r.Periods, format[1])
	}
}

// Every example of the help, run on a log of its format.
func TestTheExamplesOfTheHelpWork(t *testing.T) {
	text, err := os.ReadFile(excerpt)
	require.NoError(t, err)
	word := regexp.MustCompile(`'[^']*'|\S+`)
	for _, cmd := range newRoot().Commands() {
		for example := range strings.SplitSeq(strings.TrimSpace(cmd.Example), "\n") {
			_, line, found := strings.Cut(example, "ratelimiter ")
			if !found {
				continue
			}
			t.Run(line, func(t *testing.T) {
				t.Chdir(t.TempDir())
				for _, name := range []string{"access.log", "access.log.gz", "*.log"} { // a name like any other, without a shell
					require.NoError(t, os.WriteFile(name, text, 0o600))
				}
				require.NoError(t, os.WriteFile("config.json", []byte(`{"RATELIMITER_DEFAULT_LIMITS": "100/minute"}`), 0o600))
				var args []string
				for _, arg := range word.FindAllString(line, -1) {
					args = append(args, strings.Trim(arg, "'"))
				}
				out, code, err := run(t, `{"RATELIMITER_DEFAULT_LIMITS": "100/minute"}`, args...)
				require.NoError(t, err)
				require.Zero(t, code)
				require.NotEmpty(t, out)
			})
		}
	}
}

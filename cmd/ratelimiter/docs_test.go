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

// The worked example uses a log that is not in the repository. RATELIMITER_TEST_LOG may
// name it; the file is called access.log.gz.
func TestThePageShowsTheOutputOfTheTool(t *testing.T) {
	runs := shownRun.FindAllStringSubmatch(page(t), -1)
	require.Len(t, runs, 4)
	for _, shown := range runs {
		args := strings.Fields(shown[1])
		t.Run(shown[1], func(t *testing.T) {
			if last := args[len(args)-1]; last == "access.log.gz" {
				log := os.Getenv("RATELIMITER_TEST_LOG")
				if log == "" {
					t.Skip("RATELIMITER_TEST_LOG is not set")
				}
				t.Chdir(filepath.Dir(log))
			}
			out, _, err := run(t, "", args...)
			require.NoError(t, err)
			for part := range strings.SplitSeq("\n"+shown[2]+"\n", "\n...\n") {
				at := strings.Index("\n"+out, part)
				require.GreaterOrEqual(t, at, 0, "the page shows\n%s\nbut the tool prints\n%s", part, out)
				out = out[max(0, at-1):]
			}
		})
	}
}

// The headings of the worked example are checked without that log, too.
func TestTheWorkedExampleHasTheHeadingsOfTheTool(t *testing.T) {
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

func TestThePageDocumentsAllFieldsOfTheJSON(t *testing.T) {
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

// The formats on the page read the lines of ordinary logs.
func TestTheFormatsOnThePageReadOrdinaryLines(t *testing.T) {
	formats := regexp.MustCompile("(?s)`'([$%][^`]*)'`").FindAllStringSubmatch(page(t), -1)
	require.Len(t, formats, 2)
	for _, format := range formats {
		r := inJSON(t, "", "--format", strings.ReplaceAll(format[1], "\n ", ""), excerpt)
		require.Equal(t, inJSON(t, "", excerpt).Periods, r.Periods, format[1])
	}
}

// Every example in the help texts runs on a log in its format.
func TestTheExamplesInTheHelpWork(t *testing.T) {
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
				for _, name := range []string{"access.log", "access.log.gz", "*.log"} { // without a shell, *.log is an ordinary name
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

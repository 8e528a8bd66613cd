package examples_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

// namesIn returns what a pattern finds in the code of a folder, without its tests.
func namesIn(t *testing.T, folder, pattern string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
			names = append(names, match[1])
		}
	}
	slices.Sort(names)
	require.NotEmpty(t, names, pattern)
	return slices.Compact(names)
}

// entry is a heading of the reference and the paragraphs below it.
type entry struct{ heading, text string }

func entries(t *testing.T) (list []entry) {
	t.Helper()
	for _, part := range strings.Split("\n"+read(t, reference), "\n#")[1:] {
		heading, text, _ := strings.Cut(strings.TrimLeft(part, "#"), "\n")
		list = append(list, entry{strings.TrimSpace(heading), strings.TrimSpace(text)})
	}
	return list
}

// entryOf finds the entry of a name. A heading may list several names.
func entryOf(t *testing.T, name string) string {
	t.Helper()
	all := entries(t)
	at := slices.IndexFunc(all, func(e entry) bool { return slices.Contains(strings.Split(e.heading, ", "), name) })
	require.GreaterOrEqual(t, at, 0, "docs/reference.md has no heading for %s", name)
	return all[at].text
}

// aSentence matches a text that starts with a capital letter, a link or code.
const aSentence = "[A-Z`[].*\\."

func TestTheReferenceHasEveryOption(t *testing.T) {
	for _, name := range namesIn(t, "..", `(?m)^func (With\w+)\(`) {
		text := entryOf(t, name)
		require.Regexp(t, `^`+"```go\n.*ratelimiter\\."+name+`\(.*\n`+"```\n\n"+aSentence, text, "%s needs a line of code and a sentence", name)
	}
}

func TestTheReferenceHasEveryConfigurationKey(t *testing.T) {
	for _, name := range namesIn(t, "..", `(?m)^\tConfig\w+ += "(RATELIMITER_[A-Z0-9_]+)"$`) {
		require.Regexp(t, `(?s)^\S.*; default .*?\. `+aSentence, entryOf(t, name), "%s needs a type, a default and a sentence", name)
	}
}

func TestTheReferenceHasEveryBackendOption(t *testing.T) {
	read := namesIn(t, "../backends", `(?:read\.[A-Z]\w+\(|readCredential\(read, )"(\w+)"`)
	for _, name := range append(read, namesIn(t, "..", `(?m)^const shareOption = "(\w+)"$`)...) {
		text := entryOf(t, name)
		require.Regexp(t, `(?s); default .*?\. `+aSentence, text, "%s needs a type, a default and a sentence", name)
	}
}

func TestTheReferenceHasEveryFunctionAlgorithmAndError(t *testing.T) {
	text := read(t, reference)
	for _, name := range namesIn(t, "..", `(?m)^func \((?:\w+ )?\*RateLimiter\) ([A-Z]\w*)\(`) {
		require.Contains(t, text, "limiter."+name+"(")
	}
	for _, name := range namesIn(t, "..", `(?m)^func ([A-Z]\w*)\(`) {
		require.Regexp(t, `ratelimiter\.`+name+`[()]`, text)
	}
	for _, name := range namesIn(t, "..", `(?m)^(?:var |\t)(Err\w+) += `) {
		require.Contains(t, text, "`ratelimiter."+name+"`")
	}
	for _, name := range namesIn(t, "../backends", `(?m)^(?:var |\t)(Err\w+) += `) {
		require.Contains(t, text, "`backends."+name+"`")
	}
	for _, name := range namesIn(t, "../backends", `"([a-z]+-[a-z]+)"[,}]`) {
		require.Contains(t, text, "\n| `"+name+"` |")
	}
}

// prelude declares what the fragments of the reference use.
const prelude = `package main

import (
	"context"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/redis/go-redis/v9"
)

var (
	engine, another        *gin.Engine
	limiter                *ratelimiter.RateLimiter
	config                 ratelimiter.Config
	observer               ratelimiter.Observer
	options                map[string]any
	err                    error
	c                      *gin.Context
	ctx                    = context.Background()
	search, export, health = func(*gin.Context) {}, func(*gin.Context) {}, func(*gin.Context) {}

	_ = log.Printf
	_ = http.StatusOK
	_ = os.Getenv
	_ = time.Second
	_ *redis.Client
)

// begin makes a new application, with a limit on the key that fragments ask about.
func begin() {
	engine, another = gin.New(), gin.New()
	limiter, err = ratelimiter.New(engine, nil)
	check(err)
	limiter.RateLimit(100, time.Minute, ratelimiter.WithKey(ratelimiter.Shared("uploads")))
	c = gin.CreateTestContextOnly(httptest.NewRecorder(), engine)
	c.Request = httptest.NewRequest(http.MethodGet, "/", nil)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// checkOptions fails for options that no backend accepts.
func checkOptions(options map[string]any) {
	if _, err := backends.NewMemory(options); err != nil {
		check(backends.CheckRedisOptions(options))
	}
}

// checkConfig fails for an invalid configuration. It connects to nothing.
func checkConfig(config ratelimiter.Config) {
	if len(config) > 0 {
		config["RATELIMITER_ENABLED"] = false
		_, err := ratelimiter.New(gin.New(), config)
		check(err)
	}
}

func main() {
	gin.SetMode(gin.TestMode)
`

var declaration = regexp.MustCompile(`(?m)^(?:var (\w+) |(\w+(?:, \w+)*) := )`)

// fragmentsProgram is a program that runs the fragments of pages one after the other.
func fragmentsProgram(t *testing.T, pages ...string) string {
	t.Helper()
	var source, texts strings.Builder
	source.WriteString(prelude)
	for _, page := range pages {
		texts.WriteString(read(t, page))
	}
	for _, block := range blocks(texts.String(), "go") {
		if isProgram(block) {
			continue
		}
		fmt.Fprintf(&source, "begin()\n{\n%s", block)
		for _, match := range declaration.FindAllStringSubmatch(block, -1) {
			for _, name := range strings.Split(match[1]+match[2], ", ") {
				switch name {
				case "err":
					source.WriteString("check(err)\n")
				case "options":
					source.WriteString("checkOptions(options)\n")
				case "config":
					source.WriteString("checkConfig(config)\n")
				default:
					fmt.Fprintf(&source, "_ = &%s\n", name)
				}
			}
		}
		source.WriteString("}\n")
	}
	return source.String() + "}\n"
}

func TestTheFragmentsRun(t *testing.T) {
	source := fragmentsProgram(t, reference, fromFlask) // both in one, which is linked once
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	command := exec.CommandContext(t.Context(), "go", "run", file)
	command.Dir = ".."
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s\n%s", output, source)
}

func TestTheReferenceShowsARejectionAsItIs(t *testing.T) {
	gin.SetMode(gin.TestMode)
	server := miniredis.RunT(t) // with a clock that stands still, in the middle of a second
	server.SetTime(time.Date(2026, 1, 1, 0, 0, 0, 500_000_000, time.UTC))
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr()},
		"RATELIMITER_TIMEOUT":         time.Minute,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.GET("/", limiter.RateLimit(3, time.Second), func(c *gin.Context) { c.Status(http.StatusOK) })
	url := exampletest.Serve(t, engine)
	exampletest.Statuses(t, 3, url)

	shown := blocks(read(t, reference), "http")
	require.Len(t, shown, 1)
	varying := regexp.MustCompile(`(?m)^(Date|Content-Length|Connection|X-Ratelimit-Reset): .*\n`)
	rejection := strings.ReplaceAll(exampletest.Raw(t, url), "\r", "") + "\n"
	require.Equal(t, varying.ReplaceAllString(rejection, ""), varying.ReplaceAllString(shown[0], ""))
}

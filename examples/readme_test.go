package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func TestTheReadmeIsShort(t *testing.T) {
	text := read(t, readme)
	require.LessOrEqual(t, strings.Count(text, "\n"), 200)
	program, _, _ := strings.Cut(text, "Each client may")
	require.Less(t, strings.Count(program, "\n"), 50, "the program is on the first screen")
}

// passing matches what differs between two runs of the program in the README.
var passing = regexp.MustCompile(`(?m)^Connection: close\n|(?:^Date: .*|;t=\d+|^(?:X-Ratelimit-Reset|Retry-After): \d+)$`)

func TestTheProgramInTheReadmeRespondsAsShown(t *testing.T) {
	var program string
	for _, block := range blocks(read(t, readme), "go") {
		if isProgram(block) {
			program = block
		}
	}
	const listens = `engine.Run("127.0.0.1:8080")`
	require.Contains(t, program, listens)
	program = strings.NewReplacer(`"log"`, "\"fmt\"\n\t\"log\"\n\t\"net\"", listens, `serve(engine)`).Replace(program) + `
func serve(engine *gin.Engine) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("Listening on http://%s: a free port\n", listener.Addr())
	return engine.RunListener(listener)
}
`
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	url := exampletest.Start(t, exampletest.Build(t, file), nil).URL()
	require.Equal(t, []int{200, 200, 200, 429}, exampletest.Statuses(t, 4, url+"/search"))

	sessions := blocks(read(t, readme), "console")
	require.Len(t, sessions, 1)
	command, shown, _ := strings.Cut(sessions[0], "\n")
	require.Equal(t, "$ curl -i http://127.0.0.1:8080/search", command)
	response := strings.ReplaceAll(exampletest.Raw(t, url+"/search"), "\r", "") + "\n"
	require.Equal(t, passing.ReplaceAllString(shown, ""), passing.ReplaceAllString(response, ""))
}

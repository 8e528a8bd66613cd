// Command biglog generates an access log in the combined format, for measurements of plan.
// The same size gives the same log.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"time"
)

func main() {
	size := flag.Int64("megabytes", 100, "size of the log, in units of 1,000,000 bytes")
	flag.Parse()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	if err := errors.Join(write(out, *size*1_000_000), out.Flush()); err != nil {
		log.Fatal(err)
	}
}

// write generates lines until the size is reached. Few clients send many requests, and most
// send few. There are a hundred requests a second on average, each logged with a short delay
// as by a server.
func write(out *bufio.Writer, size int64) error {
	random := rand.New(rand.NewPCG(1, 2))
	clients := rand.NewZipf(random, 1.1, 20, 500_000)
	paths := rand.NewZipf(random, 1.2, 4, 5_000)
	agents := []string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (compatible; examplebot/2.1; +https://bot.example/)",
		"curl/8.14.1",
	}
	statuses := []int{200, 200, 200, 200, 200, 200, 304, 301, 404, 500}
	at := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for size > 0 {
		at = at.Add(time.Duration(random.ExpFloat64() * float64(10*time.Millisecond)))
		began := at.Add(-time.Duration(random.IntN(3)) * time.Second)
		client := clients.Uint64() * 2654435761 % (1 << 24) // scattered over a network
		path := paths.Uint64()
		n, err := fmt.Fprintf(out, "10.%d.%d.%d - - [%s] \"GET /section/%d/page-%d.html?from=%d HTTP/1.1\" %d %d \"https://www.example/section/%d/\" \"%s\"\n",
			client>>16, client>>8&255, client&255, began.Format("02/Jan/2006:15:04:05 -0700"), path%17, path, random.IntN(1000),
			statuses[random.IntN(len(statuses))], random.IntN(100_000), path%17, agents[client%uint64(len(agents))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

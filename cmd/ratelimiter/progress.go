package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/stream"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// showProgress draws a progress bar if to is a terminal. done removes it.
func showProgress(to io.Writer, o *stream.Options) (done func()) {
	file, ok := to.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return func() {}
	}
	bar := progressbar.NewOptions64(totalBytes(o.Names),
		progressbar.OptionSetWriter(to), progressbar.OptionShowBytes(true), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(20), progressbar.OptionSetPredictTime(true), progressbar.OptionSetDescription("reading"))
	ticker := time.NewTicker(100 * time.Millisecond)
	stop := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		for {
			select {
			case <-ticker.C:
				_ = bar.Set64(o.Read.Load()) // a failure to draw does not matter
			case <-stop:
				return
			}
		}
	})
	return func() {
		ticker.Stop()
		close(stop)
		drawing.Wait()
		_ = bar.Clear() // as above
	}
}

// totalBytes is the size of all files, or -1 if it is unknown.
func totalBytes(names []string) (total int64) {
	for _, name := range names {
		info, err := os.Stat(name)
		if name == "-" || err != nil {
			return -1
		}
		total += info.Size()
	}
	return total
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
)

// readLog counts the records that a limiter has written.
func readLog(folder string, process int, limiter string) (log history.Log, err error) {
	log = history.Log{Process: process, Limiter: limiter}
	file, err := os.Open(filepath.Join(folder, logName(process, limiter)))
	if err != nil {
		return log, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		log.Bytes += int64(len(lines.Bytes())) + 1
		var record struct {
			Message  string `json:"msg"`
			Rejected uint64 `json:"rejected"`
		}
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			return log, fmt.Errorf("a record of %s is no JSON: %w", file.Name(), err)
		}
		log.Rejected += record.Rejected
		switch message := strings.TrimPrefix(record.Message, "rate limit: "); {
		case strings.HasPrefix(message, "client "):
			log.Clients++
		case strings.HasPrefix(message, "other clients"):
			log.Others++
		case strings.HasPrefix(message, "backend unavailable"):
			log.Fails++
		case strings.HasPrefix(message, "backend available again"):
			log.Answers++
		default:
			return log, fmt.Errorf("%s has a record that nothing says is written: %q", file.Name(), record.Message)
		}
	}
	return log, lines.Err()
}

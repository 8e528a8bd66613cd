package logging

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// logTransition writes that a client is rejected or banned.
func (l *Log) logTransition(c *client, what transition) {
	if what == noTransition {
		return
	}
	message := "rate limit: client rejected"
	switch {
	case what == startsBan:
		message = "rate limit: client banned"
	case c.shadowed:
		message = "rate limit: client would be rejected"
	}
	attributes := append(l.clientAttrs(c), slog.Int64("limit", c.limit), slog.Duration("per", c.per))
	if c.retryAfter > 0 {
		attributes = append(attributes, slog.Duration("retry_after", c.retryAfter))
	}
	l.write(levelOf(what == startsBan), message, attributes...)
}

// logSummary writes the summary of a client.
func (l *Log) logSummary(c *client) {
	message := "rate limit: client no longer rejected"
	if c.shadowed {
		message = "rate limit: client would no longer be rejected"
	}
	l.write(slog.LevelInfo, message, append(l.clientAttrs(c),
		slog.Uint64("rejected", c.rejected), slog.Time("since", c.since), slog.Time("until", c.last), slog.Bool("banned", c.banned))...)
}

func (l *Log) clientAttrs(c *client) []slog.Attr {
	return append(make([]slog.Attr, 0, 8), slog.String("route", c.route), slog.String("name", c.name),
		slog.String("key", c.key), slog.String("scope", l.scope(c.scope)))
}

// logOthers writes the number of rejections of clients that are not tracked.
func (l *Log) logOthers(o *others, now time.Time) {
	l.write(slog.LevelWarn, "rate limit: other clients rejected", slog.Uint64("rejected", o.rejected),
		slog.Uint64("would_be_rejected", o.shadowed), slog.Time("since", o.since), slog.Time("until", now))
}

func (l *Log) logOutage(e *ratelimiter.Event) {
	level, message := slog.LevelError, "rate limit: backend unavailable"
	if e.Fallback {
		level, message = slog.LevelWarn, "rate limit: backend unavailable, limiting in memory"
	}
	why := "unknown"
	if e.Err != nil {
		why = shortened(e.Err.Error())
	}
	l.write(level, message, slog.String("route", e.Route), slog.String("error", why))
}

func (l *Log) logRecovery(o *endedOutage) {
	l.write(slog.LevelInfo, "rate limit: backend available again", slog.Time("since", o.since),
		slog.Duration("lasted", o.lasted.Round(time.Millisecond)), slog.Uint64("decisions", o.decisions))
}

func (l *Log) write(level slog.Level, message string, attributes ...slog.Attr) {
	l.currentLogger().LogAttrs(context.Background(), level, message, attributes...)
}

// shortened bounds the length of an error message, which may come from anywhere.
func shortened(text string) string {
	const most = 500
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

package redistest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Proxy forwards connections to a server and disturbs them like a network. Changes also
// apply to existing connections. All methods are safe for concurrent use.
type Proxy struct {
	Addr string

	target  string
	ended   context.Context
	group   sync.WaitGroup
	delay   atomic.Int64
	cut     atomic.Bool
	lose    atomic.Int64
	answers atomic.Int64
}

// NewProxy starts a proxy for the server at target. It is closed at the end of the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended, end := context.WithCancel(context.Background())
	p := &Proxy{Addr: listener.Addr().String(), target: target, ended: ended}
	p.group.Go(func() { p.accept(listener) })
	t.Cleanup(func() {
		end()
		_ = listener.Close() // ends accept
		p.group.Wait()
	})
	return p
}

// Delay delays each answer.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Cut ends each connection in the middle of its next answer.
func (p *Proxy) Cut(enabled bool) { p.cut.Store(enabled) }

// Lose drops one of so many answers, and all that follow on its connection, which stays
// open. 0 drops none.
func (p *Proxy) Lose(oneOf int) { p.lose.Store(int64(oneOf)) }

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }() // may be closed already
	server, err := (&net.Dialer{}).DialContext(p.ended, "tcp", p.target)
	if err != nil {
		return
	}
	defer context.AfterFunc(p.ended, func() { _ = client.Close() })()
	p.group.Go(func() {
		defer func() { _ = server.Close() }() // ends answer
		_, _ = io.Copy(server, client)        // until either of them ends
	})
	p.answer(client, server)
}

// answer forwards the answers of the server, piece by piece.
func (p *Proxy) answer(client io.Writer, server io.Reader) {
	piece, lost := make([]byte, 1<<16), false
	for {
		n, err := server.Read(piece)
		if err != nil {
			return
		}
		oneOf := p.lose.Load()
		lost = lost || oneOf > 0 && p.answers.Add(1)%oneOf == 0
		if lost {
			continue
		}
		if wait := time.Duration(p.delay.Load()); wait > 0 {
			select {
			case <-time.After(wait):
			case <-p.ended.Done():
			}
		}
		cut := p.cut.Load()
		if cut {
			n /= 2
		}
		if _, err := client.Write(piece[:n]); err != nil || cut {
			return
		}
	}
}

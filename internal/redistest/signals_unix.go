//go:build unix

package redistest

import (
	"syscall"

	"github.com/stretchr/testify/require"
)

// Pause stops the process without ending it: connections stay open and nothing
// answers. Continue lets it go on.
func (s *Server) Pause() {
	s.t.Helper()
	require.NoError(s.t, s.command.Process.Signal(syscall.SIGSTOP))
}

// Continue lets a paused process go on.
func (s *Server) Continue() {
	s.t.Helper()
	require.NoError(s.t, s.command.Process.Signal(syscall.SIGCONT))
}

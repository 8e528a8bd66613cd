//go:build !unix

package redistest

// Pause skips the test: processes cannot be paused on this system.
func (s *Server) Pause() {
	s.t.Helper()
	s.t.Skip("processes cannot be paused on this system")
}

// Continue lets a paused process go on.
func (s *Server) Continue() {}

package main

import (
	"io"
	"sync"

	"github.com/gocarrier/carrier"
)

// lineLimit lets the longest text pass with its command, and a label for WHO.
const lineLimit = carrier.MaxMessage + 1024

// script is the front for programs: the line protocol.
type script struct {
	in *lines

	mu  sync.Mutex
	out io.Writer
	err error // of the first Write that failed: half a line may be out
}

func newScript(in io.Reader, out io.Writer) *script {
	return &script{in: newLines(in, lineLimit), out: out}
}

func (s *script) read() (string, error) { return s.in.read() }

func (s *script) show(e event) error {
	text := e.lines()
	if text == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_, s.err = io.WriteString(s.out, text)
	}
	return s.err
}

func (s *script) close() {}

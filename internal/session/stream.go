package session

import (
	"net"
	"strconv"
)

// Mode is what a stream is like.
type Mode uint8

const (
	// Reliable streams carry bytes in order, each once, as TCP does.
	Reliable Mode = iota
	// Datagram streams carry messages with their boundaries, which may be lost,
	// as UDP does.
	Datagram
)

// StreamOptions are those of one stream.
type StreamOptions struct {
	Mode Mode
	// Bulk gives a reliable stream a lane of its own, whose window grows with
	// the path: for much data at once. A link has fewer lanes than a session
	// streams.
	Bulk bool
}

// Stream is a [net.Conn] between the two ends of a session. Deadlines end calls
// with [os.ErrDeadlineExceeded] and leave the stream as it is.
//
// Of a reliable stream, Write returns when all is taken to be sent, and Close
// at once: what was written goes on behind it. The friend reads it, then
// [io.EOF], and its Write fails with [ErrStreamClosed].
//
// On a datagram stream one Write is one datagram and one Read takes one. A
// buffer that is too short gets [io.ErrShortBuffer], and what of the datagram
// did not fit is lost. One above MaxDatagramSize is [ErrTooLong]. Datagrams may
// be lost, also because nobody reads them: then the oldest are.
//
// When the session has ended, calls fail with an [*Error]; of a session that
// the friend closed, what has come can still be read. Every stream must be
// closed.
type Stream struct {
	conn
	s    *Session
	mode Mode
}

// conn is what the kinds of streams do themselves.
type conn interface {
	net.Conn
	// CloseWrite ends the writing half after what was written: the friend reads
	// [io.EOF].
	CloseWrite() error
}

var _ net.Conn = (*Stream)(nil)

// Session returns the session that the stream is one of.
func (st *Stream) Session() *Session { return st.s }

// Mode returns the stream's mode.
func (st *Stream) Mode() Mode { return st.mode }

// MaxDatagramSize is the length of the longest datagram that can be written
// now, in bytes: it changes with the path. 0: not a datagram stream.
func (st *Stream) MaxDatagramSize() int {
	if st.mode != Datagram {
		return 0
	}
	return st.s.p.cfg.Datagrams.Max()
}

// addr is an address where the owner gives none.
type addr struct {
	service string
	session uint64
	local   bool
}

func (addr) Network() string { return "carrier" }

func (a addr) String() string {
	end := "friend"
	if a.local {
		end = "here"
	}
	return end + "/" + a.service + "/" + strconv.FormatUint(a.session, 10)
}

// LocalAddr implements [net.Conn] for all kinds of streams.
func (s *Session) LocalAddr() net.Addr { return s.local }

// RemoteAddr implements [net.Conn] for all kinds of streams.
func (s *Session) RemoteAddr() net.Addr { return s.remote }

// fault is the error of a call.
func (s *Session) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "carrier", Source: s.local, Addr: s.remote, Err: err}
}

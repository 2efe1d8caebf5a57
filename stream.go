package carrier

import (
	"errors"
	"net"
	"time"

	"github.com/gocarrier/carrier/internal/session"
)

// StreamMode is what a stream is like.
type StreamMode uint8

// The modes.
const (
	Reliable StreamMode = StreamMode(session.Reliable) // bytes in order, each once, as TCP
	Datagram StreamMode = StreamMode(session.Datagram) // messages that may be lost, as UDP
)

// String returns "reliable" or "datagram".
func (m StreamMode) String() string {
	if m == Datagram {
		return "datagram"
	}
	return "reliable"
}

// StreamOptions are the choices of one OpenStream; nil or zero means the
// defaults.
type StreamOptions struct {
	// Mode is Reliable if zero.
	Mode StreamMode
	// Bulk gives a reliable stream a window of its own that grows with the path:
	// for one stream that is to go as fast as can be beside others. There are
	// fewer of them than of others; use it for files, not for requests.
	Bulk bool
}

// Stream is a [net.Conn] to a friend. Deadlines end calls with
// os.ErrDeadlineExceeded and leave the stream as it is.
//
// Of a reliable stream, Write returns when all is taken to be sent, and Close at
// once: what was written goes on behind it. The friend reads it, then io.EOF.
//
// On a datagram stream one Write is one datagram and one Read takes one. A
// buffer that is too short gets io.ErrShortBuffer, and the rest of the datagram
// is lost; one that is longer than MaxDatagramSize is ErrTooLong. Datagrams may be
// lost and never come twice. After the friend's Close, Read returns io.EOF.
//
// When the session has ended, calls return its error. Every stream must be
// closed; one that is not counts against the session's limit. All methods are
// safe for concurrent use.
type Stream struct {
	inner   *session.Stream
	session *Session
	alone   bool // of Dial: its end is the session's
}

var _ net.Conn = (*Stream)(nil)

// Session returns the session that the stream is one of.
func (s *Stream) Session() *Session { return s.session }

// Mode returns the stream's mode.
func (s *Stream) Mode() StreamMode { return StreamMode(s.inner.Mode()) }

// MaxDatagramSize returns the length of the longest datagram that can be written
// now, in bytes: about 1,150, and it changes with the path. 0: not a datagram
// stream.
func (s *Stream) MaxDatagramSize() int { return s.inner.MaxDatagramSize() }

// Read implements [net.Conn].
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.inner.Read(p)
	return n, streamError(err)
}

// Write implements [net.Conn].
func (s *Stream) Write(p []byte) (int, error) {
	n, err := s.inner.Write(p)
	return n, streamError(err)
}

// CloseWrite ends the writing half after what was written: the friend then reads
// io.EOF. The reading half goes on.
func (s *Stream) CloseWrite() error { return streamError(s.inner.CloseWrite()) }

// Close closes the stream, and with it the session if it came from Dial. It
// returns at once; what was written goes on behind it.
func (s *Stream) Close() error {
	err := streamError(s.inner.Close())
	if s.alone {
		return errors.Join(err, s.session.Close())
	}
	return err
}

// LocalAddr returns our end, an [Addr].
func (s *Stream) LocalAddr() net.Addr { return s.inner.LocalAddr() }

// RemoteAddr returns the friend's end, an [Addr].
func (s *Stream) RemoteAddr() net.Addr { return s.inner.RemoteAddr() }

// SetDeadline implements [net.Conn].
func (s *Stream) SetDeadline(t time.Time) error { return streamError(s.inner.SetDeadline(t)) }

// SetReadDeadline implements [net.Conn].
func (s *Stream) SetReadDeadline(t time.Time) error {
	return streamError(s.inner.SetReadDeadline(t))
}

// SetWriteDeadline implements [net.Conn].
func (s *Stream) SetWriteDeadline(t time.Time) error {
	return streamError(s.inner.SetWriteDeadline(t))
}

// streamError puts an error of the session room into this package's words; what
// a program tests for stands in it already.
func streamError(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return err
	}
	if cause := sessionCause(op.Err); cause != nil {
		return &net.OpError{Op: op.Op, Net: op.Net, Source: op.Source, Addr: op.Addr, Err: cause}
	}
	return err
}

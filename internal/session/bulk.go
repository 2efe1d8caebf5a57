package session

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// bulk is a reliable stream with a lane of its own. Its first byte, 0, only
// lets the peer learn of the lane.
type bulk struct {
	s    *Session
	id   uint64 // of the lane
	lane Lane   // set before the program gets the stream

	opening sync.Mutex // held while the first byte is read; before Session.mu
	open    bool       // it was

	mu          sync.Mutex
	closed      bool
	writeClosed bool
	refused     bool
}

const bulkByte = 0

// openBulk makes a lane of ours a stream. Under the session's lock.
func (s *Session) openBulk(l Lane) (conn, error) {
	b := &bulk{s: s, id: l.ID(), lane: l, open: true}
	err := s.p.cfg.Signal.Send(wire.AppendSession(nil, wire.SessionBulk{Session: s.id, Lane: b.id}))
	if err != nil {
		abandon(l, laneAborted)
		return nil, &Error{Cause: ErrLinkLost, Err: err}
	}
	_, _ = l.Write([]byte{bulkByte}) // as a session's lane begins
	s.addBulk(b)
	return b, nil
}

func (s *Session) addBulk(b *bulk) {
	s.bulks[b.id] = b
	s.count++
	s.charge(streamCost)
}

// bulkOpened handles BULK; it reports false if there is to be no such stream.
func (s *Session) bulkOpened(id uint64) (*bulk, bool) {
	defer s.relieve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != opened || s.err != nil || s.bulks[id] != nil {
		return nil, false
	}
	if s.closing || s.count >= s.limit {
		s.p.count(countStreams)
		s.tell(wire.SessionBulkRefuse{Session: s.id, Lane: id})
		return nil, false
	}
	b := &bulk{s: s, id: id}
	s.addBulk(b)
	return b, true
}

// claimed takes the lane that BULK named.
func (b *bulk) claimed(l Lane) {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bulks[b.id] != b || s.closing || s.err != nil {
		abandon(l, laneAborted)
		return
	}
	b.lane = l
	rouse(s.moved)
	s.accepted(&Stream{conn: b, s: s, mode: Reliable})
}

// bulkRefused handles BULK_REFUSE.
func (s *Session) bulkRefused(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bulks[id]
	if b == nil || id&1 != s.p.parity() {
		return // closed since, or junk that does nothing
	}
	b.mu.Lock()
	b.refused = true
	b.mu.Unlock()
	b.lane.Reset(laneRefused)
	b.lane.Stop(laneRefused)
}

// abandon aborts the stream.
func (b *bulk) abandon(code uint64) {
	if b.lane != nil {
		abandon(b.lane, code)
	}
}

// Read implements [net.Conn].
func (b *bulk) Read(p []byte) (int, error) {
	if err := b.first(); err != nil {
		return 0, b.error("read", err)
	}
	n, err := b.lane.Read(p)
	return n, b.error("read", err)
}

// first reads the byte that the peer opened the lane with.
func (b *bulk) first() error {
	b.opening.Lock()
	defer b.opening.Unlock()
	if b.open {
		return nil
	}
	var p [1]byte
	switch _, err := b.lane.Read(p[:]); {
	case errors.Is(err, io.EOF):
		return b.bad("no first byte")
	case err != nil:
		return err
	case p[0] != bulkByte:
		return b.bad("first byte")
	}
	b.open = true
	return nil
}

func (b *bulk) bad(what string) error {
	b.s.protocolError(fmt.Errorf("%w: %s on lane %d of a stream", errFrame, what, b.id))
	return errFrame
}

// Write implements [net.Conn].
func (b *bulk) Write(p []byte) (int, error) {
	n, err := b.lane.Write(p)
	return n, b.error("write", err)
}

// error says in the session's words why the lane refuses.
func (b *bulk) error(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	b.mu.Lock()
	closed, writeClosed, refused := b.closed, b.writeClosed, b.refused
	b.mu.Unlock()
	s := b.s
	switch {
	case closed:
		return s.fault(op, net.ErrClosed)
	case writeClosed && op == "write":
		return s.fault(op, ErrWriteClosed)
	case refused:
		return s.fault(op, ErrTooManyStreams)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.fault(op, os.ErrDeadlineExceeded)
	}
	if ended := s.explain(); ended != nil {
		return s.fault(op, ended)
	}
	return s.fault(op, fmt.Errorf("%w: %w", ErrStreamClosed, err))
}

// CloseWrite implements [Stream].
func (b *bulk) CloseWrite() error {
	b.mu.Lock()
	closed := b.closed
	b.writeClosed = true
	b.mu.Unlock()
	if closed {
		return b.s.fault("close", net.ErrClosed)
	}
	return b.error("close", b.lane.CloseWrite())
}

// Close implements [net.Conn].
func (b *bulk) Close() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.close()
	return nil
}

// close ends both halves at this end. Under the session's lock.
func (b *bulk) close() {
	b.mu.Lock()
	closed := b.closed
	b.closed = true
	b.mu.Unlock()
	if closed {
		return
	}
	if b.lane != nil {
		_ = b.lane.Close() // a link that has ended is closed enough
	}
	if s := b.s; s.bulks[b.id] == b {
		delete(s.bulks, b.id)
		s.count--
		if s.err == nil {
			s.charge(-streamCost)
		}
	}
}

// LocalAddr implements [net.Conn].
func (b *bulk) LocalAddr() net.Addr { return b.s.local }

// RemoteAddr implements [net.Conn].
func (b *bulk) RemoteAddr() net.Addr { return b.s.remote }

// SetDeadline implements [net.Conn].
func (b *bulk) SetDeadline(t time.Time) error { return b.error("set deadline", b.lane.SetDeadline(t)) }

// SetReadDeadline implements [net.Conn].
func (b *bulk) SetReadDeadline(t time.Time) error {
	return b.error("set deadline", b.lane.SetReadDeadline(t))
}

// SetWriteDeadline implements [net.Conn].
func (b *bulk) SetWriteDeadline(t time.Time) error {
	return b.error("set deadline", b.lane.SetWriteDeadline(t))
}

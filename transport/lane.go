package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5/deadline"

	"github.com/gocarrier/carrier/internal/reliable"
)

// LaneError is a lane ended by an abort of either end: Reset of the writing
// half, or Stop of the reading one.
type LaneError struct {
	Code   uint64
	Remote bool // by the peer
}

func (e *LaneError) Error() string {
	who := "this end"
	if e.Remote {
		who = "the peer"
	}
	return fmt.Sprintf("lane aborted by %s (code %d)", who, e.Code)
}

// Lane is one ordered, reliable stream of bytes in each direction, with a
// window of its own: one that nobody reads holds up no other. It is a
// [net.Conn]; deadlines end calls with [os.ErrDeadlineExceeded] and leave the
// lane as it is. The two halves end apart: the writing one by CloseWrite or
// Reset, the reading one by the peer or Stop. When the link ends, every call
// returns its error. All methods are safe for concurrent use.
type Lane struct {
	l  *Link
	r  *reliable.Lane // under l.mu
	id uint64

	readable, writable chan struct{} // capacity 1: something has changed
	readLimit          *deadline.Deadline
	writeLimit         *deadline.Deadline
	writing            sync.Mutex // one Write after the other; before l.mu

	closed  bool          // under l.mu: Close was called
	flushes chan struct{} // under l.mu: closed when all is acknowledged; nil: nobody waits
}

var _ net.Conn = (*Lane)(nil)

// newLane is called under l.mu.
func newLane(l *Link, r *reliable.Lane) *Lane {
	return &Lane{
		l: l, r: r, id: r.ID(),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
		readLimit: deadline.New(), writeLimit: deadline.New(),
	}
}

// ID is the lane's number, the same at both ends, unique within the link.
func (a *Lane) ID() uint64 { return a.id }

// signal wakes who waits. Under l.mu.
func (a *Lane) signal(r reliable.Ready) {
	if r&(reliable.Readable|reliable.Ended) != 0 {
		rouse(a.readable)
	}
	if r&(reliable.Writable|reliable.Ended) != 0 {
		rouse(a.writable)
	}
}

func rouse(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Read implements [net.Conn]. [io.EOF]: the peer has ended its half, and all
// was read. A [*LaneError]: it was aborted.
func (a *Lane) Read(p []byte) (int, error) {
	for {
		if expired(a.readLimit) {
			return 0, a.fault("read", os.ErrDeadlineExceeded)
		}
		n, err := a.read(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-a.readable:
		case <-a.readLimit.Done():
		case <-a.l.done:
		}
	}
}

func (a *Lane) read(p []byte) (int, error) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.closed {
		rouse(a.readable) // for others who wait
		return 0, a.fault("read", net.ErrClosed)
	}
	n, err := a.r.Read(p)
	if n > 0 || err != nil {
		rouse(a.readable) // there may be more, for others who wait
	}
	if n > 0 {
		a.l.wakeIfDue() // credit for the peer
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		return 0, io.EOF
	}
	return 0, a.error("read", err)
}

// Write implements [net.Conn]. It returns when all of p is taken: sent or in
// the lane's buffer of 256 KiB.
func (a *Lane) Write(p []byte) (int, error) {
	a.writing.Lock()
	defer a.writing.Unlock()
	written := 0
	for {
		if expired(a.writeLimit) {
			return written, a.fault("write", os.ErrDeadlineExceeded)
		}
		n, err := a.write(p[written:])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
		select {
		case <-a.writable:
		case <-a.writeLimit.Done():
		case <-a.l.done:
		}
	}
}

func (a *Lane) write(p []byte) (int, error) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.closed {
		return 0, a.fault("write", net.ErrClosed)
	}
	n, err := a.r.Write(p)
	if n > 0 {
		a.l.wakeIfDue()
	}
	return n, a.error("write", err)
}

// error says in the transport's words why the machine refuses. Under l.mu.
func (a *Lane) error(op string, err error) error {
	switch {
	case a.l.err != nil:
		return a.fault(op, a.l.err)
	case err == nil:
		return nil
	}
	if aborted, ok := errors.AsType[*reliable.LaneError](err); ok {
		return a.fault(op, &LaneError{Code: aborted.Code, Remote: aborted.Remote})
	}
	return a.fault(op, err)
}

func (a *Lane) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "carrier", Source: a.LocalAddr(), Addr: a.RemoteAddr(), Err: err}
}

// CloseWrite ends the writing half after what was written. The peer then reads
// [io.EOF].
func (a *Lane) CloseWrite() error {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if err := a.error("close", nil); err != nil {
		return err
	}
	err := a.r.CloseWrite()
	a.l.rouse()
	rouse(a.writable)
	return a.error("close", err)
}

// Close ends both halves: what was written is still carried to the peer, what
// comes is dropped. It does not wait.
func (a *Lane) Close() error {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	rouse(a.readable)
	rouse(a.writable)
	if a.l.err != nil {
		return nil
	}
	err := a.r.CloseWrite()
	a.r.Stop(0)
	a.l.rouse()
	var aborted *reliable.LaneError
	if errors.As(err, &aborted) {
		return nil // over already
	}
	return a.error("close", err)
}

// Reset aborts the writing half: what is not yet carried is dropped, and the
// peer's Read returns a [*LaneError] with the code.
func (a *Lane) Reset(code uint64) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.l.err == nil {
		a.r.Reset(code)
		a.l.rouse()
	}
	rouse(a.writable)
}

// Stop ends the reading half: what comes is dropped, and the peer's Write
// returns a [*LaneError] with the code.
func (a *Lane) Stop(code uint64) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.l.err == nil {
		a.r.Stop(code)
		a.l.rouse()
	}
	rouse(a.readable)
}

// Flush waits until the peer has acknowledged all that was written, the end of
// the half included if it was ended. The error is ctx's or the link's.
func (a *Lane) Flush(ctx context.Context) error {
	a.l.mu.Lock()
	if a.r.Flushed() {
		a.l.mu.Unlock()
		return nil
	}
	if a.flushes == nil {
		a.flushes = make(chan struct{})
		a.l.flushing[a] = struct{}{}
	}
	done := a.flushes
	a.l.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-a.l.done:
		return a.fault("flush", a.l.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushed ends the waiting of Flush. Under l.mu.
func (a *Lane) flushed() {
	close(a.flushes)
	a.flushes = nil
	delete(a.l.flushing, a)
}

// SetDeadline implements [net.Conn].
func (a *Lane) SetDeadline(t time.Time) error {
	return errors.Join(a.SetReadDeadline(t), a.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (a *Lane) SetReadDeadline(t time.Time) error {
	return a.setDeadline(a.readLimit, t)
}

// SetWriteDeadline implements [net.Conn].
func (a *Lane) SetWriteDeadline(t time.Time) error {
	return a.setDeadline(a.writeLimit, t)
}

func (a *Lane) setDeadline(d *deadline.Deadline, t time.Time) error {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.closed {
		return a.fault("set deadline", net.ErrClosed)
	}
	d.Set(t)
	return nil
}

// LocalAddr implements [net.Conn].
func (a *Lane) LocalAddr() net.Addr { return laneAddr{"this end", a.id} }

// RemoteAddr implements [net.Conn].
func (a *Lane) RemoteAddr() net.Addr { return laneAddr{a.l.peer.String(), a.id} }

// laneAddr names one end of a lane.
type laneAddr struct {
	who  string
	lane uint64
}

func (laneAddr) Network() string  { return "carrier" }
func (a laneAddr) String() string { return fmt.Sprintf("%s/%d", a.who, a.lane) }

func expired(d *deadline.Deadline) bool {
	select {
	case <-d.Done():
		return true
	default:
		return false
	}
}

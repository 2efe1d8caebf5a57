package session

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// reliable is a stream that smux carries. Its fields are under the session's
// lock.
type reliable struct {
	s  *Session
	id uint32

	readable sync.Cond
	in       ring
	charged  int    // what the budget counts for in
	received uint64 // bytes that came
	read     uint64 // bytes that the program took
	told     uint64 // of read, what the peer has been told
	updating bool   // it waits in the session's updates
	finished bool   // the peer's FIN has come
	lost     error  // why what had come is gone

	writable    sync.Cond
	writing     bool   // a Write is at it: others wait
	sent        uint64 // bytes given to the outgoing queue
	consumed    uint64 // of sent, what the peer's program took
	window      uint64 // the peer's: how much of sent may be beyond consumed
	waiting     bool   // it waits for room in the outgoing queue
	grant       int    // room given to it
	writeClosed bool   // our FIN is sent
	gone        error  // the peer does not read: why

	counted                   bool // among the session's open streams
	closed                    bool
	readDeadline, writeBefore deadline
}

// newReliable makes a stream. Under the session's lock.
func (s *Session) newReliable(id uint32) *reliable {
	r := &reliable{s: s, id: id, window: uint64(s.window), counted: true}
	r.readable.L, r.writable.L = &s.mu, &s.mu
	r.readDeadline.cond, r.writeBefore.cond = &r.readable, &r.writable
	s.reliables[id] = r
	s.count++
	s.charge(streamCost)
	return r
}

// Read implements [net.Conn].
func (r *reliable) Read(p []byte) (int, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case r.closed:
			return 0, s.fault("read", net.ErrClosed)
		case r.readDeadline.expired:
			return 0, s.fault("read", os.ErrDeadlineExceeded)
		case r.in.n > 0:
			return r.take(p), nil
		case r.lost != nil:
			return 0, s.fault("read", r.lost)
		case r.finished:
			return 0, io.EOF
		case s.err != nil:
			return 0, s.fault("read", s.err)
		case len(p) == 0:
			return 0, nil
		}
		r.readable.Wait()
	}
}

// take reads what is there, and tells the peer when it may send more.
func (r *reliable) take(p []byte) int {
	s := r.s
	n := r.in.read(s.budget, p)
	r.recharge()
	r.read += uint64(n)
	if r.in.n > 0 {
		r.readable.Signal() // for others who wait
	}
	if due := r.read-r.told >= uint64(s.window)/4; due && !r.finished && !r.updating && s.err == nil {
		r.updating = true
		s.out.updates = append(s.out.updates, r)
		s.out.wake.Signal()
	}
	r.settle()
	return n
}

// recharge tells the budget what the stream holds.
func (r *reliable) recharge() {
	if n := r.in.size(); n != r.charged {
		r.s.charge(int64(n - r.charged))
		r.charged = n
	}
}

// drop frees what has come.
func (r *reliable) drop() {
	r.in.drop(r.s.budget)
	r.recharge()
}

// Write implements [net.Conn].
func (r *reliable) Write(p []byte) (n int, err error) {
	s := r.s
	defer s.relieve()
	s.mu.Lock()
	defer s.mu.Unlock()
	for r.writing {
		if err := r.writeError(); err != nil {
			return 0, s.fault("write", err)
		}
		r.writable.Wait()
	}
	r.writing = true
	for {
		if err = r.writeError(); err != nil || n == len(p) {
			break
		}
		k := r.room(len(p) - n)
		if k == 0 {
			r.writable.Wait()
			continue
		}
		s.out.data(r.id, p[n:n+k])
		s.charge(int64(k))
		r.sent += uint64(k)
		n += k
	}
	r.leave()
	r.writing = false
	r.writable.Broadcast()
	if err != nil && n < len(p) {
		return n, s.fault("write", err)
	}
	return n, nil
}

// writeError returns why nothing can be written.
func (r *reliable) writeError() error {
	switch {
	case r.closed:
		return net.ErrClosed
	case r.writeClosed:
		return ErrWriteClosed
	case r.s.err != nil:
		return r.s.err
	case r.gone != nil:
		return r.gone
	case r.writeBefore.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// room takes room for up to n bytes, as far as the peer's window and the
// outgoing queue allow. Streams that wait for the queue are served in turn.
func (r *reliable) room(n int) int {
	inFlight := r.sent - r.consumed
	if inFlight >= r.window {
		r.leave()
		return 0
	}
	n = int(min(uint64(n), r.window-inFlight, maxFrame))
	o := &r.s.out
	if r.grant == 0 {
		if len(o.waiting) > 0 || o.room == 0 {
			if !r.waiting {
				r.waiting = true
				o.waiting = append(o.waiting, r)
			}
			return 0
		}
		r.grant = min(n, o.room)
		o.room -= r.grant
	}
	n = min(n, r.grant)
	r.grant -= n
	r.leave()
	return n
}

// leave gives back room that the stream does not need, and its place among
// those that wait for some.
func (r *reliable) leave() {
	o := &r.s.out
	if r.waiting {
		r.waiting = false
		i := slices.Index(o.waiting, r)
		o.waiting = slices.Delete(o.waiting, i, i+1)
	}
	if r.grant > 0 {
		o.free(r.grant)
		r.grant = 0
	}
}

// CloseWrite implements [Stream].
func (r *reliable) CloseWrite() error {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.closed:
		return s.fault("close", net.ErrClosed)
	case r.writeClosed:
		return nil
	case s.err != nil:
		return s.fault("close", s.err)
	}
	r.finish()
	return nil
}

// finish sends our FIN.
func (r *reliable) finish() {
	if r.writeClosed {
		return
	}
	r.writeClosed = true
	r.s.out.control(appendHeader(nil, cmdFIN, r.id, 0))
	r.writable.Broadcast()
	r.settle()
}

// settle lets the stream no longer count when both ends have finished, and
// forgets it when nothing is left to be read either.
func (r *reliable) settle() {
	if r.counted && r.writeClosed && r.finished {
		r.counted = false
		r.s.count--
	}
	if !r.counted && (r.closed || r.in.n == 0) && r.s.reliables[r.id] == r {
		delete(r.s.reliables, r.id)
		if r.s.err == nil {
			r.s.charge(-streamCost)
		}
	}
}

// Close implements [net.Conn].
func (r *reliable) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.close()
	return nil
}

// close ends both halves at this end.
func (r *reliable) close() {
	if r.closed {
		return
	}
	r.closed = true
	r.drop()
	r.readDeadline.at(time.Time{})
	r.writeBefore.at(time.Time{})
	if r.s.err == nil {
		if !r.finished {
			r.s.out.control(appendUpdate(nil, r.id, goneClosed, 0))
		}
		r.finish()
	}
	r.settle()
	r.readable.Broadcast()
	r.writable.Broadcast()
}

// LocalAddr implements [net.Conn].
func (r *reliable) LocalAddr() net.Addr { return r.s.local }

// RemoteAddr implements [net.Conn].
func (r *reliable) RemoteAddr() net.Addr { return r.s.remote }

// SetDeadline implements [net.Conn].
func (r *reliable) SetDeadline(t time.Time) error { return r.setDeadlines(t, true, true) }

// SetReadDeadline implements [net.Conn].
func (r *reliable) SetReadDeadline(t time.Time) error { return r.setDeadlines(t, true, false) }

// SetWriteDeadline implements [net.Conn].
func (r *reliable) SetWriteDeadline(t time.Time) error { return r.setDeadlines(t, false, true) }

func (r *reliable) setDeadlines(t time.Time, read, write bool) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.closed {
		return r.s.fault("set deadline", net.ErrClosed)
	}
	if read {
		r.readDeadline.at(t)
	}
	if write {
		r.writeBefore.at(t)
	}
	return nil
}

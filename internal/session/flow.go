package session

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// flow is a datagram stream. Its fields are under the session's lock.
type flow struct {
	s  *Session
	id uint64

	readable sync.Cond
	queue    []datagram
	held     int    // bytes of memory in queue
	received uint64 // datagrams that came, those that were dropped included
	finished bool   // the peer sends no more
	total    uint64 // how many the peer has sent, once finished
	late     bool   // what is still missing then is given up
	linger   *time.Timer

	sent        uint64
	writeClosed bool  // the peer has been told so
	gone        error // the peer does not read: why

	counted                   bool // among the session's open streams
	closed                    bool
	readDeadline, writeBefore deadline
}

// datagram is one that waits.
type datagram struct {
	buf *[]byte
	n   int
}

// datagramCost is what a datagram takes beside its buffer.
const datagramCost = 64

func (d datagram) cost() int { return len(*d.buf) + datagramCost }

// hold copies b.
func (b *Budget) hold(p []byte) datagram {
	d := datagram{buf: b.take(max(len(p), 1)), n: len(p)}
	copy(*d.buf, p)
	return d
}

// openFlow opens a flow of ours. Under the session's lock.
func (s *Session) openFlow() (conn, error) {
	id := s.nextFlow
	if err := s.p.cfg.Signal.Send(wire.AppendSession(nil, wire.SessionFlowOpen{Session: s.id, Flow: id})); err != nil {
		return nil, &Error{Cause: ErrLinkLost, Err: err}
	}
	s.nextFlow += 2
	return s.newFlow(id), nil
}

func (s *Session) newFlow(id uint64) *flow {
	f := &flow{s: s, id: id, counted: true}
	f.readable.L = &s.mu
	f.readDeadline.cond, f.writeBefore.cond = &f.readable, &f.readable
	s.flows[id] = f
	s.count++
	s.charge(streamCost)
	return f
}

// flowOpened handles FLOW_OPEN.
func (s *Session) flowOpened(id uint64) {
	defer s.relieve()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != opened || s.err != nil:
		return
	case id&1 == s.p.parity() || id <= s.peerFlow:
		s.p.count(countJunk)
		return
	}
	s.peerFlow = id
	if s.closing || s.count >= s.limit {
		s.p.count(countStreams)
		s.tell(wire.SessionFlowClose{Session: s.id, Flow: id, Cause: wire.FlowRefused})
		return
	}
	f := s.newFlow(id)
	for _, d := range s.early.take(id) {
		f.push(d)
	}
	s.accepted(&Stream{conn: f, s: s, mode: Datagram})
}

// flowClosed handles FLOW_CLOSE.
func (s *Session) flowClosed(m wire.SessionFlowClose) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flows[m.Flow]
	if f == nil {
		return // it was over, or is junk that does nothing
	}
	if f.finished {
		if m.Cause == wire.FlowClosed && f.gone == nil {
			f.gone = ErrStreamClosed
		}
		return
	}
	f.finished, f.total = true, m.Sent
	switch m.Cause {
	case wire.FlowClosed:
		f.gone = ErrStreamClosed
	case wire.FlowRefused:
		f.gone = ErrTooManyStreams
		f.writeClosed = true // nobody waits to hear of it
	case wire.FlowFinished:
	}
	if f.missing() {
		f.linger = time.AfterFunc(lingerTime, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			f.late = true
			f.moved()
		})
	}
	f.moved()
}

// missing reports whether datagrams that the peer sent before it finished may
// still come.
func (f *flow) missing() bool { return f.finished && f.received < f.total && !f.late && !f.closed }

// moved wakes who waits for the flow.
func (f *flow) moved() {
	f.settle()
	f.readable.Broadcast()
	rouse(f.s.moved)
}

// datagram handles one that has come for the session. b is not kept.
func (s *Session) datagram(id uint64, b []byte) {
	defer s.relieve()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flows[id]
	switch {
	case s.err != nil || s.state == requested:
		s.p.count(countDatagrams)
	case f != nil && !f.closed && !f.late:
		f.push(s.budget.hold(b))
		f.moved()
	case f == nil && id&1 != s.p.parity() && id > s.peerFlow && !s.closing:
		if s.early.add(s.budget, id, b) {
			s.p.count(countDatagrams)
		}
	default: // the flow is over
		s.p.count(countDatagrams)
	}
}

// push queues a datagram.
func (f *flow) push(d datagram) {
	f.received++
	f.queue = append(f.queue, d)
	f.hold(d.cost())
	for f.held > flowQueue {
		f.s.budget.give(f.pop().buf)
		f.s.p.count(countDatagrams)
	}
}

// pop takes the oldest datagram off the queue.
func (f *flow) pop() datagram {
	d := f.queue[0]
	f.queue[0] = datagram{}
	f.queue = f.queue[1:]
	f.hold(-d.cost())
	return d
}

func (f *flow) hold(n int) {
	f.held += n
	f.s.charge(int64(n))
}

// drop empties the queue.
func (f *flow) drop() {
	for len(f.queue) > 0 {
		f.s.budget.give(f.pop().buf)
	}
}

// Read implements [net.Conn].
func (f *flow) Read(p []byte) (int, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case f.closed:
			return 0, s.fault("read", net.ErrClosed)
		case f.readDeadline.expired:
			return 0, s.fault("read", os.ErrDeadlineExceeded)
		case len(f.queue) > 0:
			return f.take(p)
		case f.finished && !f.missing():
			return 0, io.EOF
		case s.err != nil:
			return 0, s.fault("read", s.err)
		}
		f.readable.Wait()
	}
}

func (f *flow) take(p []byte) (int, error) {
	d := f.pop()
	n := copy(p, (*d.buf)[:d.n])
	f.s.budget.give(d.buf)
	f.settle()
	if n < d.n {
		return n, io.ErrShortBuffer
	}
	return n, nil
}

// Write implements [net.Conn].
func (f *flow) Write(p []byte) (int, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case f.closed:
		err = net.ErrClosed
	case f.writeClosed && f.gone == nil:
		err = ErrWriteClosed
	case s.err != nil:
		err = s.err
	case f.gone != nil:
		err = f.gone
	case f.writeBefore.expired:
		err = os.ErrDeadlineExceeded
	case len(p) > s.p.cfg.Datagrams.Max():
		err = ErrTooLong
	default:
		err = s.p.cfg.Datagrams.Send(s.id, f.id, p)
	}
	if err != nil {
		return 0, s.fault("write", err)
	}
	f.sent++
	return len(p), nil
}

// CloseWrite implements [Stream].
func (f *flow) CloseWrite() error {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case f.closed:
		return s.fault("close", net.ErrClosed)
	case f.writeClosed:
		return nil
	case s.err != nil:
		return s.fault("close", s.err)
	}
	f.finish(wire.FlowFinished)
	return nil
}

func (f *flow) finish(cause wire.FlowCause) {
	f.writeClosed = true
	f.s.tell(wire.SessionFlowClose{Session: f.s.id, Flow: f.id, Cause: cause, Sent: f.sent})
	f.settle()
}

// settle is as that of [reliable].
func (f *flow) settle() {
	if f.counted && f.writeClosed && f.finished {
		f.counted = false
		f.s.count--
	}
	if !f.counted && (f.closed || len(f.queue) == 0 && !f.missing()) && f.s.flows[f.id] == f {
		delete(f.s.flows, f.id)
		if f.s.err == nil {
			f.s.charge(-streamCost)
		}
	}
}

// Close implements [net.Conn].
func (f *flow) Close() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.close()
	return nil
}

// close ends both directions at this end.
func (f *flow) close() {
	if f.closed {
		return
	}
	f.closed = true
	f.drop()
	f.readDeadline.at(time.Time{})
	f.writeBefore.at(time.Time{})
	if f.linger != nil {
		f.linger.Stop()
	}
	// After CloseWrite the peer still has to learn that nobody reads, unless it
	// has finished too.
	if f.s.err == nil && (!f.writeClosed || !f.finished) {
		f.finish(wire.FlowClosed)
	}
	f.moved()
}

// LocalAddr implements [net.Conn].
func (f *flow) LocalAddr() net.Addr { return f.s.local }

// RemoteAddr implements [net.Conn].
func (f *flow) RemoteAddr() net.Addr { return f.s.remote }

// SetDeadline implements [net.Conn].
func (f *flow) SetDeadline(t time.Time) error { return f.setDeadlines(t, true, true) }

// SetReadDeadline implements [net.Conn].
func (f *flow) SetReadDeadline(t time.Time) error { return f.setDeadlines(t, true, false) }

// SetWriteDeadline implements [net.Conn].
func (f *flow) SetWriteDeadline(t time.Time) error { return f.setDeadlines(t, false, true) }

func (f *flow) setDeadlines(t time.Time, read, write bool) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.closed {
		return f.s.fault("set deadline", net.ErrClosed)
	}
	if read {
		f.readDeadline.at(t)
	}
	if write {
		f.writeBefore.at(t)
	}
	return nil
}

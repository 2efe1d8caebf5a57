package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// fakeLink is a link in memory: lanes with windows, control messages in order,
// datagrams, all late by delay.
type fakeLink struct {
	delay time.Duration
	ends  [2]*fakeEnd
}

// fakeEnd is one end: what a [Peer] is given, and the pump that brings it what
// comes.
type fakeEnd struct {
	link  *fakeLink
	other *fakeEnd
	odd   uint64
	peer  *Peer // nil: a test plays the part of the other side itself

	// For tests that play the other side: what came.
	control  chan wire.SessionMessage
	lanes    chan *fakeLane
	datagram func(session, flow uint64, b []byte) bool // of what this end sends: false loses it

	mu       sync.Mutex
	arrived  sync.Cond
	queue    []event
	stopped  bool
	pumping  sync.WaitGroup
	nextLane uint64
	open     map[*fakeLane]bool
	maxLanes int
	err      error
}

type event struct {
	at time.Time
	do func()
}

const fakeMax = 1180

// pair is two peers over a fake link.
type pair struct {
	*fakeLink
	a, b         *Peer
	asked        chan *Request // by a, at b
	budgetA      *Budget
	budgetB      *Budget
	endA, endB   *fakeEnd
	t            testing.TB
	serve        func(*Request)
	onRequestOfB func(*Request)
}

func newFakeLink(delay time.Duration) *fakeLink {
	l := &fakeLink{delay: delay}
	for i := range l.ends {
		e := &fakeEnd{
			link: l, odd: uint64(1 - i), nextLane: uint64(i + 1), open: map[*fakeLane]bool{}, maxLanes: 4096,
			control: make(chan wire.SessionMessage, 4096), lanes: make(chan *fakeLane, 4096),
		}
		e.arrived.L = &e.mu
		l.ends[i] = e
	}
	l.ends[0].other, l.ends[1].other = l.ends[1], l.ends[0]
	for _, e := range l.ends {
		e.pumping.Add(1)
		go e.pump()
	}
	return l
}

// newPair makes two peers; b hands its requests to the channel.
func newPair(t testing.TB, delay time.Duration) *pair {
	p := &pair{fakeLink: newFakeLink(delay), asked: make(chan *Request, 1024), t: t, budgetA: NewBudget(0), budgetB: NewBudget(0)}
	p.endA, p.endB = p.ends[0], p.ends[1]
	p.a = p.endA.attach(p.budgetA, func(r *Request) { p.onRequestOfB(r) })
	p.b = p.endB.attach(p.budgetB, func(r *Request) {
		if p.serve != nil {
			p.serve(r)
			return
		}
		p.asked <- r
	})
	t.Cleanup(p.close)
	return p
}

func (e *fakeEnd) attach(b *Budget, on func(*Request)) *Peer {
	p := New(Config{Lower: e.odd == 1, Lanes: e, Datagrams: fakeDatagrams{e}, Signal: fakeSignal{e}, Budget: b, OnRequest: on})
	e.mu.Lock()
	e.peer = p
	e.mu.Unlock()
	return p
}

var errUnplugged = errors.New("unplugged")

// close ends the link, and waits until nothing of it is left.
func (p *pair) close() {
	p.kill(errUnplugged)
	for _, x := range []struct {
		name   string
		budget *Budget
		peer   *Peer
	}{{"a", p.budgetA, p.a}, {"b", p.budgetB, p.b}} {
		if n := x.budget.Used(); n != 0 {
			p.t.Errorf("%s: %d bytes are still charged", x.name, n)
		}
		if n := len(x.peer.sessions) + len(x.peer.claims) + x.peer.requests + len(x.peer.strays.list); n != 0 {
			p.t.Errorf("%s holds %d sessions, lanes or requests after the end", x.name, n)
		}
	}
}

// kill ends the link with an error, at both ends.
func (l *fakeLink) kill(err error) {
	for _, e := range l.ends {
		e.mu.Lock()
		e.stopped = true
		e.err = err
		lanes := e.open
		e.open = map[*fakeLane]bool{}
		e.arrived.Broadcast()
		e.mu.Unlock()
		for lane := range lanes {
			lane.fail(err)
		}
	}
	for _, e := range l.ends {
		e.pumping.Wait()
		if e.peer != nil {
			e.peer.Close(err)
		}
	}
}

// pump brings this end what has been sent to it.
func (e *fakeEnd) pump() {
	defer e.pumping.Done()
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		for len(e.queue) == 0 && !e.stopped {
			e.arrived.Wait()
		}
		if e.stopped {
			return
		}
		next := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		if wait := time.Until(next.at); wait > 0 {
			time.Sleep(wait)
		}
		next.do()
		e.mu.Lock()
	}
}

func (e *fakeEnd) post(do func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return e.err
	}
	e.queue = append(e.queue, event{time.Now().Add(e.link.delay), do})
	e.arrived.Signal()
	return nil
}

type fakeSignal struct{ e *fakeEnd }

func (x fakeSignal) Send(msg []byte) error {
	to := x.e.other
	msg = slices.Clone(msg)
	return to.post(func() {
		if to.peer != nil {
			to.peer.Control(msg)
			return
		}
		m, err := wire.ParseSession(msg)
		if err != nil {
			panic(err) // what we send decodes
		}
		to.control <- m
	})
}

type fakeDatagrams struct{ e *fakeEnd }

func (fakeDatagrams) Max() int { return fakeMax }

func (x fakeDatagrams) Send(session, flow uint64, b []byte) error {
	if len(b) > fakeMax {
		return fmt.Errorf("fake link: %d bytes", len(b))
	}
	if x.e.datagram != nil && !x.e.datagram(session, flow, b) {
		return nil
	}
	to := x.e.other
	b = slices.Clone(b)
	return to.post(func() {
		if to.peer != nil {
			to.peer.Datagram(session, flow, b)
			clear(b)
		}
	})
}

var errTooManyLanes = errors.New("too many lanes")

// Open implements [Lanes].
func (e *fakeEnd) Open() (Lane, error) {
	l, err := e.openLane()
	return l, err // as careless as real ones may be: a Lane that is not nil beside an error
}

func (e *fakeEnd) openLane() (*fakeLane, error) {
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return nil, e.err
	}
	if len(e.open) >= e.maxLanes {
		e.mu.Unlock()
		return nil, errTooManyLanes
	}
	id := e.nextLane
	e.nextLane += 2
	here, there := newHalf(e.link.delay), newHalf(e.link.delay)
	near := &fakeLane{end: e, id: id, out: here, in: there}
	far := &fakeLane{end: e.other, id: id, out: there, in: here}
	e.open[near] = true
	e.mu.Unlock()
	e.other.mu.Lock()
	e.other.open[far] = true
	e.other.mu.Unlock()
	to := e.other
	here.first = func() {
		_ = to.post(func() {
			if to.peer != nil {
				to.peer.Lane(far)
				return
			}
			to.lanes <- far
		})
	}
	return near, nil
}

// fakeLane is one end of a lane.
type fakeLane struct {
	end     *fakeEnd
	id      uint64
	out, in *half
}

var _ Lane = (*fakeLane)(nil)

// half is one direction of a lane.
type half struct {
	mu       sync.Mutex
	moved    sync.Cond
	delay    time.Duration
	first    func() // tells of the lane
	chunks   []chunk
	held     int
	window   int
	fin      time.Time // when the end arrives; zero: it was not sent
	err      error     // reset, stopped or failed
	closed   [2]bool   // at the writing, the reading end
	finished bool      // read to the end
	limit    [2]time.Time
	timer    [2]*time.Timer
}

type chunk struct {
	at time.Time
	b  []byte
}

const fakeWindow = 512 << 10

func newHalf(delay time.Duration) *half {
	h := &half{delay: delay, window: fakeWindow}
	h.moved.L = &h.mu
	return h
}

type fakeLaneError struct {
	op   string
	code uint64
}

func (e fakeLaneError) Error() string { return fmt.Sprintf("lane %s with code %d", e.op, e.code) }

func (h *half) setLimit(end int, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit[end] = t
	if h.timer[end] != nil {
		h.timer[end].Stop()
	}
	if !t.IsZero() {
		h.timer[end] = time.AfterFunc(max(time.Until(t), 0), h.wake)
	}
	h.moved.Broadcast()
}

func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moved.Broadcast()
}

func (h *half) expired(end int) bool {
	return !h.limit[end].IsZero() && time.Until(h.limit[end]) <= 0
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.closed[0]:
			return n, net.ErrClosed
		case h.err != nil:
			return n, h.err
		case !h.fin.IsZero():
			return n, errors.New("write after CloseWrite")
		case h.expired(0):
			return n, os.ErrDeadlineExceeded
		case n == len(p):
			return n, nil
		}
		k := min(len(p)-n, h.window-h.held)
		if k == 0 {
			h.moved.Wait()
			continue
		}
		h.chunks = append(h.chunks, chunk{time.Now().Add(h.delay), slices.Clone(p[n : n+k])})
		h.held += k
		n += k
		if h.first != nil {
			go h.first()
			h.first = nil
		}
		h.later()
	}
}

// later wakes the reader when what was just sent arrives.
func (h *half) later() {
	if h.delay == 0 {
		h.moved.Broadcast()
		return
	}
	time.AfterFunc(h.delay, h.wake)
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.closed[1]:
			return 0, net.ErrClosed
		case h.err != nil:
			return 0, h.err
		case h.expired(1):
			return 0, os.ErrDeadlineExceeded
		case len(h.chunks) > 0 && time.Until(h.chunks[0].at) <= 0:
			n := copy(p, h.chunks[0].b)
			h.chunks[0].b = h.chunks[0].b[n:]
			if len(h.chunks[0].b) == 0 {
				h.chunks = h.chunks[1:]
			}
			h.held -= n
			h.moved.Broadcast()
			return n, nil
		case len(h.chunks) == 0 && !h.fin.IsZero() && time.Until(h.fin) <= 0:
			h.finished = true
			h.moved.Broadcast()
			return 0, io.EOF
		}
		h.moved.Wait()
	}
}

func (h *half) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil && !h.finished {
		h.err = err
		h.chunks, h.held = nil, 0
	}
	h.moved.Broadcast()
}

func (h *half) closeWrite() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fin.IsZero() {
		h.fin = time.Now().Add(h.delay)
		if h.first != nil {
			go h.first()
			h.first = nil
		}
	}
	h.later()
}

func (l *fakeLane) ID() uint64                         { return l.id }
func (l *fakeLane) Read(p []byte) (int, error)         { return l.in.read(p) }
func (l *fakeLane) Write(p []byte) (int, error)        { return l.out.write(p) }
func (l *fakeLane) CloseWrite() error                  { l.out.closeWrite(); return nil }
func (l *fakeLane) Reset(code uint64)                  { l.out.end(fakeLaneError{"reset", code}) }
func (l *fakeLane) Stop(code uint64)                   { l.in.end(fakeLaneError{"stopped", code}) }
func (l *fakeLane) LocalAddr() net.Addr                { return addr{} }
func (l *fakeLane) RemoteAddr() net.Addr               { return addr{} }
func (l *fakeLane) SetReadDeadline(t time.Time) error  { l.in.setLimit(1, t); return nil }
func (l *fakeLane) SetWriteDeadline(t time.Time) error { l.out.setLimit(0, t); return nil }

func (l *fakeLane) SetDeadline(t time.Time) error {
	l.in.setLimit(1, t)
	l.out.setLimit(0, t)
	return nil
}

// Close ends the writing half in order and drops what comes.
func (l *fakeLane) Close() error {
	l.out.closeWrite()
	l.in.end(fakeLaneError{"stopped", 0})
	for i, h := range []*half{l.out, l.in} {
		h.setLimit(i, time.Time{})
		h.mu.Lock()
		h.closed[i] = true
		h.moved.Broadcast()
		h.mu.Unlock()
	}
	l.end.mu.Lock()
	delete(l.end.open, l)
	l.end.mu.Unlock()
	return nil
}

// Flush waits until the other end has taken all.
func (l *fakeLane) Flush(ctx context.Context) error {
	h := l.out
	defer context.AfterFunc(ctx, h.wake)()
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.err != nil:
			return h.err
		case h.held == 0 && (h.fin.IsZero() || h.finished):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		h.moved.Wait()
	}
}

func (l *fakeLane) fail(err error) {
	for _, h := range []*half{l.out, l.in} {
		h.mu.Lock()
		h.err = err
		h.moved.Broadcast()
		h.mu.Unlock()
	}
}

// state returns the error of the lane's two halves.
func (l *fakeLane) state() (out, in error) {
	l.out.mu.Lock()
	out = l.out.err
	l.out.mu.Unlock()
	l.in.mu.Lock()
	in = l.in.err
	l.in.mu.Unlock()
	return out, in
}

package transport

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// muxQueueLen is how many datagrams wait in a conn of the mux for its reader.
const muxQueueLen = 32

// muxPacket is a datagram that waits.
type muxPacket struct {
	b    []byte
	from netip.AddrPort
	base *muxBase // where it came in
}

// newMuxPacket keeps a copy of b.
func newMuxPacket(base *muxBase, b []byte, from netip.AddrPort) muxPacket {
	return muxPacket{slices.Clone(b), from, base}
}

// muxQueue hands datagrams from the sockets' readers, which it never blocks, to a conn's reader. It is safe for
// concurrent use.
type muxQueue struct {
	mu       sync.Mutex
	arrived  sync.Cond // a datagram, the deadline or close
	packets  []muxPacket
	deadline time.Time
	timer    *time.Timer
	closed   bool
}

func newMuxQueue() *muxQueue {
	q := &muxQueue{}
	q.arrived.L = &q.mu
	return q
}

// push says whether there was room.
func (q *muxQueue) push(p muxPacket) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.packets) >= muxQueueLen {
		return false
	}
	q.packets = append(q.packets, p)
	q.arrived.Signal()
	return true
}

// pop waits for a datagram. Its error matches net.ErrClosed or os.ErrDeadlineExceeded.
func (q *muxQueue) pop() (muxPacket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch {
		case q.closed:
			return muxPacket{}, net.ErrClosed
		case !q.deadline.IsZero() && !time.Now().Before(q.deadline):
			return muxPacket{}, os.ErrDeadlineExceeded
		case len(q.packets) > 0:
			p := q.packets[0]
			q.packets[0] = muxPacket{}
			if q.packets = q.packets[1:]; len(q.packets) == 0 {
				q.packets = nil // an idle conn holds no memory
			}
			return p, nil
		}
		q.arrived.Wait()
	}
}

// setDeadline ends reads at t; zero is never.
func (q *muxQueue) setDeadline(t time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return net.ErrClosed
	}
	q.deadline = t
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		q.timer = time.AfterFunc(wait, q.wake)
	}
	q.arrived.Broadcast()
	return nil
}

func (q *muxQueue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.arrived.Broadcast()
}

// close ends reads; it says whether it was the first.
func (q *muxQueue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	q.packets = nil
	if q.timer != nil {
		q.timer.Stop()
	}
	q.arrived.Broadcast()
	return true
}

package reliable

import (
	"io"

	"github.com/gocarrier/carrier/internal/wire"
)

// A Lane carries bytes both ways, in order, independent of other lanes. Its methods never block: an event says when
// there is more to do. After the machine has died, Read still returns what has come in order, and then, like every
// other method, the error of [Machine.Err].
type Lane struct {
	m   *Machine
	id  uint64
	in  incoming
	out outgoing

	// Of the schedule.
	prev, next *Lane // in queue
	queue      *laneQueue
	weight     int
	deficit    int // bytes of its turn that are left

	ctlNext *Lane // in the queue of lanes with control frames to be sent
	ctl     control

	readyNext *Lane // in the queue of events
	ready     Ready
	queued    bool // for events
}

// newLane makes a lane.
func (m *Machine) newLane(id uint64) *Lane {
	l := &Lane{m: m, id: id, weight: 1}
	l.in.window = m.openWindow()
	l.out.limit = l.in.window.limit // what both ends begin with
	return l
}

// ID returns the lane's number.
func (l *Lane) ID() uint64 { return l.id }

// Write takes bytes to be sent. It returns fewer than len(p), with a nil error, when the send buffer is full: the event
// Writable follows. After CloseWrite it fails with [ErrWriteClosed], after a reset, by the peer's stop or by this end,
// with a [*LaneError].
func (l *Lane) Write(p []byte) (n int, err error) {
	if err := l.writable(); err != nil {
		return 0, err
	}
	o, m := &l.out, l.m
	n = min(len(p), max(0, m.sendRoom()-o.unsent()))
	if n < len(p) {
		o.full = true
	}
	if n > 0 {
		o.take(&m.pool, p[:n])
		m.unsent += n
		m.activate(l)
	}
	return n, nil
}

// writable returns why nothing more can be written.
func (l *Lane) writable() error {
	switch o := &l.out; {
	case l.m.err != nil:
		return l.m.err
	case o.state == writing:
		return nil
	case o.state >= resetting && o.stopped:
		return &LaneError{Lane: l.id, Code: o.code, Remote: true, Op: "stop"}
	case o.state >= resetting:
		return &LaneError{Lane: l.id, Code: o.code, Op: "reset"}
	}
	return ErrWriteClosed
}

// Read reads. 0 and nil: nothing now, the event Readable follows. [io.EOF]: the peer has closed its direction, and all
// was read. A [*LaneError]: the peer has reset it (what was not read is gone), or this end has stopped it.
func (l *Lane) Read(p []byte) (n int, err error) {
	in := &l.in
	if n = int(min(uint64(len(p)), in.next-in.read)); n > 0 {
		in.ring.get(in.read, p[:n])
		in.read += uint64(n)
		if in.read == in.top() {
			in.ring.release(&l.m.pool)
		}
		l.m.consumed(l, uint64(n))
		l.m.settleIn(l)
		return n, nil
	}
	switch {
	case in.state == inReset:
		return 0, &LaneError{Lane: l.id, Code: in.code, Remote: true, Op: "reset"}
	case in.state == stopping || in.state == inStopped:
		return 0, &LaneError{Lane: l.id, Code: in.code, Op: "stop"}
	case in.ends && in.read == in.final:
		return 0, io.EOF
	}
	return 0, l.m.err
}

// CloseWrite ends this direction after what was written. It fails with [ErrControlLane] on lane 0, and as Write does
// after a reset; a second call does nothing.
func (l *Lane) CloseWrite() error {
	if l.id == 0 {
		return ErrControlLane
	}
	if l.m.err == nil && (l.out.state == closing || l.out.state == outDone) {
		return nil
	}
	if err := l.writable(); err != nil {
		return err
	}
	l.out.state = closing
	l.m.activate(l)
	return nil
}

// Reset ends this direction at once: what was not acknowledged yet is given up, and the peer's Read fails with the code,
// at most [wire.MaxVarint]. It does nothing on lane 0, nor when all, the end included, is acknowledged.
func (l *Lane) Reset(code uint64) { l.m.resetOut(l, code, false) }

// Stop asks the peer to reset the direction in which it writes, with a code of at most [wire.MaxVarint]: the peer's Write
// fails. What comes, and what was not read, is dropped. It does nothing on lane 0, nor when that direction is over.
func (l *Lane) Stop(code uint64) {
	if l.id == 0 || l.in.state != reading || l.m.err != nil {
		return
	}
	l.in.state, l.in.code = stopping, min(code, wire.MaxVarint)
	l.m.discard(l)
	if l.in.ends {
		l.m.settleIn(l)
		return
	}
	l.m.queueControl(l, ctlStop)
}

// SetWeight sets the lane's share of what is sent against other lanes, 1 (as at first) to 256. Lane 0 goes before all
// others and has none.
func (l *Lane) SetWeight(weight int) { l.weight = min(max(weight, 1), 256) }

// Flushed reports whether all that was written, and the end, if CloseWrite was called, is acknowledged.
func (l *Lane) Flushed() bool {
	o := &l.out
	return o.state == outDone || o.state == writing && o.acked == o.written
}

// Buffered returns how many bytes can be read, and how many were written and are not acknowledged.
func (l *Lane) Buffered() (unread, unacked int) {
	return int(l.in.next - l.in.read), int(l.out.written - l.out.acked)
}

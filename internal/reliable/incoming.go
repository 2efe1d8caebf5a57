package reliable

import (
	"fmt"

	"github.com/gocarrier/carrier/internal/wire"
)

// An incoming is the direction of a lane in which the peer writes. Of its bytes, by offset:
//
//	0 … read … next … highest … window.limit
//
// what is below read the program has had, what is below next it may read, and between next and highest some has come.
type incoming struct {
	ring                ring
	read, next, highest uint64
	window              window
	got                 ranges // above next
	final               uint64 // size, if ends
	code                uint64 // of the reset or stop
	ends                bool   // the size is known
	state               inState
}

// inState is how far a direction has come to its end.
type inState uint8

const (
	reading   inState = iota
	stopping          // by the program, what comes is dropped until the size is known
	inStopped         // over, after a stop
	inReset           // over, after a reset by the peer
	inDone            // over, all was read
)

// bound checks the end of a frame against the size of the lane, if it is known or the frame tells it.
func (in *incoming) bound(lane, end uint64, fin bool) error {
	switch {
	case in.ends && (end > in.final || fin && end != in.final):
		return fault(ErrFinalSize, "lane %d ends at %d, and at %d", lane, in.final, end)
	case fin && end < in.highest:
		return fault(ErrFinalSize, "lane %d ends at %d after bytes up to %d", lane, end, in.highest)
	}
	return nil
}

// top is the offset behind the last byte that has come. (highest may be further out: an end may come before the bytes.)
func (in *incoming) top() uint64 {
	if in.got.empty() {
		return in.next
	}
	return in.got.last().hi
}

// store keeps what is new of data that is within bounds.
func (in *incoming) store(p *pool, lane, at uint64, data []byte) error {
	if at < in.read {
		data = data[min(in.read-at, uint64(len(data))):]
		at = in.read
	}
	if len(data) == 0 {
		return nil
	}
	end, top := at+uint64(len(data)), in.top()
	in.ring.reserve(p, in.read, top, max(end, top))
	if at < top {
		if !in.same(at, data) {
			return fault(ErrInconsistent, "lane %d, %d bytes at %d", lane, len(data), at)
		}
		if end <= in.next {
			return nil
		}
	}
	in.ring.put(at, data)
	if at > in.next {
		in.got.add(at, end)
		return nil
	}
	in.next = end
	for !in.got.empty() && in.got.first().lo <= in.next {
		in.next = max(in.next, in.got.first().hi)
		in.got.dropFirst()
	}
	return nil
}

// same reports whether data agrees with the bytes that have come already.
func (in *incoming) same(at uint64, data []byte) bool {
	end := at + uint64(len(data))
	if at < in.next && !in.ring.equal(at, data[:min(end, in.next)-at]) {
		return false
	}
	if in.got.empty() || in.got.first().lo >= end {
		return true
	}
	s := in.got.s
	for i := in.got.search(at + 1); i < len(s) && s[i].lo < end; i++ {
		lo, hi := max(s[i].lo, at), min(s[i].hi, end)
		if !in.ring.equal(lo, data[lo-at:hi-at]) {
			return false
		}
	}
	return true
}

// drop forgets what was not read, and returns how many bytes that gives back: all up to highest count as read.
func (in *incoming) drop(p *pool) (freed uint64) {
	freed = in.highest - in.read
	in.read, in.next = in.highest, in.highest
	in.got = ranges{}
	in.ring.release(p)
	return freed
}

// over reports whether nothing of this direction is awaited, nor waits for the program.
func (in *incoming) over() bool { return in.state >= inStopped }

// fault makes a PeerError.
func fault(sentinel error, format string, args ...any) error {
	return &PeerError{Err: sentinel, Detail: fmt.Sprintf(format, args...)}
}

// openWindow is what the peer may send on a lane that is new.
func (m *Machine) openWindow() window {
	return window{size: wire.InitialLaneWindow, limit: wire.InitialLaneWindow, raised: m.now}
}

// receiveData takes a DATA frame.
func (m *Machine) receiveData(d *wire.Data) error {
	l, err := m.laneOf(d.Lane)
	if l == nil || err != nil {
		return err
	}
	if d.Fin && l.id == 0 {
		return fault(ErrLaneState, "end of the control lane")
	}
	in := &l.in
	end := d.Offset + uint64(len(d.Data))
	if in.ends || d.Fin {
		if err := in.bound(l.id, end, d.Fin); err != nil {
			return err
		}
	}
	if end > in.highest {
		if err := m.advanceHighest(l, end); err != nil {
			return err
		}
	}
	if d.Fin && !in.ends {
		in.ends, in.final = true, end
		if in.next == end && in.state == reading {
			m.raise(l, Readable)
		}
	}
	switch in.state {
	case reading:
		next, gaps := in.next, in.got.len()
		if err := in.store(&m.pool, l.id, d.Offset, d.Data); err != nil {
			return err
		}
		if in.next > next {
			m.raise(l, Readable)
		}
		if n := in.got.len(); n != gaps {
			if err := m.countGaps(l, n-gaps); err != nil {
				return err
			}
		}
	case stopping:
		m.consumed(l, in.drop(&m.pool))
	case inStopped, inReset, inDone:
	}
	m.settleIn(l)
	return nil
}

// advanceHighest counts bytes further out than any before against the windows.
func (m *Machine) advanceHighest(l *Lane, end uint64) error {
	in := &l.in
	if end > in.window.limit {
		return fault(ErrFlowControl, "lane %d: byte %d, allowed are %d", l.id, end, in.window.limit)
	}
	if l.id != 0 {
		more := end - in.highest
		if more > m.linkIn.limit-m.received {
			return fault(ErrFlowControl, "lane %d: byte %d of the link, allowed are %d", l.id, m.received+more, m.linkIn.limit)
		}
		m.received += more
		m.tuneLink()
	}
	if in.highest == 0 {
		in.window.raised = m.now // the use of the window begins
	}
	in.highest = end
	return nil
}

// countGaps bounds the gaps that the peer leaves, of a lane and of all.
func (m *Machine) countGaps(l *Lane, more int) error {
	m.gaps += more
	if n := l.in.got.len(); n > m.maxLaneGaps() {
		return fault(ErrTooManyRanges, "lane %d has %d", l.id, n)
	}
	if m.gaps > m.maxGaps() {
		return fault(ErrTooManyRanges, "all lanes have %d", m.gaps)
	}
	return nil
}

// The bounds of gaps are several times what full packets leave, a third of which are lost out of a full window.
func (m *Machine) maxLaneGaps() int { return max(4096, m.cfg.LaneWindow/2048) }

func (m *Machine) maxGaps() int { return max(16384, m.cfg.LinkWindow/1024) }

// receiveReset takes a RESET frame.
func (m *Machine) receiveReset(x wire.Reset) error {
	l, err := m.laneOf(x.Lane)
	if l == nil || err != nil {
		return err
	}
	if l.id == 0 {
		return fault(ErrLaneState, "reset of the control lane")
	}
	in := &l.in
	if err := in.bound(l.id, x.Size, true); err != nil {
		return err
	}
	if x.Size > in.highest {
		if err := m.advanceHighest(l, x.Size); err != nil {
			return err
		}
	}
	known := in.ends && in.next == in.final // all has come, so that nothing is left to be reset
	in.ends, in.final = true, x.Size
	if in.state == reading && !known {
		in.state, in.code = inReset, x.Code
		m.raise(l, Readable)
	}
	if in.state != reading {
		m.discard(l)
	}
	m.settleIn(l)
	return nil
}

// discard drops what was not read of a lane, and returns the credit for it.
func (m *Machine) discard(l *Lane) {
	m.gaps -= l.in.got.len()
	m.consumed(l, l.in.drop(&m.pool))
}

// settleIn ends the incoming direction when nothing of it is awaited any more.
func (m *Machine) settleIn(l *Lane) {
	in := &l.in
	if !in.ends || in.over() && in.state != inReset {
		return
	}
	switch {
	case in.state == reading && in.read == in.final:
		in.state = inDone
	case in.state == stopping:
		in.state = inStopped
	case in.state != inReset:
		return
	}
	m.settle(l)
}

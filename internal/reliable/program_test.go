package reliable_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/gocarrier/carrier/internal/reliable"
)

// How a writer ends what it writes, and how a reader behaves on the way.
const (
	never = -1 // an offset that is not reached

	maxPauses = 3 // of one writer or reader
)

// half is one direction of a lane: what one program writes and the other reads.
type half struct {
	s    *schedule
	id   uint64 // of the lane, once it is open
	name string
	base int  // of the content
	size int  // of what is to be written
	keep bool // without an end but the reader's Stop: the control lane has none at all

	from    *end
	w       *reliable.Lane
	cutAt   int // the writer resets here
	chunk   int // the most that one Write has
	written int
	closed  bool // CloseWrite was called
	reset   bool
	refused bool          // the reader's Stop came
	writing time.Duration // the writer pauses until then
	pauses  int

	to      *end
	r       *reliable.Lane
	stopAt  int // the reader calls Stop here
	haltAt  int // the reader never reads on from here, until the end of the schedule
	buffer  int // the most that one Read asks for
	read    int
	stopped bool
	halted  bool
	ended   bool // EOF or an error was read
	reading time.Duration
	naps    int

	settled bool
}

func (h *half) resetCode() uint64 { return uint64(h.base)*4 + 1 }
func (h *half) stopCode() uint64  { return uint64(h.base)*4 + 2 }

// write goes on writing until the lane is full, the writer pauses, or all is done.
func (h *half) write() {
	s := h.s
	defer h.settle()
	h.flushed()
	for h.w != nil && !h.closed && !h.reset && !h.refused && s.now >= h.writing && s.err == nil {
		if h.cutAt == h.written {
			s.trace("%s resets %s at %d", h.from.name, h.name, h.written)
			h.reset = true
			h.w.Reset(h.resetCode())
			return
		}
		if h.written == h.size {
			if h.keep {
				_, err := h.w.Write(nil)
				h.refused = h.refusedBy(err)
			} else {
				s.trace("%s closes %s at %d", h.from.name, h.name, h.written)
				h.closed = true
				if err := h.w.CloseWrite(); err != nil && !h.refusedBy(err) && !h.from.over(err) {
					s.fail("%s: %s: CloseWrite: %w", h.from.name, h.name, err)
				}
			}
			return
		}
		n := min(s.logUniform(1, h.chunk), h.size-h.written)
		if h.cutAt > h.written {
			n = min(n, h.cutAt-h.written)
		}
		b := content(h.base, h.written, n)
		if n <= len(s.scratch) { // a Write keeps nothing of p
			b = append(s.scratch[:0], b...)
		}
		k, err := h.w.Write(b)
		if n <= len(s.scratch) {
			clear(b)
		}
		h.written += k
		switch {
		case h.from.over(err):
			return
		case err != nil:
			if !h.refusedBy(err) {
				s.fail("%s: %s: Write at %d: %w", h.from.name, h.name, h.written, err)
			}
			s.trace("%s is refused on %s at %d", h.from.name, h.name, h.written)
			h.refused = true
		case k < 0 || k > n:
			s.fail("%s: %s: Write of %d took %d", h.from.name, h.name, n, k)
		case k < n:
			s.tally.Blocked++
			return
		case h.pauses < maxPauses && s.chance(s.plan.Pauses):
			h.pauses++
			h.writing = s.pause(h.from, h.write)
		}
	}
}

// refusedBy says whether err is what a writer gets for the reader's Stop.
func (h *half) refusedBy(err error) bool {
	var l *reliable.LaneError
	if !errors.As(err, &l) || !h.stopped {
		return false
	}
	return l.Remote && l.Lane == h.id && l.Code == h.stopCode()
}

// take reads on until nothing is there, the reader pauses, or the end.
func (h *half) take() {
	s := h.s
	defer h.settle()
	for h.r != nil && !h.ended && !h.halted && s.now >= h.reading && s.err == nil {
		if h.stopAt == h.read && !h.stopped {
			s.trace("%s stops %s at %d", h.to.name, h.name, h.read)
			h.stopped = true
			s.tally.Stops++
			h.r.Stop(h.stopCode())
		}
		if h.haltAt == h.read {
			s.trace("%s reads no more of %s at %d", h.to.name, h.name, h.read)
			h.halted = true
			s.tally.Halts++
			return
		}
		n := s.logUniform(1, h.buffer)
		if h.stopAt > h.read {
			n = min(n, h.stopAt-h.read)
		}
		if h.haltAt > h.read {
			n = min(n, h.haltAt-h.read)
		}
		k, err := h.r.Read(s.buffer[:n])
		switch {
		case h.to.over(err):
			return
		case k < 0 || k > n:
			s.fail("%s: %s: Read of %d gave %d", h.to.name, h.name, n, k)
		case k > 0 && h.stopped && h.to.Err() == nil: // on a dead machine Stop does nothing
			s.fail("%s: %s: Read gave %d bytes after Stop", h.to.name, h.name, k)
		case h.read+k > h.written:
			s.fail("%s: %s: %d bytes were read, %d written", h.to.name, h.name, h.read+k, h.written)
		case !bytes.Equal(s.buffer[:k], content(h.base, h.read, k)):
			s.fail("%s: %s: wrong bytes at %d to %d", h.to.name, h.name, h.read, h.read+k)
		}
		h.read += k
		if k > 0 {
			s.progress()
			s.tally.Bytes += k
		}
		if err != nil {
			h.end(err)
			return
		}
		if k == 0 {
			return
		}
		if h.naps < maxPauses && s.chance(s.plan.Pauses) {
			h.naps++
			h.reading = s.pause(h.to, h.take)
		}
	}
}

// end checks how the lane has ended for its reader, and that it stays so.
func (h *half) end(err error) {
	s := h.s
	s.trace("%s: %s ends at %d: %v", h.to.name, h.name, h.read, err)
	s.progress()
	h.ended = true
	var l *reliable.LaneError
	switch {
	case errors.Is(err, io.EOF):
		s.tally.EOFs++
		if !h.closed || h.read != h.size {
			s.fail("%s: %s: EOF after %d bytes of %d, closed: %v", h.to.name, h.name, h.read, h.size, h.closed)
		}
	case !errors.As(err, &l) || l.Lane != h.id:
		s.fail("%s: %s: Read: %w", h.to.name, h.name, err)
	case l.Remote && h.reset && l.Code == h.resetCode():
		s.tally.Resets++
	case !l.Remote && h.stopped && l.Code == h.stopCode():
	default:
		s.fail("%s: %s: Read: %w; reset: %v, stopped: %v", h.to.name, h.name, err, h.reset, h.stopped)
	}
	for range 2 {
		if k, again := h.r.Read(s.buffer[:1]); k != 0 || again == nil || again.Error() != err.Error() {
			s.fail("%s: %s: Read after %v: %d, %v", h.to.name, h.name, err, k, again)
		}
	}
}

// flushed checks that what the writer is told has arrived is there.
func (h *half) flushed() {
	if h.w == nil || h.written == 0 || h.reset || h.stopped || h.from.Err() != nil || !h.w.Flushed() {
		return
	}
	there := h.read
	if h.r != nil {
		unread, _ := h.r.Buffered()
		there += unread
	}
	if there < h.written {
		h.s.fail("%s: %s is flushed, %d bytes written, %d there", h.from.name, h.name, h.written, there)
	}
}

// settle says, once, that both programs are through with this half, as far as it is for them to end.
func (h *half) settle() {
	through := h.ended || h.keep && h.stopAt == never && h.read == h.size && h.written == h.size
	if h.ended && !h.closed && !h.reset && !h.refused {
		through = false // the writer has yet to learn
	}
	if h.halted {
		through = true
	}
	if through && !h.settled {
		h.settled = true
		h.s.left--
	}
}

// side is what a schedule knows of one end.
type side struct {
	*end
	s       *schedule
	base    int // size of packets that the path carries whatever else
	lanes   map[uint64]*lane
	opened  uint64  // the newest lane of the peer's
	waiting []*lane // to be opened when that can be
	sent    []int   // sizes of the datagrams, by flow
	got     map[uint64]bool
	asked   map[[8]byte]bool
}

// lane is a lane as one end sees it.
type lane struct {
	out, in *half
	weight  int
	ended   bool
}

// open opens a lane, or has it wait until it can be.
func (d *side) open(l *lane) {
	s := d.s
	r, err := d.Open()
	if errors.Is(err, reliable.ErrTooManyLanes) {
		s.tally.TooMany++
		d.waiting = append(d.waiting, l)
		return
	}
	if err != nil {
		if !d.over(err) {
			s.fail("%s: Open: %w", d.name, err)
		}
		return
	}
	s.trace("%s opens %s as %d", d.name, l.out.name, r.ID())
	s.progress()
	d.lanes[r.ID()] = l
	l.out.id, l.in.id = r.ID(), r.ID()
	l.out.w, l.in.r = r, r
	if l.weight > 0 {
		r.SetWeight(l.weight)
	}
	l.out.write()
	l.in.take()
}

// act does what the program does about an event.
func (d *side) act(v reliable.Event) {
	s := d.s
	if v.Ready&reliable.CanOpen != 0 {
		waiting := d.waiting
		d.waiting = nil
		for _, l := range waiting {
			d.open(l)
		}
	}
	if v.Ready&reliable.Datagrams != 0 {
		d.datagrams()
	}
	if v.Lane == nil {
		return
	}
	id := v.Lane.ID()
	if v.Ready&reliable.Opened != 0 {
		peer := s.sides[0]
		if peer == d {
			peer = s.sides[1]
		}
		theirs := peer.lanes[id]
		if id <= d.opened || theirs == nil || d.lanes[id] != nil {
			s.fail("%s: lane %d is opened by the peer after %d, known: %v", d.name, id, d.opened, theirs != nil)
			return
		}
		d.opened = id
		d.lanes[id] = &lane{out: theirs.in, in: theirs.out}
		theirs.in.w, theirs.out.r = v.Lane, v.Lane
		if theirs.weight > 0 {
			v.Lane.SetWeight(theirs.weight)
		}
	}
	l := d.lanes[id]
	if l == nil {
		s.fail("%s: event %v of lane %d, which it does not know", d.name, v.Ready, id)
		return
	}
	if v.Ready&(reliable.Readable|reliable.Opened) != 0 {
		l.in.take()
	}
	if v.Ready&(reliable.Writable|reliable.Opened) != 0 {
		l.out.write()
	}
	if v.Ready&reliable.Ended != 0 {
		d.ended(id, l, v.Lane)
	}
}

// ended checks that a lane has ended for good, once.
func (d *side) ended(id uint64, l *lane, r *reliable.Lane) {
	s := d.s
	s.trace("%s: lane %d has ended", d.name, id)
	s.progress()
	out, in := l.out, l.in
	switch {
	case l.ended:
		s.fail("%s: lane %d has ended twice", d.name, id)
	case !in.closed && !in.reset && !in.refused && !in.stopped:
		s.fail("%s: %s has ended, and its writer has not", d.name, in.name)
	case !out.closed && !out.reset && !out.refused && !out.stopped:
		s.fail("%s: %s has ended, and its writer has not", d.name, out.name)
	case out.closed && !out.stopped && !out.reset && !r.Flushed():
		s.fail("%s: %s has ended, and is not flushed", d.name, out.name)
	case out.closed && !out.stopped:
		if unread, _ := out.r.Buffered(); unread+out.read != out.size {
			s.fail("%s: %s has ended with %d of %d bytes with the peer", d.name, out.name, unread+out.read, out.size)
		}
	}
	l.ended = true
	if _, err := r.Write([]byte{1}); err == nil {
		s.fail("%s: lane %d takes bytes after its end", d.name, id)
	}
}

// datagram sends one whose content its flow tells.
func (d *side) datagram() {
	s := d.s
	n := s.rng.IntN(d.MaxDatagram() + 1)
	flow := uint64(len(d.sent))
	err := d.SendDatagram(sessionOf(flow), flow, content(int(flow)*1009, 0, n))
	if d.over(err) {
		return
	}
	if err != nil {
		s.fail("%s: datagram of %d bytes: %w", d.name, n, err)
	}
	d.sent = append(d.sent, n)
	if err := d.SendDatagram(0, 0, make([]byte, d.MaxDatagram()+1)); !errors.Is(err, reliable.ErrTooLong) {
		s.fail("%s: a datagram above MaxDatagram: %v", d.name, err)
	}
}

func sessionOf(flow uint64) uint64 { return flow * flow * 7 }

// datagrams takes all that wait.
func (d *side) datagrams() {
	s := d.s
	peer := d.peer
	for _, o := range s.sides {
		if o.end != peer {
			continue
		}
		for {
			session, flow, p, ok := d.ReadDatagram()
			if !ok {
				return
			}
			s.tally.Datagrams++
			switch {
			case flow >= uint64(len(o.sent)) || session != sessionOf(flow):
				s.fail("%s: a datagram of flow %d and session %d, which were not sent", d.name, flow, session)
			case d.got[flow]:
				s.fail("%s: datagram %d has come twice", d.name, flow)
			case !bytes.Equal(p, content(int(flow)*1009, 0, o.sent[flow])):
				s.fail("%s: datagram %d of %d bytes came as %d others", d.name, flow, o.sent[flow], len(p))
			}
			d.got[flow] = true
		}
	}
}

// challenge probes the way, outside of all that is reliable, and asks for an ACK.
func (d *side) challenge() {
	d.Ping()
	if d.Err() != nil {
		return
	}
	p := reliable.Probe{HasChallenge: true}
	binary.BigEndian.PutUint64(p.Challenge[:], d.s.rng.Uint64())
	d.asked[p.Challenge] = true
	d.probe(p)
}

// answer answers a probe, or checks the answer to one.
func (d *side) answer(p reliable.Probe) {
	if p.HasResponse {
		d.s.tally.Probes++
		if !d.asked[p.Response] {
			d.s.fail("%s: answer %x to no probe", d.name, p.Response)
		}
	}
	if p.HasChallenge && d.Err() == nil {
		d.probe(reliable.Probe{HasResponse: true, Response: p.Challenge})
	}
}

// close closes the link, unless it is closed.
func (d *side) close() {
	s := d.s
	if s.closer != nil {
		return
	}
	s.trace("%s closes the link", d.name)
	s.closer = d
	s.tally.Closed++
	for _, o := range s.sides {
		o.closed = true
	}
	d.Close(7, "enough")
	d.soon()
}

// move tells the machine of the new line.
func (d *side) move(size int) {
	s := d.s
	var rtt time.Duration
	if s.chance(0.5) {
		rtt = s.plan.Links[0].Delay + s.plan.Links[1].Delay
	}
	s.trace("%s learns of the line, packets of %d", d.name, size)
	d.PathChanged(s.now, rtt, size)
	d.size, d.base, d.buf = size, size, make([]byte, size)
	s.progress()
}

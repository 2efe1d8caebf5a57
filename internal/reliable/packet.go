package reliable

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

const (
	leastBuffer = 128 // half of which, what an ACK leaves, is room for any frame but a datagram
	fewPackets  = 32  // in flight, at which a sender that is held by its window asks for an ACK at once
)

// NextPacket runs what is due and writes the next packet, to be sealed with number pn, into buf, at most
// [Machine.MaxPacket] bytes. It returns 0 when nothing is to be sent now, or buf is below 128 bytes; pn then counts as not
// used. It is called until it returns 0: after Receive, after what the program did, and at [Machine.Timeout]. Numbers
// rise strictly from one use to the next (it panics if not: a number used twice breaks the seal), gaps are allowed.
func (m *Machine) NextPacket(now time.Duration, pn uint64, buf []byte) (n int) {
	m.step(now)
	if len(buf) < leastBuffer {
		return 0
	}
	if m.err != nil {
		return m.closePacket(pn, buf)
	}
	m.checkLost()
	if m.now >= m.trimAt {
		m.trim()
	}
	b := buf[:0:min(len(buf), m.size.most)]
	if m.maySend() {
		if n := m.fullPacket(pn, b); n > 0 {
			return n
		}
	}
	if m.now < m.acks.due {
		return 0
	}
	return m.ackPacket(pn, b)
}

// mustSend reports whether a packet leaves whatever the window and the pacer say.
func (m *Machine) mustSend() bool { return m.recovery.probes > 0 || m.pinging }

// maySend reports whether there is something that elicits an ACK and the window and the pacer let it out.
func (m *Machine) maySend() bool {
	r := &m.recovery
	switch {
	case m.mustSend():
		return true
	case !m.waiting():
		if r.inFlight < m.controller.Window() {
			m.rate.appLimited(r.inFlight)
		}
		return false
	case r.inFlight < m.controller.Window() && m.pacer.next(m.now, m.size.most, m.controller.Rate()) <= m.now:
		return true
	}
	m.limitedUntil = m.sent.next
	return false
}

// fullPacket writes a packet of all that waits; 0 if nothing does after all, or the ACK that is due leaves no room for
// the datagram whose turn it is, and goes before it.
func (m *Machine) fullPacket(pn uint64, b []byte) int {
	r := &m.recovery
	acked := false
	if m.acks.pending {
		if b, acked = m.appendAck(b, m.ackSpace(room(b))); !acked && m.now >= m.acks.due {
			return 0
		}
	}
	i := m.sent.packets.take()
	if acked {
		m.sent.note(i, sentFrame{kind: wire.FrameAck, offset: m.outAck.Ranges[0].High})
	}
	if m.mustSend() || r.packets < fewPackets && r.inFlight+cap(b) >= m.controller.Window() {
		b = wire.AppendPing(b)
	}
	pinged := len(b)
	b = m.payload(m.controls(b, i), i)
	if len(b) == pinged && !m.mustSend() {
		m.sent.free(i)
		return 0
	}
	m.pinging = false
	if r.probes > 0 {
		if r.probes--; !m.waiting() {
			r.probes = 0
		}
	}
	if acked {
		m.acks.acked()
	}
	m.launch(i, pn, len(b))
	return len(b)
}

// ackSpace is how much of the room in a packet an ACK may take.
func (m *Machine) ackSpace(room int) int {
	space := room / 2
	if c := &m.control.out; !m.outbox.empty() && (m.turn || m.active.first == nil) && !c.again() && !c.fresh() {
		space = min(space, max(0, room-1-m.outbox.front().frameLen()))
	}
	return space
}

// launch puts the packet i in flight.
func (m *Machine) launch(i int32, pn uint64, size int) {
	s, r := &m.sent, &m.recovery
	p := s.packets.at(i)
	p.pn, p.at, p.size, p.path = pn, m.now, int32(size), r.path
	p.broken, s.broken = s.broken, false
	p.mark = m.rate.sent(m.now, r.inFlight)
	s.push(&s.flying, i)
	s.lastUse = m.now
	r.inFlight += size
	r.packets++
	m.controller.Sent(m.now, size, r.inFlight)
	m.pacer.sent(m.now, size, m.controller.Rate())
	m.used(pn, size)
}

// used counts a packet that leaves.
func (m *Machine) used(pn uint64, size int) {
	m.sent.use(pn)
	m.stats.PacketsSent++
	m.stats.BytesSent += uint64(size)
	m.live()
}

// ackPacket writes a packet of nothing but an ACK.
func (m *Machine) ackPacket(pn uint64, b []byte) int {
	b, ok := m.appendAck(b, room(b))
	if !ok {
		return 0
	}
	m.acks.acked()
	m.stats.AcksSent++
	m.used(pn, len(b))
	return len(b)
}

// appendAck appends an ACK of at most so many bytes, with the newest ranges that fit.
func (m *Machine) appendAck(b []byte, space int) (_ []byte, ok bool) {
	m.outAck = m.acks.ack(m.now)
	n, _ := wire.AckLen(&m.outAck, space)
	if n == 0 {
		return b, false
	}
	m.outAck.Ranges = m.outAck.Ranges[:n]
	return wire.AppendAck(b, &m.outAck), true
}

package reliable

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

const (
	ptoProbes    = 2   // packets that a probe timeout sends beyond the window (RFC 9002 §6.2.4)
	maxLost      = 512 // lost packets that are remembered, in case they arrive after all
	lostTimeouts = 3   // probe timeouts for which they are
	persistent   = 3   // probe timeouts in which nothing arrived: persistent congestion (RFC 9002 §7.6)
)

// recovery is the state of loss recovery (RFC 9002) of the path that is used.
type recovery struct {
	rtt      rttEstimate
	reorder  reorder
	path     uint32 // counts the paths so far
	inFlight int    // bytes on this path
	packets  int    // packets on this path in flight

	largest  uint64 // number acknowledged, of all paths
	heard    bool   // there is one
	lossAt   time.Duration
	timeouts int // since the last acknowledgement
	probes   int // packets to be sent beyond the window

	round    uint64
	roundEnd uint64 // number that ends the round when it, or one above, is acknowledged

	sampledAt time.Duration // when the first sample of the round trip came
	runStart  time.Duration // when the first packet left of those lost in a row
	run       bool
}

// An ackResult gathers what one ACK says.
type ackResult struct {
	bytes    int           // newly acknowledged on this path
	newest   uint64        // highest number newly acknowledged
	sentAt   time.Duration // when it left
	rtt      time.Duration // sample of it, 0 if there is none
	any      bool          // something was newly acknowledged
	current  bool          // the newest took the path that is used now
	inFlight int           // before
}

// receiveAck takes an ACK frame.
func (m *Machine) receiveAck(a *wire.Ack) error {
	for _, x := range a.Ranges {
		if pn, yes := m.sent.neverSent(x); yes {
			return fault(ErrOptimisticAck, "packet %d", pn)
		}
	}
	r := &m.recovery
	res := ackResult{inFlight: r.inFlight}
	m.ackFlying(a.Ranges, &res)
	m.ackLost(a.Ranges, &res)
	if top := a.Ranges[0].High; !r.heard || top > r.largest {
		r.largest, r.heard = top, true
	}
	if res.any {
		m.measure(a, &res)
		r.timeouts, r.probes = 0, 0
	}
	m.detectLost()
	if res.bytes > 0 {
		m.reportAcked(&res)
	}
	return nil
}

// ackFlying acknowledges what is in flight: one walk over the packets up to the highest number and the ranges.
func (m *Machine) ackFlying(acked []wire.AckRange, res *ackResult) {
	s, r := &m.sent, &m.recovery
	x := len(acked) - 1
	for i, prev := s.flying.head, int32(0); i != 0; {
		p := s.packets.at(i)
		for x >= 0 && acked[x].High < p.pn {
			x--
		}
		if x < 0 {
			return
		}
		if p.pn < acked[x].Low {
			prev, i = i, p.next
			continue
		}
		if p.path == r.path {
			r.inFlight -= int(p.size)
			r.packets--
		}
		next := s.unlink(&s.flying, prev, i)
		s.breakRun(next)
		m.packetAcked(i, res)
		i = next
	}
}

// packetAcked does what the acknowledgement of a packet brings, and forgets it.
func (m *Machine) packetAcked(i int32, res *ackResult) {
	s := &m.sent
	p := s.packets.at(i)
	if p.path == m.recovery.path {
		res.bytes += int(p.size)
		m.rate.acked(m.now, p.mark, int(p.size), p.at)
	}
	if !res.any || p.pn > res.newest {
		res.newest, res.sentAt, res.current = p.pn, p.at, p.path == m.recovery.path
	}
	res.any = true
	m.size.acked(p)
	for f := p.frames; f != 0; f = s.frames.at(f).next {
		m.frameAcked(s.frames.at(f))
	}
	s.free(i)
}

// ackLost finds packets that arrived after they were given up.
func (m *Machine) ackLost(acked []wire.AckRange, res *ackResult) {
	s, r := &m.sent, &m.recovery
	var late Loss
	x := len(acked) - 1
	for i, prev := s.lost.head, int32(0); i != 0; {
		p := s.packets.at(i)
		for x >= 0 && acked[x].High < p.pn {
			x--
		}
		if x < 0 {
			break
		}
		if p.pn < acked[x].Low {
			prev, i = i, p.next
			continue
		}
		if p.path == r.path {
			late.Bytes += int(p.size)
			late.Packets++
			late.SentAt = p.at
			r.reorder.spurious(p.state == lostByTime, r.largest-p.pn, r.round)
		}
		next := s.unlink(&s.lost, prev, i)
		m.packetAcked(i, res)
		i = next
	}
	if late.Packets > 0 {
		late.InFlight = r.inFlight
		m.stats.PacketsSpurious += uint64(late.Packets)
		m.controller.Spurious(m.now, late)
	}
}

// measure takes what an ACK says of the round trip.
func (m *Machine) measure(a *wire.Ack, res *ackResult) {
	r := &m.recovery
	if !res.current {
		return
	}
	if res.newest == a.Ranges[0].High {
		delay := time.Duration(min(a.Delay, wire.MaxAckDelay)) * time.Microsecond
		if !r.rtt.sampled {
			r.sampledAt = m.now
		}
		r.rtt.update(m.now-res.sentAt, delay)
		res.rtt = r.rtt.latest
	}
	if res.newest >= r.roundEnd {
		r.round++
		r.roundEnd = m.sent.next
		r.reorder.calm(r.round)
	}
}

// reportAcked tells the controller of an ACK.
func (m *Machine) reportAcked(res *ackResult) {
	r := &m.recovery
	s := Sample{
		Bytes: res.bytes, SentAt: res.sentAt, InFlight: res.inFlight, Round: r.round,
		RTT:     RTT{Latest: res.rtt, Min: r.rtt.min, Smoothed: r.rtt.smoothed},
		Limited: res.newest < m.limitedUntil,
	}
	s.Rate, s.RateAppLimited, s.Delivered = m.rate.sample()
	if s.Rate > 0 {
		m.stats.DeliveryRate = s.Rate
	}
	m.controller.Acked(m.now, s)
}

// detectLost finds what is lost of the packets before the highest acknowledged (RFC 9002 §6.1), and when the next will be.
func (m *Machine) detectLost() {
	s, r := &m.sent, &m.recovery
	r.lossAt = Never
	if !r.heard {
		return
	}
	delay := r.reorder.delay(&r.rtt)
	var loss Loss
	for i := s.flying.head; i != 0; i = s.flying.head {
		p := s.packets.at(i)
		if p.pn >= r.largest {
			break
		}
		switch {
		case r.largest-p.pn >= r.reorder.packets:
			p.state = lostByNumber
		case p.at+delay <= m.now:
			p.state = lostByTime
		default:
			r.lossAt = p.at + delay
		}
		if p.state == inFlight {
			break
		}
		s.unlink(&s.flying, 0, i)
		m.packetLost(p, &loss)
		s.push(&s.lost, i)
	}
	m.forgetLost()
	if loss.Packets > 0 {
		loss.InFlight = r.inFlight
		m.controller.Lost(m.now, loss)
	}
}

// packetLost has sent again what was in a packet, and counts it.
func (m *Machine) packetLost(p *sentPacket, loss *Loss) {
	r := &m.recovery
	m.stats.PacketsLost++
	m.stats.BytesLost += uint64(p.size)
	m.size.lost(p)
	if p.path == r.path {
		r.inFlight -= int(p.size)
		r.packets--
		loss.Bytes += int(p.size)
		loss.Packets++
		loss.SentAt = p.at
		if p.broken || !r.run {
			r.run, r.runStart = true, p.at
		}
		if r.rtt.sampled && r.runStart >= r.sampledAt && p.at-r.runStart > persistent*r.rtt.timeout() {
			loss.Persistent = true
		}
	}
	m.resend(p)
}

// resend has what a packet carried sent again.
func (m *Machine) resend(p *sentPacket) {
	for f := p.frames; f != 0; f = m.sent.frames.at(f).next {
		m.frameLost(m.sent.frames.at(f))
	}
}

// forgetLost forgets packets that were lost long ago, or too many to remember.
func (m *Machine) forgetLost() {
	s := &m.sent
	for i := s.lost.head; i != 0; i = s.lost.head {
		if s.lost.n <= maxLost && m.now-s.packets.at(i).at <= lostTimeouts*m.recovery.rtt.timeout()+maxTimeout {
			return
		}
		s.unlink(&s.lost, 0, i)
		s.free(i)
	}
}

// lossTimeout is when loss recovery wants to be called.
func (m *Machine) lossTimeout() time.Duration {
	r := &m.recovery
	if r.lossAt != Never || m.sent.flying.n == 0 {
		return r.lossAt
	}
	return m.sent.lastUse + r.rtt.backedOff(r.timeouts)
}

// checkLost runs the timers of loss recovery that are due.
func (m *Machine) checkLost() {
	r := &m.recovery
	if m.now < m.lossTimeout() {
		return
	}
	if r.lossAt != Never {
		m.detectLost()
		return
	}
	// Nothing was heard for a probe timeout (RFC 9002 §6.2): the oldest packets go again, beyond the window and without
	// being taken for lost.
	m.stats.Timeouts++
	r.timeouts++
	m.size.timedOut(r.timeouts)
	r.probes = ptoProbes
	i := m.sent.flying.head
	for n := 0; i != 0 && n < ptoProbes; n++ {
		p := m.sent.packets.at(i)
		m.resend(p)
		i = p.next
	}
}

package reliable

import "time"

// Stats are the counters of a machine since it was made, and what it is at. Bytes of packets are those of plaintext.
type Stats struct {
	PacketsSent, BytesSent         uint64 // probes of paths and CLOSE included
	PacketsReceived, BytesReceived uint64 // dropped ones not counted
	PacketsDropped                 uint64 // received twice, or too old to know
	AcksSent                       uint64 // packets of nothing but an ACK
	PacketsLost, BytesLost         uint64 // declared lost
	PacketsSpurious                uint64 // of those, arrived after all
	Timeouts                       uint64 // of the loss timer with nothing heard (PTO)
	DatagramsSent                  uint64
	DatagramsReceived              uint64
	DatagramsDropped               uint64 // before they were sent
	DatagramsUnread                uint64 // came, and were dropped before they were read

	RTT, MinRTT, RTTVar time.Duration // 0 before the first sample
	Window, InFlight    int           // bytes of congestion control
	DeliveryRate        float64       // bytes a second, by the last ACK that gave one
	Lanes               int           // known, lane 0 included
	Unread              int           // bytes that came and were not read
	Unacked             int           // bytes written and not acknowledged
	Idle                bool          // nothing is in flight, waits to be sent or to be acknowledged
}

// Stats returns the counters and gauges. It costs time in proportion to the open lanes.
func (m *Machine) Stats() Stats {
	s := m.stats
	if r := &m.recovery.rtt; r.sampled {
		s.RTT, s.MinRTT, s.RTTVar = r.smoothed, r.min, r.variance
	}
	s.Window, s.InFlight = m.controller.Window(), m.recovery.inFlight
	s.Lanes = 1 + len(m.lanes)
	s.Unread, s.Unacked = m.control.Buffered()
	for _, l := range m.lanes {
		unread, unacked := l.Buffered()
		s.Unread += unread
		s.Unacked += unacked
	}
	s.Idle = m.err == nil && m.sent.flying.n == 0 && s.Unacked == 0 && !m.waiting()
	return s
}

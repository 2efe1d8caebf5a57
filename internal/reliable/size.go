package reliable

const (
	// holeLosses and holeTimeouts are how many large packets are lost in a row, or probe timeouts pass in a row, before the
	// path is taken to swallow large ones.
	holeLosses   = 4
	holeTimeouts = 2
)

// packetSize is the size of full packets on the path that is used, in bytes. It may be raised above what every path
// carries, and falls back by itself when the path carries it no more (a black hole, RFC 8899 §4.3).
type packetSize struct {
	base, most int
	from       uint64 // number from which on packets tell: those before were sent otherwise, or a large one after them has arrived
	losses     int    // of large packets from it on
}

// SetMaxPacket says that the path was found to carry packets of n bytes, or no more than that; what [Config].MaxPacket or
// [Machine.PathChanged] gave is the least. Congestion control goes on counting in that: a link is not to be the stronger
// among others for its larger packets. The machine falls back to it by itself when large packets seem to vanish, and the
// program finds that by [Machine.MaxPacket].
func (m *Machine) SetMaxPacket(n int) {
	m.size.most = max(n, m.size.base)
	m.size.from, m.size.losses = m.sent.next, 0
}

// MaxPacket is the bytes of the largest packet that is sent at present.
func (m *Machine) MaxPacket() int { return m.size.most }

// acked notes that a packet has arrived.
func (s *packetSize) acked(p *sentPacket) {
	if int(p.size) > s.base && p.pn >= s.from {
		s.from, s.losses = p.pn+1, 0
	}
}

// lost notes that a packet is lost. Only large ones count, and only those after which no large one has arrived: whatever
// else is lost says nothing of sizes.
func (s *packetSize) lost(p *sentPacket) {
	if s.most == s.base || int(p.size) <= s.base || p.pn < s.from {
		return
	}
	if s.losses++; s.losses >= holeLosses {
		s.most = s.base
	}
}

// timedOut notes that so many probe timeouts have passed with nothing heard: of large packets alone there are no losses,
// since nothing that is newer arrives.
func (s *packetSize) timedOut(n int) {
	if n >= holeTimeouts {
		s.most = s.base
	}
}

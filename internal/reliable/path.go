package reliable

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// A Probe is what a packet carries of path validation.
type Probe struct {
	Challenge, Response       [8]byte
	HasChallenge, HasResponse bool
}

// Probe writes a packet of PATH_CHALLENGE and PATH_RESPONSE, padded to the length of buf, to be sealed with number pn,
// which is used by that. It is outside of loss recovery and elicits no ACK. It returns 0, and pn is not used, when the
// machine is dead, p is empty or buf too small.
func (m *Machine) Probe(pn uint64, buf []byte, p Probe) (n int) {
	b := buf[:0:len(buf)]
	if p.HasChallenge {
		b = wire.AppendPathChallenge(b, p.Challenge)
	}
	if p.HasResponse {
		b = wire.AppendPathResponse(b, p.Response)
	}
	if m.err != nil || len(b) == 0 || len(b) > len(buf) {
		return 0
	}
	clear(buf[len(b):])
	m.used(pn, len(buf))
	return len(buf)
}

// PathChanged says that packets go another way from now on, with a round trip of rtt (0 is not known) and packets of at
// most maxPacket bytes (0 is as at the start of the path before): congestion control and the estimate of the round trip begin anew, the back-off
// of the loss timer ends. What is in flight does not count against the new path, and is lost as soon as what follows it
// is acknowledged and it is not.
func (m *Machine) PathChanged(now, rtt time.Duration, maxPacket int) {
	m.step(now)
	if m.err != nil {
		return
	}
	if rtt <= 0 {
		rtt = defaultRTT
	}
	if maxPacket <= 0 {
		maxPacket = m.size.base
	}
	m.startPath(rtt, max(maxPacket, minPacket))
}

// startPath begins congestion control and recovery anew.
func (m *Machine) startPath(rtt time.Duration, maxPacket int) {
	m.size = packetSize{base: maxPacket, most: maxPacket}
	m.controller = m.cfg.Controller(Path{MaxPacket: maxPacket, RTT: rtt})
	m.pacer = pacer{packet: maxPacket}
	m.rate = rateSampler{}
	m.limitedUntil = 0
	old := m.recovery
	m.recovery = recovery{
		rtt: newRTT(rtt), reorder: newReorder(), path: old.path + 1,
		largest: old.largest, heard: old.heard, lossAt: Never, roundEnd: m.sent.next,
	}
	m.detectLost()
}

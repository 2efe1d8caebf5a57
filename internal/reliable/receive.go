package reliable

import (
	"fmt"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// An arrival gathers what one packet brings besides what its frames do at once.
type arrival struct {
	probe     Probe
	eliciting bool
	urgent    bool // the peer asks for an ACK at once
}

// Receive takes the plaintext of a packet with number pn; packet is not kept. It returns what the packet carried of
// path probes, and an error when the machine is dead (see [Machine.Err]). A packet that came already, or is too old to
// know, is dropped and counted.
func (m *Machine) Receive(now time.Duration, pn uint64, packet []byte) (Probe, error) {
	m.step(now)
	if m.err != nil {
		m.sayAgain()
		return Probe{}, m.err
	}
	if !m.acks.fresh(pn) {
		m.stats.PacketsDropped++
		return Probe{}, nil
	}
	m.stats.PacketsReceived++
	m.stats.BytesReceived += uint64(len(packet))
	m.live()
	var a arrival
	if err := m.frames(packet, &a); err != nil {
		m.die(err)
		return Probe{}, err
	}
	m.acks.add(m.now, pn, a.eliciting, a.urgent, m.recovery.rtt.smoothed)
	return a.probe, nil
}

// frames takes all frames of a packet.
func (m *Machine) frames(b []byte, a *arrival) error {
	if len(b) == 0 {
		return fault(ErrFrame, "packet without a frame")
	}
	for len(b) > 0 {
		kind := wire.FrameKind(b[0])
		if kind == wire.FrameData || kind == wire.FrameDataFin {
			d, rest, err := wire.ParseData(b)
			if err != nil {
				return fault(ErrFrame, "%v", err)
			}
			a.eliciting = true
			if err := m.receiveData(&d); err != nil {
				return err
			}
			b = rest
			continue
		}
		rest, err := m.frame(kind, b, a)
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// frame takes any other frame.
func (m *Machine) frame(kind wire.FrameKind, b []byte, a *arrival) (rest []byte, err error) {
	var then error // what the frame's meaning leads to, other than its form
	switch kind {
	case wire.FramePadding:
		err = wire.ParsePadding(b)
	case wire.FramePing:
		a.eliciting, a.urgent = true, true
		rest, err = wire.ParsePing(b)
	case wire.FrameAck:
		var x wire.Ack
		if x, rest, err = wire.ParseAck(b, m.ackScratch); err == nil {
			m.inAck = x
			m.ackScratch = x.Ranges
			then = m.receiveAck(&m.inAck)
		}
	case wire.FrameClose:
		var x wire.Close
		if x, rest, err = wire.ParseClose(b); err == nil {
			then = &ClosedError{Code: x.Code, Reason: x.Reason, Remote: true}
		}
	case wire.FramePathChallenge:
		a.probe.HasChallenge = true
		a.probe.Challenge, rest, err = wire.ParsePathChallenge(b)
	case wire.FramePathResponse:
		a.probe.HasResponse = true
		a.probe.Response, rest, err = wire.ParsePathResponse(b)
	default:
		a.eliciting = true
		rest, then, err = m.elicitingFrame(kind, b)
	}
	if err != nil {
		return nil, fault(ErrFrame, "%v", err)
	}
	return rest, then
}

// elicitingFrame takes a frame that is to be acknowledged, DATA and PING aside.
func (m *Machine) elicitingFrame(kind wire.FrameKind, b []byte) (rest []byte, then, err error) {
	switch kind {
	case wire.FrameDatagram:
		var x wire.Datagram
		if x, rest, err = wire.ParseDatagram(b); err == nil {
			m.receiveDatagram(&x)
		}
	case wire.FrameLinkWindow:
		var x uint64
		if x, rest, err = wire.ParseLinkWindow(b); err == nil {
			m.receiveLinkWindow(x)
		}
	case wire.FrameLaneWindow:
		var x wire.LaneWindow
		if x, rest, err = wire.ParseLaneWindow(b); err == nil {
			then = m.receiveLaneWindow(x)
		}
	case wire.FrameLanes:
		var x uint64
		if x, rest, err = wire.ParseLanes(b); err == nil {
			m.receiveLanes(x)
		}
	case wire.FrameReset:
		var x wire.Reset
		if x, rest, err = wire.ParseReset(b); err == nil {
			then = m.receiveReset(x)
		}
	case wire.FrameStop:
		var x wire.Stop
		if x, rest, err = wire.ParseStop(b); err == nil {
			then = m.receiveStop(x)
		}
	default:
		err = fmt.Errorf("%w: frame 0x%02X", wire.ErrKind, uint8(kind))
	}
	return rest, then, err
}

package reliable

import "github.com/gocarrier/carrier/internal/wire"

// control is a set of frames to be sent: those of a lane, or of none.
type control uint8

const (
	ctlWindow control = 1 << iota // of the lane, or the link
	ctlReset
	ctlStop
	ctlLanes
)

// queueControl has a frame of a lane sent.
func (m *Machine) queueControl(l *Lane, what control) {
	if l.ctl == 0 {
		if m.ctlLast == nil {
			m.ctlFirst = l
		} else {
			m.ctlLast.ctlNext = l
		}
		m.ctlLast = l
	}
	l.ctl |= what
}

// maxControl is the length of the longest control frame: RESET of three long varints.
const maxControl = 25

// controls appends as many control frames as there is room for.
func (m *Machine) controls(b []byte, packet int32) []byte {
	if m.ctl&ctlWindow != 0 && room(b) >= maxControl {
		m.ctl &^= ctlWindow
		m.raiseLink()
		b = wire.AppendLinkWindow(b, m.linkIn.limit)
		m.sent.note(packet, sentFrame{kind: wire.FrameLinkWindow})
	}
	if m.ctl&ctlLanes != 0 && room(b) >= maxControl {
		m.ctl &^= ctlLanes
		b = wire.AppendLanes(b, m.peerMay)
		m.sent.note(packet, sentFrame{kind: wire.FrameLanes})
	}
	for l := m.ctlFirst; l != nil && room(b) >= maxControl; {
		b = m.laneControl(b, l, packet)
		if l.ctl != 0 {
			continue
		}
		m.ctlFirst, l.ctlNext = l.ctlNext, nil
		if l = m.ctlFirst; l == nil {
			m.ctlLast = nil
		}
	}
	return b
}

// laneControl appends one control frame of a lane, or none if what was queued is of no use any more.
func (m *Machine) laneControl(b []byte, l *Lane, packet int32) []byte {
	kind := wire.FrameKind(0)
	switch {
	case l.ctl&ctlReset != 0:
		l.ctl &^= ctlReset
		if l.out.state == resetting {
			kind = wire.FrameReset
			b = wire.AppendReset(b, wire.Reset{Lane: l.id, Code: l.out.code, Size: l.out.next})
		}
	case l.ctl&ctlStop != 0:
		l.ctl &^= ctlStop
		if l.in.state == stopping {
			kind = wire.FrameStop
			b = wire.AppendStop(b, wire.Stop{Lane: l.id, Code: l.in.code})
		}
	default:
		l.ctl = 0
		if l.in.state == reading && !l.in.ends {
			kind = wire.FrameLaneWindow
			m.raiseLane(l)
			b = wire.AppendLaneWindow(b, wire.LaneWindow{Lane: l.id, Max: l.in.window.limit})
		}
	}
	if kind != 0 {
		m.sent.note(packet, sentFrame{kind: kind, lane: l})
	}
	return b
}

// frameAcked does what the acknowledgement of a frame brings.
func (m *Machine) frameAcked(f *sentFrame) {
	switch f.kind {
	case wire.FrameData, wire.FrameDataFin:
		l := f.lane
		l.out.ackData(&m.pool, f.offset, f.offset+uint64(f.n), f.fin)
		if l.out.state == outDone {
			m.settle(l)
		}
	case wire.FrameAck:
		m.acks.seen(f.offset)
	case wire.FrameReset:
		if f.lane.out.state == resetting {
			f.lane.out.state = outReset
			m.settle(f.lane)
		}
	default:
	}
}

// frameLost has a frame, or what stands in its place by now, sent again.
func (m *Machine) frameLost(f *sentFrame) {
	switch f.kind {
	case wire.FrameData:
		f.lane.out.lose(f.offset, f.offset+uint64(f.n), f.fin)
		m.activate(f.lane)
	case wire.FrameLaneWindow:
		m.queueControl(f.lane, ctlWindow)
	case wire.FrameReset:
		m.queueControl(f.lane, ctlReset)
	case wire.FrameStop:
		m.queueControl(f.lane, ctlStop)
	case wire.FrameLinkWindow:
		m.ctl |= ctlWindow
	case wire.FrameLanes:
		m.ctl |= ctlLanes
	default:
	}
}

// resetOut resets the direction in which this end writes.
func (m *Machine) resetOut(l *Lane, code uint64, stopped bool) {
	o := &l.out
	if l.id == 0 || o.state >= outDone || m.err != nil {
		return
	}
	m.unsent -= o.unsent()
	o.reset(&m.pool, min(code, wire.MaxVarint))
	o.stopped = stopped
	m.deactivate(l)
	m.queueControl(l, ctlReset)
}

// receiveStop takes a STOP frame.
func (m *Machine) receiveStop(x wire.Stop) error {
	l, err := m.laneOf(x.Lane)
	if l == nil || err != nil {
		return err
	}
	if l.id == 0 {
		return fault(ErrLaneState, "stop of the control lane")
	}
	if l.out.state < outDone {
		m.resetOut(l, x.Code, true)
		m.raise(l, Writable)
	}
	return nil
}

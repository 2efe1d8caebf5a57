package reliable

import "github.com/gocarrier/carrier/internal/wire"

// consumed counts bytes of a lane that were read or dropped, and sees whether the peer is to be told.
func (m *Machine) consumed(l *Lane, n uint64) {
	m.live()
	in := &l.in
	if in.state == reading && !in.ends && in.window.limit-in.read <= in.window.size/2 {
		m.queueControl(l, ctlWindow)
	}
	if l.id != 0 {
		m.read += n
		m.tuneLink()
	}
}

// raiseLane raises the window of a lane if half of it was used.
func (m *Machine) raiseLane(l *Lane) {
	in := &l.in
	if in.window.limit-in.read > in.window.size/2 {
		return // what was announced before is lost, and announced again
	}
	in.window.raise(m.now, in.read, wire.MaxVarint, uint64(m.cfg.LaneWindow), m.recovery.rtt.smoothed)
	if l.id != 0 {
		m.linkIn.size = max(m.linkIn.size, min(in.window.size+in.window.size/2, uint64(m.cfg.LinkWindow)))
	}
}

// The link's window runs ahead of what has come, not of what was read: lanes whose reader has stopped hold bytes, but
// take no credit from the others, until all that is unread comes to Config.LinkWindow.

// linkCeiling is how far the limit of the link may go.
func (m *Machine) linkCeiling() uint64 { return m.read + uint64(m.cfg.LinkWindow) }

// tuneLink sees whether the peer is to be told of a new limit: when half of the window is used, and the step is worth a
// frame or the peer can send nothing without it.
func (m *Machine) tuneLink() {
	left := m.linkIn.limit - m.received
	if left > m.linkIn.size/2 {
		return
	}
	limit := min(m.received+m.linkIn.size, m.linkCeiling())
	if limit > m.linkIn.limit && (limit-m.linkIn.limit >= m.linkIn.size/4 || limit-m.linkIn.limit > left) {
		m.ctl |= ctlWindow
	}
}

// raiseLink raises the window of the link if half of it was used.
func (m *Machine) raiseLink() {
	if m.linkIn.limit-m.received <= m.linkIn.size/2 {
		m.linkIn.raise(m.now, m.received, m.linkCeiling(), uint64(m.cfg.LinkWindow), m.recovery.rtt.smoothed)
	}
}

// receiveLaneWindow takes a LANE_WINDOW frame.
func (m *Machine) receiveLaneWindow(w wire.LaneWindow) error {
	l, err := m.laneOf(w.Lane)
	if l == nil || err != nil {
		return err
	}
	if w.Max > l.out.limit {
		l.out.limit = w.Max
		m.activate(l)
	}
	return nil
}

// receiveLinkWindow takes a LINK_WINDOW frame.
func (m *Machine) receiveLinkWindow(limit uint64) {
	if limit <= m.linkOut {
		return
	}
	m.linkOut = limit
	m.active.join(&m.starved)
}

// receiveLanes takes a LANES frame.
func (m *Machine) receiveLanes(limit uint64) {
	if limit <= m.mayOpen {
		return
	}
	m.mayOpen = limit
	if m.refused {
		m.refused = false
		m.ready |= CanOpen
	}
}

package reliable

import "time"

// trimPeriod is how long memory lies unused before it is freed: long against the pauses of a busy link, short against
// the life of an idle one.
const trimPeriod = 2 * time.Second

// live has memory trimmed some time from now.
func (m *Machine) live() {
	if m.trimAt == Never {
		m.trimAt = m.now + trimPeriod
	}
}

// trim frees memory that was not used lately, and ends when none of that is left.
func (m *Machine) trim() {
	m.pool.trim()
	m.forgetLost()
	m.sent.trim()
	m.acks.trim()
	m.outbox.trim()
	m.inbox.trim()
	m.ackScratch, m.datagram = nil, nil
	m.trimLanes()
	m.trimAt = Never
	if m.pool.held > 0 || m.sent.packets.used() > 0 {
		m.live()
	}
}

// trimLanes makes the table of lanes anew when it holds few of those it held.
func (m *Machine) trimLanes() {
	if m.mostLanes < 64 || len(m.lanes)*4 > m.mostLanes {
		return
	}
	m.mostLanes = len(m.lanes)
	lanes := make(map[uint64]*Lane, len(m.lanes))
	for id, l := range m.lanes {
		lanes[id] = l
	}
	m.lanes = lanes
}

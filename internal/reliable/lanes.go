package reliable

import "fmt"

// Lanes are numbered in turn by the end that opens them: 1, 3, 5, … by the odd one, 2, 4, 6, … by the other. Opening one
// opens all below it. A lane that is over is no longer in the table, so that what is in it, and what is above the
// highest opened, says all about any number.

// mine reports whether this end opens the lane with that number.
func (m *Machine) mine(id uint64) bool { return id%2 == 1 == m.cfg.Odd }

// lane returns the number of the nth lane, from 1, of one end.
func laneID(n uint64, odd bool) uint64 {
	if odd {
		return 2*n - 1
	}
	return 2 * n
}

// Open opens a lane. [ErrTooManyLanes] is temporary: the event CanOpen follows. The peer learns of a lane by what is
// written on it.
func (m *Machine) Open() (*Lane, error) {
	if m.err != nil {
		return nil, m.err
	}
	if m.opened >= m.mayOpen {
		m.refused = true
		return nil, fmt.Errorf("%w: %d opened", ErrTooManyLanes, m.opened)
	}
	m.opened++
	return m.addLane(laneID(m.opened, m.cfg.Odd)), nil
}

func (m *Machine) addLane(id uint64) *Lane {
	l := m.newLane(id)
	if m.lanes == nil {
		m.lanes = make(map[uint64]*Lane)
	}
	m.lanes[id] = l
	m.mostLanes = max(m.mostLanes, len(m.lanes))
	return l
}

// laneOf returns the lane of a frame, opened now if the peer may do that; nil if it is over.
func (m *Machine) laneOf(id uint64) (*Lane, error) {
	if m.last != nil && m.last.id == id {
		return m.last, nil
	}
	if id == 0 {
		return m.control, nil
	}
	l := m.lanes[id]
	if l == nil {
		var err error
		if l, err = m.unknownLane(id); l == nil || err != nil {
			return nil, err
		}
	}
	m.last = l
	return l, nil
}

// unknownLane returns a lane that is not in the table.
func (m *Machine) unknownLane(id uint64) (*Lane, error) {
	n := (id + 1) / 2
	switch {
	case m.mine(id) && n > m.opened:
		return nil, fault(ErrLaneState, "lane %d was never opened by this end", id)
	case m.mine(id) || n <= m.peerOpened:
		return nil, nil
	case n > m.peerMay:
		return nil, fault(ErrLaneLimit, "lane %d, allowed are %d", id, m.peerMay)
	}
	var l *Lane
	for m.peerOpened < n {
		m.peerOpened++
		l = m.addLane(laneID(m.peerOpened, !m.cfg.Odd))
		m.raise(l, Opened)
	}
	m.admitLanes()
	return l, nil
}

// settle forgets a lane that is over in both directions.
func (m *Machine) settle(l *Lane) {
	if !l.out.over() || !l.in.over() || l.id == 0 {
		return
	}
	if _, ok := m.lanes[l.id]; !ok {
		return
	}
	delete(m.lanes, l.id)
	if m.last == l {
		m.last = nil
	}
	m.raise(l, Ended)
	if !m.mine(l.id) {
		m.peerEnded++
		m.admitLanes()
	}
}

// admitLanes lets the peer open new lanes for those that are over, many at a time.
func (m *Machine) admitLanes() {
	limit := m.peerEnded + uint64(m.cfg.Lanes)
	if limit >= m.peerMay+uint64(m.cfg.Lanes)/4 || limit > m.peerMay && m.peerOpened == m.peerMay {
		m.peerMay = limit
		m.ctl |= ctlLanes
	}
}

package reliable

// Ready says what has become possible. Its bits may come together.
type Ready uint8

// What an [Event] tells of.
const (
	// Opened: the peer has opened the lane. Lanes are told of in the order of their ids.
	Opened Ready = 1 << iota
	// Readable: Read has bytes, the end or an error that it had not before.
	Readable
	// Writable: after a Write that took less than it was given, there is room again; or writing has failed.
	Writable
	// Ended: both directions are over and acknowledged, and what came was read; the machine has forgotten the lane.
	Ended
	// CanOpen: after [ErrTooManyLanes], Open will succeed. Of no lane.
	CanOpen
	// Datagrams: ReadDatagram has some. Of no lane.
	Datagrams
)

// An Event is what has changed of a lane, or with a nil Lane of the machine, since the last event of it. It is told
// once: a program that reads a lane only in part goes on by itself.
type Event struct {
	Lane  *Lane
	Ready Ready
}

// raise notes what has become possible of a lane.
func (m *Machine) raise(l *Lane, what Ready) {
	l.ready |= what
	if l.queued {
		return
	}
	l.queued = true
	if m.readyLast == nil {
		m.readyFirst = l
	} else {
		m.readyLast.readyNext = l
	}
	m.readyLast = l
}

// Poll returns what has changed, of one lane after the other.
func (m *Machine) Poll() (Event, bool) {
	if m.ready != 0 {
		e := Event{Ready: m.ready}
		m.ready = 0
		return e, true
	}
	l := m.readyFirst
	if l == nil {
		return Event{}, false
	}
	if m.readyFirst = l.readyNext; m.readyFirst == nil {
		m.readyLast = nil
	}
	e := Event{Lane: l, Ready: l.ready}
	l.readyNext, l.ready, l.queued = nil, 0, false
	return e, true
}

package reliable

import (
	"errors"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// A farewell is the CLOSE that a dead machine sends, and sends again when the peer goes on.
type farewell struct {
	frame wire.Close
	at    time.Duration // when it is to be sent, Never if not
	last  time.Duration // when it was
}

// Close ends the link with a code of at most [wire.MaxVarint], for programs below [CodeFaults]: CLOSE goes out by
// NextPacket, and again, at a limited rate, when the peer goes on sending. A reason longer than [wire.MaxCloseReason] is
// cut. It does nothing on a dead machine.
func (m *Machine) Close(code uint64, reason string) {
	if m.err == nil {
		m.die(&ClosedError{Code: min(code, wire.MaxVarint), Reason: wire.CloseReason(reason)})
	}
}

// die ends the machine's life.
func (m *Machine) die(err error) {
	m.err = err
	m.farewell.at = m.now
	var closed *ClosedError
	var peer *PeerError
	switch {
	case errors.As(err, &closed):
		m.farewell.frame = wire.Close{Code: closed.Code, Reason: closed.Reason}
		if closed.Remote {
			m.farewell.at = Never
		}
	case errors.As(err, &peer):
		m.farewell.frame = wire.Close{Code: peer.Code(), Reason: wire.CloseReason(peer.Err.Error())}
	}
	// Nothing but what can still be read is needed any more.
	m.sent = sentLog{next: m.sent.next}
	m.recovery.inFlight, m.recovery.packets = 0, 0
	m.active, m.starved, m.ctlFirst, m.ctlLast = laneQueue{}, laneQueue{}, nil, nil
	m.outbox = datagramQueue{}
	m.pool = pool{}
}

// sayAgain answers a packet that comes to a dead machine.
func (m *Machine) sayAgain() {
	if m.farewell.at == Never && !m.closedByPeer() {
		m.farewell.at = max(m.now, m.farewell.last+m.recovery.rtt.timeout())
	}
}

func (m *Machine) closedByPeer() bool {
	var closed *ClosedError
	return errors.As(m.err, &closed) && closed.Remote
}

// closePacket writes the CLOSE if it is due.
func (m *Machine) closePacket(pn uint64, buf []byte) int {
	if m.now < m.farewell.at {
		return 0
	}
	b := wire.AppendClose(buf[:0:len(buf)], m.farewell.frame)
	if len(b) > len(buf) { // a buffer too small for the reason
		b = wire.AppendClose(buf[:0], wire.Close{Code: m.farewell.frame.Code})
	}
	m.farewell.at, m.farewell.last = Never, m.now
	m.used(pn, len(b))
	return len(b)
}

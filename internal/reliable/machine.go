package reliable

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// A Machine is one end of a link. It is not safe for concurrent use, its lanes included.
type Machine struct {
	cfg Config
	now time.Duration // of the last call
	err error         // why it is dead

	// Lanes.
	lanes      map[uint64]*Lane // open ones but lane 0
	control    *Lane
	last       *Lane  // looked up last
	opened     uint64 // lanes this end has opened
	mayOpen    uint64 // and may have opened, by the peer's word
	peerOpened uint64
	peerEnded  uint64
	peerMay    uint64 // lanes the peer was told it may have opened
	mostLanes  int    // that were open since the table was made
	refused    bool   // Open failed since the last CanOpen

	// Flow control of all lanes but lane 0.
	linkIn   window
	received uint64 // bytes, by the highest offsets
	read     uint64 // of those, read or dropped
	gaps     int    // spans above gaps, of all lanes
	linkOut  uint64 // what the peer allows to be sent
	sentNew  uint64 // what was sent of it

	// What is to be sent.
	active   laneQueue // lanes with something to send, in turn
	starved  laneQueue // lanes with nothing but new bytes, for which linkOut has no credit
	ctl      control   // of no lane
	ctlFirst *Lane     // lanes with control frames
	ctlLast  *Lane
	outbox   datagramQueue
	unsent   int  // bytes that wait in lanes to be sent for the first time
	turn     bool // of datagrams, before lanes

	// Packets and recovery.
	sent          sentLog
	acks          receivedLog
	recovery      recovery
	controller    Controller
	pacer         pacer
	rate          rateSampler
	size          packetSize
	ackScratch    []wire.AckRange
	outAck, inAck wire.Ack // here, not on the stack, for what they hold would be moved to the heap
	pinging       bool     // the program wants to hear of the peer
	limitedUntil  uint64   // packet number below which the window, not the program, bounded what was sent

	// What has come.
	inbox      datagramQueue
	datagram   []byte // given out last
	readyFirst *Lane
	readyLast  *Lane
	ready      Ready // of no lane

	farewell farewell
	pool     pool
	trimAt   time.Duration
	stats    Stats
}

// New makes a machine at the instant now. Instants count from an epoch of the caller's, the same for all of the
// machine's life; one before that of an earlier call is taken for that.
func New(now time.Duration, c Config) *Machine {
	m := &Machine{
		cfg:     c.filled(),
		now:     now,
		mayOpen: wire.InitialLanes,
		peerMay: wire.InitialLanes,
		linkOut: wire.InitialLinkWindow,
		linkIn:  window{size: wire.InitialLinkWindow, limit: wire.InitialLinkWindow, raised: now},
		acks:    newReceivedLog(),
		trimAt:  Never,
	}
	m.control = m.newLane(0)
	m.outbox.limit, m.inbox.limit = m.cfg.DatagramQueue, m.cfg.DatagramQueue
	m.startPath(m.cfg.RTT, m.cfg.MaxPacket)
	m.admitLanes()
	return m
}

// step takes over the time of a call.
func (m *Machine) step(now time.Duration) { m.now = max(m.now, now) }

// Control returns lane 0.
func (m *Machine) Control() *Lane { return m.control }

// Err returns why the machine is dead: a [*ClosedError] or [*PeerError]; nil while it lives.
func (m *Machine) Err() error { return m.err }

// Timeout is the instant at which NextPacket wants to be called; one that has passed means at once, [Never] that
// nothing is awaited.
func (m *Machine) Timeout() time.Duration {
	if m.err != nil {
		return m.farewell.at
	}
	at := min(m.acks.due, m.trimAt, m.lossTimeout())
	if m.mustSend() {
		return m.now
	}
	if m.waiting() && m.recovery.inFlight < m.controller.Window() {
		at = min(at, m.pacer.next(m.now, m.size.most, m.controller.Rate()))
	}
	return at
}

package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

// The reasons that end a link, beside what the peer says ([CloseError]).
var (
	// ErrSilent: the peer has not been heard for so long that no path is left.
	ErrSilent = errors.New("the peer is no longer heard")
	// ErrReplaced: a newer link to the same friend has taken its place.
	ErrReplaced = errors.New("replaced by a newer link")
	// ErrClosed: this end closed the link.
	ErrClosed = errors.New("link closed")
	// ErrExhausted: the keys have reached the limit of their use.
	ErrExhausted = errors.New("the link's keys are used up")
	// ErrControlFull: more control messages wait than the link takes; try again later.
	ErrControlFull = errors.New("too many control messages wait")
)

// CloseError is a link closed by the peer, with its code and words.
type CloseError struct {
	Code   uint64
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("the peer closed the link: %q (code %d)", e.Reason, e.Code)
}

// FaultError is a link that ended because what the peer sent broke the protocol.
type FaultError struct{ Err error }

func (e *FaultError) Error() string { return "the peer broke the protocol: " + e.Err.Error() }

// Unwrap returns the fault.
func (e *FaultError) Unwrap() error { return e.Err }

const (
	// packetSize is the size of a full datagram while nothing larger is known to
	// pass: what every IPv6 path carries.
	packetSize = 1232
	// roundSize is how many bytes are sealed in one round: the most that the
	// system takes at once, and a few hundred microseconds of work.
	roundSize = 64 << 10
	askEvery  = 200 * time.Millisecond
	// confirmFor bounds key confirmation.
	confirmFor = 20 * time.Second
	// linger is how long a closed link answers what still comes with CLOSE.
	linger = 400 * time.Millisecond
	// drainFor is how long a link that is finished waits for the control messages
	// before its CLOSE to arrive.
	drainFor = time.Second
)

// Link is the secure connection to one friend. It outlives the attempt that
// made it: keys, reliable machine, paths. All methods are safe for concurrent
// use.
//
// The socket's reader opens packets and steps the machine; the link's one
// goroutine, run, sends, keeps the time and calls the handler, all without
// the mutex. Lock order: Transport.mu, Link.mu, Transport.idsMu; the handler is
// called with none of them.
type Link struct {
	peer    crypto.ID
	lower   bool
	id      attemptID // of the attempt that made it
	order   linkOrder
	master  []byte // until the link is up
	env     linkEnv
	epoch   time.Time
	wake    chan struct{} // capacity 1
	up      chan struct{} // closed when the link is confirmed
	done    chan struct{} // closed when the link has ended
	stopped chan struct{} // closed when run has returned
	known   bool          // to the handler; of run alone

	mu         sync.Mutex
	keys       *linkKeys
	machine    *reliable.Machine
	paths      *pathTable
	relays     []netip.AddrPort // of the peer
	live       liveness
	sizes      sizeSearch
	pn         uint64
	ids        uint32 // connection IDs registered: indexes below it
	confirm    confirmation
	lanes      map[uint64]*Lane
	flushing   map[*Lane]struct{}
	opened     []*Lane // by the peer, not yet handed on
	control    control
	datagrams  bool          // some wait for the handler
	proven     bool          // the peer has acknowledged data: it has confirmed the keys too
	told       bool          // of its end,
	toldProven bool          // and that it is proven
	changed    bool          // path or suspicion, not yet told
	moved      chan struct{} // closed, and made anew, when the current path changes
	closing    bool          // CLOSE goes out; err is set
	closeAt    time.Duration // when a closing link is forgotten
	last       *lastWords    // of a link that is finished, until CLOSE goes out
	err        error
	drops      map[string]uint64
	sends      []send // of the present round
}

// linkOrder tells which of two links to the same friend is the newer one, the
// same at both ends: the generations of the offers of the lower and higher ID.
type linkOrder struct{ lower, higher uint64 }

func (o linkOrder) above(p linkOrder) bool {
	return o.lower > p.lower || o.lower == p.lower && o.higher > p.higher
}

// linkEnv is what a link needs of its node.
type linkEnv struct {
	handler    Handler
	log        *slog.Logger
	buffers    *sync.Pool                     // of *[]byte, roundSize
	register   func(l *Link, first, n uint32) // connection IDs of these indexes are the link's
	unregister func(l *Link, n uint32)
	up         func(l *Link)            // it is confirmed
	proven     func(l *Link)            // the peer has confirmed it too
	changed    func(l *Link)            // its path, or whether it is suspect
	down       func(l *Link, err error) // it has ended; run goes on for a moment
	stopped    func(l *Link)            // run is over
}

// send is one call of a conduit: part of the round's buffer.
type send struct {
	path     *path
	from, to int
	size     int
	whole    bool // one datagram, not to be fragmented
}

type linkConfig struct {
	peer    crypto.ID
	lower   bool
	id      attemptID
	order   linkOrder
	master  []byte
	keys    *linkKeys
	conduit conduit
	remote  netip.AddrPort
	rtt     time.Duration
	machine reliable.Config
	relays  []netip.AddrPort
}

// newLink makes a link that is not confirmed yet, and its goroutine.
func newLink(env linkEnv, c linkConfig) *Link {
	l := &Link{
		peer: c.peer, lower: c.lower, id: c.id, order: c.order, master: c.master, env: env,
		epoch: time.Now(), wake: make(chan struct{}, 1), up: make(chan struct{}), done: make(chan struct{}), stopped: make(chan struct{}),
		keys: c.keys, relays: c.relays, paths: newPathTable(c.lower, c.keys.outID, c.conduit, c.remote), live: newLiveness(), sizes: newSizeSearch(),
		lanes: map[uint64]*Lane{}, flushing: map[*Lane]struct{}{}, moved: make(chan struct{}),
		closeAt: noTime, drops: map[string]uint64{},
	}
	m := c.machine
	m.Odd, m.RTT, m.MaxPacket = c.lower, c.rtt, packetSize-dataOverhead
	l.machine = reliable.New(0, m)
	l.confirm.begin()
	l.control.lane = l.machine.Control()
	l.mu.Lock()
	l.register() // from now on packets come
	l.mu.Unlock()
	go l.run()
	return l
}

// Peer is the friend at the other end.
func (l *Link) Peer() crypto.ID { return l.peer }

// Lower reports whether our ID is the lower one of the pair: it names the ends
// where a protocol needs two different ones.
func (l *Link) Lower() bool { return l.lower }

// Done is closed when the link has ended; [Link.Err] then says why.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err returns why the link ended, nil while it lives: [ErrSilent],
// [ErrReplaced], [ErrClosed], [ErrExhausted], a [*CloseError] or a
// [*FaultError].
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Path returns the way that packets take now.
func (l *Link) Path() Path {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.paths.current
	if l.err != nil {
		return Path{}
	}
	return Path{Kind: l.kind(), Local: p.conduit.local(p.remote), Remote: p.remote, RTT: l.machine.RTT()}
}

// kind is that of the current path. Under mu.
func (l *Link) kind() PathKind {
	p := l.paths.current
	if slices.Contains(l.relays, p.remote) {
		return PathRelay
	}
	return kindOf(p.conduit, p.remote)
}

// relayed reports whether packets go by a relay.
func (l *Link) relayed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && l.kind() == PathRelay
}

// setRelays says at which addresses the peer is reached by relays of its own.
func (l *Link) setRelays(addrs []netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relays = addrs
}

// Suspect reports whether the peer has not been heard for longer than it
// should: what is sent now may be lost with the link.
func (l *Link) Suspect() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live.suspect()
}

// MaxDatagram is the length of the longest datagram, in bytes.
func (l *Link) MaxDatagram() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.machine.MaxDatagram()
}

// SendDatagram queues a datagram; it may be lost, and the oldest waiting ones
// are when the path is slower than what is sent. The error is that of one
// longer than [Link.MaxDatagram], or of a link that has ended.
func (l *Link) SendDatagram(session, flow uint64, b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if err := l.machine.SendDatagram(session, flow, b); err != nil {
		return err
	}
	l.wakeIfDue()
	return nil
}

// OpenLane opens a lane. While the peer allows no more lanes it fails; some of
// those that are open must end first.
func (l *Link) OpenLane() (*Lane, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	r, err := l.machine.Open()
	if err != nil {
		return nil, err
	}
	return l.lane(r), nil
}

// Close ends the link with a code and words for the peer. Lanes end with
// [ErrClosed]. It does not wait.
func (l *Link) Close(code uint64, reason string) { l.end(ErrClosed, code, reason) }

// end closes the link for a reason of ours.
func (l *Link) end(err error, code uint64, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.machine.Close(code, reason)
	l.over(err, true)
}

// lastWords are the CLOSE of a link that is finished.
type lastWords struct {
	reason string
	by     time.Duration // when it goes out at the latest
	said   chan struct{} // closed when it does
}

// finish closes the link as unwanted, but first lets the control messages arrive
// that wait, for as long as drainFor, unless the peer is not heard. To the program
// it is closed at once.
func (l *Link) finish(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	now := l.now()
	l.over(ErrClosed, true)
	if !l.confirm.done { // nothing is sent on it yet, and nothing waits
		l.machine.Close(CodeUnwanted, reason)
		return
	}
	l.closeAt = noTime // until CLOSE goes out
	l.last = &lastWords{reason: reason, by: now, said: make(chan struct{})}
	if !l.live.suspect() {
		l.last.by += drainFor
	}
	l.sayLast(now)
}

// sayLast sends the CLOSE of a finished link, if nothing is to go before it. Under mu.
func (l *Link) sayLast(now time.Duration) {
	w := l.last
	if w == nil || now < w.by && l.machine.Err() == nil && !l.control.flushed() {
		return
	}
	l.machine.Close(CodeUnwanted, w.reason)
	l.last = nil
	l.closeAt = now + linger
	close(w.said)
}

// finishing returns a channel that is closed when a finished link has let arrive
// what it could; nil for others.
func (l *Link) finishing() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return nil
	}
	return l.last.said
}

// over ends the link: nothing more is taken from the peer or the program. Under
// mu. With tell, CLOSE goes out and is repeated to what still comes.
func (l *Link) over(err error, tell bool) {
	if l.err != nil {
		return
	}
	l.err = err
	close(l.done)
	l.closing = true
	l.closeAt = l.now()
	if tell && l.confirm.done {
		l.closeAt += linger
	}
	l.rouse()
}

func (l *Link) now() time.Duration { return time.Since(l.epoch) }

// rouse wakes run.
func (l *Link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// wakeIfDue wakes run if the machine has something to send. Under mu.
func (l *Link) wakeIfDue() {
	if l.machine.Timeout() <= l.now() {
		l.rouse()
	}
}

// register makes the peer's coming connection IDs known. Under mu.
func (l *Link) register() {
	if want := l.paths.ids.known(); want > l.ids {
		l.env.register(l, l.ids, want-l.ids)
		l.ids = want
	}
}

// receive takes a data packet from a socket's reader. index is that of its
// connection ID. b is opened in place.
func (l *Link) receive(b []byte, c conduit, from netip.AddrPort, index uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	size := len(b)
	pn, plain, err := l.keys.open(b)
	if err != nil {
		l.refused(err)
		return
	}
	if l.live.heard(now) {
		l.changed = true
		l.rouse()
	}
	confirms, probes := kindsOf(plain)
	p, moved := l.paths.received(now, l.machine.RTT(), inbound{c, from, index, pn, size, confirms || probes})
	if moved {
		l.pathChanged(now)
	}
	l.register()
	if confirms {
		l.confirmed(plain)
		return
	}
	if !l.confirm.done {
		l.drops["data.unconfirmed"]++ // it will be sent again
		return
	}
	found, err := l.machine.Receive(now, pn, plain)
	if l.last != nil {
		l.rouse() // it may have been the acknowledgement, or the peer's CLOSE
	}
	if err != nil {
		l.over(linkError(err), true)
		l.wakeIfDue() // CLOSE is repeated
		return
	}
	if pn, ok := l.machine.LargestAcked(); ok {
		l.keys.acked(pn)
		if !l.proven {
			l.proven = true
			l.rouse()
		}
	}
	if found.HasChallenge {
		if l.paths.challenged(p, found.Challenge, size) {
			l.machine.Ping() // RFC 9000 section 9.3.3
		}
		l.rouse()
	}
	if found.HasResponse {
		if l.paths.responded(now, found.Response) {
			l.pathChanged(now)
		}
		l.search().answered(now, found.Response)
		l.resize()
	}
	l.poll()
	l.wakeIfDue()
}

// kindsOf tells by its first frame what a packet holds only of: key
// confirmation, or probes of paths. (One that mixes them with others misleads
// nobody but its sender.)
func kindsOf(plain []byte) (confirms, probes bool) {
	if len(plain) == 0 {
		return false, false
	}
	switch wire.FrameKind(plain[0]) {
	case wire.FrameAsk, wire.FrameAnswer:
		return true, false
	case wire.FramePathChallenge, wire.FramePathResponse, wire.FramePadding:
		return false, true
	default:
		return false, false
	}
}

// pathChanged begins to use a path. Under mu.
func (l *Link) pathChanged(now time.Duration) {
	l.machine.PathChanged(now, l.paths.current.rtt, 0)
	l.sizes = newSizeSearch()
	l.changed = true
	close(l.moved)
	l.moved = make(chan struct{})
	l.rouse()
}

// refused judges a packet that could not be opened. Under mu.
func (l *Link) refused(err error) {
	if errors.Is(err, errPacketFault) {
		l.machine.Close(reliable.CodeFrame, err.Error())
		l.over(&FaultError{Err: err}, true)
		return
	}
	l.drops["data.unopened"]++
	l.exhausted()
}

// exhausted ends the link whose keys must not be used further. Under mu.
func (l *Link) exhausted() {
	if err := l.keys.exhausted(); err != nil {
		l.machine.Close(codeExhausted, ErrExhausted.Error())
		l.over(fmt.Errorf("%w: %w", ErrExhausted, err), true)
	}
}

// linkError says in the transport's words why the machine is dead.
func linkError(err error) error {
	var closed *reliable.ClosedError
	if errors.As(err, &closed) && closed.Remote {
		if closed.Code == codeReplaced {
			return ErrReplaced // the peer has confirmed the newer link first
		}
		return &CloseError{Code: closed.Code, Reason: closed.Reason}
	}
	return &FaultError{Err: err}
}

// poll hands on what has changed in the machine. Under mu.
func (l *Link) poll() {
	for {
		ev, ok := l.machine.Poll()
		if !ok {
			break
		}
		if ev.Lane == nil {
			if ev.Ready&reliable.Datagrams != 0 {
				l.datagrams = true
				l.rouse()
			}
			continue
		}
		if ev.Lane == l.control.lane {
			l.control.ready = true
			l.rouse()
			continue
		}
		a := l.lane(ev.Lane)
		if ev.Ready&reliable.Opened != 0 {
			l.opened = append(l.opened, a)
			l.rouse()
		}
		a.signal(ev.Ready)
		if ev.Ready&reliable.Ended != 0 {
			delete(l.lanes, a.id)
		}
	}
	for a := range l.flushing {
		if a.r.Flushed() {
			a.flushed()
		}
	}
}

// lane returns the lane's face to the program. Under mu.
func (l *Link) lane(r *reliable.Lane) *Lane {
	a := l.lanes[r.ID()]
	if a == nil {
		a = newLane(l, r)
		l.lanes[r.ID()] = a
	}
	return a
}

// propose has a path tried that ICE has found.
func (l *Link) propose(c conduit, remote netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if !l.confirm.done { // nothing can be asked yet, and ICE knows best
		l.paths = newPathTable(l.lower, l.keys.outID, c, remote)
	} else {
		l.paths.propose(l.now(), c, remote)
	}
	l.rouse()
}

// movedTo returns a channel that is closed when the current path changes; it is
// closed already if it is the one asked for and the peer is heard on it.
func (l *Link) movedTo(c conduit, remote netip.AddrPort) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.paths.current; p.conduit == c && p.remote == remote && !l.live.suspect() {
		return closedChan()
	}
	return l.moved
}

func closedChan() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// doubt makes the link suspect: the peer does not seem to have it any more.
func (l *Link) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.confirm.done && l.live.doubt(l.now()) {
		l.changed = true
		l.machine.Ping()
		l.rouse()
	}
}

// ping has the peer answer.
func (l *Link) ping() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.machine.Ping()
	l.rouse()
}

// poke has the peer hear from us at once: our address may have changed, and the
// peer follows what it sees.
func (l *Link) poke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.confirm.done {
		l.paths.moved(l.now())
		l.machine.Ping()
		l.rouse()
	}
}

// hurry ends the time in which a closed link lets arrive what waits, and answers
// what still comes.
func (l *Link) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		if l.last != nil {
			l.last.by = 0
			l.sayLast(l.now())
		}
		l.closeAt = 0
		l.rouse()
	}
}

// addStats adds the link's counters to all.
func (l *Link) addStats(all map[string]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, n := range l.drops {
		all[name] += n
	}
	s := l.machine.Stats()
	for name, n := range map[string]uint64{
		"packets.sent": s.PacketsSent, "packets.received": s.PacketsReceived, "packets.lost": s.PacketsLost,
		"packets.spurious": s.PacketsSpurious, "packets.dropped": s.PacketsDropped,
		"bytes.sent": s.BytesSent, "bytes.received": s.BytesReceived,
		"datagrams.sent": s.DatagramsSent, "datagrams.received": s.DatagramsReceived, "datagrams.dropped": s.DatagramsDropped + s.DatagramsUnread,
	} {
		if n > 0 {
			all["data."+name] += n
		}
	}
}

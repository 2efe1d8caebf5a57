package carrier

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/friendship"
	"github.com/gocarrier/carrier/internal/session"
	"github.com/gocarrier/carrier/internal/udpio"
	"github.com/gocarrier/carrier/internal/wire"
	"github.com/gocarrier/carrier/transport"
)

const (
	// The kinds of control messages.
	controlRecord  = 1 // of the courier
	controlSession = 2
	// maxQueuedRecords bounds the bytes of records that wait for the loop; more is
	// dropped and counted, and the next link brings it again.
	maxQueuedRecords = 16 << 20
	// dialFor is how long a friend counts as being dialled after an offer: its
	// state is then looked for every second or two, at first more often.
	dialFor = 30 * time.Second
	// wantFor is how long a link is tried for after a sign of life of the friend,
	// or while a program waits for one.
	wantFor = 3 * time.Minute
	// freshState is how old a friend's word that it is online may be to be worth
	// an offer.
	freshState = time.Hour
)

// links joins the transport, the sessions and the courier.
type links struct {
	e         *engine
	transport *transport.Transport
	budget    *session.Budget

	mu     sync.Mutex // a leaf
	up     map[ID]*linked
	rows   map[ID]generations
	queued int // bytes of records that wait for the loop

	// loop
	dialUntil map[ID]time.Time
	wantUntil map[ID]time.Time
}

// linked is a link with the sessions on it.
type linked struct {
	link     *transport.Link
	sessions *session.Peer
}

// generations of offers: our own and the friend's highest.
type generations struct{ own, seen uint64 }

var (
	_ transport.Handler = (*links)(nil)
	_ transport.Signal  = (*links)(nil)
	_ transport.Rows    = (*links)(nil)
	_ courier.Links     = (*links)(nil)
)

// startLinks makes the transport, after the courier.
func (e *engine) startLinks() error {
	k := e.links
	var bad error
	e.All(tableLink, func(id crypto.ID, _, row []byte) bool {
		r := wire.NewReader(row)
		k.rows[id] = generations{r.Uint64(), r.Uint64()}
		bad = errors.Join(bad, r.Done())
		return true
	})
	if bad != nil {
		return bad
	}
	config := transport.Config{
		Identity:    e.identity,
		Incarnation: e.incarnation,
		Start:       e.courier.Start(),
		Net:         e.config.Net,
		Addresses:   func() (local, reflexive []netip.AddrPort) { return e.localAddrs(), e.dht.External() },
		STUN:        e.config.STUN,
		TURN:        e.config.TURN,
		Signal:      k,
		Rows:        k,
		Handler:     k,
		Logger:      e.log,

		InsecureKeyLog: e.config.keyLog,
	}
	for _, s := range e.sockets {
		config.Sockets = append(config.Sockets, s)
	}
	var err error
	if k.transport, err = transport.New(config); err != nil {
		return err
	}
	for _, s := range e.sockets {
		s.Handle(udpio.STUN, k.transport.HandleSTUN)
		s.Handle(udpio.Handshake, k.transport.HandleHandshake)
		s.Handle(udpio.Data, k.transport.HandleData)
	}
	return nil
}

func newLinks(e *engine) *links {
	return &links{
		e: e, budget: session.NewBudget(e.config.SessionMemory),
		up: map[ID]*linked{}, rows: map[ID]generations{}, dialUntil: map[ID]time.Time{}, wantUntil: map[ID]time.Time{},
	}
}

// close ends the transport. It is nil before startLinks.
func (k *links) close() error {
	if k.transport == nil {
		return nil
	}
	return k.transport.Close()
}

// drain closes all sessions in order and waits until all that was written has
// arrived.
func (k *links) drain(ctx context.Context) error {
	var closing []*session.Session
	k.mu.Lock()
	for _, n := range k.up {
		closing = append(closing, n.sessions.Sessions()...)
	}
	k.mu.Unlock()
	for _, s := range closing {
		_ = s.Close() // cannot fail
	}
	for _, s := range closing {
		select {
		case <-s.Done():
		case <-ctx.Done():
			return ctxError(ctx, "shutdown", "", "not all that was written to streams has arrived")
		}
	}
	if k.transport.Drain(ctx) != nil {
		return ctxError(ctx, "shutdown", "", "somebody who was removed may not know yet")
	}
	return nil
}

// with returns the link to a friend and its sessions; nil if there is none.
func (k *links) with(id ID) *linked {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.up[id]
}

// Generations implements transport.Rows.
func (k *links) Generations(peer ID) (own, seen uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.rows[peer]
	return g.own, g.seen
}

// SetGenerations implements transport.Rows.
func (k *links) SetGenerations(peer ID, own, seen uint64, then func()) {
	k.mu.Lock()
	k.rows[peer] = generations{own, seen}
	k.mu.Unlock()
	k.e.post(func() {
		k.e.Put(tableLink, peer, nil, wire.AppendUint64(wire.AppendUint64(nil, own), seen))
		k.e.Then(then)
	})
}

// Offer implements transport.Signal.
func (k *links) Offer(to ID, offer []byte) {
	k.e.post(func() {
		k.e.courier.SetOffer(to, offer)
		if offer == nil {
			delete(k.dialUntil, to)
		} else {
			k.dialUntil[to] = k.e.Now().Add(dialFor)
			k.e.After(dialFor, func() { k.e.applyStanding(to) })
		}
		k.e.applyStanding(to)
	})
}

// LinkUp implements transport.Handler.
func (k *links) LinkUp(l *transport.Link) {
	id := l.Peer()
	n := &linked{link: l}
	n.sessions = session.New(session.Config{
		Lower: l.Lower(), Lanes: lanes{l}, Datagrams: datagrams{l}, Signal: signals{l},
		Budget: k.budget, Logger: k.e.log,
		OnRequest: func(r *session.Request) { k.e.services.requested(id, r) },
		Addr: func(service string) (local, remote net.Addr) {
			return Addr{k.e.identity.ID(), service}, Addr{id, service}
		},
	})
	k.mu.Lock()
	old := k.up[id]
	k.up[id] = n
	k.mu.Unlock()
	if old != nil {
		old.sessions.Close(transport.ErrReplaced)
	}
	k.e.post(func() {
		if k.with(id) == n {
			k.e.courier.LinkUp(id, l.Path().Remote)
			k.e.updateCapacity(id)
			k.e.applyStanding(id)
			k.show(id)
		}
	})
}

// LinkChanged implements transport.Handler.
func (k *links) LinkChanged(l *transport.Link) {
	id := l.Peer()
	k.e.post(func() {
		if n := k.with(id); n != nil && n.link == l {
			k.e.courier.LinkMoved(id, l.Path().Remote)
			k.e.courier.LinkSuspect(id, l.Suspect())
			k.e.updateCapacity(id)
			k.e.applyStanding(id)
			k.show(id)
		}
	})
}

// LinkDown implements transport.Handler.
func (k *links) LinkDown(l *transport.Link, err error) {
	id := l.Peer()
	k.mu.Lock()
	n := k.up[id]
	if n != nil && n.link == l {
		delete(k.up, id)
	} else {
		n = nil
	}
	k.mu.Unlock()
	if n == nil {
		return
	}
	k.e.log.Debug("link down", "peer", shortID(id), "err", err)
	if k.e.ctx.Err() != nil {
		n.sessions.Close(whyClosed(k.e.cause()))
		return
	}
	switch {
	case !errors.Is(err, transport.ErrClosed):
	case k.e.yields.Load():
		err = because(ErrLinkLost, errors.New(reasonInUse))
	default:
		err = because(ErrNotFriend, err) // nothing else ends a link at this end
	}
	n.sessions.Close(err)
	var closed *transport.CloseError
	lost := !errors.As(err, &closed)
	if !lost {
		k.transport.Disconnect(id, "") // until there is a sign of life
	}
	k.e.post(func() {
		if k.with(id) != nil {
			return // another is up
		}
		switch {
		case lost:
			k.connect(id)
			k.e.courier.LinkDown(id)
		case closed.Code == transport.CodeUnwanted, closed.Code == transport.CodeShutdown:
			k.e.courier.LinkClosed(id)
		default:
			k.e.courier.LinkDown(id)
		}
		k.e.updateCapacity(id)
		k.e.applyStanding(id)
		k.show(id)
	})
}

// Control implements transport.Handler.
func (k *links) Control(l *transport.Link, kind uint8, body []byte) {
	id := l.Peer()
	n := k.with(id)
	switch {
	case n == nil || n.link != l:
		k.e.counters.add("link.dropped.control.late")
	case kind == controlSession:
		n.sessions.Control(body)
	case kind == controlRecord:
		k.mu.Lock()
		full := k.queued+len(body) > maxQueuedRecords
		if !full {
			k.queued += len(body)
		}
		k.mu.Unlock()
		if full {
			k.e.counters.add("link.dropped.record.queue")
			return
		}
		k.e.post(func() {
			k.mu.Lock()
			k.queued -= len(body)
			k.mu.Unlock()
			k.e.courier.Record(id, body)
		})
	default:
		k.e.counters.add("link.dropped.control.kind")
	}
}

// Lane implements transport.Handler.
func (k *links) Lane(l *transport.Link, lane *transport.Lane) {
	if n := k.with(l.Peer()); n != nil && n.link == l {
		n.sessions.Lane(lane)
		return
	}
	lane.Reset(0)
	lane.Stop(0)
}

// Datagram implements transport.Handler.
func (k *links) Datagram(l *transport.Link, sessionID, flow uint64, b []byte) {
	if n := k.with(l.Peer()); n != nil && n.link == l {
		n.sessions.Datagram(sessionID, flow, b)
	}
}

// Send implements courier.Links.
func (k *links) Send(to ID, record []byte) bool {
	n := k.with(to)
	return n != nil && n.link.SendControl(controlRecord, record) == nil
}

// show tells the handle and the readers of the friend's path. Loop only.
func (k *links) show(id ID) {
	path := k.path(id)
	k.e.Then(func() {
		f := k.e.node.friends.find(id)
		if f == nil {
			return
		}
		was, _ := f.snapshot()
		f.update(func(i *friendInfo) { i.path = path })
		if was.path.Kind != path.Kind || was.path.Remote != path.Remote {
			k.e.publish(FriendPath{Friend: f, Path: path}, "path "+string(id[:]))
		}
	})
}

// path is how the friend is reached now; none while its link is suspect.
func (k *links) path(id ID) Path {
	n := k.with(id)
	if n == nil || n.link.Suspect() {
		return Path{}
	}
	return n.link.Path()
}

// poll is how the state of a friend is to be looked for. Loop only.
func (k *links) poll(id ID) courier.Poll {
	n := k.with(id)
	switch {
	case n != nil && !n.link.Suspect():
		return courier.PollLinked
	case n != nil, k.e.Now().Before(k.dialUntil[id]):
		return courier.PollSuspect
	}
	return courier.PollFriend
}

// heard looks at a friend's state: whether there is somebody to link with, and
// what they offer. Loop only.
func (k *links) heard(from ID, s *wire.State) {
	if !k.linkable(from) || s.Relation != wire.RelationFriend {
		return
	}
	if len(s.Offer) > 0 {
		if err := k.transport.Offer(from, s.Incarnation, s.Offer); err != nil {
			k.e.counters.add("link.dropped.offer")
		}
	}
	switch age := k.e.Now().Sub(time.UnixMilli(min(s.Time, maxTime))); {
	case s.Presence == wire.PresenceOffline:
		delete(k.wantUntil, from)
		if k.with(from) == nil { // the friend closes it when its sessions are drained
			k.transport.Disconnect(from, "the friend has said goodbye")
		}
	case age.Abs() < freshState:
		k.connect(from)
	}
}

// met has a link made with a friend whose request has just been accepted, or
// seen, if it is of late: then our answer carries an offer already. Loop only.
func (k *links) met(id ID) {
	if k.e.Now().Sub(k.e.courier.LastSeen(id)) < freshState {
		k.connect(id)
	}
}

// resume looks at what friends said last, in an earlier run of ours: they may
// still be there, and show an offer that we have forgotten. Loop only.
func (k *links) resume() {
	for _, f := range k.e.node.friends.all() {
		if s := k.e.courier.Known(f.id); s != nil {
			k.heard(f.id, s)
		}
	}
}

// connect has a link made with a friend who seems to be there, for a while.
// Loop only.
func (k *links) connect(id ID) {
	if !k.linkable(id) {
		return
	}
	_, waiting := k.wantUntil[id]
	k.wantUntil[id] = k.e.Now().Add(wantFor)
	k.transport.Connect(id)
	if !waiting {
		k.e.After(wantFor, func() { k.wanted(id) })
	}
}

// wanted gives up on a friend of whom nothing was heard.
func (k *links) wanted(id ID) {
	until, ok := k.wantUntil[id]
	if !ok {
		return
	}
	if left := until.Sub(k.e.Now()); left > 0 || k.with(id) != nil {
		k.e.After(max(left, wantFor), func() { k.wanted(id) })
		return
	}
	delete(k.wantUntil, id)
	k.transport.Disconnect(id, "")
}

// linkable reports whether a link to that person may be. Loop only.
func (k *links) linkable(id ID) bool {
	p, ok := k.e.friendship.Person(id)
	return ok && p.State == friendship.Friend && !p.Blocked && !k.e.closing && !k.e.yields.Load()
}

// lanes, datagrams and signals are a link as sessions see it.
type (
	lanes     struct{ *transport.Link }
	datagrams struct{ *transport.Link }
	signals   struct{ *transport.Link }
)

func (l lanes) Open() (session.Lane, error) { return l.OpenLane() }
func (l datagrams) Send(sessionID, flow uint64, b []byte) error {
	return l.SendDatagram(sessionID, flow, b)
}
func (l datagrams) Max() int          { return l.MaxDatagram() }
func (l signals) Send(b []byte) error { return l.SendControl(controlSession, b) }

// waitLink waits for a link to the friend on which the friend is heard.
func (e *engine) waitLink(ctx context.Context, op string, f *Friend, wait bool) (*linked, error) {
	for {
		info, changed := f.snapshot()
		if info.state != FriendAccepted {
			return nil, &Error{Op: op, What: shortID(f.id), Err: ErrNotFriend, Hint: "wait for acceptance first"}
		}
		n := e.links.with(f.id)
		if n != nil && n.link.Err() != nil {
			n = nil // its end is being told
		}
		suspect := n != nil && n.link.Suspect()
		if n != nil && !suspect {
			return n, nil
		}
		if !wait && (suspect || !info.online) {
			return nil, &Error{Op: op, What: shortID(f.id), Err: ErrOffline, Hint: "leave a message, or wait with WaitOnline"}
		}
		e.post(func() { e.links.connect(f.id) })
		select {
		case <-changed:
		case <-time.After(wantFor / 2): // so that it goes on being tried
		case <-ctx.Done():
			return nil, ctxError(ctx, op, shortID(f.id), "no link yet")
		case <-e.done:
			return nil, closedError(op, e.cause())
		}
	}
}

// forget ends the link to somebody who is no friend, or is blocked. Loop only.
func (k *links) forget(id ID) { k.end(id, "not wanted any more") }

// reasonInUse is why a node that yields does nothing.
const reasonInUse = "another running node has this identity"

// yield ends all links, for another node that has this identity. Loop only.
func (k *links) yield() {
	for _, f := range k.e.node.friends.all() {
		k.end(f.id, reasonInUse)
	}
}

// end ends the link to somebody, once that is durable and the courier has told it
// what there is to tell.
func (k *links) end(id ID, reason string) {
	delete(k.dialUntil, id)
	delete(k.wantUntil, id)
	k.e.Then(func() { k.transport.Forget(id, reason) })
}

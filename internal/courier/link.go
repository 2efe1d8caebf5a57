package courier

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Links are the live links of the node.
type Links interface {
	// Send queues one record on the link to that person, and never blocks; b
	// belongs to it from then on. What it takes arrives, in order, unless the link
	// ends. It reports false if there is no link, or no room for now.
	Send(to crypto.ID, b []byte) bool
}

// noLinks is for a node that makes none.
type noLinks struct{}

func (noLinks) Send(crypto.ID, []byte) bool { return false }

const (
	// linkWindow is how many bytes of mail are handed to a link and without
	// receipt at once. The link's own queue holds 1 MiB.
	linkWindow = 256 << 10
	// linkRetry is when a link that had no room is tried again.
	linkRetry = 100 * time.Millisecond
	// linkRepeat is when mail without receipt is handed over again although its
	// link lives: a friend whose inbox is full drops it, and says so when there is
	// room again; this is for what goes wrong besides. It doubles up to the limit.
	linkRepeat    = time.Minute
	linkRepeatMax = 16 * time.Minute
	// linkUnheard is when mail goes to the mailbox too although its link lives,
	// since no receipt has come for so long: the peer's program or store stands
	// still.
	linkUnheard = 10 * time.Second
	// sameReceipt is the least time between receipts that say the same, for one
	// that comes again asks for the mail after it.
	sameReceipt = 10 * time.Second
)

// linkLimit is for the turns in which something is given to a link: what comes
// together goes together.
func linkLimit() rate { return rate{100, 32} }

// recordLimit is for the records of one friend's link. It has room for all that
// a friend may have handed over before a link that stood still goes on.
func recordLimit() rate { return rate{4 * linkLimit().perSecond, 2 * wire.InFlight} }

// link is the live link of a peer. While it is not suspect all that there is for
// the peer goes over it, and the peer is neither greeted nor looked for.
type link struct {
	at      netip.AddrPort
	suspect time.Time // since when; zero: it is not
	gone    bool      // it was for so long, and nothing else heard, that the peer is offline
	paced   bucket
	out     [][]byte // records that are about to be handed over,
	full    bool     // or that it had no room for yet

	// Mail of ours.
	sequence wire.Sequence
	flight   []handed  // without receipt, by rising number
	waits    time.Time // for a receipt: since the first was handed over, or one last ended something
	bytes    int       // in flight
	tries    int       // rewinds since a receipt last ended something
	heard    []byte    // receipt of the peer's that came last

	// Mail of the peer's.
	receiptDue bool
	refused    bool   // some was not taken, and is waited for
	said       []byte // receipt of ours that went last,
	saidAt     time.Time
}

// handed is a batch that was handed to the link.
type handed struct {
	from, to uint64 // message numbers
	size     int
	prekey   uint64 // number that it is sealed to
	at       time.Time
}

// LinkUp tells that a link to that person lives, at that address. If there was
// one before, this one has taken its place, and what the old one may not have
// delivered goes again. From now on the person is online, until LinkDown.
func (c *Courier) LinkUp(id crypto.ID, at netip.AddrPort) {
	if p := c.peers[id]; p != nil && p.present() && !c.closing && !c.closed {
		p.linkUp(wire.Plain(at))
	}
}

// LinkMoved tells that the link to that person now has its other end at that
// address.
func (c *Courier) LinkMoved(id crypto.ID, at netip.AddrPort) {
	if p := c.peers[id]; p != nil && p.link != nil {
		p.link.at = wire.Plain(at)
		p.tellPresence()
	}
}

// LinkSuspect tells that nothing has come over the link for too long, or that it
// goes on. Meanwhile the person is dealt with as if there were no link, and stays
// online for a few seconds: for longer only if a datagram shows that it is there.
func (c *Courier) LinkSuspect(id crypto.ID, suspect bool) {
	if p := c.peers[id]; p != nil && p.link != nil && !c.closing && suspect == p.linked() {
		p.linkSuspect(suspect)
	}
}

// LinkDown tells that there is no link to that person any more. Our state to
// them is put at once, and what has no receipt goes by another courier.
func (c *Courier) LinkDown(id crypto.ID) {
	if p := c.peers[id]; p != nil && p.link != nil && !c.closing && !c.closed {
		p.linkDown()
	}
}

// LinkClosed is LinkDown for a link that the person has ended: until a sign of
// theirs they are not thought to be there directly either.
func (c *Courier) LinkClosed(id crypto.ID) {
	if p := c.peers[id]; p != nil && p.link != nil && !c.closing && !c.closed {
		p.offline()
		p.linkDown()
	}
}

// Record takes what has come over the link from that person. The courier keeps
// no reference to b.
func (c *Courier) Record(from crypto.ID, b []byte) {
	if c.closing || c.closed {
		return
	}
	p := c.peers[from]
	if p == nil || !p.present() {
		c.count("drop.unwanted")
		return
	}
	if _, ok := p.records.take(recordLimit(), c.loop.Now()); !ok {
		c.count("drop.flood")
		return
	}
	kind, body, err := wire.ParseLinkRecord(b)
	if err != nil {
		c.countParse(err)
		return
	}
	switch kind {
	case wire.KindState:
		p.acceptState(body, ViaLink)
	case wire.KindProfile:
		p.acceptProfile(body, ViaLink)
	case wire.KindReceipt:
		p.acceptReceipt(body, ViaLink)
	case wire.KindMail:
		p.acceptLinkMail(body)
	case wire.KindHello, wire.KindRequest: // are none of a link's
	}
}

// linked reports whether a link brings the peer all.
func (p *peer) linked() bool { return p.link != nil && p.link.suspect.IsZero() }

func (p *peer) linkUp(at netip.AddrPort) {
	p.link = &link{at: at}
	p.seenNow()
	if p.direct != nil {
		p.direct.batches = nil // what has no receipt goes by the link
	}
	p.profile.sent = 0
	p.linkWorks()
	p.tellPresence()
}

// linkWorks has the link brought up to date, now that it carries.
func (p *peer) linkWorks() {
	p.own.sent = false
	p.soon(taskLink)
}

func (p *peer) linkSuspect(suspect bool) {
	p.seenNow()
	if !suspect {
		p.link.suspect, p.link.gone = time.Time{}, false
		if p.direct != nil {
			p.direct.batches = nil
		}
		p.linkWorks()
		p.tellPresence()
		return
	}
	p.link.suspect = p.c.loop.Now()
	p.linkFailed()
	p.doubt(p.link.suspect)
}

func (p *peer) linkDown() {
	if p.linked() {
		p.seenNow()
	}
	stale := p.doubted()
	p.link = nil
	p.clear(taskLink)
	if stale && p.online {
		p.offline()
	} else {
		p.tellPresence()
	}
	p.linkFailed()
	p.stateChanged(stateGather, asked)
	p.askSoon()
}

// linkFailed goes on without the link.
func (p *peer) linkFailed() {
	p.own.sent = false
	if p.online {
		p.soon(taskHello)
		p.soon(taskDirect)
	} else {
		p.probe()
	}
	p.spreadOffer()
	p.mailChanged()
	if p.inbox != nil {
		p.soon(taskInbox)
	}
}

// unlink forgets the link of somebody whom we no longer talk to.
func (p *peer) unlink() {
	if p.link != nil {
		p.link = nil
		p.clear(taskLink)
		p.tellPresence()
	}
}

// sendLink gives the link what there is for the peer.
func (p *peer) sendLink() {
	if !p.linked() || p.c.closing {
		return
	}
	l := p.link
	if len(l.out) == 0 {
		now := p.c.loop.Now()
		if wait, ok := l.paced.take(linkLimit(), now); !ok {
			p.after(taskLink, wait)
			return
		}
		p.handReceipt(l, now)
		if p.profileDue() { // before the state that names it
			p.profile.sent = p.c.profile.Version
			l.add(wire.KindProfile, p.signProfile())
		}
		if !p.own.sent {
			p.own.sent = true
			l.add(wire.KindState, p.signAssembled())
		}
		p.handMail(l, now)
	}
	p.flush(l)
}

func (l *link) add(kind wire.Kind, body []byte) {
	l.out = append(l.out, wire.AppendLinkRecord(make([]byte, 0, 1+len(body)), kind, body))
}

// flush hands the records to the link once the turn is durable. Those that it
// has no room for go first next time, so that mail stays in order.
func (p *peer) flush(l *link) {
	if len(l.out) == 0 {
		return
	}
	p.c.then(func() {
		for p.link == l && len(l.out) > 0 {
			if !p.c.links.Send(p.id, l.out[0]) {
				p.c.count("link.full")
				l.full = true
				p.after(taskLink, linkRetry)
				return
			}
			p.c.count("sent.records")
			l.out = l.out[1:]
		}
		l.out = nil
		if l.full {
			l.full = false
			p.soon(taskLink) // what has waited behind them
		}
	})
}

// handReceipt gives the link a receipt that is due.
func (p *peer) handReceipt(l *link, now time.Time) {
	if !l.receiptDue {
		return
	}
	l.receiptDue = false
	body, says := p.receiptNote()
	if body == nil || slices.Equal(says, l.said) && now.Sub(l.saidAt) < sameReceipt {
		return
	}
	l.said, l.saidAt = says, now
	l.add(wire.KindReceipt, body)
}

// handMail hands over mail as far as the window goes.
func (p *peer) handMail(l *link, now time.Time) {
	o := p.outbox()
	if p.box != nil && len(o.items) == 0 {
		p.after(taskBox, boxDebounce) // to give it up
	}
	if o.to.Number == 0 {
		return
	}
	if l.sequence != o.sequence {
		l.rewind()
		l.sequence, l.tries, l.waits = o.sequence, 0, now
	}
	l.final(o.base, now)
	if len(l.flight) > 0 && !now.Before(l.repeatAt()) {
		l.rewind()
		p.c.count("mail.repeated")
	}
	next := o.base
	if n := len(l.flight); n > 0 {
		next = l.flight[n-1].to + 1
	}
	for {
		part := pack(span(o.items, next, o.base+wire.InFlight-1), wire.MaxLinkItems, wire.MaxMessage)
		if len(part) == 0 || !l.room(size(part)) {
			break
		}
		body, err := p.sealMail(p.batchOf(o, part), o.to)
		if err != nil {
			p.c.count("fault.prekey")
			return
		}
		l.add(wire.KindMail, body)
		h := handed{from: next, to: next + uint64(len(part)) - 1, size: size(part), prekey: o.to.Number, at: now}
		if len(l.flight) == 0 && l.tries == 0 {
			l.waits = now
		}
		l.flight = append(l.flight, h)
		l.bytes += h.size
		next = h.to + 1
	}
	if len(l.flight) > 0 {
		p.at(taskLink, l.repeatAt())
		p.at(taskBox, later(now, l.mailboxFrom()))
	}
}

// room reports whether so many bytes more may be handed over now. After a rewind
// one batch at a time tries whether the peer takes it.
func (l *link) room(n int) bool {
	return len(l.flight) == 0 || l.tries == 0 && l.bytes+n <= linkWindow
}

// repeatAt is when what was handed over is handed over again.
func (l *link) repeatAt() time.Time {
	return l.flight[0].at.Add(backoff(l.tries+1, linkRepeat, linkRepeatMax))
}

// final drops the batches that receipts have ended.
func (l *link) final(base uint64, now time.Time) {
	for len(l.flight) > 0 && l.flight[0].to < base {
		l.bytes -= l.flight[0].size
		l.flight = l.flight[1:]
		l.tries, l.waits = 0, now
	}
	if len(l.flight) == 0 {
		l.flight = nil
	}
}

// rewind has all that is in flight handed over again.
func (l *link) rewind() {
	if len(l.flight) > 0 {
		l.tries++
	}
	l.flight, l.bytes = nil, 0
}

// sealedTo reports whether something in flight is sealed to that prekey.
func (l *link) sealedTo(prekey uint64) bool {
	return slices.ContainsFunc(l.flight, func(h handed) bool { return h.prekey == prekey })
}

// again has mail handed over again because the peer asks for it. A friend who
// asks all the time is heard as often as its effort allows.
func (p *peer) again(l *link) {
	if _, ok := p.effort.take(effortLimit(), p.c.loop.Now()); !ok {
		p.c.count("effort.held")
		return
	}
	l.rewind()
	p.c.count("mail.repeated")
	p.soon(taskLink)
}

// heardReceipt notes a receipt that came over the link. Over a link nothing is
// lost, so that one which comes twice tells of mail that was not taken at first
// and would be now.
func (l *link) heardReceipt(says []byte) (again bool) {
	again = slices.Equal(says, l.heard) && len(l.flight) > 0
	l.heard = says
	return again
}

// acceptLinkMail takes a batch that came over the link.
func (p *peer) acceptLinkMail(body []byte) {
	m := p.openMail(body, p.isWhole)
	if m == nil {
		return
	}
	p.seenNow()
	if !p.c.handler.OnMail(p.id, m, ViaLink) {
		p.c.count("mail.untaken")
		if p.link != nil {
			p.link.refused = true
		}
	}
}

// mailboxFrom is when mail goes to the mailbox too, although there is a link;
// zero: not before some is handed over.
func (l *link) mailboxFrom() time.Time {
	switch waits := len(l.flight) > 0; {
	case l.suspect.IsZero() && waits:
		return l.waits.Add(linkUnheard)
	case l.suspect.IsZero():
		return time.Time{}
	case waits:
		return earlier(l.suspect, l.waits).Add(mailboxAfter)
	}
	return l.suspect.Add(mailboxAfter)
}

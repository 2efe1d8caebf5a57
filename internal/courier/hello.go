package courier

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

const (
	// exchangeEvery is how often peers that reach each other show it.
	exchangeEvery = 10 * time.Second
	// exchangeLater is how much longer the one with the higher ID waits, so that
	// one exchange, which proves each to the other, serves both.
	exchangeLater = 2 * time.Second
	// probeEvery is how often the claims of somebody who was there not long ago
	// are tried.
	probeEvery = time.Minute
)

// presence is whether and where the peer is reachable directly.
type presence struct {
	online       bool // directly, whether or not there is a link
	told         bool // the handler, that the peer is online,
	toldAt       netip.AddrPort
	endpoints    []*endpoint
	current      *endpoint // the one in use while online
	proof        time.Time // when a nonce of ours last came back
	questions    int       // sent since then
	round        int       // of probing
	probing      bool      // a round waits in the budget
	helloVersion uint64    // highest seen
	since        uint64    // version of the hello that brought the peer online
	answers      bucket    // hellos that were sent as answers
}

// answerLimit is for answers to one peer's hellos: each draws one of our rising
// numbers, and those must not run ahead of the clock.
func answerLimit() rate { return rate{20, 40} }

// best is the address in use while online.
func (p *peer) best() netip.AddrPort {
	if p.presence.current == nil {
		return netip.AddrPort{}
	}
	return p.presence.current.addr
}

// whereabouts is whether the peer is online, by a link or directly, and where.
func (p *peer) whereabouts() (netip.AddrPort, bool) {
	if p.link != nil && !p.link.gone {
		return p.link.at, true
	}
	return p.best(), p.online
}

// tellPresence tells the handler what it does not know of it.
func (p *peer) tellPresence() {
	at, online := p.whereabouts()
	if online == p.told && (!online || at == p.toldAt) {
		return
	}
	if !online {
		at = p.toldAt
	}
	p.told, p.toldAt = online, at
	p.c.handler.OnPresence(p.id, online, at)
}

// probe tries the peer's claims.
func (p *peer) probe() {
	if p.online || p.linked() || !p.present() || p.c.closing {
		return
	}
	p.round = 0
	p.soon(taskHello)
}

// greet goes on with the exchange while online, and with probing while not.
func (p *peer) greet() {
	if !p.present() || p.c.closing {
		return
	}
	now := p.c.loop.Now()
	if p.doubted() {
		p.settle(now)
		return
	}
	if !p.online {
		if !p.linked() {
			p.probeRound(now)
		}
		return
	}
	if now.Sub(p.proof) >= proofLife {
		p.offline()
		p.probe()
		return
	}
	if p.linked() { // which shows that the peer is there
		p.at(taskHello, p.proof.Add(proofLife))
		return
	}
	p.sendHello(p.presence.current, false)
	gap := 5 * time.Second
	switch p.questions {
	case 0:
		gap = time.Second
	case 1:
		gap = 3 * time.Second
	}
	p.questions++
	p.at(taskHello, earlier(now.Add(gap), p.proof.Add(proofLife)))
}

// probeRound asks at every address that the peer might have. Three rounds in
// quick succession open what firewalls both sides have; then one a minute while
// the peer may still be about.
func (p *peer) probeRound(now time.Time) {
	if len(p.probed()) == 0 {
		return
	}
	p.round++
	switch {
	case p.round == 1:
		p.after(taskHello, 500*time.Millisecond)
	case p.round == 2:
		p.after(taskHello, 1500*time.Millisecond)
	case now.Sub(p.seen) < recent, p.mode.Poll == PollSuspect:
		d := p.c.jitter(probeEvery)
		if p.c.quiet {
			d *= quietFactor
		}
		p.after(taskHello, d)
	}
	if p.probing {
		return // a friend whose records change all the time has one place in the line
	}
	p.probing = true
	p.c.budget.run(classAsk, 1, func() {
		p.probing = false
		if p.stopped || p.online || !p.present() {
			return
		}
		for _, a := range p.probed() {
			if e := p.endpoint(a); e != nil && p.sendHello(e, false) {
				p.c.budget.spend(1) // not for those that are held
			}
		}
	})
}

// probed are the addresses that the peer might have: those that it claims, where
// its suspect link is, and those that signed envelopes of it came from.
func (p *peer) probed() []netip.AddrPort {
	addrs := p.claimed()
	if p.link != nil && p.c.usable(p.link.at) && !slices.Contains(addrs, p.link.at) {
		addrs = append(addrs, p.link.at)
	}
	for _, e := range p.endpoints {
		if !slices.Contains(addrs, e.addr) && (e.theirs.nonce != 0 || !e.proven.IsZero()) {
			addrs = append(addrs, e.addr)
		}
	}
	return addrs
}

// sendHello sends a question or an answer, if the endpoint may be reached, and
// reports whether it has.
func (p *peer) sendHello(e *endpoint, answer bool) bool {
	c := p.c
	now := c.loop.Now()
	if !c.mayReach(e, now) {
		return false
	}
	p.sendTo(e.addr, wire.KindHello, p.hello(e, answer))
	return true
}

// hello makes the body of a hello.
func (p *peer) hello(e *endpoint, answer bool) []byte {
	c := p.c
	now := c.loop.Now()
	h := &wire.Hello{
		Incarnation: c.incarnation,
		Version:     c.rising.next(c),
		Time:        now.UnixMilli(),
		Start:       c.start,
		Bond:        c.handler.Bond(p.id),
		Nonce:       e.nonce(now),
		Echo:        e.echo(now),
		Presence:    c.handler.Assemble(p.id).Presence,
		Answer:      answer,
		Observed:    e.addr,
	}
	if c.closing {
		h.Presence = wire.PresenceOffline
	}
	if h.Echo != 0 {
		e.echoed = now
	}
	return p.sign(signHello, h.Incarnation, h.Version, wire.AppendHello(nil, h))
}

// sendTo seals a body and sends it once the turn is durable.
func (p *peer) sendTo(to netip.AddrPort, kind wire.Kind, body []byte) {
	b := p.sealDatagram(kind, body)
	p.c.count("sent.datagrams")
	p.c.loop.Then(func() { p.c.datagrams.Send(b, to) })
}

// Datagram takes a datagram whose first byte is an envelope's (0xC8 to 0xCB).
// The courier keeps no reference to b.
func (c *Courier) Datagram(b []byte, from netip.AddrPort) {
	if c.closing || c.closed {
		return
	}
	from = wire.Plain(from)
	tag, sealed, err := wire.ParseEnvelope(b)
	if err != nil {
		c.countParse(err)
		return
	}
	candidates := c.tags.find(tag)
	if len(candidates) == 0 {
		c.count("drop.tag")
		return
	}
	now := c.loop.Now()
	if !c.sources.left(from.Addr(), now) && !provenBy(candidates, from, now) {
		c.count("drop.source")
		return
	}
	head := b[:wire.EnvelopeOverhead]
	for _, cand := range candidates {
		if plaintext, ok := cand.peer.openDatagram(cand.week, head, sealed); ok {
			cand.peer.receive(plaintext, sealed, from)
			return
		}
	}
	c.sources.take(from.Addr(), now)
	c.count("drop.open")
}

// provenBy reports whether one of the friends has proven to be at the address.
// It is always heard there: else whoever has seen one of its tags could forge
// its address, and with a few datagrams have it unheard.
func provenBy(candidates []candidate, at netip.AddrPort, now time.Time) bool {
	for _, cand := range candidates {
		for _, e := range cand.peer.endpoints {
			if e.addr == at && e.trusted(now) {
				return true
			}
		}
	}
	return false
}

// receive takes an envelope that opened by the pair's key.
func (p *peer) receive(plaintext, sealed []byte, from netip.AddrPort) {
	c := p.c
	if !p.wanted() {
		c.count("drop.unwanted")
		return
	}
	kind, body, err := wire.ParsePlain(plaintext)
	if err != nil {
		c.countParse(err)
		return
	}
	if !p.present() && kind != wire.KindState {
		c.count("drop.unwanted")
		p.answerAgain()
		return
	}
	switch kind {
	case wire.KindHello:
		p.acceptHello(body, from)
	case wire.KindState:
		p.acceptState(body, ViaDirect)
	case wire.KindProfile:
		p.acceptProfile(body, ViaDirect)
	case wire.KindReceipt:
		p.acceptReceipt(body, ViaDirect)
	case wire.KindMail:
		p.acceptMail(body, [8]byte(sealed[:8]))
	case wire.KindRequest:
		c.count("drop.kind")
	}
}

// admit asks leave to verify or open something new of the peer. A copy of what
// was had before is dropped earlier and not charged: anybody can send it.
func (p *peer) admit(via Via) bool {
	if via != ViaDirect {
		return true
	}
	if _, ok := p.inbound.take(inboundLimit(), p.c.loop.Now()); !ok {
		p.c.count("drop.flood")
		return false
	}
	return true
}

// acceptHello takes a question or an answer of the peer.
func (p *peer) acceptHello(body []byte, from netip.AddrPort) {
	c := p.c
	sig, record, err := wire.ParseSigned(body)
	if err != nil {
		c.count("drop.malformed")
		return
	}
	h, err := wire.ParseHello(record)
	if err != nil {
		c.countParse(err)
		return
	}
	switch {
	case h.Version <= p.helloVersion:
		c.count("drop.replay.hello")
		return
	case h.Bond < c.handler.Bond(p.id):
		c.count("drop.bond")
		return
	case !p.admit(ViaDirect), !p.verify(signHello, h.Incarnation, h.Version, sig, record):
		return
	}
	p.helloVersion = h.Version
	if !c.usable(from) {
		c.count("drop.endpoint")
		return
	}
	e := p.endpoint(from)
	if e == nil {
		return
	}
	now := c.loop.Now()
	if h.Presence == wire.PresenceOffline {
		c.count("goodbye")
		e.theirs = issued{}
		p.offline()
		p.clear(taskHello)
		return
	}
	e.theirs = issued{h.Nonce, now}
	bound := e.bound(h.Echo, now)
	if bound {
		p.seenNow()
		e.proven = now
	} else { // it may have been recorded, and never come here before
		p.signOfLife(min(h.Time, now.UnixMilli()))
	}
	if !h.Answer {
		// A reply is as long as what it replies to, so nobody is sent more than
		// they sent. Without proof from there it is a question in turn.
		if _, ok := p.answers.take(answerLimit(), now); ok {
			p.sendHello(e, now.Sub(e.proven) < proofLife)
		} else {
			c.count("drop.flood")
		}
	}
	if bound {
		p.setSkew(time.UnixMilli(h.Time).Sub(now))
		p.proved(e, now)
	} else if h.Answer {
		c.count("hello.stale")
	}
}

// proved notes that the peer has sent back a nonce of ours.
func (p *peer) proved(e *endpoint, now time.Time) {
	p.proof = now
	p.questions = 0
	p.clear(taskHello)
	next := exchangeEvery
	if p.c.self.Compare(p.id) > 0 {
		next += exchangeLater
	}
	p.after(taskHello, next)
	if !p.online {
		p.online, p.since = true, p.helloVersion
		p.presence.current = e
		p.tellPresence()
		if !p.linked() {
			p.own.sent = false
			p.spreadOffer()
		}
		p.soon(taskDirect)
		return
	}
	if e != p.presence.current && now.Sub(p.presence.current.proven) > exchangeEvery+exchangeLater {
		p.presence.current = e
		p.tellPresence()
	}
	p.reviveOffer(now)
	if p.direct != nil && p.direct.stalled() {
		p.direct.revive(now)
		p.soon(taskDirect)
	}
}

// offline ends direct presence: what was under way goes to the mailbox, unless a
// link has it.
func (p *peer) offline() {
	if !p.online {
		return
	}
	p.online = false
	p.presence.current = nil
	p.direct = nil
	p.clear(taskDirect)
	p.tellPresence()
	if p.linked() {
		return
	}
	p.spreadOffer()
	p.mailChanged()
	p.askSoon()
}

// askSoon asks for the peer's state now, if it is looked for.
func (p *peer) askSoon() {
	if p.c.isReady && p.pace(p.c.loop.Now()).every > 0 {
		p.soon(taskAsk)
	}
}

// tidy gives back what is no longer of use.
func (p *peer) tidy(now time.Time) {
	if p.online {
		return
	}
	p.direct = nil
	p.endpoints = slices.DeleteFunc(p.endpoints, func(e *endpoint) bool { return e.idle(now) })
	if len(p.endpoints) == 0 {
		p.endpoints = nil
	}
}

// networkChanged shows the peer, wherever it is, our new address.
func (p *peer) networkChanged() {
	p.retry()
	if !p.present() {
		return
	}
	if p.online {
		p.questions = 0
		p.soon(taskHello)
	} else {
		p.probe()
	}
	p.looking.poor = 0
	p.eager()
	p.askSoon()
}

// retry does what has failed once more, now that it may well succeed.
func (p *peer) retry() {
	if p.own.tries > 0 {
		p.own.tries = 0
		p.putSoon(0)
	}
	if p.box != nil {
		for i := range p.box.slots {
			if s := &p.box.slots[i]; s.tries > 0 {
				s.tries, s.next = 0, time.Time{}
				p.soon(taskBox)
			}
		}
	}
	if p.inbox != nil && p.inbox.tries > 0 {
		p.inbox.tries = 0
		p.soon(taskInbox)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

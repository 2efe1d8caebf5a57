package courier

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	stateDebounce = time.Second
	// stateGather is what a put that is in a hurry waits all the same: the offer of
	// the link that its cause brings about goes with it, instead of after it.
	stateGather = 50 * time.Millisecond

	// How often what we have put is put again: the shorter with few friends,
	// the longer with many.
	republishMin = 15 * time.Minute
	republishMax = 60 * time.Minute
	republishFew = 100 // people up to which the shorter one holds

	// itemLife is how long BEP 44 asks holders to keep an item.
	itemLife = 2 * time.Hour

	// fewestCopies is below what nothing counts as stored where more exist.
	fewestCopies = 3
)

// haste is how a put of our state is to be done.
type haste uint8

const (
	inLine  haste = iota // as the budget allows
	asked                // by the peer's doing, ahead of the line within what all peers have for that
	hurried              // by our own doing, ahead of the line
)

// own is where the put of our state to one peer stands.
type own struct {
	dirty   bool // something has changed since the last put was assembled
	haste   haste
	queued  bool // a put waits in the budget
	putting bool
	put     bool  // our own record was read and written in this run
	floor   int64 // highest seq known to stand under the key
	tries   int   // puts in a row that were not complete
	last    time.Time
	sent    bool   // the newest state has gone out, by link or directly
	offered []byte // the offer in the last put; nil: none
	finish  func() // while closing: what is done once the mailbox is settled
}

// stateChanged has our state put after d. In haste is what concerns this peer
// alone; what concerns everybody waits for the budget.
func (p *peer) stateChanged(d time.Duration, h haste) {
	if p.c.closing {
		return
	}
	if p.linked() {
		h = inLine // the link tells it sooner than any put
	}
	p.own.dirty = true
	p.own.haste = max(p.own.haste, h)
	p.own.sent = false
	p.tellSoon()
	p.putSoon(d)
}

// putSoon has our state put after d, if it is to be put at all.
func (p *peer) putSoon(d time.Duration) {
	if p.mode.Publish && p.c.isReady {
		p.after(taskState, d)
	}
}

// allChanged has everybody told of a change.
func (c *Courier) allChanged() {
	if c.closing {
		return
	}
	c.announced = c.endpoints()
	for _, p := range c.bySeen() {
		h := inLine
		if p.online {
			h = hurried
		}
		p.stateChanged(stateDebounce, h)
	}
}

// putState puts our state, at once or when the budget allows.
func (p *peer) putState() {
	if !p.mode.Publish || !p.c.isReady || p.own.putting || p.c.mute() {
		return // one that is under way goes on with what is dirty
	}
	if p.own.haste > inLine {
		if wait, ok := p.effort.take(effortLimit(), p.c.loop.Now()); !ok {
			p.c.count("effort.held")
			p.after(taskState, wait)
			return
		}
		if p.own.haste == hurried || p.c.hurry(costPut) {
			p.c.budget.spend(costPut)
			p.putStateNow(nil)
			return
		}
	}
	if p.own.queued {
		return
	}
	p.own.queued = true
	last := p.own.last
	p.c.budget.run(classWalk, costPut, func() {
		p.own.queued = false
		done := p.own.last != last && !p.own.dirty // ahead of the line
		if !done && !p.stopped && p.mode.Publish && !p.own.putting && !p.c.mute() {
			p.putStateNow(nil)
		}
	})
}

// putStateNow assembles and puts our state; done, if given, is called when the
// put has ended, however it went.
func (p *peer) putStateNow(done func()) {
	now := p.c.loop.Now()
	s := p.assemble()
	body := p.signedState(s)
	week := crypto.Week(now)
	key, value := p.sealSlot(week, saltState, wire.KindState, body)
	seq := p.c.seq(s.Version, p.own.floor)

	again := p.own.tries > 0 || now.Sub(p.own.last) >= republishMin
	p.own.dirty, p.own.haste = false, inLine
	p.own.putting = true
	p.own.floor = seq
	p.own.last = now
	p.own.offered = s.Offer
	put := Put{
		Key: key, Salt: saltState, Value: value, Seq: seq,
		Direct: !again,
		Not:    p.notCopies(),
		Seen:   func(i Item) { p.sawOwn(week, i) },
	}
	p.c.then(func() {
		p.c.slots.Put(put, func(r PutResult) {
			p.own.putting = false
			if done != nil {
				done()
				return
			}
			if !p.stopped && !p.c.closed && !p.c.closing {
				p.statePut(s, r)
			}
		})
	})
}

// signedState gives the body of a state record.
func (p *peer) signedState(s *wire.State) []byte {
	return p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s))
}

// signAssembled makes our state record to the peer, signed.
func (p *peer) signAssembled() []byte { return p.signedState(p.assemble()) }

// assemble makes our state record to the peer.
func (p *peer) assemble() *wire.State {
	c := p.c
	s := c.handler.Assemble(p.id)
	s.Incarnation = c.incarnation
	s.Version = c.rising.next(c)
	s.Time = c.loop.Now().UnixMilli()
	s.Format = wire.Format
	s.Start = c.start
	s.Prekey, s.CannotOpen, s.Endpoints, s.Window, s.Offer = wire.Prekey{}, 0, nil, nil, nil
	if s.Relation == wire.RelationFriend || s.Relation == wire.RelationNone {
		// Whom we refused or removed is told that and no more.
		s.Prekey = c.prekeys.Current()
		s.CannotOpen = p.cannotOpen
		s.Endpoints = c.endpoints()
		s.Window = p.box.window()
		if p.offer != nil && !c.closing {
			s.Offer = p.offer.bytes
		}
	}
	if c.closing {
		s.Presence = wire.PresenceOffline
	}
	return &s
}

// statePut goes on after a put: announces what stands, and puts again what is
// not safe or has changed.
func (p *peer) statePut(s *wire.State, r PutResult) {
	if p.blocked(r) {
		return
	}
	if r.Answered > 0 && !p.own.put {
		p.own.put = true // our own record has been read, if there was one
		p.soon(taskBox)
	}
	copies, complete := r.complete()
	if complete {
		p.own.tries = 0
		p.c.twins.written(p, s.Version, p.own.floor)
		p.announced(s.Window, copies)
	} else {
		p.own.tries++
		p.own.dirty = true
	}
	switch {
	case p.own.dirty && complete && p.own.haste > inLine:
		p.soon(taskState)
	case p.own.dirty && complete:
		p.after(taskState, stateDebounce)
	case !complete:
		p.after(taskState, p.c.jitter(backoff(p.own.tries, 2*time.Second, 10*time.Minute)))
	}
	if p.due[taskState].IsZero() {
		p.after(taskState, p.c.republish())
	}
}

// blocked handles a newer item in our slot: its seq is gone above, unless it
// is too far ahead to be our own past.
func (p *peer) blocked(r PutResult) bool {
	if r.Newer == 0 || r.Newer < p.own.floor {
		return false
	}
	p.c.count("state.conflict")
	if uint64(r.Newer) > tooFar(p.c.loop.Now()) {
		p.c.count("fault.ahead")
		p.own.dirty = true
		p.after(taskState, p.c.republish())
		return true
	}
	p.own.floor = r.Newer
	p.own.tries++
	p.own.dirty = true
	p.after(taskState, p.c.jitter(backoff(p.own.tries, 250*time.Millisecond, time.Minute)))
	return true
}

// complete says whether a put counts as stored, and in how many copies.
func (r PutResult) complete() (copies int, ok bool) {
	return r.Stored, r.Err == nil && r.Newer == 0 && r.Stored > 0
}

// republish is when to put again what has not changed.
func (c *Courier) republish() time.Duration {
	d := republishMin * time.Duration(c.published()) / republishFew
	d = min(max(d, republishMin), republishMax)
	if c.quiet {
		d = min(d*quietFactor, itemLife)
	}
	return c.jitter(d)
}

// backoff doubles from first with each try, up to limit.
func backoff(tries int, first, limit time.Duration) time.Duration {
	return min(first<<min(max(tries-1, 0), 16), limit)
}

// notCopies are the addresses whose copies do not count: where the peer's own
// node may sit.
func (p *peer) notCopies() []netip.AddrPort {
	list := p.claimed()
	if at, online := p.whereabouts(); online {
		list = append(list, at)
	}
	return list
}

// acceptState takes a state record of the peer and reports whether it is the
// newest there is, now or from before.
func (p *peer) acceptState(body []byte, via Via) bool {
	sig, record, err := wire.ParseSigned(body)
	if err != nil {
		p.c.count("drop.malformed")
		return false
	}
	s, err := wire.ParseState(record)
	if err != nil {
		p.c.countParse(err)
		return false
	}
	newest := p.theirs
	if e := p.looking.ending; e != nil && (newest == nil || e.Version > newest.Version) {
		newest = e
	}
	switch {
	case newest == nil || s.Version > newest.Version:
	case s.Version < newest.Version:
		p.c.count("drop.replay.state")
		return false
	default:
		// What stands in the slot is put again, so it must be the peer's: with our
		// key alone a thief could write another of this version beside it.
		return via == ViaDHT && p.verify(signState, s.Incarnation, s.Version, sig, record)
	}
	if !p.admit(via) || !p.verify(signState, s.Incarnation, s.Version, sig, record) {
		return false
	}
	over := s.Relation == wire.RelationRefused || s.Relation == wire.RelationRemoved
	if over && !p.looking.known && !p.fresh(s.Version, via) {
		p.looking.ending = s
		return true
	}
	p.takeState(s, via)
	return true
}

// takeState adopts a verified, newer state record of the peer.
func (p *peer) takeState(s *wire.State, via Via) {
	c, old := p.c, p.theirs
	p.theirs = s
	p.signOfLife(min(s.Time, c.loop.Now().UnixMilli()))
	p.judgeClock(s, via)
	p.save()
	if every := p.pace(c.loop.Now()).every; every > 0 && c.isReady {
		p.after(taskAsk, c.jitter(every)) // sooner than before, if the friend has come back
	}
	if s.Format > wire.Format && s.Format > p.newerTold {
		p.newerTold = s.Format
		c.handler.OnPeerNewer(p.id, s.Format)
	}
	if !p.present() {
		p.answerAgain()
	}
	restarted := old == nil || old.Start != s.Start
	moved := old == nil || !slices.Equal(old.Endpoints, s.Endpoints)
	if s.Presence == wire.PresenceOffline && s.Version > p.helloVersion {
		p.offline()
	} else if p.present() && !p.online && (restarted || moved) {
		p.probe()
	}
	if old == nil || old.Prekey.Number != s.Prekey.Number {
		p.mailChanged() // seal anew
	}
	if l := p.link; l != nil && s.CannotOpen != s.Prekey.Number && l.sealedTo(s.CannotOpen) {
		p.again(l)
	}
	p.noteWindow(s.Window)
	p.noteProfile(s.Profile)
	c.handler.OnState(p.id, s)
}

// answerAgain puts what we have to say to somebody who is nobody to us once
// more, because they seem not to know it. At most once a minute.
func (p *peer) answerAgain() {
	now := p.c.loop.Now()
	if p.mode.Publish && now.Sub(p.answered) >= time.Minute {
		p.answered = now
		p.stateChanged(stateDebounce, asked)
	}
}

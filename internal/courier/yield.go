package courier

import (
	"time"
)

// Of two nodes with one identity the one of the older store yields: it deals
// with nobody, as if it knew nobody, and looks for the other one's state. The
// other one puts its state a little more often for that. When it has said
// goodbye, or nothing that it signed was found for a while, the one that yielded
// comes back as after a start. It goes by signed times: nobody can keep it silent
// with what they have recorded.

// yield is whether we have yielded, and to whom.
type yield struct {
	on       bool
	since    time.Time
	to       *other
	answerAt time.Time     // from then on
	answers  int           // states are put nevertheless, which prove us to the twin,
	answered uint64        // whose newest record had this version then
	patience time.Duration // for how long nothing may be found of it
	silent   uint64        // nonce of the one that was last taken for gone without a goodbye
	heard    time.Time     // since when every look was answered
	looked   time.Time     // when the last one was
}

const (
	// twinBeat is how often the one that goes on puts its state where twins meet.
	twinBeat = 5 * time.Minute
	// twinSilence is for how long nothing may be found of it. It doubles each
	// time that one was taken for gone and was not, as when it has no network.
	twinSilence    = 20 * time.Minute
	twinSilenceMax = 4 * time.Hour
	// twinAnswers is how often one that has yielded still puts its state above
	// the twin's: the twin takes two records of ours for proof.
	twinAnswers = 3
)

// mute reports whether nothing may be written to the DHT (any more).
func (c *Courier) mute() bool { return c.twins.yield.on || c.closing || c.closed }

// met deals with another living node.
func (t *twins) met(p *peer, o *other) {
	c := p.c
	if t.yield.on {
		return // to a third one
	}
	c.count("twin")
	yields, told := o.outranks(c), t.told(o)
	if p.mode.Publish && c.isReady && !c.closing {
		p.putStateNow(nil) // the last one, if we yield: it proves us to the twin
	}
	if yields {
		now := c.loop.Now()
		y := yield{on: true, since: now, to: o, answerAt: now, answered: o.version, patience: twinSilence, silent: t.yield.silent}
		if o.skew > 0 { // it wants proof that was signed, by its clock, since it first saw us
			y.answerAt = now.Add(o.skew)
		}
		if o.start == y.silent { // it had only been out of reach
			y.patience = min(2*t.yield.patience, twinSilenceMax)
		}
		t.yield = y
		for _, p := range c.peers {
			p.setMode(Mode{})
		}
	}
	if yields || !told {
		c.handler.OnTwin(Twin{Incarnation: o.incarnation, Start: o.start, Yield: yields})
	}
}

// told reports whether the handler knows of another one than this already.
func (t *twins) told(but *other) bool {
	for _, o := range t.others {
		if o != but && o.proven {
			return true
		}
	}
	return false
}

// beats reports whether one that has yielded may be looking for us.
func (t *twins) beats() bool {
	if t.yield.on {
		return false
	}
	for _, o := range t.others {
		if o.proven && !o.ended {
			return true
		}
	}
	return false
}

// answer puts our state above a twin's to which we have yielded, so that it
// learns of us too.
func (t *twins) answer(p *peer, o *other) {
	c, y := p.c, &t.yield
	if y.answers == twinAnswers || c.loop.Now().Before(y.answerAt) || o.version <= y.answered || !p.asked.Publish || c.closing || p.own.putting {
		return
	}
	y.answers++
	y.answered = o.version
	t.stir(c)
	p.putStateNow(nil)
}

// looked judges what was found of the one that we have yielded to.
func (t *twins) looked(p *peer, ask int, h Health) {
	c := p.c
	now, y := c.loop.Now(), &t.yield
	every := twinEvery
	if c.quiet {
		every *= quietFactor
	}
	if h.Asked > 0 {
		if h.Answered == 0 || now.Sub(y.looked) > 3*every { // we have slept, or have no network
			y.heard = now
		}
		y.looked = now
	}
	switch gone := t.gone(c); {
	case gone && ask == 0 && h.Answered > 0:
		c.comeBack()
	case gone && ask > 0:
		t.look(p, 0) // lest a few holders hide it
	}
}

// gone reports whether nobody whom we yield to is there any more.
func (t *twins) gone(c *Courier) bool {
	now := c.loop.Now()
	for _, o := range t.others {
		last, limit := later(o.signed, t.yield.heard), t.yield.patience
		if o.ended {
			last, limit = o.signed, twinEvery // it may only be restarting
		}
		if o.proven && o.outranks(c) && now.Sub(last) < limit {
			return false
		}
	}
	return true
}

// comeBack ends our silence. Another copy has written in our place: our own
// records are read before mail is put, and mail is put anew.
func (c *Courier) comeBack() {
	t := &c.twins
	last := t.yield.to
	for _, o := range t.others {
		if o.proven && o.outranks(c) && o.signed.After(last.signed) {
			last = o
		}
	}
	clear(t.others)
	t.yield.on, t.yield.to, t.yield.silent = false, nil, 0
	if !last.ended {
		t.yield.silent = last.start
	}
	c.count("twin.gone")
	c.handler.OnTwin(Twin{Incarnation: last.incarnation, Start: last.start, Gone: true})
	c.isReady = false // so that all who come at once stand in line, as at a start
	for _, p := range c.peers {
		p.own.put = false
		p.own.sent = false
		if p.box != nil {
			p.box.again()
		}
		p.setMode(p.asked)
	}
	c.isReady = true
	c.announced = c.endpoints()
	for _, p := range c.bySeen() {
		p.ready()
	}
}

// again has all that the mailbox holds made anew: nothing of it may stand.
func (b *box) again() {
	for i := range b.slots {
		s := &b.slots[i]
		*s = slot{first: s.first, last: s.last, part: s.part, parts: s.parts, set: s.set, putting: s.putting, seq: s.seq}
	}
}

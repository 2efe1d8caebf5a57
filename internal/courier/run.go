package courier

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// addressWait is how long after the start our addresses are looked at once more.
const addressWait = 3 * time.Second

// closingPuts is how many final puts run at a time.
const closingPuts = 32

// Ready tells that the DHT has been joined: everybody is looked for, last seen
// first, and told of us. It is called once.
func (c *Courier) Ready() {
	if c.isReady || c.closing || c.closed {
		return
	}
	c.isReady = true
	c.announced = c.endpoints()
	c.twins.ready(c)
	for _, p := range c.bySeen() {
		p.ready()
	}
	c.requests.ready()
	c.loop.After(addressWait, func() {
		if !c.closed {
			c.EndpointsChanged()
		}
	})
}

func (p *peer) ready() {
	p.looking.since = p.c.loop.Now()
	if p.pace(p.looking.since).every > 0 {
		p.walk()
	}
	if p.mode.Publish {
		// Our own record is read by the same walk. Nobody waits for it, unless
		// mail does.
		p.own.dirty = true
		if p.present() {
			if _, _, items := p.c.handler.Pending(p.id); len(items) > 0 {
				p.own.haste = hurried
			}
		}
		p.putState()
	}
	if p.inbox != nil || p.theirs != nil {
		var w *wire.Window
		if p.theirs != nil {
			w = p.theirs.Window
		}
		p.noteWindow(w)
	}
	p.profileChanged()
}

// Shutdown says goodbye to whoever is online and puts a last state, with the
// mail that is still on its way, for whoever was about or has something to
// learn; then it calls done, once. Nothing else is begun after it. It may take
// as long as the DHT does: the caller sets the bound, and ends it by Close.
func (c *Courier) Shutdown(done func()) {
	if c.closing || c.closed {
		c.loop.Then(done)
		return
	}
	now := c.loop.Now()
	var last []*peer
	for _, p := range c.bySeen() {
		_, online := p.whereabouts()
		if p.online {
			for _, e := range p.endpoints {
				if e.trusted(now) {
					p.goodbye(e)
				}
			}
		}
		if !p.mode.Publish || !c.isReady || c.twins.yield.on {
			continue
		}
		if c.twins.beats() && p == c.meeting() || p.own.dirty || p.own.putting || online || now.Sub(p.seen) < recent || p.mailWaits() {
			last = append(last, p)
		}
	}
	c.closing = true
	c.requests.stop()
	c.budget.stop()
	for _, p := range c.peers {
		p.due = [tasks]time.Time{}
		if l := p.link; l != nil {
			l.add(wire.KindState, p.signAssembled()) // says goodbye
			p.flush(l)
		}
	}
	open := 1
	var next func()
	next = func() {
		if open--; len(last) == 0 {
			if open <= 0 && done != nil {
				f := done
				done = nil
				c.loop.Then(f)
			}
			return
		}
		for open < closingPuts && len(last) > 0 {
			p := last[0]
			last = last[1:]
			open++
			p.finish(next)
		}
	}
	next()
}

// Close ends everything at once. Callbacks that are still to come do nothing.
func (c *Courier) Close() {
	c.closing, c.closed = true, true
	c.requests.stop()
	c.budget.stop()
	for _, p := range c.peers {
		p.stop()
	}
}

// goodbye tells an endpoint that we stop.
func (p *peer) goodbye(e *endpoint) {
	was := p.c.closing
	p.c.closing = true
	body := p.hello(e, true)
	p.c.closing = was
	p.sendTo(e.addr, wire.KindHello, body)
}

// mailWaits reports whether mail is pending that the mailbox does not yet hold.
func (p *peer) mailWaits() bool {
	if !p.present() || p.prekey().Number == 0 || !p.own.put {
		return false
	}
	_, _, items := p.c.handler.Pending(p.id)
	if len(items) == 0 {
		return false
	}
	if p.box == nil {
		return true
	}
	for i := range p.box.slots {
		s := &p.box.slots[i]
		if s.last >= items[len(items)-1].Number && s.safe {
			return false
		}
	}
	return true
}

// finish puts the mail that waits and then the last state.
func (p *peer) finish(done func()) {
	p.own.finish = func() {
		p.own.finish = nil
		p.putStateNow(done)
	}
	if p.mailWaits() {
		p.fillBox()
	}
	p.boxSettled()
}

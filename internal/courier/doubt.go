package courier

import "time"

// A link that falls silent leaves its peer in doubt. The peer is asked by
// datagrams then, where the link led and wherever it has proven to be of late,
// besides what the link itself does to be heard. Whoever answers neither in
// time is offline: an older proof does not count. The link stays as it is
// meanwhile, and may recover.
const (
	// doubtFor and doubtIdle bound, with the longest silence of a link that has
	// something to send (1.5 s) or nothing (7.5 s), how long the dead are shown
	// online. They have room for so many questions that a line which loses every
	// third datagram hardly ever looks like a death; where nobody waits for it,
	// also for a machine that takes 5 s to notice that its address has changed.
	doubtFor   = 3 * time.Second
	doubtIdle  = 6 * time.Second
	doubtEvery = 250 * time.Millisecond
)

// doubted reports whether the peer's link is silent, and the peer has neither
// shown itself since nor been given up.
func (p *peer) doubted() bool {
	l := p.link
	return l != nil && !l.suspect.IsZero() && !l.gone && p.proof.Before(l.suspect)
}

// doubt begins the questions. The address of the link needs no proof: until a
// moment ago all that came from there was authentic.
func (p *peer) doubt(now time.Time) {
	if p.c.usable(p.link.at) {
		if e := p.endpoint(p.link.at); e != nil {
			e.carried = now
		}
	}
	for _, a := range p.probed() { // the peer may have moved
		if e := p.endpoint(a); e != nil && !e.trusted(now) && p.sendHello(e, false) {
			p.c.budget.spend(1)
		}
	}
	p.clear(taskHello)
	p.soon(taskHello)
}

// settle goes on with the questions, until the doubt has lasted for too long.
func (p *peer) settle(now time.Time) {
	end := p.link.suspect.Add(doubtIdle)
	if len(p.outbox().items) > 0 {
		end = p.link.suspect.Add(doubtFor)
	}
	if now.Before(end) {
		for _, e := range p.endpoints {
			if e.trusted(now) && p.sendHello(e, false) {
				p.c.budget.spend(1)
			}
		}
		p.at(taskHello, earlier(now.Add(doubtEvery), end))
		return
	}
	p.link.gone = true
	p.c.count("link.gone")
	if p.online {
		p.offline()
	} else {
		p.tellPresence()
	}
	p.probe()
}

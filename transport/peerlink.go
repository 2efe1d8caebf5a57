package transport

import (
	"errors"
	"time"
)

const (
	// firstBetter, doubled up to lastBetter, is waited before a link that goes by a
	// relay looks for a better path, for betterFor.
	firstBetter = 15 * time.Second
	lastBetter  = 30 * time.Minute
	betterFor   = 20 * time.Second
)

// linkUp is called by a link that is confirmed. The newest one is to be used.
// The one that it replaces stays until the peer is known to have confirmed too:
// its CLOSE could otherwise come before that, and the peer be left with none.
func (p *peer) linkUp(l *Link) {
	var older *Link
	ok := false
	p.t.act(p.id, false, func(q *peer) {
		if q != p || !q.pairing.linkUp(time.Now(), l.id, l.master) {
			return
		}
		ok, older, q.old, q.link = true, q.old, q.link, l
		q.seekBetter(l)
	})
	clear(l.master) // every key comes of it, past ones too
	older.replace()
	if !ok {
		l.end(ErrReplaced, codeReplaced, "a newer link is there")
		return
	}
	l.known = true
	l.ping() // for the acknowledgement
	p.t.config.Handler.LinkUp(l)
}

// linkProven is called by a link that the peer has confirmed too.
func (p *peer) linkProven(l *Link) {
	p.takeOld(l).replace()
	p.t.act(p.id, false, func(q *peer) {
		if q == p {
			q.pairing.linkUsed(l.id)
		}
	})
}

// takeOld takes the link that l has replaced; nil if there is none.
func (p *peer) takeOld(l *Link) (old *Link) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if p.link == l {
		old, p.old = p.old, nil
	}
	return old
}

// replace ends a link for a newer one; it may be nil.
func (l *Link) replace() {
	if l != nil {
		l.end(ErrReplaced, codeReplaced, "a newer link")
	}
}

// linkChanged is called by a link whose path or suspicion has changed.
func (p *peer) linkChanged(l *Link) {
	p.t.act(p.id, false, func(q *peer) {
		switch {
		case q != p, q.link != l:
		case l.Suspect():
			q.pairing.wantRestart(time.Now())
			q.t.reflector.refresh() // a NAT may have forgotten us
		default:
			q.pairing.restarted(time.Now())
			q.seekBetter(l)
		}
	})
	if l.known {
		p.t.config.Handler.LinkChanged(l)
	}
}

// linkDown is called by a link that has ended.
func (p *peer) linkDown(l *Link, err error) {
	var closed *CloseError
	lost := !errors.Is(err, ErrClosed) && !errors.Is(err, ErrReplaced) && !errors.As(err, &closed)
	p.takeOld(l).replace() // nobody uses it any more
	p.t.act(p.id, false, func(q *peer) {
		if q != p {
			return
		}
		if q.link == l {
			q.link = nil
		}
		if q.old == l {
			q.old = nil
		}
		q.pairing.linkDown(time.Now(), l.id, lost)
	})
	if l.known {
		p.t.config.Handler.LinkDown(l, err)
	}
}

// linkStopped is called by a link whose goroutine ends.
func (p *peer) linkStopped(l *Link) {
	t := p.t
	t.mu.Lock()
	delete(p.links, l)
	delete(t.live, l)
	t.mu.Unlock()
	last := map[string]uint64{}
	l.addStats(last)
	t.idsMu.Lock()
	defer t.idsMu.Unlock()
	for name, n := range last {
		t.counts[name] += n
	}
}

// seekBetter has a link that goes by a relay look for a better path, now and
// then; one end does. Under Transport.mu.
func (p *peer) seekBetter(l *Link) {
	p.better.stop()
	if !l.Lower() || p.link != l || !l.relayed() {
		p.sought = 0
		return
	}
	later := func(d time.Duration, f func()) {
		p.better.timer = time.AfterFunc(d, func() {
			p.t.act(p.id, false, func(q *peer) {
				if q == p && q.link == l && !l.Suspect() && l.relayed() {
					f()
				}
			})
		})
	}
	wait := min(firstBetter<<min(p.sought, 10), lastBetter)
	p.sought++
	later(p.pairing.jitter(wait), func() {
		p.pairing.wantRestart(time.Now())
		later(betterFor, func() {
			p.pairing.restarted(time.Now())
			p.seekBetter(l)
		})
	})
}

// stopper is a timer that may not be there.
type stopper struct{ timer *time.Timer }

func (s *stopper) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

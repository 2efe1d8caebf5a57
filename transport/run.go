package transport

import (
	"slices"
	"time"

	"github.com/gocarrier/carrier/internal/reliable"
)

// run is the link's goroutine: it sends, keeps the time and calls the handler.
func (l *Link) run() {
	defer close(l.stopped)
	defer l.env.stopped(l)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		more, next, over := l.round()
		if over {
			return
		}
		if more {
			continue
		}
		timer.Reset(next)
		select {
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// round does all that is due now. more says that there is more to send at once,
// next in how long the next round is due, over that the link is no more.
func (l *Link) round() (more bool, next time.Duration, over bool) {
	buffer := l.env.buffers.Get().(*[]byte)
	l.mu.Lock()
	now := l.now()
	l.judge(now)
	l.sayLast(now)
	more = l.fill(now, *buffer)
	if l.machine.Waits() {
		l.live.asked(now)
	}
	l.exhausted()
	l.poll()
	news := l.news()
	next = l.nextRound() - now
	over = l.closing && now >= l.closeAt && l.told
	if over {
		l.env.unregister(l, l.ids)
	}
	sends := l.sends
	l.mu.Unlock()

	for _, s := range sends {
		b := (*buffer)[s.from:s.to]
		if s.whole {
			if err := s.path.conduit.writeWhole(b, s.path.remote); err != nil {
				l.sizeRefused(s.size)
			}
			continue
		}
		if err := s.path.conduit.write(b, s.size, s.path.remote); err != nil {
			l.env.log.Debug("data not sent", "peer", l.peer, "to", s.path.remote, "err", err)
		}
	}
	l.env.buffers.Put(buffer)
	news.tell(l)
	return more || news.more, next, over
}

// judge looks at what the time has brought. Under mu.
func (l *Link) judge(now time.Duration) {
	if l.err != nil {
		return
	}
	if !l.confirm.done {
		if now >= confirmFor {
			l.over(errUnconfirmed, false)
		}
		return
	}
	if l.paths.advance(now) {
		l.pathChanged(now)
	}
	l.search().advance(now)
	l.resize()
	v := l.live.advance(now, l.machine.RTT(), len(l.lanes) > 0)
	switch {
	case v.dead:
		l.over(ErrSilent, false)
	case v.suspect:
		l.changed = true
		l.paths.askAll(now)
	}
	if v.ping {
		l.machine.Ping()
	}
}

// fill seals what there is to send into b, and notes it in l.sends. It reports
// whether b was too small for all. Under mu.
func (l *Link) fill(now time.Duration, b []byte) (more bool) {
	l.sends = l.sends[:0]
	out := b[:0]
	if !l.confirm.done {
		if plain := l.confirm.packet(now); plain != nil && l.err == nil {
			l.seal(&out, l.paths.current, plain)
		}
		return false
	}
	if plain := l.confirm.packet(now); plain != nil {
		l.seal(&out, l.paths.current, plain)
	}
	for l.err == nil && len(out)+packetSize <= cap(out) {
		p, ok := l.paths.probe(now)
		if !ok {
			break
		}
		room := out[len(out)+dataHeader : len(out)+p.size-dataTag]
		n := l.machine.Probe(l.pn, room, reliable.Probe{
			HasChallenge: p.asks, Challenge: p.challenge, HasResponse: p.answers, Response: p.response,
		})
		l.seal(&out, p.path, room[:n])
	}
	if token, size := l.sizes.probe(now, l.machine.RTT()); size > 0 && l.err == nil {
		room := out[len(out)+dataHeader : len(out)+size-dataTag]
		n := l.machine.Probe(l.pn, room, reliable.Probe{HasChallenge: true, Challenge: token})
		l.seal(&out, l.paths.current, room[:n])
		if last := len(l.sends) - 1; last >= 0 && l.sends[last].size == size {
			l.sends[last].whole = true
		}
	}
	l.control.pump()
	for {
		full := l.machine.MaxPacket()
		if len(out)+dataOverhead+full > cap(out) {
			return true
		}
		room := out[len(out)+dataHeader : len(out)+dataHeader+full]
		n := l.machine.NextPacket(now, l.pn, room)
		if n == 0 {
			return false
		}
		if n == full && l.sizes.wanted(now) {
			l.searchSize(now)
		}
		l.seal(&out, l.paths.current, room[:n])
	}
}

// seal appends plain, sealed for the path, to out; packets of one size on one
// path go out in one call.
func (l *Link) seal(out *[]byte, p *path, plain []byte) {
	from := len(*out)
	*out = l.keys.seal(*out, p.id, l.pn, plain)
	l.pn++
	size := len(*out) - from
	if size == 0 {
		return // the keys are at their end, and so is the link
	}
	if n := len(l.sends); n > 0 {
		last := &l.sends[n-1]
		if last.path == p && !last.whole && last.size >= size && (last.to-last.from)%last.size == 0 {
			last.to = len(*out)
			return
		}
	}
	l.sends = append(l.sends, send{path: p, from: from, to: len(*out), size: size})
}

// nextRound is when round is due again. Under mu.
func (l *Link) nextRound() time.Duration {
	if l.last != nil {
		return min(l.last.by, l.machine.Timeout())
	}
	if l.closing {
		return min(l.closeAt, l.machine.Timeout())
	}
	if !l.confirm.done {
		return min(l.confirm.next, confirmFor)
	}
	return min(l.machine.Timeout(), l.paths.next(), l.sizes.next, l.live.next(l.machine.RTT(), len(l.lanes) > 0))
}

// news is what the handler is to be told.
type news struct {
	up, changed bool
	proven      bool
	down        error // the link has ended
	lanes       []*Lane
	messages    []message
	datagrams   []datagram
	more        bool // there was more than one round takes
}

type datagram struct {
	session, flow uint64
	b             []byte
}

// maxNews bounds the datagrams, and the control messages, of one round, and
// maxNewsBytes what the latter hold.
const (
	maxNews      = 256
	maxNewsBytes = 1 << 20
)

// news takes what the handler is to be told. Under mu.
func (l *Link) news() (n news) {
	if l.told {
		return n // nothing comes after its end
	}
	if l.confirm.tell {
		l.confirm.tell, n.up = false, true
	}
	if l.proven && !l.toldProven {
		l.toldProven, n.proven = true, true
	}
	n.changed, l.changed = l.changed, false
	n.lanes, l.opened = l.opened, nil
	var err error
	if n.messages, n.more, err = l.control.take(); err != nil && l.err == nil {
		l.machine.Close(codeControl, err.Error())
		l.over(&FaultError{Err: err}, true)
	}
	for l.datagrams {
		session, flow, b, ok := l.machine.ReadDatagram()
		if !ok {
			l.datagrams = false
			break
		}
		n.datagrams = append(n.datagrams, datagram{session, flow, slices.Clone(b)})
		if len(n.datagrams) == maxNews {
			n.more = true
			break
		}
	}
	if l.err != nil && !n.more {
		l.told, n.down = true, l.err
	}
	return n
}

// tell calls the handler, without locks.
func (n *news) tell(l *Link) {
	h := l.env.handler
	if n.up {
		l.env.up(l)
		close(l.up)
	}
	if n.proven {
		l.env.proven(l)
	}
	if n.changed {
		l.env.changed(l)
	}
	for _, a := range n.lanes {
		h.Lane(l, a)
	}
	for _, m := range n.messages {
		h.Control(l, m.kind, m.body)
	}
	for _, d := range n.datagrams {
		h.Datagram(l, d.session, d.flow, d.b)
	}
	if n.down != nil {
		l.env.down(l, n.down)
	}
}

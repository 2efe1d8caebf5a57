package courier

import (
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// cable is a link between two nodes as the transport gives it: what it takes
// arrives in order, while it lives.
type cable struct {
	w     *world
	ends  [2]*node
	sends [2]*lane // of each end
	dead  bool
	still bool // carries nothing for now
}

// lane is one direction of a cable.
type lane struct {
	queue [][]byte
	size  int       // bytes in the queue
	limit int       // that there may be
	rate  int       // bytes/s; 0: any
	free  time.Time // when the rate allows the next one
	sent  []record
}

// record is what was sent over a cable.
type record struct {
	at   time.Time
	kind wire.Kind
	size int
}

// link joins two nodes as their engines would, in place of a link that they have.
func (w *world) link(a, b *node) *cable {
	if old := a.cables[b.id]; old != nil {
		old.dead = true
	}
	c := &cable{w: w, ends: [2]*node{a, b}, sends: [2]*lane{{limit: 1 << 20}, {limit: 1 << 20}}}
	a.cables[b.id], b.cables[a.id] = c, c
	c.each(func(n, to *node) {
		n.c.LinkUp(to.id, to.addr)
		n.mode(to, PollLinked)
	})
	return c
}

// each has both engines do something, those that run.
func (c *cable) each(f func(n, to *node)) {
	for i, n := range c.ends {
		if n.c != nil {
			n.do(func() { f(n, c.ends[1-i]) })
		}
	}
}

// cut ends the link: what is on its way is lost.
func (c *cable) cut() {
	c.dead = true
	c.each(func(n, to *node) {
		delete(n.cables, to.id)
		n.c.LinkDown(to.id)
		n.mode(to, PollFriend)
	})
}

// stand has the link carry nothing, or go on; both ends see it after a while.
func (c *cable) stand(still bool, seen time.Duration) {
	c.still = still
	c.w.run(seen)
	c.each(func(n, to *node) {
		n.c.LinkSuspect(to.id, still)
		poll := PollLinked
		if still {
			poll = PollSuspect
		}
		n.mode(to, poll)
	})
	if !still {
		for _, l := range c.sends {
			for range l.queue {
				c.w.after(c.w.delay, func() { c.deliver(l) })
			}
		}
	}
}

func (n *node) mode(to *node, p Poll) {
	if f := n.friends[to.id]; f.relation == wire.RelationFriend {
		if err := n.c.SetPeer(to.id, Mode{Poll: p, Publish: true}); err != nil {
			n.w.t.Error(err)
		}
	}
}

// linksOf gives the node's side of its links.
type linksOf struct{ *node }

func (n linksOf) Send(to crypto.ID, b []byte) bool {
	n.effect()
	c := n.cables[to]
	if c == nil || c.dead {
		return false
	}
	if len(b) > wire.MaxLinkRecord {
		n.w.t.Errorf("a record of %d bytes", len(b))
	}
	l := c.sends[slices.Index(c.ends[:], n.node)]
	if l.size+len(b) > l.limit {
		return false
	}
	l.queue = append(l.queue, b)
	l.size += len(b)
	l.sent = append(l.sent, record{n.w.now, wire.Kind(b[0]), len(b)})
	wait := n.w.delay
	if l.rate > 0 {
		l.free = later(l.free, n.w.now).Add(time.Duration(len(b)) * time.Second / time.Duration(l.rate))
		wait += l.free.Sub(n.w.now)
	}
	if !c.still {
		n.w.after(wait, func() { c.deliver(l) })
	}
	return true
}

// deliver takes the first record off a queue to the other end.
func (c *cable) deliver(l *lane) {
	if c.dead || c.still || len(l.queue) == 0 {
		return
	}
	b := l.queue[0]
	l.queue = l.queue[1:]
	l.size -= len(b)
	i := slices.Index(c.sends[:], l)
	if n := c.ends[1-i]; n.c != nil {
		n.do(func() { n.c.Record(c.ends[i].id, b) })
	}
}

// of counts what one end has sent of a kind, and its bytes.
func (c *cable) of(n *node, kind wire.Kind) (count, bytes int) {
	for _, r := range c.sends[slices.Index(c.ends[:], n)].sent {
		if r.kind == kind {
			count++
			bytes += r.size
		}
	}
	return count, bytes
}

// linked starts two friends who have a link; apart, nothing else joins them.
func linked(start func() (*world, *node, *node)) (*world, *node, *node, *cable) {
	w, a, b := start()
	w.run(time.Minute)
	c := w.link(a, b)
	w.run(time.Second)
	return w, a, b, c
}

package courier

import (
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// dht is a DHT of a few holders that all take part in every item.
type dht struct {
	w       *world
	holders []*holder
	hostile int64 // seq that puts find in their way; 0: none
	unknown bool  // no holders are known for asks
	first   time.Duration
	walk    time.Duration
	spread  time.Duration // by how much a newer item comes after an older one
	puts    []Put         // all puts, in order
	reputs  []Item
	gets    []Query
	looks   int // of nodes at what they write themselves; not among gets
}

// holder is one DHT node.
type holder struct {
	items  map[string]Item
	addr   netip.AddrPort
	dead   bool
	refuse bool
	stale  bool // keeps what it has
	forget bool // answers as if it had nothing
}

func newDHT(w *world, n int) *dht {
	d := &dht{w: w, first: 5 * time.Millisecond, walk: time.Second}
	for i := range n {
		d.holders = append(d.holders, &holder{
			items: make(map[string]Item),
			addr:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 6881),
		})
	}
	return d
}

func slotName(key [32]byte, salt string) string { return string(key[:]) + salt }

// near are the holders that should hold an item: 8 of them.
func (d *dht) near() []*holder { return d.holders[:min(8, len(d.holders))] }

func (n *node) lookup(q Query) []Item {
	var list []Item
	for _, h := range n.w.dht.near() {
		i, ok := h.items[slotName(q.Key, q.Salt)]
		if ok && !h.dead && !h.forget && i.Seq > q.Newer {
			list = append(list, i)
		}
		if q.Ask > 0 && len(list) >= q.Ask {
			break
		}
	}
	slices.SortFunc(list, func(a, b Item) int { return int(min(max(a.Seq-b.Seq, -1), 1)) })
	return slices.CompactFunc(list, func(a, b Item) bool { return a.Seq == b.Seq })
}

// slotsOf gives the node's side of the DHT: *node has Rows' Get and Put.
type slotsOf struct{ *node }

func (n slotsOf) Get(q Query, each func(Item), done func(Health)) {
	n.effect()
	d := n.w.dht
	if n.writes[q.Key] && q.Ask > 0 {
		d.looks++
	} else {
		d.gets = append(d.gets, q)
	}
	if q.Ask > 0 && d.unknown {
		n.later(0, func() { done(Health{}) })
		return
	}
	cost, wait := costWalk, d.walk
	if q.Ask > 0 {
		cost, wait = q.Ask, 20*time.Millisecond
	}
	n.packets += cost
	items := n.lookup(q)
	alive := 0
	for _, h := range d.near() {
		if !h.dead {
			alive++
		}
	}
	for k, i := range items {
		n.later(d.first+time.Duration(k)*d.spread, func() { each(i) })
	}
	n.later(max(wait, d.first), func() { done(Health{Asked: cost, Answered: min(alive, cost)}) })
}

func (n slotsOf) Put(p Put, done func(PutResult)) {
	n.effect()
	d := n.w.dht
	d.puts = append(d.puts, p)
	n.writes[[32]byte(p.Key.Public().(ed25519.PublicKey))] = true
	wait := d.walk
	if p.Direct {
		wait = 50 * time.Millisecond
	}
	n.packets += costPut
	n.puts++
	item := Item{Key: [32]byte(p.Key.Public().(ed25519.PublicKey)), Salt: p.Salt, Value: slices.Clone(p.Value), Seq: p.Seq}
	if len(p.Value) > 900 {
		n.w.t.Errorf("a value of %d bytes", len(p.Value))
	}
	if p.Seen != nil {
		for _, i := range n.lookup(Query{Key: item.Key, Salt: item.Salt}) {
			n.later(d.first, func() { p.Seen(i) })
		}
	}
	n.later(wait, func() { done(d.put(item, p.Not)) })
}

func (d *dht) put(item Item, not []netip.AddrPort) PutResult {
	var r PutResult
	name := slotName(item.Key, item.Salt)
	for _, h := range d.near() {
		if slices.Contains(not, h.addr) {
			continue
		}
		r.Asked++
		if h.dead {
			continue
		}
		r.Answered++
		old, ok := h.items[name]
		switch {
		case d.hostile != 0:
			r.Newer = d.hostile
		case ok && old.Seq >= item.Seq && string(old.Value) != string(item.Value):
			r.Newer = max(r.Newer, old.Seq)
		case h.refuse:
		case h.stale && ok:
			r.Stored++
		default:
			h.items[name] = item
			r.Stored++
		}
	}
	if r.Stored < 8 && (r.Stored < r.Answered || r.Stored < 3 && r.Answered < r.Asked || r.Stored == 0) {
		r.Err = errors.New("too few copies")
	}
	return r
}

func (n slotsOf) Reput(i Item, done func(PutResult)) {
	n.effect()
	n.packets += costWrite
	n.puts++
	n.w.dht.reputs = append(n.w.dht.reputs, i)
	n.later(50*time.Millisecond, func() { done(n.w.dht.put(i, nil)) })
}

func (n slotsOf) Announce(_ [20]byte, _ uint16, done func(Health)) {
	n.effect()
	n.later(time.Second, func() { done(Health{}) })
}

func (n slotsOf) Peers(_ [20]byte, _ int, _ func(netip.AddrPort), done func(Health)) {
	n.effect()
	n.later(time.Second, func() { done(Health{}) })
}

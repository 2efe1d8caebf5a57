package courier

import (
	"net/netip"
	"slices"
	"time"
)

// bells is the BEP 5 side of the world's DHT.
type bells struct {
	peers map[[20]byte][]netip.AddrPort
	rung  int
	dead  bool          // nobody answers
	few   int           // walks to come that find one node, which nobody announces to
	moved int           // counts when all holders were replaced
	known map[*node]int // when the node has last walked
}

// mostPeers is how many peers one look at a bell reports.
const mostPeers = 1024

// elsewhere is what a node knows of a bell that was misled.
const elsewhere = -1

// belled gives a node a DHT that has bells.
type belled struct {
	slotsOf
	b *bells
}

var _ Slots = belled{}

func (n belled) Announce(infohash [20]byte, port uint16, done func(Health)) {
	n.effect()
	n.packets += costPut
	n.b.rung++
	n.later(n.w.dht.walk, func() {
		if n.b.dead {
			done(Health{})
			return
		}
		if at := netip.AddrPortFrom(n.addr.Addr(), port); !slices.Contains(n.b.peers[infohash], at) {
			n.b.peers[infohash] = append(n.b.peers[infohash], at)
		}
		done(Health{Asked: 8, Answered: 8})
	})
}

func (n belled) Peers(infohash [20]byte, ask int, each func(netip.AddrPort), done func(Health)) {
	n.effect()
	cost, wait := costWalk, n.w.dht.walk
	if ask > 0 {
		cost, wait = ask, 20*time.Millisecond
	}
	n.packets += cost
	if ask == 0 {
		n.b.known[n.node] = n.b.moved
		if n.b.few > 0 {
			n.b.few--
			n.b.known[n.node] = elsewhere
		}
	}
	if n.b.known[n.node] == elsewhere {
		n.later(wait, func() { done(Health{Asked: 1, Answered: 1}) })
		return
	}
	dead := n.b.dead || n.b.known[n.node] != n.b.moved
	if !dead {
		all := n.b.peers[infohash]
		from := 0
		if len(all) > mostPeers { // any
			from = n.w.random.IntN(len(all))
		}
		var heard []netip.AddrPort
		for i := range min(len(all), mostPeers) {
			heard = append(heard, all[(from+i)%len(all)])
		}
		n.later(n.w.dht.first, func() {
			for _, at := range heard {
				each(at)
			}
		})
	}
	n.later(wait, func() {
		if dead {
			done(Health{Asked: cost})
			return
		}
		done(Health{Asked: cost, Answered: cost})
	})
}

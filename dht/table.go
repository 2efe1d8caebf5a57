package dht

import (
	"net/netip"
	"slices"
	"time"
)

const (
	tableK       = 8                // nodes in a full bucket
	nearHalf     = 64               // places for the far half of the space; halved per bucket down to tableK
	tablePerIP   = 4                // nodes of one public IP address in the table
	goodFor      = 15 * time.Minute // since its last answer, a node is good (BEP 5)
	failuresKept = 2                // queries in a row that a node may leave unanswered
)

// table is the Kademlia routing table of one address family. Only nodes that
// answered a query of ours are in it, so that nobody gets in by claiming an
// address. The first buckets are larger than Kademlia's 8, which makes lookups
// a step shorter and small networks fully known. Its family's mutex guards it.
type table struct {
	self    nodeID
	buckets [160][]tableNode
	addrs   map[netip.AddrPort]nodeID
}

type tableNode struct {
	contact
	seen   time.Time // its last answer
	failed int       // queries unanswered since
}

func newTable(self nodeID) *table {
	return &table{self: self, addrs: make(map[netip.AddrPort]nodeID)}
}

func (t *table) bucket(id nodeID) int { return min(commonBits(t.self, id), len(t.buckets)-1) }

func places(bucket int) int {
	if bucket > 6 {
		return tableK
	}
	return max(tableK, nearHalf>>bucket)
}

// answered notes that the node answered a query, and takes it in if there is room.
func (t *table) answered(c contact, now time.Time) {
	if old, ok := t.addrs[c.addr]; ok && old != c.id {
		t.remove(c.addr) // the node at that address has another ID now
	}
	if c.id == t.self || !t.room(c) {
		return
	}
	i := t.bucket(c.id)
	for j := range t.buckets[i] {
		if n := &t.buckets[i][j]; n.addr == c.addr {
			n.seen, n.failed = now, 0
			return
		}
	}
	if j := t.victim(i, c); j >= 0 {
		t.remove(t.buckets[i][j].addr)
	}
	t.buckets[i] = append(t.buckets[i], tableNode{contact: c, seen: now})
	t.addrs[c.addr] = c.id
}

// room says whether the table has the node or would take it in.
func (t *table) room(c contact) bool {
	if _, ok := t.addrs[c.addr]; ok {
		return true
	}
	i := t.bucket(c.id)
	if len(t.buckets[i]) >= places(i) && t.victim(i, c) < 0 {
		return false
	}
	ip := c.addr.Addr()
	if ip.IsLoopback() || ip.IsPrivate() {
		return true
	}
	same := 0
	for addr := range t.addrs {
		if addr.Addr() == ip {
			same++
		}
	}
	return same < tablePerIP
}

// victim returns which node of full bucket i makes room for c: one that failed,
// or one whose ID does not fit its address (BEP 42) while c's does; -1 = none.
func (t *table) victim(i int, c contact) int {
	nodes := t.buckets[i]
	if len(nodes) < places(i) {
		return -1
	}
	if j := slices.IndexFunc(nodes, func(n tableNode) bool { return n.failed > 0 }); j >= 0 {
		return j
	}
	if !isSecure(c.id, c.addr.Addr()) {
		return -1
	}
	return slices.IndexFunc(nodes, func(n tableNode) bool { return !isSecure(n.id, n.addr.Addr()) })
}

func (t *table) has(addr netip.AddrPort) bool {
	_, ok := t.addrs[addr]
	return ok
}

// unanswered notes that the node at addr left a query unanswered.
func (t *table) unanswered(addr netip.AddrPort) {
	id, ok := t.addrs[addr]
	if !ok {
		return
	}
	nodes := t.buckets[t.bucket(id)]
	for j := range nodes {
		if nodes[j].addr == addr {
			nodes[j].failed++
			if nodes[j].failed > failuresKept {
				t.remove(addr)
			}
			return
		}
	}
}

func (t *table) remove(addr netip.AddrPort) {
	id, ok := t.addrs[addr]
	if !ok {
		return
	}
	delete(t.addrs, addr)
	i := t.bucket(id)
	t.buckets[i] = slices.DeleteFunc(t.buckets[i], func(n tableNode) bool { return n.addr == addr })
}

// setSelf gives the table's owner another ID, which moves the nodes.
func (t *table) setSelf(id nodeID) {
	nodes := t.all()
	*t = *newTable(id)
	for _, n := range nodes {
		t.answered(n.contact, n.seen)
	}
}

// all returns every node, the one that answered last first.
func (t *table) all() []tableNode {
	var nodes []tableNode
	for i := range t.buckets {
		nodes = append(nodes, t.buckets[i]...)
	}
	slices.SortFunc(nodes, func(a, b tableNode) int { return b.seen.Compare(a.seen) })
	return nodes
}

// closest returns the n nodes closest to target, nearest first. With since set,
// only good ones: those that answered after it and failed nothing.
func (t *table) closest(target nodeID, n int, since time.Time) []contact {
	found := make([]contact, 0, n+1) // nearest first
	for i := range t.buckets {
		for _, node := range t.buckets[i] {
			if !since.IsZero() && (!node.seen.After(since) || node.failed > 0) {
				continue
			}
			at := len(found)
			for at > 0 && closer(target, node.id, found[at-1].id) < 0 {
				at--
			}
			if at < n {
				found = slices.Insert(found, at, node.contact)
				found = found[:min(n, len(found))]
			}
		}
	}
	return found
}

func (t *table) len() int { return len(t.addrs) }

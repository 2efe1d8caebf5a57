package dht

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	portsPerIP = 8 // announces of one IP address under one infohash
	peerLife   = 40 * time.Minute
)

// peerStore holds the peers that others announced to us (BEP 5), within bounds.
// What comes above a bound replaces something at random, so that a flood never
// shuts an honest announcer out for sure. It is safe for concurrent use.
type peerStore struct {
	perHash int

	mu     sync.Mutex
	hashes *lru[nodeID, *[]announced]
}

type announced struct {
	addr netip.AddrPort
	at   time.Time
}

// peerFamily selects peers by address family.
type peerFamily uint8

const (
	anyFamily peerFamily = iota
	onlyIPv4
	onlyIPv6
)

func newPeerStore(hashes, perHash int) *peerStore {
	return &peerStore{perHash: perHash, hashes: newLRU[nodeID, *[]announced](hashes)}
}

// add notes a peer under infohash.
func (s *peerStore) add(infohash nodeID, addr netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, ok := s.hashes.get(infohash)
	if !ok {
		list = new([]announced)
		s.hashes.put(infohash, list)
	}
	*list = slices.DeleteFunc(*list, func(a announced) bool { return now.Sub(a.at) > peerLife })
	peer := announced{addr, now}
	var same []int // of that host
	for i, a := range *list {
		if a.addr == addr {
			(*list)[i] = peer
			return
		}
		if host(a.addr) == host(addr) {
			same = append(same, i)
		}
	}
	switch {
	case len(same) >= portsPerIP:
		(*list)[same[rand.IntN(len(same))]] = peer
	case len(*list) >= s.perHash:
		(*list)[rand.IntN(len(*list))] = peer
	default:
		*list = append(*list, peer)
	}
}

// host is what portsPerIP counts by: the address, or the /64 of an IPv6 one.
func host(addr netip.AddrPort) netip.Addr {
	ip := addr.Addr().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return ip
}

// get returns at most limit peers of infohash, in random order.
func (s *peerStore) get(infohash nodeID, limit int, family peerFamily) []netip.AddrPort {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	list, ok := s.hashes.get(infohash)
	if !ok {
		return nil
	}
	var peers []netip.AddrPort
	for _, i := range rand.Perm(len(*list)) {
		a := (*list)[i]
		wanted := family == anyFamily || a.addr.Addr().Is6() == (family == onlyIPv6)
		if wanted && now.Sub(a.at) <= peerLife && len(peers) < limit {
			peers = append(peers, a.addr)
		}
	}
	return peers
}

// sweep drops what has expired.
func (s *peerStore) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var empty []nodeID
	s.hashes.each(func(infohash nodeID, list *[]announced) bool {
		*list = slices.DeleteFunc(*list, func(a announced) bool { return now.Sub(a.at) > peerLife })
		if len(*list) == 0 {
			empty = append(empty, infohash)
		}
		return true
	})
	for _, infohash := range empty {
		s.hashes.remove(infohash)
	}
}

func (s *peerStore) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hashes.len()
}

package dht

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	maxPeers = 1024 // different ones reported by one call of Peers
	maxOfOne = 50   // taken of one node's answer, so that a liar cannot fill it up
)

// Announce tells the nodes closest to infohash that there is a peer at our
// address and the given port (BEP 5, implied_port 0). Nodes keep that for 15 to
// 45 minutes. The port need not be open: it can carry a number.
//
// The error is nil when a node took it, and matches ErrNotStored when none did,
// ErrNoAnswer when nobody answered, ErrInvalid for port or infohash 0,
// net.ErrClosed after Close, and ctx's error.
func (n *Node) Announce(ctx context.Context, infohash [20]byte, port uint16) (Health, error) {
	var h Health
	if port == 0 || isZero(infohash[:]) {
		return h, fmt.Errorf("announce of port %d under %x: %w", port, infohash, ErrInvalid)
	}
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return h, err
	}
	defer end()
	l := lookup{target: infohash, method: "get_peers", writes: true, args: krpc.MsgArgs{InfoHash: infohash}}
	f, err := n.consult(ctx, l, 0, &h, func(r *reply) bool { return len(r.values.Values) > 0 })
	if err != nil {
		return h, err
	}
	var mu sync.Mutex
	var pending sync.WaitGroup
	number := int(port)
	for _, to := range f.closest[:min(len(f.closest), putAim*len(n.families))] {
		family := n.familyOf(to.addr)
		n.wait.Add(1)
		pending.Go(func() {
			defer n.wait.Done()
			args := krpc.MsgArgs{InfoHash: infohash, Port: &number, Token: to.token}
			r, err := family.queryAhead(ctx, to.addr, "announce_peer", args, queryTries, nil)
			if err != nil || r.fault != nil {
				return
			}
			mu.Lock()
			h.Stored++
			mu.Unlock()
		})
	}
	pending.Wait()
	switch {
	case h.Stored > 0:
		return h, nil
	case ctx.Err() != nil:
		return h, n.stopped(ctx)
	default:
		return h, fmt.Errorf("none of %d nodes took the announce, try again: %w", len(f.closest), ErrNotStored)
	}
}

// Peers finds the peers announced under infohash (BEP 5), and calls each, on its
// own goroutine, for every one as often as there are nodes that name it, as they
// come; it reports 1,024 different ones at most, 50 of each node. ask is as Query.Ask. Anybody can
// announce any port, and under the address of others with some effort: what a peer
// is must be proven otherwise. A peer that many nodes name is no invention of one.
//
// That there are none is no error. The error is as that of Get.
func (n *Node) Peers(ctx context.Context, infohash [20]byte, ask int, each func(netip.AddrPort)) (Health, error) {
	var h Health
	if isZero(infohash[:]) || ask < 0 {
		return h, fmt.Errorf("peers of %x, asking %d nodes: %w", infohash, ask, ErrInvalid)
	}
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return h, err
	}
	defer end()
	known := make(map[netip.AddrPort]bool)
	report := func(peer netip.AddrPort) {
		ip := peer.Addr()
		if peer.Port() == 0 || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			n.count("peer_unusable")
			return
		}
		if known[peer] || len(known) < maxPeers {
			known[peer] = true
			each(peer)
		}
	}
	for _, peer := range n.peers.get(infohash, maxPeers, anyFamily) {
		report(peer)
	}
	// That a node names peers proves nothing, unlike an item: those that an
	// announce would go to are asked by turns, whatever they have said.
	l := lookup{
		target: infohash, method: "get_peers", args: krpc.MsgArgs{InfoHash: infohash},
		near: putAim * len(n.families),
	}
	_, err = n.consult(ctx, l, ask, &h, func(r *reply) bool {
		if len(r.values.Values) == 0 {
			return false
		}
		h.Found++
		named := make(map[netip.AddrPort]bool, len(r.values.Values)) // by this node
		for _, value := range r.values.Values {
			ip, ok := netip.AddrFromSlice(slices.Clone(value.IP))
			if peer := netip.AddrPortFrom(ip.Unmap(), uint16(value.Port)); ok && !named[peer] && len(named) < maxOfOne {
				named[peer] = true
				report(peer)
			}
		}
		return true
	})
	return h, err
}

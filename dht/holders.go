package dht

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// tokenLife is how long a write token is used. Nodes take theirs for 5 to 10 minutes.
const tokenLife = 4 * time.Minute

// holder is a node near a target: it holds the item, or is where one would be put.
type holder struct {
	contact
	token string
	taken time.Duration // when the token was, since the holders began
	has   bool          // its last answer had the item
}

// holders remembers, for the targets used last, which nodes are near them, so
// that they can be asked or written in one round trip.
type holders struct {
	begun time.Time
	most  int // nodes remembered for one target

	mu      sync.Mutex
	targets *lru[nodeID, *holding]
	swept   time.Duration // when tokens were looked at last
}

type holding struct {
	nodes []holder // nearest first
	turn  int      // rotates the asks
}

func newHolders(limit, most int) *holders {
	return &holders{begun: time.Now(), most: most, targets: newLRU[nodeID, *holding](limit)}
}

// set replaces the nodes of target by those of a walk.
func (h *holders) set(target nodeID, nodes []holder) {
	if len(nodes) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := &holding{nodes: slices.Clone(nodes[:min(len(nodes), h.most)])}
	for i := range fresh.nodes {
		fresh.nodes[i].taken = time.Since(h.begun)
	}
	if old, ok := h.targets.get(target); ok {
		fresh.turn = old.turn
	}
	h.targets.put(target, fresh)
	if now := time.Since(h.begun); now-h.swept >= tokenLife { // most targets are only read
		h.swept = now
		h.dropTokens(func(node holder) bool { return !h.live(node) })
	}
}

// live reports whether the token of a holder may still be used.
func (h *holders) live(node holder) bool {
	return node.token != "" && time.Since(h.begun)-node.taken < tokenLife
}

// of returns the nodes of target, nearest first.
func (h *holders) of(target nodeID) []holder {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held, ok := h.targets.get(target); ok {
		return slices.Clone(held.nodes)
	}
	return nil
}

// writable returns those nodes of target whose tokens live, nearest first.
func (h *holders) writable(target nodeID) []holder {
	return slices.DeleteFunc(h.of(target), func(node holder) bool { return !h.live(node) })
}

// turn returns the n nodes of target whose turn it is to be asked: those that
// have the item before those that do not, each in rotation. With near above 0
// only the nearest so many count, all alike.
func (h *holders) turn(target nodeID, n, near int) []holder {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.targets.get(target)
	if !ok {
		return nil
	}
	nodes := held.nodes
	if near > 0 {
		nodes = nodes[:min(len(nodes), near)]
	}
	var have, rest []holder
	for _, node := range nodes {
		if node.has && near == 0 {
			have = append(have, node)
		} else {
			rest = append(rest, node)
		}
	}
	order := append(rotate(have, held.turn), rotate(rest, held.turn)...)
	held.turn += n
	return order[:min(n, len(order))]
}

func rotate(nodes []holder, by int) []holder {
	if len(nodes) == 0 {
		return nil
	}
	by %= len(nodes)
	return append(slices.Clone(nodes[by:]), nodes[:by]...)
}

// renew notes a new token of a holder, and whether it has the item.
func (h *holders) renew(target nodeID, addr netip.AddrPort, token string, has bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.targets.get(target)
	if !ok {
		return
	}
	for i := range held.nodes {
		if node := &held.nodes[i]; node.addr == addr {
			if token != "" {
				node.token, node.taken = token, time.Since(h.begun)
			}
			node.has = has
		}
	}
}

// drop forgets a holder of target that failed.
func (h *holders) drop(target nodeID, addr netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.targets.get(target)
	if !ok {
		return
	}
	held.nodes = slices.DeleteFunc(held.nodes, func(node holder) bool { return node.addr == addr })
	if len(held.nodes) == 0 {
		h.targets.remove(target)
	}
}

// forgetTokens drops every token: they are bound to an address that we lost.
func (h *holders) forgetTokens() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropTokens(func(holder) bool { return true })
}

// dropTokens drops the tokens of those holders. The caller holds mu.
func (h *holders) dropTokens(of func(holder) bool) {
	h.targets.each(func(_ nodeID, held *holding) bool {
		for i := range held.nodes {
			if of(held.nodes[i]) {
				held.nodes[i].token = ""
			}
		}
		return true
	})
}

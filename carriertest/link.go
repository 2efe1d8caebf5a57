package carriertest

import (
	"net/netip"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/internal/lab"
)

// Link is how datagrams travel, in each direction. The zero value is perfect: no
// delay, no loss, no limit.
type Link struct {
	// Delay is the time that each datagram takes one way, Jitter what is added
	// at random.
	Delay, Jitter time.Duration
	// Loss, Duplicate and Reorder are the shares of datagrams, 0 to 1, that are
	// lost, come twice, or are overtaken.
	Loss, Duplicate, Reorder float64
	// Rate is the capacity in bytes a second. What waits for longer than some
	// 100 ms is dropped. 0: no limit.
	Rate int64
}

func (l Link) lab() lab.Link {
	return lab.Link{
		Delay: l.Delay, Jitter: l.Jitter,
		Loss: l.Loss, Duplicate: l.Duplicate, Reorder: l.Reorder, Rate: l.Rate,
	}
}

// valid ends the test on a Link that has no meaning, which would prove nothing.
func (n *Network) valid(l Link) {
	n.t.Helper()
	for _, share := range []float64{l.Loss, l.Duplicate, l.Reorder} {
		if !(share >= 0 && share <= 1) {
			n.t.Fatalf("a link with a share of %v, want 0 to 1", share)
		}
	}
	if l.Delay < 0 || l.Jitter < 0 || l.Rate < 0 || l.Rate > maxRate {
		n.t.Fatalf("a link with Delay %s, Jitter %s, Rate %d: want none of them negative, and a Rate of at most %d", l.Delay, l.Jitter, l.Rate, int64(maxRate))
	}
}

// maxRate is the fastest line there is here: 1 TB/s.
const maxRate = 1e12

// SetLink sets how datagrams travel between two nodes from now on. Those under
// way arrive as they would have.
func (n *Network) SetLink(a, b *carrier.Node, l Link) {
	n.t.Helper()
	n.valid(l)
	n.mu.Lock()
	defer n.mu.Unlock()
	from, to := n.addr("set a link", a), n.addr("set a link", b)
	n.lab.SetLink(from, to, l.lab())
	n.lab.SetLink(to, from, l.lab())
}

// SetLinks sets how datagrams travel from now on wherever SetLink has not said
// otherwise, in place of what Options say.
func (n *Network) SetLinks(l Link) {
	n.t.Helper()
	n.valid(l)
	n.lab.SetDefault(l.lab())
}

// Partition cuts the nodes off from everybody else, who is not told; among each
// other they go on. It ends with Heal, and for a node that moves.
func (n *Network) Partition(nodes ...*carrier.Node) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	var inside []netip.Addr
	for _, node := range nodes {
		inside = append(inside, n.addr("partition", node))
	}
	n.lab.Partition(inside, nil)
}

// Heal ends every Partition.
func (n *Network) Heal() { n.lab.Heal() }

// Offline unplugs the nodes: their hosts have no network any more, and notice
// it, as a laptop whose lid is closed. Online plugs them in again.
func (n *Network) Offline(nodes ...*carrier.Node) {
	n.t.Helper()
	for _, node := range nodes {
		n.host("offline", node).Down()
	}
}

// Online ends Offline.
func (n *Network) Online(nodes ...*carrier.Node) {
	n.t.Helper()
	for _, node := range nodes {
		n.host("online", node).Up()
	}
}

// Move gives a node's host another address in place of the one it has, as
// roaming does. What SetLink and Partition said of it does not follow it.
func (n *Network) Move(node *carrier.Node) {
	n.t.Helper()
	host, addr := n.host("move", node), n.nextAddr()
	n.mu.Lock()
	defer n.mu.Unlock()
	host.Move(n.lab.Segment, addr)
	n.addrs[host] = addr
}

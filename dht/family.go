package dht

import (
	"net"
	"net/netip"
	"sync"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	alog "github.com/anacrolix/log"
	"golang.org/x/time/rate"
)

const (
	firstRTO   = time.Second            // wait for an answer before any was measured
	minRTO     = 150 * time.Millisecond // and the bounds of it afterwards
	maxRTO     = time.Second
	deadFor    = time.Minute      // a node that did not answer is not asked again by walks
	aliveFor   = 10 * time.Second // silence of everybody for longer is our own fault, not a node's
	queryQueue = 256              // queries waiting for our answer
	probes     = 64               // pings back at a time
	probeEvery = 30 * time.Second // to one address
)

// family is the DHT of one address family: BEP 32 keeps IPv4 and IPv6 apart.
type family struct {
	node   *Node
	six    bool // IPv6
	local  netip.AddrPort
	conn   *conn
	server *mainline.Server
	queue  chan incoming
	probes chan struct{}
	tokens *tokens

	remembered []contact // of the saved table

	mu       sync.Mutex // guards what follows
	id       nodeID
	table    *table
	votes    *lru[netip.AddrPort, netip.AddrPort] // voter → our address as it sees it
	dead     *lru[netip.AddrPort, time.Time]
	probed   *lru[netip.AddrPort, time.Time]
	answered time.Time // when anybody answered last
	silent   int       // queries unanswered since
	srtt     time.Duration
	rttvar   time.Duration
}

// incoming is a query that waits for our answer.
type incoming struct {
	message *message
	from    netip.AddrPort
}

// newFamily starts the library on inner. Nothing is read before start.
func newFamily(n *Node, inner net.PacketConn) (*family, error) {
	local, _ := addrPort(inner.LocalAddr()) // checked by New
	f := &family{
		node:   n,
		six:    local.Addr().Is6(),
		local:  local,
		queue:  make(chan incoming, queryQueue),
		probes: make(chan struct{}, probes),
		tokens: newTokens(),
		id:     randomID(),
		votes:  newLRU[netip.AddrPort, netip.AddrPort](maxVotes),
		dead:   newLRU[netip.AddrPort, time.Time](1024),
		probed: newLRU[netip.AddrPort, time.Time](1024),
	}
	f.table = newTable(f.id)
	f.conn = &conn{
		inner: inner, family: f, mac: newMAC(),
		open: make(chan struct{}), closed: make(chan struct{}), stopped: make(chan struct{}),
	}
	logger := alog.Default // copied: its handlers are replaced below
	logger.SetHandlers(alog.DiscardHandler)
	server, err := mainline.NewServer(&mainline.ServerConfig{
		NodeId:  krpc.ID(f.id),
		Conn:    f.conn,
		Passive: n.cfg.ReadOnly,
		// The library's resend timer never fires: query has its own.
		QueryResendDelay: func() time.Duration { return time.Hour },
		Logger:           logger.FilterLevel(alog.Critical),
		SendLimiter:      rate.NewLimiter(rate.Inf, 1), // not the process-wide default
		// Nothing is looked up or answered by the library.
		StartingNodes: func() ([]mainline.Addr, error) { return nil, nil },
		OnQuery:       func(*krpc.Msg, net.Addr) bool { return false },
		NoSecurity:    true,
	})
	if err != nil {
		return nil, err
	}
	f.server = server
	return f, nil
}

// start begins to read and answer.
func (f *family) start() {
	f.node.spawn(f.serve)
	close(f.conn.open)
}

// remember takes over this family's part of a saved table: the nodes to ask
// first, and the node ID, which stays ours while our address fits it.
func (f *family) remember(four, six saved) {
	part := four
	if f.six {
		part = six
	}
	f.remembered = part.nodes
	if !isZero(part.id[:]) {
		f.id = part.id
		f.table = newTable(f.id)
	}
}

// close closes the socket and waits for the library's read loop.
func (f *family) close() {
	f.server.Close() // closes conn too, but from a goroutine of its own
	_ = f.conn.Close()
	select {
	case <-f.conn.stopped:
	case <-time.After(closeWait): // a net.PacketConn whose Close does not end ReadFrom
	}
}

// takes says whether addr is of this family.
func (f *family) takes(addr netip.AddrPort) bool { return addr.Addr().Is6() == f.six }

// want is what we ask nodes for (BEP 32): nodes of this family only.
func (f *family) want() []krpc.Want {
	if f.six {
		return []krpc.Want{krpc.WantNodes6}
	}
	return []krpc.Want{krpc.WantNodes}
}

func (f *family) currentID() nodeID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id
}

// closest returns the n known nodes closest to target.
func (f *family) closest(target nodeID, n int) []contact {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.table.closest(target, n, time.Time{})
}

// heard notes an answer to a query of ours.
func (f *family) heard(c contact, rtt time.Duration, ours netip.AddrPort) {
	now := time.Now()
	f.mu.Lock()
	back := f.lost(now) && !f.answered.IsZero()
	f.answered, f.silent = now, 0
	f.dead.remove(c.addr)
	f.table.answered(c, now)
	if f.srtt == 0 {
		f.srtt, f.rttvar = rtt, rtt/2
	} else { // RFC 6298
		f.rttvar += ((f.srtt - rtt).Abs() - f.rttvar) / 4
		f.srtt += (rtt - f.srtt) / 8
	}
	f.vote(c.addr, ours)
	f.mu.Unlock()
	f.node.setReady()
	if back {
		f.node.back(f)
	}
}

// lost says whether nobody answers any more. Under mu.
func (f *family) lost(now time.Time) bool {
	return f.silent >= silentQueries && now.Sub(f.answered) > silentAfter
}

// missed notes that a query of ours was not answered.
func (f *family) missed(addr netip.AddrPort) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent++
	if f.silent%silentQueries == 0 && f.lost(now) {
		select {
		case f.node.silent <- struct{}{}:
		default: // one is pending
		}
	}
	if at, ok := f.dead.get(addr); ok && now.Sub(at) < deadFor || now.Sub(f.answered) >= aliveFor {
		return // counts once a minute, and never in an outage of ours
	}
	f.dead.put(addr, now)
	f.table.unanswered(addr)
}

// isDead says whether addr did not answer a moment ago.
func (f *family) isDead(addr netip.AddrPort) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.dead.get(addr)
	return ok && time.Since(at) < deadFor
}

// rto is how long to wait for an answer before asking again.
func (f *family) rto() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.srtt == 0 {
		return firstRTO
	}
	return min(max(f.srtt+4*f.rttvar, minRTO), maxRTO)
}

// usable says whether a node that from told us of may be asked at all. Nobody
// but a node on this machine may send us to addresses of this machine.
func (f *family) usable(c contact, from netip.AddrPort) bool {
	ip := c.addr.Addr()
	switch {
	case c.addr.Port() == 0, !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), !f.takes(c.addr):
		return false
	case ip.Is4() && (ip.As4()[0] == 0 || ip.As4() == [4]byte{255, 255, 255, 255}):
		return false
	case ip.IsLoopback() && from.IsValid() && !from.Addr().IsLoopback():
		return false
	case c.addr == f.local:
		return false
	}
	return c.id != f.currentID()
}

// consider pings back a node that queried us, if the routing table could use it.
// This is what makes small networks form at once.
func (f *family) consider(c contact) {
	if !f.usable(c, netip.AddrPort{}) {
		return
	}
	now := time.Now()
	f.mu.Lock()
	at, recently := f.probed.get(c.addr)
	wanted := !f.table.has(c.addr) && f.table.room(c) && (!recently || now.Sub(at) > probeEvery)
	f.mu.Unlock()
	if !wanted {
		return
	}
	select {
	case f.probes <- struct{}{}:
	default:
		f.node.count("probe_overflow")
		return
	}
	f.mu.Lock()
	f.probed.put(c.addr, now)
	f.mu.Unlock()
	if !f.node.spawn(func() {
		_, _ = f.query(f.node.ctx, c.addr, "ping", krpc.MsgArgs{}, 1, nil)
		<-f.probes
	}) {
		<-f.probes
	}
}

package dht

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	retryFirst    = time.Second // between attempts to join, doubled up to
	retryMost     = time.Minute
	refreshFirst  = 500 * time.Millisecond // between refreshes of the table, tripled up to
	refreshMost   = 15 * time.Minute
	tendEvery     = 30 * time.Second // look at nodes not heard of
	pingAfter     = 12 * time.Minute // since its last answer a node is pinged
	pingsAtATime  = 8
	joinWidth     = 16 // nodes asked at a time
	silentAfter   = 30 * time.Second
	silentQueries = 8               // unanswered since, before the table is not trusted any more
	knockEvery    = 4 * time.Second // while nobody answers, a few nodes are asked for a sign of life
	knockAt       = 3
	reuniteEvery  = 2 * time.Minute // in a small network, the bootstrap nodes that the table lacks are asked
	smallTable    = 64
)

// Ready is closed when the first node has answered.
func (n *Node) Ready() <-chan struct{} { return n.ready }

func (n *Node) setReady() { n.readyOnce.Do(func() { close(n.ready) }) }

// Join looks for the DHT at the nodes of the saved table and of Config.Bootstrap.
// It returns nil when the first of them has answered (the routing table fills in
// the background from then on), and an error that matches ErrNoAnswer when all
// were asked and none did; it names them. The node goes on trying in the
// background, with growing pauses up to a minute, until Close: Ready tells.
//
// The first node of a new network has nobody to ask: its Join fails and its
// Ready is closed when somebody joins it.
func (n *Node) Join(ctx context.Context) error {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	n.keepOnce.Do(func() { n.spawn(n.keep) })
	done := make(chan error, 1)
	select {
	case <-n.ready:
		return nil
	case n.joins <- done:
	case <-ctx.Done():
		return n.stopped(ctx)
	}
	select {
	case <-n.ready:
		return nil
	case err := <-done:
		select {
		case <-n.ready: // the answer may be the last thing that happened
			return nil
		default:
			return err
		}
	case <-ctx.Done():
		return n.stopped(ctx)
	}
}

// keep joins, and keeps the routing table good, until the node closes.
func (n *Node) keep() {
	retry, refresh := retryFirst, refreshFirst
	nextRefresh := time.Now().Add(refresh)
	nextTend := time.Now().Add(tendEvery)
	nextRetry := time.Now().Add(retryFirst)
	nextKnock := time.Now().Add(jitter(knockEvery))
	nextReunite := time.Now().Add(jitter(reuniteEvery))
	for {
		now := time.Now()
		next := nextTend
		if n.lonely() {
			if nextRetry.Before(next) {
				next = nextRetry
			}
			if nextKnock.Before(next) {
				next = nextKnock
			}
		} else if nextRefresh.Before(next) {
			next = nextRefresh
		}
		timer := time.NewTimer(max(next.Sub(now), time.Millisecond))
		select {
		case <-n.ctx.Done():
			timer.Stop()
			return
		case done := <-n.joins:
			done <- n.attempt(n.ctx)
			nextRetry = time.Now().Add(jitter(retry))
		case <-n.changed:
			n.renew()
			refresh, nextRefresh = refreshFirst, time.Now()
			retry, nextRetry = retryFirst, time.Now()
		case <-n.silent: // looked at above
		case <-n.again:
			refresh, nextRefresh = refreshFirst, time.Now()
		case now = <-timer.C:
			if !now.Before(nextTend) {
				n.tend()
				nextTend = time.Now().Add(tendEvery)
			}
			switch {
			case n.lonely() && !now.Before(nextRetry):
				if err := n.attempt(n.ctx); err != nil && n.ctx.Err() == nil {
					n.log.Debug("dht: joining failed, will try again", "error", err, "in", retry)
				}
				retry = min(2*retry, retryMost)
				nextRetry = time.Now().Add(jitter(retry))
				nextKnock = time.Now().Add(jitter(knockEvery))
			case n.lonely() && !now.Before(nextKnock):
				n.knock()
				nextKnock = time.Now().Add(jitter(knockEvery))
			case !n.lonely() && !now.Before(nextReunite): // looked at when something else is due
				if n.reunite() {
					refresh, nextRefresh = refreshFirst, time.Now()
				}
				nextReunite = time.Now().Add(jitter(reuniteEvery))
			case !n.lonely() && !now.Before(nextRefresh):
				n.refresh(n.ctx)
				retry = retryFirst
				nextRefresh = time.Now().Add(jitter(refresh))
				refresh = min(3*refresh, refreshMost)
			}
		}
		timer.Stop()
	}
}

func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5)
}

// lonely says whether we know nobody, or nobody that we know answers any more.
func (n *Node) lonely() bool {
	for _, f := range n.families {
		f.mu.Lock()
		lost := f.lost(time.Now())
		alone := f.table.len() == 0
		f.mu.Unlock()
		if !alone && !lost {
			return false
		}
	}
	return true
}

// attempt asks everybody that we may know for the nodes near us. It returns when
// all have answered or been given up.
func (n *Node) attempt(ctx context.Context) error {
	n.count("joins")
	var addrs []netip.AddrPort
	for _, f := range n.families {
		for _, c := range f.remembered {
			addrs = append(addrs, c.addr)
		}
		for _, c := range f.closest(f.currentID(), walkSeeds) {
			addrs = append(addrs, c.addr)
		}
	}
	var tasks sync.WaitGroup
	places := make(chan struct{}, joinWidth)
	asked := make(map[netip.AddrPort]bool)
	answered := false
	var mu sync.Mutex
	ask := func(addrs []netip.AddrPort) {
		for _, addr := range addrs {
			f := n.familyOf(addr)
			if f == nil || asked[addr] || !f.usable(contact{addr: addr}, netip.AddrPort{}) {
				continue
			}
			asked[addr] = true
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			n.wait.Add(1)
			tasks.Go(func() {
				defer n.wait.Done()
				args := krpc.MsgArgs{Target: krpc.ID(f.currentID()), Want: f.want()}
				_, err := f.query(ctx, addr, "find_node", args, queryTries, nil)
				<-places
				mu.Lock()
				answered = answered || err == nil
				mu.Unlock()
			})
		}
	}
	ask(addrs)
	var bootErr error
	if n.cfg.Bootstrap != nil && ctx.Err() == nil {
		var boot []netip.AddrPort
		if boot, bootErr = n.cfg.Bootstrap(ctx); bootErr == nil {
			unmapped := make([]netip.AddrPort, len(boot))
			for i, addr := range boot {
				unmapped[i] = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
			}
			n.known.Store(&unmapped)
			ask(unmapped)
		}
	}
	tasks.Wait()
	if ctx.Err() != nil {
		return n.stopped(ctx)
	}
	if answered {
		n.refresh(ctx)
		return nil
	}
	return joinError(asked, bootErr)
}

// knock asks a few of those whom we may know for a sign of life: an outage may
// last for hours, and its end is to be seen within seconds. One of them is of
// those that stay where they are, if any is known.
func (n *Node) knock() {
	var near, firm []netip.AddrPort
	if boot := n.known.Load(); boot != nil {
		firm = append(firm, *boot...)
	}
	for _, f := range n.families {
		f.mu.Lock()
		for _, c := range f.table.all() {
			near = append(near, c.addr)
		}
		f.mu.Unlock()
		for _, c := range f.remembered {
			near = append(near, c.addr)
		}
	}
	rand.Shuffle(len(near), func(i, j int) { near[i], near[j] = near[j], near[i] })
	rand.Shuffle(len(firm), func(i, j int) { firm[i], firm[j] = firm[j], firm[i] })
	all := append(firm[:min(len(firm), 1)], near...)
	for _, addr := range all[:min(len(all), knockAt)] {
		if f := n.familyOf(addr); f != nil && f.usable(contact{addr: addr}, netip.AddrPort{}) {
			n.spawn(func() { _, _ = f.query(n.ctx, addr, "ping", krpc.MsgArgs{}, 1, nil) })
		}
	}
}

// back tells that a family is answered again after a silence, unless another was
// all the time.
func (n *Node) back(f *family) {
	for _, other := range n.families {
		if other == f {
			continue
		}
		other.mu.Lock()
		heard := time.Since(other.answered) <= silentAfter
		other.mu.Unlock()
		if heard {
			return
		}
	}
	n.count("returned")
	for _, f := range n.families {
		f.mu.Lock()
		f.dead.clear() // to whoever was asked in vain
		f.mu.Unlock()
	}
	select {
	case n.again <- struct{}{}:
	default: // one is pending
	}
	if n.cfg.Returned != nil {
		n.spawn(n.cfg.Returned)
	}
}

// reunite asks the bootstrap nodes that a small table lacks, and says whether one
// has answered. When a small network was parted for so long that each side has
// forgotten the other, nothing else would ever bring them together; in a large
// one there is always somebody whom both know.
func (n *Node) reunite() bool {
	if n.cfg.Bootstrap == nil {
		return false
	}
	size := 0
	for _, f := range n.families {
		f.mu.Lock()
		size += f.table.len()
		f.mu.Unlock()
	}
	if size >= smallTable {
		return false
	}
	boot, err := n.cfg.Bootstrap(n.ctx)
	if err != nil {
		return false // as at a join that fails: there is another time
	}
	var tasks sync.WaitGroup
	var answered atomic.Bool
	for _, addr := range boot {
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		f := n.familyOf(addr)
		if f == nil || !f.usable(contact{addr: addr}, netip.AddrPort{}) {
			continue
		}
		f.mu.Lock()
		known := f.table.has(addr)
		f.mu.Unlock()
		if known {
			continue
		}
		tasks.Go(func() {
			args := krpc.MsgArgs{Target: krpc.ID(f.currentID()), Want: f.want()}
			if _, err := f.query(n.ctx, addr, "find_node", args, queryTries, nil); err == nil {
				answered.Store(true)
			}
		})
	}
	tasks.Wait()
	return answered.Load()
}

// joinError says whom we asked in vain.
func joinError(asked map[netip.AddrPort]bool, bootErr error) error {
	var names []string
	for addr := range asked {
		if len(names) == 8 {
			names = append(names, "…")
			break
		}
		names = append(names, addr.String())
	}
	switch {
	case bootErr != nil && len(names) == 0:
		return fmt.Errorf("the bootstrap nodes cannot be looked up (%w), will try again: %w", bootErr, ErrNoAnswer)
	case len(names) == 0:
		return fmt.Errorf("no node is known: there is neither a saved routing table nor a bootstrap address: %w", ErrNoAnswer)
	default:
		return fmt.Errorf("asked %d nodes (%s), will try again: %w", len(asked), strings.Join(names, ", "), ErrNoAnswer)
	}
}

// refresh walks to a random place and to our own, so that our neighbours know us
// and we them.
func (n *Node) refresh(ctx context.Context) {
	targets := []nodeID{randomID()} // the same for all families
	for _, f := range n.families {
		targets = append(targets, f.currentID())
	}
	for _, target := range targets {
		n.look(ctx, lookup{target: target, method: "find_node", args: krpc.MsgArgs{Target: krpc.ID(target)}}, func(*reply) {})
	}
}

// tend pings nodes that were not heard of for long, and drops what has expired.
func (n *Node) tend() {
	now := time.Now()
	n.items.sweep(now)
	n.peers.sweep(now)
	for _, f := range n.families {
		f.mu.Lock()
		all := f.table.all()
		f.mu.Unlock()
		pinged := 0
		for i := len(all) - 1; i >= 0 && pinged < pingsAtATime && now.Sub(all[i].seen) > pingAfter; i-- {
			f.ping(all[i].addr)
			pinged++
		}
	}
}

// ping asks a node whether it is there, in the background.
func (f *family) ping(addr netip.AddrPort) {
	f.node.spawn(func() {
		_, _ = f.query(f.node.ctx, addr, "ping", krpc.MsgArgs{}, queryTries, nil)
	})
}

// AddNode tells of a node, which is pinged in the background and taken into the
// routing table if it answers.
func (n *Node) AddNode(addr netip.AddrPort) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if f := n.familyOf(addr); f != nil && f.usable(contact{addr: addr}, netip.AddrPort{}) {
		f.ping(addr)
	}
}

// Changed tells that our own address may have changed. Write tokens, which are
// bound to it, and what nodes said of it are forgotten, and the nodes near us are
// asked again.
func (n *Node) Changed() {
	n.holders.forgetTokens()
	for _, f := range n.families {
		f.mu.Lock()
		f.votes.clear()
		f.dead.clear()
		f.mu.Unlock()
	}
	select {
	case n.changed <- struct{}{}:
	default: // one is pending
	}
}

// renew pings the nodes heard of last: they tell our address.
func (n *Node) renew() {
	for _, f := range n.families {
		f.mu.Lock()
		all := f.table.all()
		f.mu.Unlock()
		for _, node := range all[:min(len(all), pingsAtATime)] {
			f.ping(node.addr)
		}
	}
}

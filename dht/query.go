package dht

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

const (
	queryTries = 2
	maxPace    = 4 * time.Second // a query that would wait longer for its turn is not sent
)

var (
	errSelf  = errors.New("the node asked is ourselves")
	errPaced = errors.New("too many packets to one address")
	errDead  = errors.New("no answer")
)

// reply is a node's answer to one query: an error of its own, or values.
type reply struct {
	contact
	family *family
	values krpc.Return
	fault  *krpc.Error // the node refused
}

// query asks one node, with short tries, each a packet of its own transaction.
// The answer to any of them counts. slow, if set, is called when the first try
// is overdue. An error means no answer; a refusal is an answer.
func (f *family) query(ctx context.Context, to netip.AddrPort, method string, args krpc.MsgArgs, tries int, slow func()) (*reply, error) {
	return f.ask(ctx, to, question{method, args, false}, tries, slow)
}

// queryAhead is query for what is part of a put or an announce.
func (f *family) queryAhead(ctx context.Context, to netip.AddrPort, method string, args krpc.MsgArgs, tries int, slow func()) (*reply, error) {
	return f.ask(ctx, to, question{method, args, true}, tries, slow)
}

// question is what a query asks.
type question struct {
	method string
	args   krpc.MsgArgs
	writes bool // it is part of a put
}

// ask is query for a question of any kind.
func (f *family) ask(ctx context.Context, to netip.AddrPort, q question, tries int, slow func()) (*reply, error) {
	type outcome struct {
		result mainline.QueryResult
		rtt    time.Duration
	}
	outcomes := make(chan outcome, tries) // never blocks its senders
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	waiting := 0
	for try := range tries {
		if err := f.pay(ctx, to, q.writes); err != nil {
			if waiting == 0 {
				return nil, err
			}
		} else {
			waiting++
			f.node.wait.Go(func() {
				start := time.Now()
				result := f.server.Query(ctx, mainline.NewAddr(net.UDPAddrFromAddrPort(to)), q.method, mainline.QueryInput{
					MsgArgs:      q.args,
					RateLimiting: mainline.QueryRateLimiting{NotAny: true},
					NumTries:     1,
				})
				outcomes <- outcome{result, time.Since(start)}
			})
		}
		overdue := time.NewTimer(f.rto())
	wait:
		for {
			select {
			case o := <-outcomes:
				waiting--
				if o.result.Err == nil {
					overdue.Stop()
					return f.received(to, o.result.Reply, o.rtt)
				}
				if waiting == 0 && ctx.Err() == nil {
					// The socket refused the packet: no use in waiting.
					break wait
				}
			case <-overdue.C:
				if try == 0 && slow != nil {
					slow()
				}
				break wait
			case <-ctx.Done():
				overdue.Stop()
				return nil, ctx.Err()
			}
		}
		overdue.Stop()
	}
	f.missed(to)
	return nil, errDead
}

// pay waits until one packet may be sent to an address: the budget of that
// address first, then the caller's.
func (f *family) pay(ctx context.Context, to netip.AddrPort, writes bool) error {
	pause, ok := f.node.turn(hostKey(to), writes)
	if !ok {
		f.node.count("query_paced")
		return errPaced
	}
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.node.cfg.Budget != nil {
		if err := f.node.cfg.Budget(ctx); err != nil {
			f.node.count("query_over_budget")
			return fmt.Errorf("budget refused a packet: %w", err)
		}
	}
	return ctx.Err()
}

// turn returns how long a packet to one address must wait, or false if that is
// too long. What belongs to a put or an announce, which somebody waits for, does
// not stand behind all the questions that are in line: some of it goes ahead of
// them, and they wait the longer.
func (n *Node) turn(to netip.AddrPort, writes bool) (time.Duration, bool) {
	if !writes {
		return n.pace.reserve(to, maxPace)
	}
	if _, ok := n.pace.reserve(to, 0); ok {
		return 0, true
	}
	pause, ok := n.ahead.reserve(to, maxPace)
	if ok {
		n.pace.charge(to, 1)
	}
	return pause, ok
}

// received takes in an answer that the library matched to a query of ours.
func (f *family) received(from netip.AddrPort, m krpc.Msg, rtt time.Duration) (*reply, error) {
	r := &reply{contact: contact{addr: from}, family: f}
	ours := netip.AddrPort{}
	if ip, ok := netip.AddrFromSlice(m.IP.IP); ok {
		ours = netip.AddrPortFrom(ip.Unmap(), uint16(m.IP.Port))
	}
	if m.R == nil {
		r.fault = m.E
		if r.fault == nil {
			r.fault = &krpc.Error{Code: krpc.ErrorCodeGenericError}
		}
		f.node.count("answers_refused")
		return r, nil
	}
	r.id = nodeID(m.R.ID)
	if r.id == f.currentID() {
		return nil, errSelf
	}
	r.values = *m.R
	f.heard(r.contact, rtt, ours)
	f.node.count("answers")
	return r, nil
}

// nodes returns the nodes that an answer names, as far as they may be asked: at
// most those closest to the target that an honest node would send.
func (r *reply) nodes() []contact {
	named := r.values.Nodes
	if r.family.six {
		named = krpc.CompactIPv4NodeInfo(r.values.Nodes6)
	}
	var nodes []contact
	for _, info := range named {
		if len(nodes) == maxNamed {
			r.family.node.count("nodes_surplus")
			break
		}
		ip, ok := netip.AddrFromSlice(info.Addr.IP)
		c := contact{nodeID(info.ID), netip.AddrPortFrom(ip, uint16(info.Addr.Port))}
		if !ok || ip.Is4In6() || !r.family.usable(c, r.addr) {
			r.family.node.count("nodes_unusable")
			continue
		}
		nodes = append(nodes, c)
	}
	return nodes
}

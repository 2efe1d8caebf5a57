package carrier

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/udpio"
)

const (
	// watchEvery is how often addresses and the clock are looked at.
	watchEvery = 5 * time.Second
	// watchEarly is how often at first, watchEarlyLooks times.
	watchEarly      = time.Second
	watchEarlyLooks = 10
	// clockJump is a difference of the wall clock from the monotonic one that
	// tells of a machine that slept.
	clockJump = 10 * time.Second
	// maxQueuedDatagrams bounds what waits for the loop; more is dropped and
	// counted, since a sender repeats what matters.
	maxQueuedDatagrams = 4096
)

// listen opens one socket for each address family that the machine has, or the
// one that config.Listen names. port is that of the last run, 0 if unknown.
func listen(ctx context.Context, config Config, port uint16) ([]*udpio.Socket, error) {
	host, want, fixed := "", port, false
	if config.Listen != "" {
		h, p, err := net.SplitHostPort(config.Listen)
		if err != nil {
			return nil, listenError(config.Listen, err)
		}
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, listenError(config.Listen, err)
		}
		host = h
		if n != 0 {
			want, fixed = uint16(n), true
		}
	}
	networks, err := families(config, host)
	if err != nil {
		return nil, err
	}
	sockets, err := listenAll(ctx, config.Net, networks, host, want)
	for try := 0; try < portTries && !fixed && errors.Is(err, syscall.EADDRINUSE); try++ {
		// The old port is only a wish, and one that is free in one family may be
		// taken in the other.
		sockets, err = listenAll(ctx, config.Net, networks, host, 0)
	}
	if err != nil {
		if !fixed {
			want = 0 // nobody has asked for that port
		}
		return nil, listenError(net.JoinHostPort(host, strconv.Itoa(int(want))), err)
	}
	return sockets, nil
}

// families returns the networks to listen on.
func families(config Config, host string) ([]string, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []string{network(addr)}, nil
	}
	prefixes, err := config.Net.LocalAddrs()
	if err != nil {
		return nil, &Error{Op: "start", Err: fmt.Errorf("list local addresses: %w", err)}
	}
	var networks []string
	for _, want := range []string{"udp4", "udp6"} {
		if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return network(p.Addr()) == want }) {
			networks = append(networks, want)
		}
	}
	if networks == nil {
		networks = []string{"udp4"} // offline now: the system gives addresses later
	}
	return networks, nil
}

func network(addr netip.Addr) string {
	if addr.Unmap().Is4() {
		return "udp4"
	}
	return "udp6"
}

// portTries is how often a free port is looked for.
const portTries = 8

// listenAll opens host:port on all networks, the same port on each.
func listenAll(ctx context.Context, n Net, networks []string, host string, port uint16) ([]*udpio.Socket, error) {
	var sockets []*udpio.Socket
	for _, network := range networks {
		s, err := udpio.Listen(ctx, n, network, net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil {
			for _, s := range sockets {
				err = errors.Join(err, s.Close())
			}
			return nil, err
		}
		sockets = append(sockets, s)
		port = s.LocalAddr().Port()
	}
	return sockets, nil
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &Error{Op: "start", What: "at " + address, Err: because(ErrPortInUse, err), Hint: "close the other program, or leave the port of Config.Listen empty"}
	}
	return &Error{Op: "start", What: "at " + address, Err: err, Hint: "Config.Listen must be a local host:port"}
}

// receive takes an envelope from a socket's reader: it copies it to the loop.
func (e *engine) receive(b []byte, from netip.AddrPort) {
	if e.datagramsQueued.Add(1) > maxQueuedDatagrams {
		e.datagramsQueued.Add(-1)
		e.counters.add("engine.dropped.datagram.queue")
		return
	}
	packet := slices.Clone(b)
	e.post(func() {
		e.datagramsQueued.Add(-1)
		e.courier.Datagram(packet, from)
	})
}

// Send puts a datagram on the socket of its family. Loss is the network's.
func (e *engine) Send(b []byte, to netip.AddrPort) {
	for _, s := range e.sockets {
		if network(s.LocalAddr().Addr()) == network(to.Addr()) {
			if err := s.WriteTo(b, to); err != nil {
				e.log.Debug("datagram not sent", "to", to, "err", err)
			}
			return
		}
	}
	e.counters.add("engine.dropped.datagram.family")
}

// localAddrs returns where the sockets listen; a socket on all interfaces
// stands for each address of the machine.
func (e *engine) localAddrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range e.sockets {
		at := s.LocalAddr()
		if !at.Addr().IsUnspecified() {
			out = append(out, at)
			continue
		}
		prefixes, err := e.config.Net.LocalAddrs()
		if err != nil {
			e.log.Warn("local addresses unknown", "err", err)
			continue
		}
		for _, p := range prefixes {
			if network(p.Addr()) == network(at.Addr()) {
				out = append(out, netip.AddrPortFrom(p.Addr(), at.Port()))
			}
		}
	}
	return out
}

// Local returns the addresses that friends may be told.
func (e *engine) Local() []netip.AddrPort { return e.localAddrs() }

// External returns our addresses as DHT nodes see them.
func (e *engine) External() []netip.AddrPort { return e.dht.External() }

// watch notices changes of addresses and jumps of the clock until the node
// closes. In the first seconds it looks more often, because that is when DHT
// nodes begin to agree on our address.
func (e *engine) watch() {
	last, ticked := e.Now(), time.Now()
	local, external := e.localAddrs(), e.dht.External()
	timer := time.NewTimer(watchEarly)
	defer timer.Stop()
	for looks := 1; ; looks++ {
		select {
		case <-e.ctx.Done():
			return
		case <-timer.C:
		}
		if looks < watchEarlyLooks {
			timer.Reset(watchEarly)
		} else {
			timer.Reset(watchEvery)
		}
		now := e.Now()
		slept := now.Round(0).Sub(last.Round(0)) - time.Since(ticked) // which stands still meanwhile
		last, ticked = now, time.Now()
		if fresh := e.localAddrs(); slept.Abs() > clockJump || !slices.Equal(fresh, local) {
			local = fresh
			e.networkChanged()
		}
		if fresh := e.dht.External(); !slices.Equal(fresh, external) {
			external = fresh
			e.post(e.courier.EndpointsChanged)
			e.links.transport.AddressesChanged()
		}
	}
}

// returned is told by the DHT that it answers again after a silence: whatever
// else had been given up is tried again at once, from where we are now.
func (e *engine) returned() {
	e.log.Info("the line is back")
	e.post(func() {
		e.heard(dht.Health{Answered: 1})
		e.joined = e.Now()
	})
	e.networkChanged()
}

// networkChanged tells everything that remembers addresses.
func (e *engine) networkChanged() {
	e.counters.add("engine.network.changed")
	e.dht.Changed()
	e.post(e.courier.NetworkChanged)
	e.links.transport.AddressesChanged()
}

// bootstrap resolves the first DHT nodes. Names that do not resolve are left
// out; the error names them when nothing is left.
func (e *engine) bootstrap(ctx context.Context) ([]netip.AddrPort, error) {
	if e.config.NoBootstrap {
		return nil, nil
	}
	hosts := e.config.Bootstrap
	if hosts == nil {
		hosts = publicRouters()
	}
	var out []netip.AddrPort
	var errs []error
	for _, hostport := range hosts {
		addrs, err := resolve(ctx, e.config.Net, hostport)
		if err != nil {
			errs = append(errs, fmt.Errorf("bootstrap node %s: %w", hostport, err))
			continue
		}
		out = append(out, addrs...)
	}
	if len(out) == 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

func resolve(ctx context.Context, n Net, hostport string) ([]netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(hostport); err == nil {
		return []netip.AddrPort{ap}, nil
	}
	host, p, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := n.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	return out, nil
}

// savedPort is the durable form of the port of the last run.
func savedPort(b []byte) uint16 {
	if len(b) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

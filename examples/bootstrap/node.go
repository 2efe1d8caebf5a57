package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gocarrier/carrier/dht"
)

const (
	// serveRate is how many bytes a second one IP address is answered. People who
	// share a NAT look like one, and this may be the only node that they know.
	serveRate = 16 << 10
	// joinWait is how long those who are to be joined may take until the node says
	// that it is up without them.
	joinWait = 5 * time.Second
	// keepEvery is how often the table is saved.
	keepEvery = 5 * time.Minute
	// readBuffer holds what comes while a burst is being looked at.
	readBuffer = 1 << 20
)

// options are the flags.
type options struct {
	listen    string
	bootstrap string
	dir       string
	logger    *slog.Logger
}

// node is a DHT node with the place that its table is kept in.
type node struct {
	dht   *dht.Node
	log   *slog.Logger
	table string // the file; empty: none
	alone bool   // nobody to join
}

// start opens the sockets and answers on them.
func start(o options) (*node, error) {
	hosts, err := parseHosts(o.bootstrap)
	if err != nil {
		return nil, err
	}
	n := &node{log: o.logger}
	var table []byte
	if o.dir != "" {
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of -dir: %w", err)
		}
		n.table = filepath.Join(o.dir, "dht-table")
		if table, err = os.ReadFile(n.table); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read the saved routing table: %w", err)
		}
	}
	conns, err := listen(o.listen, o.logger)
	if err != nil {
		return nil, err
	}
	n.alone = len(hosts) == 0 && len(table) == 0
	n.dht, err = dht.New(dht.Config{
		Conns:     conns, // dht.New closes them if it fails
		Bootstrap: func(ctx context.Context) ([]netip.AddrPort, error) { return resolve(ctx, hosts) },
		Table:     table,
		ServeRate: serveRate,
		Logger:    o.logger,
	})
	if err != nil {
		return nil, fmt.Errorf("start the DHT node: %w", err)
	}
	return n, nil
}

// join looks for the others, for a while; the node goes on looking by itself.
func (n *node) join(ctx context.Context) {
	wait, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	if err := n.dht.Join(wait); err != nil && !n.alone && ctx.Err() == nil {
		n.log.Warn("no other node has answered yet", "err", err)
	}
}

// keep saves the table, now and from time to time, until ctx ends.
func (n *node) keep(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		if err := n.save(); err != nil {
			n.log.Warn("the routing table is not saved", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// save writes the table beside the old one and then in its place, so that a kill
// leaves one of the two. A run that met nobody leaves what an earlier one knew.
func (n *node) save() error {
	if n.table == "" || n.dht.NumNodes() == 0 {
		return nil
	}
	fresh := n.table + ".new"
	if err := os.WriteFile(fresh, n.dht.Table(), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, n.table)
}

func (n *node) close() error {
	return errors.Join(n.save(), n.dht.Close())
}

// listen opens the address: of a literal IP its family, else IPv4 and, where the
// machine has it, IPv6 on the same port.
func listen(address string, log *slog.Logger) ([]net.PacketConn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("-listen %q is not host:port: %w", address, err)
	}
	network := "udp4"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		network = "udp6"
	}
	first, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s (end the program that has the port, or choose another with -listen): %w", address, err)
	}
	conns := []net.PacketConn{first}
	if host == "" {
		port := first.LocalAddr().(*net.UDPAddr).Port
		second, err := net.ListenPacket("udp6", fmt.Sprintf("[::]:%d", port))
		if err == nil {
			conns = append(conns, second)
		} else {
			log.Info("without IPv6", "err", err)
		}
	}
	for _, conn := range conns {
		if err := conn.(*net.UDPConn).SetReadBuffer(readBuffer); err != nil {
			log.Debug("the socket keeps its read buffer", "err", err)
		}
	}
	return conns, nil
}

// reachable are the addresses to name to others: for a socket on all interfaces,
// the one that packets to elsewhere leave from.
func reachable(local []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, at := range local {
		if !at.Addr().IsUnspecified() {
			out = append(out, at)
		} else if ip, ok := outward(at.Addr().Is6()); ok {
			out = append(out, netip.AddrPortFrom(ip, at.Port()))
		}
	}
	if len(out) == 0 { // no network but this machine's own
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		out = append(out, netip.AddrPortFrom(loopback, local[0].Port()))
	}
	return out
}

// outward asks the routing table for the address to the internet; connecting a
// UDP socket sends nothing.
func outward(six bool) (netip.Addr, bool) {
	network, anywhere := "udp4", "192.0.2.1:9"
	if six {
		network, anywhere = "udp6", "[2001:db8::1]:9"
	}
	conn, err := net.Dial(network, anywhere)
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	ip := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return ip, ip.IsGlobalUnicast()
}

// parseHosts reads the list of -bootstrap; "none" and nothing are nobody.
func parseHosts(list string) ([]string, error) {
	if list == "" || list == "none" {
		return nil, nil
	}
	hosts := strings.Split(list, ",")
	for _, host := range hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			return nil, fmt.Errorf("-bootstrap: %q is not host:port: %w", host, err)
		}
	}
	return hosts, nil
}

// resolve returns the addresses of hosts. One that cannot be looked up does not
// keep the others away.
func resolve(ctx context.Context, hosts []string) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	var errs []error
	for _, host := range hosts {
		name, service, _ := net.SplitHostPort(host) // parseHosts has seen it
		port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, ip := range ips {
			out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	out = slices.Compact(out)
	if len(out) == 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

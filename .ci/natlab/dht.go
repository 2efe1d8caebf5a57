package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/gocarrier/carrier/dht"
)

const dhtPort = 6881

// runDHT runs nodes of a DHT, each at an address of its own, until ctx ends. It
// prints where to begin when they know each other.
func runDHT(ctx context.Context, first netip.Addr, count int) (err error) {
	var nodes []*dht.Node
	var at []netip.AddrPort
	defer func() {
		for _, node := range nodes {
			err = errors.Join(err, node.Close())
		}
	}()
	for addr := first; len(nodes) < count; addr = addr.Next() {
		where := netip.AddrPortFrom(addr, dhtPort)
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(where))
		if err != nil {
			return fmt.Errorf("listen for a DHT node: %w", err)
		}
		known := at
		node, err := dht.New(dht.Config{
			Conns: []net.PacketConn{conn},
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) {
				return known[:min(1, len(known))], nil
			},
			// Few nodes serve many here, and all that are behind one NAT look like one.
			QueryRate: -1, ServeRate: -1,
		})
		if err != nil {
			return fmt.Errorf("start a DHT node: %w", err)
		}
		nodes, at = append(nodes, node), append(at, where)
	}
	var wg sync.WaitGroup
	errs := make([]error, count)
	for i, node := range nodes[1:] {
		wg.Go(func() { errs[i] = node.Join(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var begin []string
	for _, a := range at[:min(4, len(at))] {
		begin = append(begin, a.String())
	}
	fmt.Println("ready", strings.Join(begin, ","))
	<-ctx.Done()
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/gocarrier/carrier/dht"
)

// localNodes is the size of the DHT that runs in this process.
const localNodes = 20

// localDHT is a Mainline DHT of its own on 127.0.0.1.
type localDHT struct {
	nodes []*dht.Node
	at    []netip.AddrPort
}

func startDHT(ctx context.Context, size int) (_ *localDHT, err error) {
	d := &localDHT{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	for range size {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen for a DHT node: %w", err)
		}
		first := d.at
		node, err := dht.New(dht.Config{
			Conns: []net.PacketConn{conn},
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) {
				return first[:min(1, len(first))], nil
			},
		})
		if err != nil {
			return nil, fmt.Errorf("start a DHT node: %w", err)
		}
		d.nodes = append(d.nodes, node)
		d.at = append(d.at, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	var wg sync.WaitGroup
	errs := make([]error, size)
	for i, node := range d.nodes[1:] {
		wg.Go(func() { errs[i] = node.Join(ctx) })
	}
	wg.Wait()
	return d, errors.Join(errs...)
}

// addrs are what a node needs to find this DHT.
func (d *localDHT) addrs() []string {
	var out []string
	for _, at := range d.at[:4] {
		out = append(out, at.String())
	}
	return out
}

func (d *localDHT) close() error {
	var errs []error
	for _, node := range d.nodes {
		errs = append(errs, node.Close())
	}
	return errors.Join(errs...)
}

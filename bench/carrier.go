package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/dht"
)

const (
	routers = 4 // nodes of the DHT by which the two find each other
	service = "bench/1"
)

// carrierPair is a session between two nodes of this process.
type carrierPair struct {
	bulk    bool
	routers []*dht.Node
	nodes   []*carrier.Node
	ours    *carrier.Session
	theirs  *carrier.Session
}

func startCarrier(ctx context.Context, bulk bool) (_ pair, err error) {
	p := &carrierPair{bulk: bulk}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	bootstrap, err := p.startDHT(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"Alice", "Bob"} {
		node, err := carrier.Start(ctx, carrier.Config{Name: name, Ephemeral: true, Listen: "127.0.0.1:0", Bootstrap: bootstrap})
		if err != nil {
			return nil, err
		}
		p.nodes = append(p.nodes, node)
	}
	return p, p.meet(ctx, p.nodes[0], p.nodes[1])
}

// startDHT returns where the nodes of a DHT are.
func (p *carrierPair) startDHT(ctx context.Context) ([]string, error) {
	var at []string
	var first []netip.AddrPort
	for range routers {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen for a DHT node: %w", err)
		}
		known := first
		node, err := dht.New(dht.Config{
			Conns:     []net.PacketConn{conn},
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) { return known, nil },
		})
		if err != nil {
			return nil, fmt.Errorf("start a DHT node: %w", err)
		}
		p.routers = append(p.routers, node)
		if len(first) > 0 {
			if err := node.Join(ctx); err != nil {
				return nil, fmt.Errorf("join the DHT: %w", err)
			}
		}
		first = []netip.AddrPort{conn.LocalAddr().(*net.UDPAddr).AddrPort()}
		at = append(at, conn.LocalAddr().String())
	}
	return at, nil
}

// meet makes the two friends and opens a session.
func (p *carrierPair) meet(ctx context.Context, alice, bob *carrier.Node) error {
	listener, err := bob.ListenSessions(service, nil)
	if err != nil {
		return err
	}
	friend, err := alice.AddFriend(ctx, bob.Address(), "")
	if err != nil {
		return err
	}
	if err := accept(ctx, bob); err != nil {
		return err
	}
	if err := friend.WaitAccepted(ctx); err != nil {
		return err
	}
	asked := make(chan error, 1)
	go func() {
		var err error
		p.ours, err = friend.NewSession(ctx, service, nil)
		asked <- err
	}()
	request, err := listener.Accept(ctx)
	if err == nil {
		p.theirs, err = request.Accept()
	}
	return errors.Join(err, <-asked)
}

// accept accepts the first friend request.
func accept(ctx context.Context, node *carrier.Node) error {
	for ev := range node.Events(ctx) {
		if request, ok := ev.(carrier.FriendRequest); ok {
			_, err := node.Accept(request.ID)
			return err
		}
	}
	return fmt.Errorf("no friend request has come: %w", context.Cause(ctx))
}

func (p *carrierPair) stream(ctx context.Context) (writer, io.ReadCloser, error) {
	a, err := p.ours.OpenStream(ctx, &carrier.StreamOptions{Bulk: p.bulk})
	if err != nil {
		return nil, nil, err
	}
	b, err := p.theirs.AcceptStream(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, a.Close())
	}
	return a, b, nil
}

func (p *carrierPair) packets() uint64 {
	var n uint64
	for _, node := range p.nodes {
		n += node.Stats()["link.data.packets.sent"]
	}
	return n
}

func (p *carrierPair) close() {
	for _, node := range p.nodes {
		_ = node.Close()
	}
	for _, node := range p.routers {
		_ = node.Close()
	}
}

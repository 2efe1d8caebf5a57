package carrier_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/dht"
)

// raced reports whether the race detector is on: bounds of real time and heap
// are wider then.
var raced = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})

// requestOf waits for the friend request of a person. The events were
// subscribed to before the request was sent, so that none is missed.
func requestOf(events func(func(carrier.Event) bool), id carrier.ID) (carrier.FriendRequest, error) {
	for ev := range events {
		if r, ok := ev.(carrier.FriendRequest); ok && r.ID == id {
			return r, nil
		}
	}
	return carrier.FriendRequest{}, fmt.Errorf("no friend request of %s has come", id)
}

// sendAll sends the bodies one after the other.
func sendAll(ctx context.Context, to *carrier.Friend, bodies ...string) ([]*carrier.Message, error) {
	var sent []*carrier.Message
	for _, body := range bodies {
		msg, err := to.Send(ctx, []byte(body), nil)
		if err != nil {
			return nil, err
		}
		sent = append(sent, msg)
	}
	return sent, nil
}

// takeSame reads as many messages as were sent, consumes each, and says whether
// they came as sent: IDs, bodies, order. It returns the courier of the last.
func takeSame(ctx context.Context, node *carrier.Node, sent []*carrier.Message) (carrier.Courier, error) {
	var courier carrier.Courier
	n := 0
	for msg, err := range node.Messages(ctx) {
		if err != nil {
			return 0, fmt.Errorf("%d of %d messages have come: %w", n, len(sent), err)
		}
		if msg.ID() != sent[n].ID() || string(msg.Body()) != string(sent[n].Body()) {
			return 0, fmt.Errorf("message %d is %s %.20q, want %s %.20q", n, msg.ID(), msg.Body(), sent[n].ID(), sent[n].Body())
		}
		if err := msg.Done(); err != nil {
			return 0, err
		}
		courier = msg.Courier()
		if n++; n == len(sent) {
			break
		}
	}
	return courier, nil
}

// delivered waits for the receipts of messages.
func delivered(ctx context.Context, sent []*carrier.Message) error {
	for i, msg := range sent {
		if err := msg.WaitDelivered(ctx); err != nil {
			return fmt.Errorf("message %d of %d: %w", i+1, len(sent), err)
		}
	}
	return nil
}

// liveHeap is the heap in use after collection. It collects twice, so that what
// cleanups and pools hold is gone too.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// median is the middle one of at least one duration.
func median(d []time.Duration) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2]
}

// loopbackDHT runs a DHT on real sockets of 127.0.0.1 until the test ends, and
// returns what a node needs to find it.
func loopbackDHT(t *testing.T, size int) []string {
	t.Helper()
	var nodes []*dht.Node
	var at []netip.AddrPort
	t.Cleanup(func() {
		for _, node := range nodes {
			if err := node.Close(); err != nil {
				t.Errorf("close a DHT node: %v", err)
			}
		}
	})
	for range size {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("listen for a DHT node: %v", err)
		}
		first := at[:min(1, len(at))]
		node, err := dht.New(dht.Config{
			Conns:     []net.PacketConn{conn},
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) { return first, nil },
		})
		if err != nil {
			t.Fatalf("start a DHT node: %v", err)
		}
		nodes = append(nodes, node)
		at = append(at, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, size)
	for i, node := range nodes[1:] {
		wg.Go(func() { errs[i] = node.Join(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatalf("form the DHT: %v", err)
		}
	}
	var addrs []string
	for _, a := range at[:min(4, size)] {
		addrs = append(addrs, a.String())
	}
	return addrs
}

// fewer is how often something is done: all times, or short times where -short
// asks for a quick run.
func fewer(all, short int) int {
	if testing.Short() {
		return short
	}
	return all
}

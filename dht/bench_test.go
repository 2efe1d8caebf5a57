package dht

import (
	"context"
	"math"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// loopback makes count nodes on 127.0.0.1 that know each other.
func loopback(t testing.TB, count int) []*Node {
	t.Helper()
	var nodes []*Node
	var boot []netip.AddrPort
	var joining sync.WaitGroup
	for range count {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := boot
		n, err := New(Config{
			Conns: []net.PacketConn{conn}, QueryRate: -1, ServeRate: -1,
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) { return first, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		nodes = append(nodes, n)
		if boot == nil {
			boot = n.LocalAddrs()
			continue
		}
		joining.Go(func() {
			if err := n.Join(context.Background()); err != nil {
				t.Errorf("Join: %v", err)
			}
		})
	}
	joining.Wait()
	return nodes
}

// formed waits until every node knows at least least others.
func formed(t testing.TB, nodes []*Node, least int) {
	t.Helper()
	start := time.Now()
	for time.Since(start) < 10*time.Second {
		fewest := math.MaxInt
		for _, n := range nodes {
			fewest = min(fewest, n.NumNodes())
		}
		if fewest >= least {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, n := range nodes {
		t.Logf("%v", n.Stats())
	}
	t.Fatalf("the network has not formed in 10 s")
}

func BenchmarkPut(b *testing.B) {
	nodes := loopback(b, 20)
	formed(b, nodes, 10)
	seq := int64(0)
	for b.Loop() {
		seq++
		res, err := nodes[3].Put(context.Background(), Put{Key: testKey(1), Value: []byte("value"), Seq: seq})
		if err != nil || res.Stored < 8 {
			b.Fatalf("Put: %+v, %v", res, err)
		}
	}
}

func BenchmarkPutDirect(b *testing.B) {
	nodes := loopback(b, 20)
	formed(b, nodes, 10)
	seq := int64(0)
	for b.Loop() {
		seq++
		res, err := nodes[3].Put(context.Background(), Put{Key: testKey(1), Value: []byte("value"), Seq: seq, Direct: true})
		if err != nil || res.Stored < 8 {
			b.Fatalf("Put: %+v, %v", res, err)
		}
	}
}

func benchmarkGet(b *testing.B, ask int) {
	nodes := loopback(b, 20)
	formed(b, nodes, 10)
	key := testKey(1)
	if _, err := nodes[3].Put(context.Background(), Put{Key: key, Value: []byte("value"), Seq: 1}); err != nil {
		b.Fatal(err)
	}
	var reader *Node
	for _, n := range nodes {
		if n.items.len() == 0 {
			reader = n
		}
	}
	var firsts time.Duration
	for b.Loop() {
		start := time.Now()
		var first time.Duration
		if _, err := reader.Get(context.Background(), Query{Key: public(key), Ask: ask}, func(Item) { first = time.Since(start) }); err != nil || first == 0 {
			b.Fatalf("Get: %v, first %v", err, first)
		}
		firsts += first
	}
	b.ReportMetric(float64(firsts.Microseconds())/float64(b.N), "µs/first")
}

func BenchmarkGet(b *testing.B)    { benchmarkGet(b, 0) }
func BenchmarkGetAsk(b *testing.B) { benchmarkGet(b, 3) }

func BenchmarkParse(b *testing.B) {
	packet := goldenAnswer()
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseMessage(packet); err != nil {
			b.Fatal(err)
		}
	}
}

package dht

import (
	"bytes"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	alog "github.com/anacrolix/log"
)

// Each defect of the library that this package stands on has its test here. (The
// datagrams that kill it are in TestKillers and FuzzPacket.)

// TestDefectFatalAnswer: an answer to a query under way whose ip or values have
// entries under 2 bytes. The entries are left out, the rest counts.
func TestDefectFatalAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		var f *fake
		f = s.fake(1, nodeID{1}, func(m *message, from netip.AddrPort) ([]byte, *krpcError) {
			b := "d2:ip1:x1:rd2:id20:" + string(f.id[:]) + "5:token1:t6:valuesl0:1:x6:\x50\x00\x00\x03\x1a\xe1ee1:t"
			s.mem.send(f.conn.addr, from, append(appendString([]byte(b), m.t), "1:y1:re"...))
			return nil, errSilent
		})
		defer closeFakes(f)
		know(n, f)
		var got []netip.AddrPort
		h, err := n.Peers(t.Context(), [20]byte{1}, 0, func(p netip.AddrPort) { got = append(got, p) })
		if want := netip.MustParseAddrPort("80.0.0.3:6881"); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("Peers: %v, %+v, %v, want %v", got, h, err, want)
		}
	})
}

// TestDefectTraversals: the library's get panics at k and v without seq, waits
// for every dead node, and leaks a goroutine with no nodes known. Synctest fails
// the test if a goroutine stays.
func TestDefectTraversals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		if _, err := n.Get(t.Context(), Query{}, nil); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("Get with no nodes known: %v", err)
		}
		item := signItem(testKey(1), "", "v", 1)
		f := s.fake(1, nodeID{1}, func(*message, netip.AddrPort) ([]byte, *krpcError) {
			return bytes.Replace(itemBody(item), []byte("3:seqi1e"), nil, 1), nil
		})
		var dead []*fake
		for i := range 6 {
			dead = append(dead, s.fake(2+i, nodeID{2, byte(i)}, nil))
		}
		know(n, append(dead, f)...)
		closeFakes(dead...)
		defer closeFakes(f)
		start := time.Now()
		h, err := n.Get(t.Context(), Query{Key: item.Key}, func(Item) { t.Error("an item without seq was reported") })
		if err != nil || h.Answered != 1 || time.Since(start) > 2*time.Second {
			t.Errorf("Get: %+v, %v after %v", h, err, time.Since(start))
		}
		if n.Stats()["item_without_seq"] != 1 {
			t.Errorf("item_without_seq did not count: %v", n.Stats())
		}
	})
}

// TestDefectWrongTarget: find_node and get are answered for their target, with
// the nodes closest to it, nearest first.
func TestDefectWrongTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(40)
		defer s.closeAll()
		n := s.nodes[0]
		f := n.families[0]
		for range 20 {
			where := randomID()
			want := appendNodes(nil, f.closest(where, answerNodes))
			for _, method := range []string{"find_node", "get"} {
				m := &message{kind: 'q', method: method, args: args{target: where, hasTarget: true}}
				body, fault := f.result(m, netip.MustParseAddrPort(memAddr(500)), time.Now())
				if fault != nil || !bytes.Contains(body, want) {
					t.Fatalf("%s is not answered with the nodes closest to its target: %v", method, fault)
				}
			}
		}
	})
}

// TestDefectMappedNodes: IPv4 nodes are neither asked for as nodes6, nor told,
// nor believed, so that 8 copies are 8 nodes.
func TestDefectMappedNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		var mu sync.Mutex
		wants6 := false
		s.mem.setTap(func(from, _ netip.AddrPort, b []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			honest := from != netip.MustParseAddrPort(memAddr(500))
			wants6 = wants6 || honest && (bytes.Contains(b, []byte("wantl2:n6")) || bytes.Contains(b, []byte("2:n42:n6e")) || bytes.Contains(b, []byte("6:nodes6")))
			return true
		})
		s.network(20)
		defer s.closeAll()
		mapped := netip.AddrPortFrom(netip.AddrFrom16(netip.MustParseAddr("80.0.9.9").As16()), 6881)
		f := s.fake(500, nodeID{1}, func(*message, netip.AddrPort) ([]byte, *krpcError) {
			b := append([]byte("6:nodes638:"), make([]byte, 20)...)
			ip := mapped.Addr().As16()
			return append(append(append(b, ip[:]...), 0x1a, 0xe1), tokenOnly...), nil
		})
		defer closeFakes(f)
		s.nodes[1].AddNode(f.conn.addr)
		res, err := s.nodes[1].Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: 1})
		holding := 0
		for _, n := range s.nodes {
			holding += n.items.len()
		}
		if err != nil || res.Stored < 8 || holding < 8 {
			t.Errorf("Put: %+v, %v, %d nodes hold the item", res, err, holding)
		}
		mu.Lock()
		if wants6 {
			t.Error("IPv6 nodes were asked for or told on IPv4")
		}
		mu.Unlock()
		// A query that wants both gets the IPv4 ones once.
		body, _ := s.nodes[0].families[0].result(&message{method: "find_node", args: args{hasTarget: true, want4: true, want6: true}}, f.conn.addr, time.Now())
		if bytes.Count(body, []byte("nodes")) != 1 {
			t.Errorf("the answer to want n4, n6 is %q", body)
		}
	})
}

// TestDefectSlowForming: a private network forms in about a second.
func TestDefectSlowForming(t *testing.T) {
	for _, size := range []int{2, 20, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &starter{t: t, mem: newMemNet(5 * time.Millisecond)}
				s.network(size)
				defer s.closeAll()
				fewest := size
				for _, n := range s.nodes {
					fewest = min(fewest, n.NumNodes())
				}
				if want := min(size*3/5, 20); fewest < want {
					t.Errorf("a node knows %d of %d nodes after a second, want %d", fewest, size, want)
				}
				select {
				case <-s.nodes[0].Ready(): // nobody answered it before somebody joined
				default:
					t.Error("the first node is not ready")
				}
			})
		})
	}
}

// TestDefectCloseLeavesNothing: on real sockets, in the middle of joining,
// walking and pinging. (Every synctest here holds it too.)
func TestDefectCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	nodes := loopback(t, 10)
	var running sync.WaitGroup
	for i, n := range nodes {
		n.AddNode(netip.MustParseAddrPort("127.0.0.1:9")) // nobody there
		running.Go(func() {
			for seq := int64(1); ; seq++ {
				if _, err := n.Put(t.Context(), Put{Key: testKey(byte(i)), Value: []byte("v"), Seq: seq}); errors.Is(err, net.ErrClosed) {
					return
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	for _, n := range nodes {
		start := time.Now()
		_ = n.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		_ = n.Close()
		if err := n.Join(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Join after Close: %v, want net.ErrClosed", err)
		}
	}
	running.Wait()
	// The library's own goroutine is on its last lines when Close returns.
	after := 0
	for range 100 {
		if after = runtime.NumGoroutine(); after <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d after\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
}

// TestDefectCAS: the library compares cas with the wrong field. We never send
// one, and our store compares it with the number of the item that it holds.
func TestDefectCAS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		var mu sync.Mutex
		sent := false
		s.mem.setTap(func(_, _ netip.AddrPort, b []byte) bool {
			mu.Lock()
			sent = sent || bytes.Contains(b, []byte("3:cas"))
			mu.Unlock()
			return true
		})
		s.network(10)
		defer s.closeAll()
		for seq := range int64(3) {
			if _, err := s.nodes[1].Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: seq + 1}); err != nil {
				t.Errorf("Put: %v", err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if sent {
			t.Error("a query had cas")
		}
	})
}

// TestDefectSendLimiter: the library's one limiter for the whole process lets 25
// packets a second out; ours is per node and address.
func TestDefectSendLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(20)
		defer s.closeAll()
		start := time.Now()
		var running sync.WaitGroup
		for i := range 20 {
			running.Go(func() { read(t, s.nodes[2], Query{Key: public(testKey(byte(i)))}) })
		}
		running.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("20 walks at once took %v", took)
		}
	})
}

// TestDefectReadErrors: the library panics at any read error. Ours outlives
// them, and a socket that somebody else closed.
func TestDefectReadErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		f := s.fake(1, nodeID{1}, nil)
		defer closeFakes(f)
		conn := s.mem.at(n.LocalAddrs()[0])
		for range 5 {
			conn.fail <- errors.New("connection refused")
		}
		know(n, f)
		if n.NumNodes() != 1 || n.Stats()["read_error"] != 5 {
			t.Errorf("after read errors: %v", n.Stats())
		}
		_ = conn.Close() // from under the node
		time.Sleep(time.Second)
		if _, err := n.Get(t.Context(), Query{}, nil); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("Get on a closed socket: %v, want ErrNoAnswer", err)
		}
		if n.Stats()["socket_closed"] != 1 || n.Stats()["write_error"] == 0 {
			t.Errorf("a closed socket did not count: %v", n.Stats())
		}
	})
}

// record is a handler for the library's logger.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Handle(rec alog.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.text, rec.Text())
}

// TestDefectLogs: the library logs malformed packets to a process-wide logger.
// Nothing reaches that, whatever comes; ours goes to Config.Logger.
func TestDefectLogs(t *testing.T) {
	old := alog.Default
	var global record
	alog.Default.SetHandlers(&global)
	defer func() { alog.Default = old }()
	var own bytes.Buffer
	s := &starter{t: t, mem: newMemNet(0)}
	n := s.node(Config{Table: []byte("damaged"), Logger: slog.New(slog.NewTextHandler(&own, nil))})
	defer s.closeAll()
	for _, killer := range killers {
		s.mem.send(netip.MustParseAddrPort(memAddr(9)), n.LocalAddrs()[0], []byte(killer.packet))
	}
	f := s.fake(1, nodeID{1}, nil)
	know(n, f)
	if n.NumNodes() != 1 {
		t.Error("the node does not work")
	}
	global.mu.Lock()
	defer global.mu.Unlock()
	if got := global.text.String(); got != "" {
		t.Errorf("the process-wide logger got %q", got)
	}
	if !strings.Contains(own.String(), "damaged") || n.Stats()["saved_table_damaged"] != 1 {
		t.Errorf("our logger got %q, %v", own.String(), n.Stats())
	}
}

// TestDefectMethodNames: the library counts queries by method in a process-wide
// map that never shrinks; made-up methods must not reach it.
func TestDefectMethodNames(t *testing.T) {
	s := &starter{t: t, mem: newMemNet(0)}
	n := s.node(Config{})
	defer s.closeAll()
	from := netip.MustParseAddrPort(memAddr(9))
	for i := range 50 {
		query := strings.Replace(ping, "4:ping", fmt.Sprintf("10:invented%02d", i), 1)
		s.mem.send(from, n.LocalAddrs()[0], []byte(query))
	}
	for range 1000 {
		if n.Stats()["queries_refused"] == 50 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := n.Stats()["queries_refused"]; got != 50 {
		t.Errorf("%d queries refused, want 50", got)
	}
	if got := expvar.Get("dht").String(); strings.Contains(got, "invented") {
		t.Errorf("the process-wide counters hold %s", got)
	}
}

// stuckConn blocks writes to one address.
type stuckConn struct {
	*memConn
	stuck   netip.AddrPort
	release chan struct{}
}

func (c *stuckConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if ap, _ := addrPort(to); ap == c.stuck {
		<-c.release
	}
	return c.memConn.WriteTo(p, to)
}

// TestDefectAnswerUnderLock: the library calls OnQuery with its lock held. An
// answer that cannot be sent must not keep answers to us from coming in.
func TestDefectAnswerUnderLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		slow := netip.MustParseAddrPort(memAddr(9))
		conn := &stuckConn{s.mem.listen(memAddr(0)), slow, make(chan struct{})}
		n := s.node(Config{Conns: []net.PacketConn{conn}})
		defer s.closeAll()
		defer close(conn.release)
		s.mem.send(slow, conn.addr, []byte(ping))
		f := s.fake(1, nodeID{1}, nil)
		defer closeFakes(f)
		know(n, f)
		if n.NumNodes() != 1 {
			t.Errorf("no answer came in while one of ours waited: %v", n.Stats())
		}
		for range 2 * queryQueue { // what waits for our answer is bounded
			s.mem.send(slow, conn.addr, []byte(ping))
		}
		time.Sleep(time.Second)
		if n.Stats()["query_overflow"] == 0 {
			t.Errorf("queries that waited too long did not count: %v", n.Stats())
		}
	})
}

// TestDefectNodeIDFixed: the library's node ID is fixed at its start. Ours follows
// our address (BEP 42), on the wire too.
func TestDefectNodeIDFixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		ip := n.LocalAddrs()[0].Addr()
		for f := n.families[0]; isSecure(f.currentID(), ip); { // 1 in 2 million
			f.mu.Lock()
			f.id = randomID()
			f.table.setSelf(f.id)
			f.mu.Unlock()
		}
		var fakes []*fake
		ids := make(map[nodeID]bool)
		var mu sync.Mutex
		for i := range minVotes {
			fakes = append(fakes, s.fake(i+1, nodeID{byte(i + 1)}, func(m *message, _ netip.AddrPort) ([]byte, *krpcError) {
				mu.Lock()
				defer mu.Unlock()
				ids[m.args.id] = true
				return tokenOnly, nil
			}))
		}
		defer closeFakes(fakes...)
		know(n, fakes...)
		id := n.families[0].currentID()
		if !isSecure(id, ip) || !mainline.NodeIdSecure(id, ip.AsSlice()) {
			t.Errorf("ID %x does not fit %v", id, ip)
		}
		if n.NumNodes() != len(fakes) {
			t.Errorf("the change of ID lost nodes: %d left", n.NumNodes())
		}
		read(t, n, Query{})
		mu.Lock()
		defer mu.Unlock()
		if !ids[id] {
			t.Errorf("the new ID was not seen on the wire: %x, seen %v", id, len(ids))
		}
	})
}

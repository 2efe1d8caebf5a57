package dht

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hostileAnswers are what a hostile or stale node may answer to a get, and the
// counter that must show it.
func TestHostileItems(t *testing.T) {
	key, other := testKey(1), testKey(2)
	good := signItem(key, "s", "good", 100)
	forged := good
	forged.Value = []byte("evil")
	unsigned := good
	unsigned.Sig = [64]byte{}
	number := signItem(key, "s", "x", 100)
	for _, test := range []struct {
		name    string
		body    func() []byte
		counter string
	}{
		{"stale", func() []byte { return itemBody(signItem(key, "s", "old", 99)) }, "item_stale"},
		{"wrong signature", func() []byte { return itemBody(forged) }, "item_bad_signature"},
		{"no signature", func() []byte { return itemBody(unsigned) }, "item_bad_signature"},
		{"other salt", func() []byte { return itemBody(signItem(key, "t", "moved", 200)) }, "item_bad_signature"},
		{"other key", func() []byte { return itemBody(signItem(other, "s", "theirs", 200)) }, "item_wrong_key"},
		{"a day ahead", func() []byte {
			return itemBody(signItem(key, "s", "future", time.Now().Add(MaxAhead+time.Minute).UnixMilli()))
		}, "item_future"},
		{"huge seq", func() []byte { return itemBody(signItem(key, "s", "future", 1<<63-1)) }, "item_future"},
		{"not a string", func() []byte {
			return []byte(strings.Replace(string(itemBody(number)), "1:v1:x", "1:vi7e", 1))
		}, "item_not_a_string"},
		{"no seq", func() []byte {
			return []byte(strings.Replace(string(itemBody(good)), "3:seqi100e", "", 1))
		}, "item_without_seq"},
		{"oversized", func() []byte { return itemBody(signItem(key, "s", strings.Repeat("v", 1200), 200)) }, "packet_bad_field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &starter{t: t, mem: newMemNet(time.Millisecond)}
				n := s.node(Config{})
				defer s.closeAll()
				where := target(public(key), []byte("s"))
				hostile := s.fake(1, near(where, 1), func(m *message, _ netip.AddrPort) ([]byte, *krpcError) {
					if m.method == "get" {
						time.Sleep(5 * time.Millisecond) // after the good one
						return test.body(), nil
					}
					return tokenOnly, nil
				})
				honest := s.fake(2, near(where, 2), func(*message, netip.AddrPort) ([]byte, *krpcError) {
					return itemBody(good), nil
				})
				know(n, hostile, honest)
				var values []string
				h, err := n.Get(t.Context(), Query{Key: public(key), Salt: []byte("s")}, func(i Item) {
					values = append(values, string(i.Value))
				})
				if err != nil || !slices.Equal(values, []string{"good"}) {
					t.Errorf("got values %q, %+v, %v", values, h, err)
				}
				if n.Stats()[test.counter] == 0 {
					t.Errorf("%s did not count: %v", test.counter, n.Stats())
				}
				closeFakes(hostile, honest)
			})
		})
	}
}

// closeFakes ends fakes inside a bubble, which Cleanup is too late for.
func closeFakes(fakes ...*fake) {
	for _, f := range fakes {
		_ = f.conn.Close()
	}
}

// TestHostileNodes: one node names as many others, near the target and dead, as
// fit in a datagram. The lookup finds the item all the same, in a few seconds
// and a bounded number of packets.
func TestHostileNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(10 * time.Millisecond)}
		s.network(20)
		defer s.closeAll()
		key := testKey(1)
		where := target(public(key), nil)
		if _, err := s.nodes[1].Put(t.Context(), Put{Key: key, Value: []byte("v"), Seq: 1}); err != nil {
			t.Fatal(err)
		}
		fan := func(*message, netip.AddrPort) ([]byte, *krpcError) {
			var nodes []contact
			for i := range 130 {
				nodes = append(nodes, contact{near(where, byte(i)), netip.MustParseAddrPort(memAddr(1000 + i))})
			}
			// On loopback, unspecified, port 0, multicast, our own: never asked.
			for _, addr := range []string{"127.0.0.1:53", "0.0.0.0:1", "80.0.0.9:0", "224.0.0.1:9", "255.255.255.255:9"} {
				nodes[0].addr = netip.MustParseAddrPort(addr)
				nodes = slices.Insert(nodes, 1, nodes[0])
			}
			return append(appendString([]byte("5:nodes"), appendNodes(nil, nodes)), tokenOnly...), nil
		}
		hostile := s.fake(500, near(where, 255), fan)
		defer closeFakes(hostile)
		reader := s.node(Config{})
		if err := reader.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		reader.AddNode(hostile.conn.addr)
		time.Sleep(time.Second)
		start := time.Now()
		got, h := read(t, reader, Query{Key: public(key)})
		if got != "v" || h.Asked > walkMost {
			t.Errorf("got %q, %+v", got, h)
		}
		if hostile.asked("get") == 0 {
			t.Error("the hostile node was not asked")
		}
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("the lookup took %v", took)
		}
		stats := reader.Stats()
		if stats["nodes_surplus"] == 0 || stats["nodes_unusable"] < 5 {
			t.Errorf("nodes too many or unusable did not count: %v", stats)
		}
		t.Logf("%+v in %v", h, time.Since(start))
	})
}

// TestDeadNodes: with 30 % of the nodes gone a moment ago, the first item comes
// at once and the walk ends within 2 s; the next walk does not wait for the dead.
func TestDeadNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(20 * time.Millisecond)}
		s.network(60)
		defer s.closeAll()
		key := testKey(1)
		if res, err := s.nodes[5].Put(t.Context(), Put{Key: key, Value: []byte("v"), Seq: 1}); err != nil || res.Stored < 8 {
			t.Fatalf("Put: %+v, %v", res, err)
		}
		for i := range 18 {
			_ = s.nodes[i*3+1].Close()
		}
		reader := s.nodes[3]
		for range 2 {
			start := time.Now()
			var first time.Duration
			h, err := reader.Get(t.Context(), Query{Key: public(key)}, func(Item) { first = time.Since(start) })
			took := time.Since(start)
			t.Logf("%+v, first after %v, complete after %v", h, first, took)
			if err != nil || h.Found == 0 || first > 500*time.Millisecond || took > 2*time.Second {
				t.Errorf("Get: %+v, %v, first after %v, complete after %v", h, err, first, took)
			}
		}
		res, err := s.nodes[6].Put(t.Context(), Put{Key: key, Value: []byte("w"), Seq: 2})
		if err != nil || res.Stored < 8 {
			t.Errorf("Put with dead nodes: %+v, %v, want 8 stored", res, err)
		}
	})
}

// TestLoss: with 10 % of all packets lost, a put still gets its copies and a get
// its item.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(20 * time.Millisecond)}
		s.network(30)
		defer s.closeAll()
		time.Sleep(10 * time.Second) // tables fill
		s.mem.mu.Lock()
		s.mem.loss = 0.1
		s.mem.mu.Unlock()
		for i := range 20 {
			key := testKey(byte(i))
			res, err := s.nodes[i].Put(t.Context(), Put{Key: key, Value: []byte("v"), Seq: 1})
			if err != nil || res.Stored < 8 {
				t.Errorf("Put %d: %+v, %v; %v", i, res, err, s.nodes[i].Stats())
			}
			if got, h := read(t, s.nodes[29-i], Query{Key: public(key)}); got != "v" {
				t.Errorf("Get %d: %q, %+v", i, got, h)
			}
		}
	})
}

// TestForgedAnswer: an answer with a guessed transaction ID, or from another
// address, is nobody's answer.
func TestForgedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		silent := s.fake(1, nodeID{1}, func(m *message, from netip.AddrPort) ([]byte, *krpcError) {
			forged := netip.MustParseAddrPort(memAddr(1))
			for guess := range 256 { // the library's IDs count up
				t := []byte{byte(guess)}
				s.mem.send(forged, from, encodeAnswer(nodeID{9}, from, t, nil, nil))
				s.mem.send(forged, from, encodeAnswer(nodeID{9}, from, append(t, 0, 0, 0, 0), nil, nil))
			}
			s.mem.send(netip.MustParseAddrPort(memAddr(2)), from, encodeAnswer(nodeID{9}, from, m.t, nil, nil))
			return nil, errSilent
		})
		defer closeFakes(silent)
		n.AddNode(silent.conn.addr)
		time.Sleep(5 * time.Second)
		if n.NumNodes() != 0 || n.Stats()["answers"] != 0 {
			t.Errorf("a forged answer counted: %v", n.Stats())
		}
		if n.Stats()["answer_unasked"] < 513 {
			t.Errorf("forged answers were not counted: %v", n.Stats())
		}
	})
}

// TestOnlyNodeWasSilent: the only node that we know left a query unanswered a
// moment ago; it is asked again all the same.
func TestOnlyNodeWasSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		silent := true
		f := s.fake(1, nodeID{1}, func(m *message, _ netip.AddrPort) ([]byte, *krpcError) {
			if m.method == "get" && silent {
				return nil, errSilent
			}
			return tokenOnly, nil
		})
		defer closeFakes(f)
		know(n, f)
		if h, err := n.Get(t.Context(), Query{}, func(Item) {}); !errors.Is(err, ErrNoAnswer) || !n.families[0].isDead(f.conn.addr) {
			t.Errorf("Get while it is silent: %+v, %v", h, err)
		}
		synctest.Wait()
		silent = false
		if h, err := n.Get(t.Context(), Query{}, func(Item) {}); err != nil || h.Answered != 1 {
			t.Errorf("Get when it answers again: %+v, %v", h, err)
		}
	})
}

// TestGetNobody: errors that tell what happened.
func TestGetNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		if _, err := n.Get(t.Context(), Query{}, nil); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("Get with no nodes known: %v, want ErrNoAnswer", err)
		}
		f := s.fake(1, nodeID{1}, nil)
		know(n, f)
		closeFakes(f)
		if h, err := n.Get(t.Context(), Query{}, nil); !errors.Is(err, ErrNoAnswer) || h.Asked != 1 {
			t.Errorf("Get with a dead node: %+v, %v, want ErrNoAnswer", h, err)
		}
		if _, err := n.Get(t.Context(), Query{Salt: make([]byte, 65)}, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("Get with a long salt: %v, want ErrInvalid", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.Get(ctx, Query{}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Get with a cancelled ctx: %v", err)
		}
	})
}

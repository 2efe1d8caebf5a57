package dht

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPutUpdates: a rising sequence number replaces, Newer filters, and ask on
// known holders finds the new value in one round trip.
func TestPutUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(10 * time.Millisecond)}
		s.network(30)
		defer s.closeAll()
		key := testKey(1)
		q := Query{Key: public(key), Salt: []byte("s")}
		put := Put{Key: key, Salt: q.Salt, Value: []byte("one"), Seq: 1}
		writer := s.nodes[1]
		if res, err := writer.Put(t.Context(), put); err != nil || res.Stored < 8 || !res.Walked {
			t.Fatalf("Put: %+v, %v", res, err)
		}
		reader := without(s.nodes, public(key))
		if got, h := read(t, reader, Query{Key: q.Key, Salt: q.Salt, Ask: 3}); got != "" || h != (Health{}) {
			t.Errorf("first ask: %q, %+v, want nobody to ask", got, h)
		}
		if got, h := read(t, reader, q); got != "one" || !h.Walked {
			t.Errorf("first look: %q, %+v, want a walk", got, h)
		}
		put.Value, put.Seq, put.Direct = []byte("two"), 2, true
		start := time.Now()
		res, err := writer.Put(t.Context(), put)
		if err != nil || res.Stored < 8 || res.Walked || time.Since(start) != 20*time.Millisecond {
			t.Errorf("direct put: %+v, %v in %v, want one round trip of 20 ms", res, err, time.Since(start))
		}
		start = time.Now()
		q.Newer, q.Ask = 1, 3
		got, h := read(t, reader, q)
		if got != "two" || h.Walked || h.Asked != 3 || time.Since(start) != 20*time.Millisecond {
			t.Errorf("ask: %q, %+v in %v, want one round trip of 20 ms", got, h, time.Since(start))
		}
		q.Newer = 2
		if got, h := read(t, reader, q); got != "" || h.Found != 0 {
			t.Errorf("get of something newer: %q, %+v", got, h)
		}
	})
}

// without returns a node that does not hold the item of key, so that it must ask.
func without(nodes []*Node, key [32]byte) *Node {
	for _, n := range nodes[2:] {
		if _, ok := n.items.get(target(key, []byte("s")), time.Now()); !ok {
			return n
		}
	}
	return nil
}

// TestAskRotates: asks go to the holders in turn, and never more often than
// allowed to one.
func TestAskRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		item := signItem(testKey(1), "", "v", 1)
		where := target(item.Key, nil)
		var fakes []*fake
		for i := range 8 {
			fakes = append(fakes, s.fake(i+1, near(where, byte(i+1)), func(*message, netip.AddrPort) ([]byte, *krpcError) {
				return itemBody(item), nil
			}))
		}
		defer closeFakes(fakes...)
		know(n, fakes...)
		read(t, n, Query{Key: item.Key})
		before := fakes[0].asked("get")
		for range 8 {
			if got, h := read(t, n, Query{Key: item.Key, Ask: 2}); got != "v" || h.Asked != 2 || h.Walked {
				t.Errorf("ask: %q, %+v", got, h)
			}
		}
		for i, f := range fakes {
			if got := f.asked("get") - before; got != 2 {
				t.Errorf("holder %d was asked %d times in 8 asks of 2 of 8, want 2", i, got)
			}
		}
		// Holders that fail are forgotten; with none left nobody is asked.
		closeFakes(fakes...)
		for range 4 {
			_, _ = n.Get(t.Context(), Query{Key: item.Key, Ask: 2}, func(Item) {})
		}
		if h, err := n.Get(t.Context(), Query{Key: item.Key, Ask: 2}, func(Item) {}); h != (Health{}) || err != nil {
			t.Errorf("ask with no holder left: %+v, %v, want nobody asked", h, err)
		}
	})
}

// TestPutRefused302: some answer 302 to the very item that they hold: then it is
// stored. A valid higher number is reported, a mere claim of one is not.
func TestPutRefused302(t *testing.T) {
	key := testKey(1)
	ours := signItem(key, "s", "ours", 100)
	newer := signItem(key, "s", "twin", 200)
	for _, test := range []struct {
		name   string
		held   []byte
		hidden bool // the item is not there in the walk, only when read again
		stored int
		newer  int64
		want   error
	}{
		{"ours", itemBody(ours), false, 3, 0, nil},
		{"ours, put meanwhile", itemBody(ours), true, 3, 0, nil},
		{"newer", itemBody(newer), true, 0, 200, ErrNewer},
		{"claimed", tokenOnly, true, 0, 0, ErrNotStored},
		{"same number, other value", itemBody(signItem(key, "s", "twin", 100)), true, 0, 0, ErrNotStored},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &starter{t: t, mem: newMemNet(time.Millisecond)}
				n := s.node(Config{})
				defer s.closeAll()
				var fakes []*fake
				for i := range 3 {
					var f *fake
					f = s.fake(i+1, nodeID{byte(i + 1)}, func(m *message, _ netip.AddrPort) ([]byte, *krpcError) {
						switch {
						case m.method == "put":
							return nil, errPutSeq
						case m.method == "get" && test.hidden && f.asked("put") == 0:
							return tokenOnly, nil
						case m.method == "get":
							return test.held, nil
						}
						return nil, nil
					})
					fakes = append(fakes, f)
				}
				defer closeFakes(fakes...)
				know(n, fakes...)
				var seen []string
				res, err := n.Put(t.Context(), Put{Key: key, Salt: []byte("s"), Value: []byte("ours"), Seq: 100, Seen: func(i Item) {
					seen = append(seen, string(i.Value))
				}})
				if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || res.Stored != test.stored || res.Newer != test.newer {
					t.Errorf("Put: %+v, %v, want %d stored, newer %d, %v", res, err, test.stored, test.newer, test.want)
				}
				if twin := strings.Contains(string(test.held), "twin"); twin != slices.Contains(seen, "twin") {
					t.Errorf("Seen got %q", seen)
				}
			})
		})
	}
}

// TestPutSeesNewer: with a newer item out there nothing is written, and the
// caller learns its number.
func TestPutSeesNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(20)
		defer s.closeAll()
		key := testKey(1)
		if _, err := s.nodes[1].Put(t.Context(), Put{Key: key, Value: []byte("new"), Seq: 9}); err != nil {
			t.Fatal(err)
		}
		for _, direct := range []bool{false, true} {
			res, err := s.nodes[2].Put(t.Context(), Put{Key: key, Value: []byte("old"), Seq: 5, Direct: direct})
			if !errors.Is(err, ErrNewer) || res.Newer != 9 || !direct && res.Stored != 0 {
				t.Errorf("Put: %+v, %v, want ErrNewer and 9", res, err)
			}
		}
		if got, _ := read(t, s.nodes[3], Query{Key: public(key)}); got != "new" {
			t.Errorf("got %q", got)
		}
	})
}

// TestPutOverFuture: an item whose number is more than a day ahead neither stops
// the put as newer nor is reported.
func TestPutOverFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{})
		defer s.closeAll()
		key := testKey(1)
		burnt := itemBody(signItem(key, "", "burnt", 1<<62))
		f := s.fake(1, nodeID{1}, func(m *message, _ netip.AddrPort) ([]byte, *krpcError) {
			if m.method == "put" {
				return nil, errPutSeq
			}
			return burnt, nil
		})
		good := s.fake(2, nodeID{2}, nil)
		defer closeFakes(f, good)
		know(n, f, good)
		res, err := n.Put(t.Context(), Put{Key: key, Value: []byte("v"), Seq: 1, Seen: func(Item) { t.Error("the item of the future was reported") }})
		if res.Newer != 0 || res.Stored != 1 || !errors.Is(err, ErrNotStored) {
			t.Errorf("Put: %+v, %v", res, err)
		}
		if n.Stats()["item_future"] == 0 {
			t.Errorf("item_future did not count: %v", n.Stats())
		}
	})
}

// TestPutSmallNetworks: fewer nodes than copies; every one that there is counts.
func TestPutSmallNetworks(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &starter{t: t, mem: newMemNet(time.Millisecond)}
				s.network(size)
				defer s.closeAll()
				key := testKey(1)
				res, err := s.nodes[0].Put(t.Context(), Put{Key: key, Value: []byte("v"), Seq: 1})
				if size == 1 {
					if !errors.Is(err, ErrNoAnswer) {
						t.Errorf("Put alone: %+v, %v, want ErrNoAnswer", res, err)
					}
					return
				}
				if err != nil || res.Stored != size-1 || res.Asked != size-1 {
					t.Errorf("Put: %+v, %v, want %d stored in one walk", res, err, size-1)
				}
				for _, n := range s.nodes[1:] { // holders read from their own store
					if got, _ := read(t, n, Query{Key: public(key)}); got != "v" {
						t.Errorf("got %q", got)
					}
				}
			})
		})
	}
}

// TestReput: a reader keeps an item alive that its writer does not.
func TestReput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(6)
		defer s.closeAll()
		key := testKey(1)
		if _, err := s.nodes[1].Put(t.Context(), Put{Key: key, Value: []byte("v"), Seq: 7}); err != nil {
			t.Fatal(err)
		}
		_ = s.nodes[1].Close()
		var item Item
		if _, err := s.nodes[2].Get(t.Context(), Query{Key: public(key)}, func(i Item) { item = i }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if res, err := s.nodes[2].Reput(t.Context(), item); err != nil || res.Stored != 4 {
			t.Errorf("Reput: %+v, %v", res, err)
		}
		renewed := 0
		for _, n := range s.nodes {
			held, ok := n.items.get(target(item.Key, nil), time.Now())
			if ok && time.Since(held.put) < time.Minute {
				renewed++
			}
		}
		if renewed != 4 {
			t.Errorf("the life of %d copies was renewed, want 4", renewed)
		}
		item.Value = []byte("w")
		if _, err := s.nodes[2].Reput(t.Context(), item); !errors.Is(err, ErrInvalid) {
			t.Errorf("Reput of a forgery: %v, want ErrInvalid", err)
		}
	})
}

// TestTokensAge: direct puts use tokens for 4 minutes, and none after Changed.
func TestTokensAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(12)
		defer s.closeAll()
		put := Put{Key: testKey(1), Value: []byte("v"), Direct: true}
		again := func(wantWalk bool) {
			t.Helper()
			put.Seq++
			if res, err := s.nodes[1].Put(t.Context(), put); err != nil || res.Stored < 8 || res.Walked != wantWalk {
				t.Errorf("Put: %+v, %v, want walked %v", res, err, wantWalk)
			}
		}
		again(true)
		again(false)
		time.Sleep(tokenLife - time.Second)
		again(false)
		time.Sleep(2 * time.Second)
		again(true)
		s.nodes[1].Changed()
		time.Sleep(time.Second)
		again(true)
	})
}

// TestPutInvalid: arguments out of range.
func TestPutInvalid(t *testing.T) {
	s := &starter{t: t, mem: newMemNet(0)}
	n := s.node(Config{})
	defer s.closeAll()
	key := testKey(1)
	for name, put := range map[string]Put{
		"no key":       {Value: []byte("v")},
		"long value":   {Key: key, Value: make([]byte, MaxValue+1)},
		"long salt":    {Key: key, Salt: make([]byte, MaxSalt+1)},
		"negative seq": {Key: key, Seq: -1},
	} {
		if _, err := n.Put(t.Context(), put); !errors.Is(err, ErrInvalid) {
			t.Errorf("put with %s: %v, want ErrInvalid", name, err)
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(format, Put{Key: key, Value: []byte("v")}); strings.Contains(got, fmt.Sprint([]byte(key[:4]))[1:8]) || !strings.Contains(got, "put of 1 bytes") {
			t.Errorf("%s of a Put is %q", format, got)
		}
	}
	if _, err := n.Announce(t.Context(), [20]byte{1}, 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("announce of port 0: %v, want ErrInvalid", err)
	}
}

// TestValues: values of all lengths come back as they were, the empty one too.
func TestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(10)
		defer s.closeAll()
		for seq, size := range []int{0, 1, 9, 10, 899, MaxValue} {
			value := strings.Repeat("\x00", size)
			put := Put{Key: testKey(1), Salt: make([]byte, MaxSalt), Value: []byte(value), Seq: int64(seq + 1)}
			if res, err := s.nodes[1].Put(t.Context(), put); err != nil {
				t.Errorf("Put of %d bytes: %+v, %v", size, res, err)
			}
			found := false
			_, err := s.nodes[2].Get(t.Context(), Query{Key: public(put.Key), Salt: put.Salt, Newer: int64(seq)}, func(i Item) {
				found = string(i.Value) == value
			})
			if err != nil || !found {
				t.Errorf("a value of %d bytes did not come back: %v", size, err)
			}
		}
	})
}

// TestPutEmptySalt: a salt of no bytes is none, and not on the wire: npm
// bittorrent-dht takes one as signed, finds the signature bad, and does not answer.
func TestPutEmptySalt(t *testing.T) {
	for _, salt := range [][]byte{nil, {}} {
		synctest.Test(t, func(t *testing.T) {
			s := &starter{t: t, mem: newMemNet(time.Millisecond)}
			s.network(4)
			defer s.closeAll()
			var puts atomic.Int32
			s.mem.setTap(func(_, _ netip.AddrPort, b []byte) bool {
				if bytes.Contains(b, []byte("1:q3:put")) {
					puts.Add(1)
					if bytes.Contains(b, []byte("4:salt")) {
						t.Errorf("with the salt %#v goes out %q", salt, b)
					}
				}
				return true
			})
			put := Put{Key: testKey(1), Salt: salt, Value: []byte("value"), Seq: 1}
			if res, err := s.nodes[0].Put(t.Context(), put); err != nil || puts.Load() < 3 {
				t.Errorf("Put: %+v, %v, after %d put queries, want 3 or more", res, err, puts.Load())
			}
		})
	}
}

// TestPutPassesTheDeadBy: that a node of a small network is dead is no reason to
// walk twice: another walk would not ask it either.
func TestPutPassesTheDeadBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(5)
		defer s.closeAll()
		time.Sleep(10 * time.Second)
		if err := s.nodes[4].Close(); err != nil {
			t.Fatal(err)
		}
		for i := range 2 { // the second time it is known
			put := Put{Key: testKey(byte(i)), Value: []byte("value"), Seq: 1}
			res, err := s.nodes[0].Put(t.Context(), put)
			if want := 4 - i; err != nil || res.Stored != 3 || res.Asked != want || !res.All {
				t.Errorf("put %d: %+v, %v; want 3 copies, all there can be, %d nodes asked", i, res, err, want)
			}
		}
	})
}

// TestPace: to one address go 6 packets at once and 2 a second after.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{QueryRate: 2})
		defer s.closeAll()
		f := s.fake(1, nodeID{1}, nil)
		defer closeFakes(f)
		know(n, f)
		start := time.Now()
		var running sync.WaitGroup
		for i := range 60 {
			running.Go(func() { _, _ = n.Get(t.Context(), Query{Key: [32]byte{byte(i)}}, func(Item) {}) })
		}
		running.Wait()
		took := time.Since(start)
		sent := f.asked("get") + f.asked("ping")
		if limit := 6 + int(2*took.Seconds()) + 1; sent > limit || sent < 11 {
			t.Errorf("%d packets in %v, want 11 to %d", sent, took, limit)
		}
		if n.Stats()["query_paced"] == 0 {
			t.Errorf("what was not sent did not count: %v", n.Stats())
		}
	})
}

// TestPutsGoAhead: a put or an announce does not stand behind the questions that are in line to
// the same address, and with both at once no address gets more packets in any
// 10 s than others of its kind bear: libtorrent goes silent at 50, what it is
// answered among them.
func TestPutsGoAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(10 * time.Millisecond)}
		s.node(Config{})
		n := s.node(Config{QueryRate: 2})
		defer s.closeAll()
		if err := n.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var sent []time.Time
		s.mem.setTap(func(from, to netip.AddrPort, b []byte) bool {
			if from == n.LocalAddrs()[0] && bytes.Contains(b, []byte("1:y1:q")) {
				mu.Lock()
				sent = append(sent, time.Now())
				mu.Unlock()
			}
			return true
		})
		var running sync.WaitGroup
		crowd := func(ctx context.Context, f func(i, round int)) {
			for i := range 16 {
				running.Go(func() {
					for round := 1; ctx.Err() == nil; round++ {
						f(i, round)
						time.Sleep(200 * time.Millisecond) // one that is refused takes no time
					}
				})
			}
		}
		ask := func(i, _ int) { _, _ = n.Get(t.Context(), Query{Key: [32]byte{byte(i)}}, func(Item) {}) }
		asking, stop := context.WithCancel(t.Context())
		crowd(asking, ask)
		time.Sleep(10 * time.Second)
		for range 3 {
			begun := time.Now()
			res, err := n.Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: begun.UnixMilli()})
			if took := time.Since(begun); err != nil || took > 500*time.Millisecond {
				t.Errorf("beside many questions Put took %v, want 500 ms at most: %+v, %v", took, res, err)
			}
			time.Sleep(4 * time.Second)
			begun = time.Now()
			h, err := n.Announce(t.Context(), [20]byte{1}, 7)
			if took := time.Since(begun); err != nil || took > 500*time.Millisecond {
				t.Errorf("beside many questions Announce took %v, want 500 ms at most: %+v, %v", took, h, err)
			}
			time.Sleep(4 * time.Second)
		}
		stop()
		running.Wait()
		time.Sleep(time.Minute) // so that all there is may go at once
		both, stop := context.WithTimeout(t.Context(), 25*time.Second)
		defer stop()
		crowd(both, ask)
		crowd(both, func(i, round int) {
			_, _ = n.Put(t.Context(), Put{Key: testKey(byte(2 + i)), Value: []byte("v"), Seq: int64(round)})
		})
		running.Wait()
		most, first := 0, 0
		for i, at := range sent {
			for at.Sub(sent[first]) >= 10*time.Second {
				first++
			}
			most = max(most, i-first+1)
		}
		t.Logf("%d packets, at most %d in 10 s", len(sent), most)
		if most > 35 || len(sent) < 100 {
			t.Errorf("%d packets, at most %d of them in 10 s; want 100 or more, and at most 35", len(sent), most)
		}
	})
}

// TestBudget: the caller's budget is asked for each packet, delays, and vetoes.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		var mu sync.Mutex
		packets, veto := 0, false
		no := errors.New("no more today")
		n := s.node(Config{Budget: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			packets++
			if veto {
				return no
			}
			return nil
		}})
		defer s.closeAll()
		f := s.fake(1, nodeID{1}, nil)
		defer closeFakes(f)
		know(n, f)
		read(t, n, Query{})
		mu.Lock()
		if sent := f.asked("get") + f.asked("ping"); packets != sent {
			t.Errorf("the budget was asked for %d packets, %d were sent", packets, sent)
		}
		veto = true
		mu.Unlock()
		if _, err := n.Get(t.Context(), Query{}, func(Item) {}); !errors.Is(err, ErrNoAnswer) || n.Stats()["query_over_budget"] == 0 {
			t.Errorf("Get over budget: %v, %v", err, n.Stats())
		}
		if n.NumNodes() != 1 {
			t.Error("a packet that was not sent counted against the node")
		}
	})
}

// TestReadOnly: such a node says so, answers nobody, is in no table, and works.
func TestReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(15)
		defer s.closeAll()
		n := s.node(Config{ReadOnly: true})
		if err := n.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if res, err := n.Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: 1}); err != nil || res.Stored < 8 {
			t.Errorf("Put: %+v, %v", res, err)
		}
		for _, other := range s.nodes[:15] {
			f := other.families[0]
			f.mu.Lock()
			if f.table.has(n.LocalAddrs()[0]) {
				t.Error("a read-only node is in a routing table")
			}
			f.mu.Unlock()
		}
		s.nodes[1].AddNode(n.LocalAddrs()[0])
		time.Sleep(5 * time.Second)
		if n.Stats()["query_to_read_only"] == 0 || s.nodes[1].families[0].table.has(n.LocalAddrs()[0]) {
			t.Errorf("a read-only node answered: %v", n.Stats())
		}
	})
}

// TestTwoFamilies: one node on both families joins, puts and gets on both.
func TestTwoFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		for i := range 6 {
			v6 := fmt.Sprintf("[2001:db8:0:%d::1]:6881", i)
			s.node(Config{Conns: []net.PacketConn{s.mem.listen(v6), s.mem.listen(memAddr(i))}})
		}
		defer s.closeAll()
		for _, n := range s.nodes[1:] {
			if err := n.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		v4, v6 := s.node(Config{}), s.node(Config{Conns: []net.PacketConn{s.mem.listen("[2001:db8:0:99::1]:6881")}})
		for _, n := range []*Node{v4, v6} {
			if err := n.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if res, err := s.nodes[1].Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: 1}); err != nil || res.Stored < 10 {
			t.Errorf("Put: %+v, %v, want copies in both families", res, err)
		}
		for _, n := range []*Node{v4, v6} {
			if got, h := read(t, n, Query{Key: public(testKey(1))}); got != "v" {
				t.Errorf("got %q, %+v", got, h)
			}
		}
		addrs := s.nodes[1].External()
		if len(addrs) != 2 || addrs[0].Addr().Is6() || addrs[0] != s.nodes[1].LocalAddrs()[0] || addrs[1] != s.nodes[1].LocalAddrs()[1] {
			t.Errorf("External: %v, want %v", addrs, s.nodes[1].LocalAddrs())
		}
	})
}

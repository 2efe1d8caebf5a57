package transport

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/lab"
)

// TestPeersLink: a link stands 7 round trips after both have the other's offer.
func TestPeersLink(t *testing.T) {
	for _, both := range []bool{false, true} {
		peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
			a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
			defer b.stop()
			defer a.stop()
			begun := time.Now()
			a.Connect(b.id)
			if both {
				b.Connect(a.id)
			}
			la, lb := linked(a, b, time.Minute)
			trips := time.Since(s.taken()) / tripTime
			t.Logf("both %v: up after %v, %.1f round trips after both offers were there", both, time.Since(begun),
				float64(time.Since(s.taken()))/float64(tripTime))
			if trips >= 7 {
				t.Errorf("up after %d round trips, want at most 7", trips)
			}
			if la.Lower() == lb.Lower() || la.Peer() != b.id || lb.Peer() != a.id {
				t.Error("the ends do not know who they are")
			}
			if p := la.Path(); p.Kind != PathDirect || p.Remote != netip.AddrPortFrom(peerHostAddr(1), 4000) {
				t.Errorf("the path is %v", p)
			}
			echo(t, la, 1<<20)
			echo(t, lb, 1<<20)
			time.Sleep(5 * time.Minute)
			for _, x := range []*peerNode{a, b} {
				if ups, downs := x.counts(); ups-downs != 1 || ups > 2 {
					t.Errorf("both %v: %d links came up and %d went down, want one to be left", both, ups, downs)
				} else if both {
					t.Logf("%d links came up", ups)
				}
			}
		})
	}
}

func peerHostAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, byte(100 + i/200), byte(1 + i%200)})
}

// TestPeersCross: whenever the two begin, and however bad the signal is, one
// link is left.
func TestPeersCross(t *testing.T) {
	most := 0
	for seed := range uint64(12) {
		peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
			*s = *newPost(seed)
			s.jitter, s.loss, s.repeat, s.every = 300*time.Millisecond, 0.3, 0.5, 2*time.Second
			a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
			defer b.stop()
			defer a.stop()
			a.Connect(b.id)
			time.Sleep(time.Duration(seed) * 20 * time.Millisecond)
			b.Connect(a.id)
			linked(a, b, 2*time.Minute)
			time.Sleep(time.Minute)
			la, lb := linked(a, b, time.Millisecond*2)
			echo(t, la, 100<<10)
			echo(t, lb, 100<<10)
			for _, x := range []*peerNode{a, b} {
				ups, downs := x.counts()
				if ups-downs != 1 {
					t.Errorf("seed %d: %d links came up and %d went down", seed, ups, downs)
				}
				most = max(most, ups)
			}
			time.Sleep(10 * time.Minute)
			if a.Link(b.id) != la {
				t.Errorf("seed %d: the link was replaced later: %v", seed, la.Err())
			}
		})
	}
	t.Logf("at most %d links came up for one to be left", most)
}

// TestPeerRestarts: a peer that was killed and comes back gets a new link; what
// it showed before is refused.
func TestPeerRestarts(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		s.every = 2 * time.Second
		a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
		defer a.stop()
		a.Connect(b.id)
		first, _ := linked(a, b, time.Minute)
		for i := range 3 {
			own, seen := b.own, b.seen
			b.kill()
			time.Sleep(time.Duration(i) * time.Second)
			c := &peerNode{t: t, post: s, host: b.host, who: b.who, id: b.id, inc: b.inc, own: own, seen: seen}
			c.start(peerOptions{})
			b = c
			begun := time.Now()
			b.Connect(a.id)
			l, _ := linked(a, b, time.Minute)
			if l == first {
				t.Fatal("the link has outlived the peer")
			}
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("linked again after %v", took)
			}
			echo(t, l, 10<<10)
			if first.Err() == nil {
				time.Sleep(time.Second)
			}
			if !errors.Is(first.Err(), ErrReplaced) && !errors.Is(first.Err(), ErrSilent) {
				t.Errorf("the link before ended by %v", first.Err())
			}
			first = l
		}
		b.stop()
		<-first.Done()
		var closed *CloseError
		if !errors.As(first.Err(), &closed) || closed.Code != CodeShutdown {
			t.Errorf("after the peer's Close: %v", first.Err())
		}
	})
}

// TestOffersRefused: what is replayed, reordered, of an old incarnation or of
// somebody else changes nothing.
func TestOffersRefused(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
		m := newPeerNode(t, s, peerHost(n, 2), peerOptions{}) // a friend of both
		defer m.stop()
		defer b.stop()
		defer a.stop()
		a.Connect(b.id)
		la, _ := linked(a, b, time.Minute)
		m.Connect(a.id)
		m.Connect(b.id)
		linked(m, a, time.Minute)
		linked(m, b, time.Minute)
		upsA, _ := a.counts()
		upsB, _ := b.counts()
		attempts := func() (n int) {
			for _, x := range []*peerNode{a, b} {
				x.Transport.mu.Lock()
				for _, p := range x.peers {
					n += len(p.attempts)
				}
				x.Transport.mu.Unlock()
			}
			return n
		}
		for _, o := range s.offers(b.id, a.id) {
			if err := a.Offer(b.id, o.inc, o.offer); !errors.Is(err, errOldOffer) {
				t.Errorf("an offer that was taken before: %v", err)
			}
			old := crypto.Incarnation{Created: o.inc.Created - 1, Random: o.inc.Random}
			if err := a.Offer(b.id, old, o.offer); !errors.Is(err, errOldOffer) {
				t.Errorf("an offer of an old incarnation: %v", err)
			}
		}
		for _, bad := range [][]byte{nil, {1}, noise(1, 98), noise(2, 320), noise(3, 5000)} {
			if err := a.Offer(b.id, b.inc, bad); err == nil {
				t.Errorf("an offer of %d bytes of noise was taken", len(bad))
			}
		}
		time.Sleep(time.Minute)
		if n := attempts(); n > 0 {
			t.Errorf("%d attempts run because of offers that were refused", n)
		}

		// m passes the offers of one friend on to the other as his own, with his
		// signature: RFC 8844. Whatever comes of it, a and b do not meet in it.
		for _, o := range s.offers(a.id, m.id) {
			_ = b.Offer(m.id, m.inc, o.offer) // whatever b says
		}
		for _, o := range s.offers(b.id, m.id) {
			_ = a.Offer(m.id, m.inc, o.offer)
		}
		time.Sleep(3 * time.Minute)
		for _, x := range []*peerNode{a, b} {
			x.mu.Lock()
			for _, l := range x.ups {
				if l.Peer() != m.id && l.Peer() != a.id && l.Peer() != b.id {
					t.Errorf("a link to %v came up", l.Peer())
				}
			}
			x.mu.Unlock()
		}
		if a.Link(b.id) != la || la.Err() != nil {
			t.Errorf("the link between the two has ended: %v", la.Err())
		}
		if ups, _ := a.counts(); ups > upsA+1 { // that to m may have been made anew
			t.Errorf("%d links came up at a", ups-upsA)
		}
		if ups, _ := b.counts(); ups > upsB+1 {
			t.Errorf("%d links came up at b", ups-upsB)
		}
		echo(t, la, 10<<10)
	})
}

// TestPeersSplice: of two whose offers a third has exchanged neither gets a link.
func TestPeersSplice(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
		defer b.stop()
		defer a.stop()
		mid := crypto.NewIdentity().ID() // a friend of both, who says what the other says
		inc := crypto.Incarnation{Created: 1}
		relayed := map[int]bool{}
		a.Connect(mid)
		b.Connect(mid)
		for range 600 {
			s.mu.Lock()
			sent := s.sent
			s.mu.Unlock()
			for i, o := range sent {
				if relayed[i] {
					continue
				}
				relayed[i] = true
				to := a
				if o.from == a.id {
					to = b
				}
				_ = to.Offer(mid, inc, o.offer) // whatever it says
			}
			time.Sleep(100 * time.Millisecond)
		}
		if len(relayed) < 2 {
			t.Fatal("there were no offers to splice")
		}
		for _, x := range []*peerNode{a, b} {
			if ups, _ := x.counts(); ups > 0 {
				t.Errorf("%d links came up", ups)
			}
		}
	})
}

// TestDisconnectAndForget: each ends the link, and says so.
func TestDisconnectAndForget(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
		defer b.stop()
		defer a.stop()
		for _, end := range []func(){
			func() { a.Disconnect(b.id, "enough") },
			func() { a.Forget(b.id, "enough") },
		} {
			a.Connect(b.id)
			la, lb := linked(a, b, 5*time.Minute)
			end()
			<-la.Done()
			<-lb.Done()
			var closed *CloseError
			if !errors.As(lb.Err(), &closed) || closed.Code != CodeUnwanted || closed.Reason != "enough" {
				t.Errorf("the peer's link ended by %v", lb.Err())
			}
			time.Sleep(2 * time.Minute)
			if a.Link(b.id) != nil || b.Link(a.id) != nil {
				t.Error("there is a link again that nobody wanted")
			}
			s.mu.Lock()
			if len(s.open) > 0 {
				t.Errorf("%d offers stand that nobody wants", len(s.open))
			}
			s.mu.Unlock()
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		a.Connect(b.id) // nothing
		a.AddressesChanged()
		a.Forget(b.id, "")
		if err := a.Offer(b.id, b.inc, []byte("x")); err != nil {
			t.Errorf("offer after Close: %v", err)
		}
	})
}

// TestCloseAnyTime: Close while anything runs leaves nothing (the bubble counts
// goroutines) and is quick.
func TestCloseAnyTime(t *testing.T) {
	for step := range 24 {
		peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
			a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
			a.Connect(b.id)
			b.Connect(a.id)
			time.Sleep(time.Duration(step) * 20 * time.Millisecond)
			if step%3 == 0 {
				a.Forget(b.id, "") // its link may linger
			}
			begun := time.Now()
			a.stop()
			if took := time.Since(begun); took > time.Second {
				t.Errorf("after %d ms Close took %v", step*20, took)
			}
			a.Transport.mu.Lock()
			if len(a.live) > 0 || len(a.ids) > 0 {
				t.Errorf("after %d ms: %d links and %d connection IDs are left", step*20, len(a.live), len(a.ids))
			}
			a.Transport.mu.Unlock()
			b.stop()
		})
	}
}

// TestManyPeers: one node with many friends, all at once.
func TestManyPeers(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		hub := newPeerNode(t, s, peerHost(n, 0), peerOptions{})
		var others []*peerNode
		for i := range 30 {
			others = append(others, newPeerNode(t, s, peerHost(n, i+1), peerOptions{}))
		}
		begun := time.Now()
		for _, o := range others {
			hub.Connect(o.id)
		}
		for _, o := range others {
			linked(hub, o, time.Minute)
		}
		t.Logf("%d links after %v", len(others), time.Since(begun))
		for _, o := range others {
			echo(t, o.Link(hub.id), 10<<10)
		}
		for _, o := range others {
			o.stop()
		}
		time.Sleep(time.Second)
		if ups, downs := hub.counts(); ups != downs || ups != len(others) {
			t.Errorf("%d links came up, %d went down", ups, downs)
		}
		hub.stop()
	})
}

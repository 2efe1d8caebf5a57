package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// pair is two friends with a link.
type pair struct {
	alice, bob *person
	ab, ba     *carrier.Friend // Alice's handle of Bob, and Bob's of Alice
}

// newPair makes friends of two new people and waits for their link.
func newPair(t *testing.T, n *carriertest.Network) *pair {
	t.Helper()
	p := &pair{alice: newPerson(t, n, "Alice"), bob: newPerson(t, n, "Bob")}
	p.ab, p.ba = befriend(p.alice, p.bob)
	p.linked(t)
	return p
}

// linked waits until both ends have a link.
func (p *pair) linked(t *testing.T) {
	t.Helper()
	eventually(t, "both have a link", func() bool {
		return p.ab.Path().Kind != carrier.PathNone && p.ba.Path().Kind != carrier.PathNone
	})
}

// session opens a session from Alice to Bob; both ends have the limit of
// streams of opts.
func (p *pair) session(t *testing.T, service string, opts *carrier.SessionOptions) (a, b *carrier.Session) {
	t.Helper()
	if opts == nil {
		opts = &carrier.SessionOptions{}
	}
	l := p.listen(t, service, &carrier.ListenOptions{Streams: opts.Streams})
	defer l.Close()
	got := make(chan *carrier.Session, 1)
	go func() {
		defer close(got)
		r, err := l.Accept(within(t, patience))
		if err != nil {
			t.Error(err)
			return
		}
		s, err := r.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		got <- s
	}()
	a, err := p.ab.NewSession(within(t, patience), service, opts)
	if err != nil {
		t.Fatal(err)
	}
	if b = <-got; b == nil {
		t.FailNow()
	}
	return a, b
}

// listen has Bob listen for sessions.
func (p *pair) listen(t *testing.T, service string, opts *carrier.ListenOptions) *carrier.SessionListener {
	t.Helper()
	l, err := p.bob.ListenSessions(service, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// streamBetween opens a stream from a to b.
func streamBetween(t *testing.T, a, b *carrier.Session, opts *carrier.StreamOptions) (x, y *carrier.Stream) {
	t.Helper()
	x, err := a.OpenStream(within(t, patience), opts)
	if err != nil {
		t.Fatal(err)
	}
	if y, err = b.AcceptStream(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return x, y
}

// serveEcho sends back what comes on a listener's streams, until the listener
// is closed.
func serveEcho(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go echoConn(c)
	}
}

func echoConn(c net.Conn) {
	_, _ = io.Copy(c, c) // the other end compares
	_ = c.Close()
}

// randomBytes are bytes that repeat nowhere.
func randomBytes(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b) // never fails
	return b
}

// talkTo writes b, ends its half, and wants the same back and the end.
func talkTo(c *carrier.Stream, b []byte) error {
	var writing sync.WaitGroup
	var wrote error
	writing.Go(func() {
		if _, wrote = c.Write(b); wrote == nil {
			wrote = c.CloseWrite()
		}
	})
	got, err := io.ReadAll(c)
	writing.Wait()
	switch {
	case wrote != nil:
		return wrote
	case err != nil:
		return err
	case !bytes.Equal(got, b):
		return errors.New("what came back differs")
	}
	return c.Close()
}

// firstChecks notes when each address has sent its first STUN packet: a node
// does so as soon as it has a friend's offer and the friend may have its own.
type firstChecks struct {
	mu sync.Mutex
	at map[netip.Addr]time.Time
}

func (f *firstChecks) tap(from, _ netip.AddrPort, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(b) > 0 && b[0] <= 1 && f.at[from.Addr()].IsZero() {
		f.at[from.Addr()] = time.Now()
	}
}

// TestLinkAndStream: two people become friends, get a link and open streams, in
// virtual time over lines of 50 ms round trips.
func TestLinkAndStream(t *testing.T) {
	t.Parallel()
	const trip = 50 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, &carriertest.Options{Delay: trip / 2})
		checks := &firstChecks{at: map[netip.Addr]time.Time{}}
		n.Tap(checks.tap)
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		var ups sync.WaitGroup
		var up [2]time.Time
		for i, p := range []*person{alice, bob} {
			events := p.Events(within(t, patience))
			ups.Go(func() {
				for ev := range events {
					if path, ok := ev.(carrier.FriendPath); ok && path.Path.Kind != carrier.PathNone {
						up[i] = time.Now()
						return
					}
				}
			})
		}
		ab, _ := befriend(alice, bob)
		ups.Wait()
		checks.mu.Lock()
		first, second := checks.at[alice.LocalAddrs()[0].Addr()], checks.at[bob.LocalAddrs()[0].Addr()]
		checks.mu.Unlock()
		if up[0].IsZero() || up[1].IsZero() || first.IsZero() || second.IsZero() {
			t.Fatalf("links up at %v, first checks at %v and %v: want all of them", up, first, second)
		}
		if second.Before(first) {
			first, second = second, first
		}
		// Whoever checks first has both offers; its answer takes half a round trip.
		both := first.Add(trip / 2)
		if second.Before(both) {
			both = second
		}
		last := up[0]
		if up[1].After(last) {
			last = up[1]
		}
		took := last.Sub(both)
		t.Logf("link up at both ends %.1f round trips after both had each other's offer (first checks %v apart); %+v",
			float64(took)/float64(trip), second.Sub(first), ab.Path())
		if took > 7*trip {
			t.Errorf("link up %v after both had each other's offer, want at most 7 round trips of %v", took, trip)
		}
		if rtt := ab.Path().RTT; rtt < trip-5*time.Millisecond || rtt > trip+10*time.Millisecond {
			t.Errorf("the path's round trip is %v, want about %v", rtt, trip)
		}

		ln, err := bob.Listen("echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		go serveEcho(ln)
		for i := range 2 {
			begun := time.Now()
			c, err := ab.Dial(within(t, patience), "echo")
			if err != nil {
				t.Fatal(err)
			}
			dialled := time.Since(begun)
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			t.Logf("session %d after %v, its first echo after %v", i+1, dialled, time.Since(begun))
			if dialled > trip+5*time.Millisecond {
				t.Errorf("session %d took %v, want one round trip of %v", i+1, dialled, trip)
			}
			if err := talkTo(c, randomBytes(100_000, uint64(i))); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestDialWaitsForTheLink: who is not online yet is waited for, until ctx ends.
func TestDialWaitsForTheLink(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		p.bob.leave()
		eventually(t, "the link is gone", func() bool { return p.ab.Path().Kind == carrier.PathNone })
		begun := time.Now()
		if _, err := p.ab.Dial(within(t, 10*time.Second), "echo"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial of an offline friend: %v, want the end of its context", err)
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("it took %v, want the 10 s of its context", took)
		}
		begun = time.Now()
		if _, err := p.ab.NewSession(t.Context(), "echo", &carrier.SessionOptions{NoWait: true}); !errors.Is(err, carrier.ErrOffline) {
			t.Errorf("NewSession with NoWait: %v, want ErrOffline", err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v, want it at once", took)
		}
		dialled := make(chan error, 1)
		go func() {
			c, err := p.ab.Dial(within(t, patience), "echo")
			if err == nil {
				err = talkTo(c, []byte("at last"))
			}
			dialled <- err
		}()
		time.Sleep(time.Second)
		p.bob.start()
		ln, err := p.bob.Listen("echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		go serveEcho(ln)
		if err := <-dialled; err != nil {
			t.Errorf("Dial of a friend who came back: %v", err)
		}
	})
}

// TestDialOnASuspectLink: nobody is asked over a link that may be dead. It is
// waited for, and goes on if it lives.
func TestDialOnASuspectLink(t *testing.T) {
	bubbleWithDelay(t, 10*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		ln, err := p.bob.Listen("echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		go serveEcho(ln)
		first, err := p.ab.Dial(within(t, patience), "echo")
		if err != nil {
			t.Fatal(err)
		}
		p.bob.hole(true)
		time.Sleep(5 * time.Second)
		begun := time.Now()
		if _, err := p.ab.NewSession(t.Context(), "echo", &carrier.SessionOptions{NoWait: true}); !errors.Is(err, carrier.ErrOffline) {
			t.Errorf("NewSession with NoWait: %v, want ErrOffline", err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v, want it at once", took)
		}
		go func() {
			time.Sleep(3 * time.Second)
			p.bob.hole(false)
		}()
		again, err := p.ab.Dial(within(t, patience), "echo")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 3*time.Second || took > 10*time.Second {
			t.Errorf("Dial took %v, want a little more than the 3 s that the friend was away", took)
		}
		for _, c := range []*carrier.Stream{first, again} {
			if err := talkTo(c, []byte("still there")); err != nil {
				t.Error(err)
			}
		}
	})
}

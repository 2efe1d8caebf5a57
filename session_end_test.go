package carrier_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/transport"
)

// hole makes a person's host a black hole, both ways: nobody hears of it any
// more, and nobody is told.
func (p *person) hole(is bool) {
	p.config.Net.(interface{ Blackhole(in, out bool) }).Blackhole(is, is)
}

// ends are the sentinels that tell the ends of a session apart.
func ends(err error) (matching []string) {
	for name, sentinel := range map[string]error{
		"closed": net.ErrClosed, "peer": carrier.ErrPeerClosed, "aborted": carrier.ErrAborted, "lost": carrier.ErrLinkLost,
		"silent": transport.ErrSilent, "stranger": carrier.ErrNotFriend,
	} {
		if errors.Is(err, sentinel) {
			matching = append(matching, name)
		}
	}
	var said *transport.CloseError
	if errors.As(err, &said) {
		matching = append(matching, "told")
	}
	slices.Sort(matching)
	return matching
}

// TestSessionEnds: whichever way a session ends, both ends learn it in time, by
// the session and by everything that waits on it, and the errors tell the ways
// apart.
func TestSessionEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(p *pair, a, b *carrier.Session)
		alice  []string
		bob    []string
		says   string // in Bob's error
		within time.Duration
	}{
		{
			"closed by this end", func(_ *pair, a, _ *carrier.Session) { a.Close() },
			[]string{"closed"},
			[]string{"peer"},
			"closed by the friend", 2 * time.Second,
		},
		{
			"closed by the other end", func(_ *pair, _, b *carrier.Session) { b.Close() },
			[]string{"peer"},
			[]string{"closed"},
			"closed at this end", 2 * time.Second,
		},
		{
			"aborted by this end", func(_ *pair, a, _ *carrier.Session) { a.Abort("the game is over") },
			[]string{"aborted"},
			[]string{"aborted"},
			`by the friend: "the game is over"`, 2 * time.Second,
		},
		{
			"aborted by the other end", func(_ *pair, _, b *carrier.Session) { b.Abort("") },
			[]string{"aborted"},
			[]string{"aborted"},
			"session aborted", 2 * time.Second,
		},
		{
			"node closed", func(p *pair, _, _ *carrier.Session) { p.alice.stop() },
			[]string{"closed", "lost"},
			[]string{"lost", "told"},
			"the node stops", 2 * time.Second,
		},
		{
			"node shut down", func(p *pair, _, _ *carrier.Session) { p.alice.leave() },
			[]string{"closed"},
			[]string{"peer"},
			"closed by the friend", 2 * time.Second,
		},
		{
			"blocked", func(p *pair, _, _ *carrier.Session) { p.alice.must(p.alice.Block(p.bob.ID())) },
			[]string{"lost", "stranger"},
			[]string{"lost", "told"},
			"not wanted any more", 2 * time.Second,
		},
		{
			"network lost", func(p *pair, _, _ *carrier.Session) { p.alice.hole(true) },
			[]string{"lost", "silent"},
			[]string{"lost", "silent"},
			"no longer heard", 15 * time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubbleWithDelay(t, 10*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
				p := newPair(t, n)
				a, b := p.session(t, "ends", nil)
				type call struct {
					what  string
					alice bool
					err   chan error
				}
				var calls []call
				wait := func(what string, alice bool, f func() error) {
					c := call{what, alice, make(chan error, 1)}
					calls = append(calls, c)
					go func() { c.err <- f() }()
				}
				for mode, opts := range map[string]*carrier.StreamOptions{
					"reliable": nil, "bulk": {Bulk: true}, "datagram": {Mode: carrier.Datagram},
				} {
					x, y := streamBetween(t, a, b, opts)
					wait("Read of a "+mode+" stream", true, func() error { return second(x.Read(make([]byte, 1))) })
					wait("Read of a "+mode+" stream", false, func() error { return second(y.Read(make([]byte, 1))) })
				}
				full, _ := streamBetween(t, a, b, nil)
				wait("Write of a stream that is full", true, func() error { return second(full.Write(make([]byte, 8<<20))) })
				wait("AcceptStream", true, func() error { _, err := a.AcceptStream(t.Context()); return err })
				wait("AcceptStream", false, func() error { _, err := b.AcceptStream(t.Context()); return err })
				time.Sleep(time.Second)
				if a.Err() != nil || b.Err() != nil {
					t.Fatalf("Err before the end: %v, %v; want nil", a.Err(), b.Err())
				}

				begun := time.Now()
				ended := make(chan time.Duration, 1)
				go func() {
					<-a.Done()
					<-b.Done()
					ended <- time.Since(begun)
				}()
				test.end(p, a, b)
				took := <-ended
				t.Logf("after %v; Alice: %v; Bob: %v", took, a.Err(), b.Err())
				if took > test.within {
					t.Errorf("it took %v until both ends knew, want at most %v", took, test.within)
				}
				if got := ends(a.Err()); !slices.Equal(got, test.alice) {
					t.Errorf("Alice's end: %q (%v), want %q", got, a.Err(), test.alice)
				}
				if got := ends(b.Err()); !slices.Equal(got, test.bob) || !strings.Contains(b.Err().Error(), test.says) {
					t.Errorf("Bob's end: %q (%v), want %q and %q", got, b.Err(), test.bob, test.says)
				}
				wait("OpenStream", true, func() error { _, err := a.OpenStream(t.Context(), nil); return err })
				wait("OpenStream", false, func() error { _, err := b.OpenStream(t.Context(), nil); return err })
				for _, c := range calls {
					want, who := test.bob, "Bob"
					if c.alice {
						want, who = test.alice, "Alice"
					}
					select {
					case err := <-c.err:
						// What the friend has closed in order is read to its end, and what one
						// has closed oneself is no call's to explain further.
						orderly := errors.Is(err, io.EOF) && slices.Equal(want, []string{"peer"})
						if !orderly && !slices.Equal(ends(err), want) {
							t.Errorf("%s's %s: %q (%v), want %q", who, c.what, ends(err), err, want)
						}
					case <-time.After(10 * time.Second):
						t.Errorf("%s's %s goes on", who, c.what)
					}
				}
			})
		})
	}
}

// TestCloseAfterRemove: a node that is closed at once after it has ended a link
// leaves nothing behind: the bubble sees to that.
func TestCloseAfterRemove(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		p.alice.must(p.ab.Remove())
		p.alice.stop()
	})
}

// TestVanishedPeer: the streams to a host that is gone without a word end within
// 15 s, and say why.
func TestVanishedPeer(t *testing.T) {
	bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		var times []time.Duration
		for range 2 {
			a, b := p.session(t, "vanish", nil)
			x, y := streamBetween(t, a, b, nil)
			go func() { _, _ = io.Copy(io.Discard, y) }()
			go func() { // one that is written to all the time
				for {
					if _, err := x.Write(make([]byte, 1000)); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
			idle, _ := streamBetween(t, a, b, nil)
			time.Sleep(10 * time.Second)
			begun := time.Now()
			p.bob.hole(true)
			_, err := idle.Read(make([]byte, 1))
			took := time.Since(begun)
			times = append(times, took)
			if !errors.Is(err, carrier.ErrLinkLost) || !strings.Contains(err.Error(), "no longer heard") {
				t.Errorf("Read of a stream to a host that is gone: %v, want ErrLinkLost that says so", err)
			}
			if took > 15*time.Second {
				t.Errorf("it took %v, want at most 15 s", took)
			}
			p.bob.hole(false)
			p.linked(t)
		}
		t.Logf("streams ended %v after their peer had vanished", times)
	})
}

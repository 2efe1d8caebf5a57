package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/udpio"
	"github.com/gocarrier/carrier/internal/wire"
)

// attemptNode is a node as attempts see it: a socket, on a lab host or in the operating system, a mux on it, and relays.
type attemptNode struct {
	t      *testing.T
	net    udpio.Net
	addr   netip.AddrPort // of the socket
	socket *udpio.Socket

	addr6   netip.AddrPort // not valid: none
	socket6 *udpio.Socket

	mux    *mux
	relays []*relay
	data   chan attemptData // data packets that came by relays
}

type attemptData struct {
	b       string
	conduit conduit
	from    netip.AddrPort
}

// newAttemptNode makes a node that has an address of the network.
func newAttemptNode(t *testing.T, network udpio.Net, address string) *attemptNode {
	t.Helper()
	addr := netip.MustParseAddrPort(address)
	listen := netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port()) // as nodes do
	if addr.Addr().IsLoopback() {
		listen = addr
	}
	n := &attemptNode{t: t, net: network, data: make(chan attemptData, 100)}
	var err error
	if n.socket, err = udpio.Listen(t.Context(), network, "udp4", listen.String()); err != nil {
		t.Fatal(err)
	}
	n.addr = netip.AddrPortFrom(addr.Addr(), n.socket.LocalAddr().Port())
	n.join(n.socket)
	return n
}

// join makes the mux on the node's sockets.
func (n *attemptNode) join(sockets ...*udpio.Socket) {
	var bases []netip.AddrPort
	for _, s := range sockets {
		bases = append(bases, s.LocalAddr())
	}
	n.mux = newMux(muxConfig{bases: bases, send: func(b []byte, to netip.AddrPort) error {
		for _, s := range sockets {
			if s.LocalAddr().Addr().Is4() == to.Addr().Is4() {
				return s.WriteTo(b, to)
			}
		}
		return errors.New("no socket of that family")
	}})
	for _, s := range sockets {
		s.Handle(udpio.STUN, n.mux.handleSTUN)
		s.Handle(udpio.Handshake, n.mux.handleHandshake)
	}
}

// addSocket gives a node in the lab an IPv6 address as well; before it is used.
func (n *attemptNode) addSocket(address string) {
	n.addr6 = netip.MustParseAddrPort(address)
	n.net.(*lab.Host).AddAddr(n.addr6.Addr())
	s, err := udpio.Listen(n.t.Context(), n.net, "udp6", address)
	if err != nil {
		n.t.Fatal(err)
	}
	n.socket6 = s
	n.mux.Close()
	n.join(n.socket, s)
}

func (n *attemptNode) close() {
	for _, r := range n.relays {
		r.close()
	}
	n.mux.Close()
	n.socket.Close()
	if n.socket6 != nil {
		n.socket6.Close()
	}
	n.mux.mu.Lock()
	defer n.mux.mu.Unlock()
	if len(n.mux.agents)+len(n.mux.checks)+len(n.mux.handshakes) > 0 {
		n.t.Errorf("the mux is left with %d agents, %d checks and %d handshakes", len(n.mux.agents), len(n.mux.checks), len(n.mux.handshakes))
	}
}

func (n *attemptNode) env() attemptEnv {
	return attemptEnv{mux: n.mux, log: slog.New(slog.DiscardHandler), relays: func() []*relay { return n.relays }}
}

// attemptEnd is what one end brings to an attempt.
type attemptEnd struct {
	node  *attemptNode
	offer localOffer
}

func newAttemptEnd(n *attemptNode, candidates ...wire.Candidate) attemptEnd {
	if candidates == nil {
		candidates = []wire.Candidate{{Type: wire.CandidateHost, Addr: n.addr}}
		if n.addr6.IsValid() {
			candidates = append(candidates, wire.Candidate{Type: wire.CandidateHost, Addr: n.addr6})
		}
	}
	cert := newCertificate()
	o := &wire.Offer{Kind: wire.OfferNew, Generation: 1, Candidates: candidates, Fingerprint: fingerprint(cert)}
	rand.Read(o.ID[:])
	rand.Read(o.Ufrag[:])
	rand.Read(o.Password[:])
	return attemptEnd{n, localOffer{signedOffer: signedOffer{Bytes: wire.AppendOffer(nil, o), Offer: o}, Certificate: cert}}
}

// crossed returns the specs of an attempt between a, of the lower ID, and b.
func crossed(kind wire.OfferKind, a, b attemptEnd) [2]attemptSpec {
	var id attemptID
	rand.Read(id[:])
	spec := func(us, them attemptEnd, lower bool) attemptSpec {
		return attemptSpec{
			ID: id, Kind: kind, Lower: lower, Local: us.offer.signedOffer, Remote: them.offer.signedOffer,
			LocalICE: offered(us.offer.Offer), RemoteICE: offered(them.offer.Offer), Certificate: us.offer.Certificate,
		}
	}
	return [2]attemptSpec{spec(a, b, true), spec(b, a, false)}
}

// attemptResult is what came of one end's attempt, and when.
type attemptResult struct {
	*established
	err  error
	took time.Duration
}

// runBoth runs both ends, the second one by late later, for an attempt's life at most.
func runBoth(ctx context.Context, specs [2]attemptSpec, nodes [2]*attemptNode, late time.Duration) (r [2]attemptResult) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, attemptLife)
	defer cancel()
	var wg sync.WaitGroup
	for i := range r {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * late)
			r[i].established, r[i].err = runAttempt(ctx, specs[i], nodes[i].env())
			r[i].took = time.Since(start)
		})
	}
	wg.Wait()
	return r
}

// agreed checks that two ends have the same keys.
func agreed(t *testing.T, r [2]attemptResult) bool {
	t.Helper()
	if err := errors.Join(r[0].err, r[1].err); err != nil {
		t.Error(err)
		return false
	}
	if r[0].suite != r[1].suite || len(r[0].exporter) != exporterSize || !bytes.Equal(r[0].exporter, r[1].exporter) {
		t.Errorf("the ends have different keys: %#x %x and %#x %x", r[0].suite, r[0].exporter, r[1].suite, r[1].exporter)
		return false
	}
	return true
}

func closeBoth(r [2]attemptResult) {
	for _, e := range r {
		if e.established != nil {
			e.close()
		}
	}
}

// attemptBubble runs test in virtual time with two nodes on the internet. When it returns, every goroutine must have
// gone, and the muxes must be empty.
func attemptBubble(t *testing.T, opts lab.Options, test func(t *testing.T, n *lab.Network, a, b *attemptNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := lab.New(opts)
		defer n.Close()
		a := newAttemptNode(t, n.Host(netip.MustParseAddr("192.0.2.1")), "192.0.2.1:4000")
		b := newAttemptNode(t, n.Host(netip.MustParseAddr("192.0.2.2")), "192.0.2.2:4000")
		defer a.close()
		defer b.close()
		test(t, n, a, b)
	})
}

const attemptRTT = 100 * time.Millisecond

var attemptLink = lab.Options{Default: lab.Link{Delay: attemptRTT / 2}}

func TestAttempt(t *testing.T) {
	for _, c := range []struct {
		name string
		late time.Duration
		most time.Duration // after the later start
	}{
		{"at once", 0, 3*attemptRTT + 20*time.Millisecond},
		{"half a round trip late", attemptRTT / 2, 3*attemptRTT + 70*time.Millisecond},
		{"3 s late", 3 * time.Second, 10 * attemptRTT},
		{"40 s late", 40 * time.Second, 20 * attemptRTT},
	} {
		t.Run(c.name, func(t *testing.T) {
			attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
				ends := [2]attemptEnd{newAttemptEnd(a), newAttemptEnd(b)}
				defer b.mux.expect(ends[1].offer.Offer.ICEUfrag())()
				specs := crossed(wire.OfferNew, ends[0], ends[1])
				r := runBoth(t.Context(), specs, [2]*attemptNode{a, b}, c.late)
				defer closeBoth(r)
				if !agreed(t, r) {
					return
				}
				for i, want := range []netip.AddrPort{b.addr, a.addr} {
					e := r[i]
					if e.remote != want || e.conduit != nil {
						t.Errorf("end %d: path by %v to %v, want to %v", i, e.conduit, e.remote, want)
					}
					if e.suite != suiteAES128GCM {
						t.Errorf("end %d: suite %#x", i, e.suite)
					}
					if e.rtt < attemptRTT || e.rtt > attemptRTT+10*time.Millisecond {
						t.Errorf("end %d: round trip %v, want %v", i, e.rtt, attemptRTT)
					}
					t.Logf("end %d: established %v after the later start", i, e.took-c.late)
					if took := e.took - c.late; took > c.most {
						t.Errorf("end %d: established after %v, want at most %v", i, took, c.most)
					}
				}
				t.Logf("%d datagrams", n.Stats().Sent)
			})
		})
	}
}

// TestAttemptsDoNotMix runs many at once between two sockets, with both ends as the lower one.
func TestAttemptsDoNotMix(t *testing.T) {
	opts := lab.Options{Seed: 3, Default: lab.Link{Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, Duplicate: 0.05, Reorder: 0.05}}
	attemptBubble(t, opts, func(t *testing.T, _ *lab.Network, a, b *attemptNode) {
		const attempts = 8
		var results [attempts][2]attemptResult
		var wg sync.WaitGroup
		for i := range attempts {
			nodes := [2]*attemptNode{a, b}
			if i%2 == 1 {
				nodes = [2]*attemptNode{b, a}
			}
			specs := crossed(wire.OfferNew, newAttemptEnd(nodes[0]), newAttemptEnd(nodes[1]))
			wg.Go(func() { results[i] = runBoth(t.Context(), specs, nodes, time.Duration(i)*10*time.Millisecond) })
		}
		wg.Wait()
		seen := map[string]int{}
		for i, r := range results {
			if !agreed(t, r) {
				continue
			}
			if j, ok := seen[string(r[0].exporter)]; ok {
				t.Errorf("attempts %d and %d have the same keys", i, j)
			}
			seen[string(r[0].exporter)] = i
		}
		for _, r := range results {
			closeBoth(r)
		}
	})
}

func TestAttemptLoss(t *testing.T) {
	const runs = 200
	var took []time.Duration
	for i := range runs {
		attemptBubble(t, lab.Options{Seed: uint64(i), Default: lab.Link{Delay: 50 * time.Millisecond, Loss: 0.3}}, func(t *testing.T, _ *lab.Network, a, b *attemptNode) {
			r := runBoth(t.Context(), crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b)), [2]*attemptNode{a, b}, 0)
			defer closeBoth(r)
			if agreed(t, r) {
				took = append(took, max(r[0].took, r[1].took))
			}
		})
	}
	slices.Sort(took)
	t.Logf("30 %% loss, %d runs: median %v, p95 %v, most %v", len(took), took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
	if p95 := took[len(took)*95/100]; p95 > 3*time.Second {
		t.Errorf("p95 is %v, want at most 3 s", p95)
	}
}

// TestRestart: both ends come to the same path, without a handshake, also the one that knows no address of the other.
func TestRestart(t *testing.T) {
	for _, unknown := range []int{-1, 0, 1} {
		attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
			n.Tap(func(_, _ netip.AddrPort, d []byte) {
				if d[0] == handshakeKind {
					t.Error("a handshake in a restart")
				}
			})
			specs := crossed(wire.OfferRestart, newAttemptEnd(a), newAttemptEnd(b))
			for i := range specs {
				specs[i].Local, specs[i].Certificate = signedOffer{}, tls.Certificate{}
				if i == unknown {
					specs[i].Remote = signedOffer{}
				}
			}
			r := runBoth(t.Context(), specs, [2]*attemptNode{a, b}, 0)
			if err := errors.Join(r[0].err, r[1].err); err != nil {
				t.Fatal(err)
			}
			t.Logf("found after %v and %v", r[0].took, r[1].took)
			for i, want := range []netip.AddrPort{b.addr, a.addr} {
				if e := r[i]; e.remote != want || e.conduit != nil || e.exporter != nil || e.rtt < attemptRTT || e.took > 3*attemptRTT {
					t.Errorf("end %d: %v by %v to %v, round trip %v, want to %v", i, e.took, e.conduit, e.remote, e.rtt, want)
				}
			}
			closeBoth(r)
		})
	}
}

// TestAttemptCancelled ends attempts at every stage, by ctx or by close: nothing goes on, and nobody is told.
func TestAttemptCancelled(t *testing.T) {
	for at := time.Duration(0); at <= 400*time.Millisecond; at += 12500 * time.Microsecond {
		attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
			ctx, cancel := context.WithCancelCause(t.Context())
			quiet := make(chan struct{})
			n.Tap(func(from, _ netip.AddrPort, d []byte) {
				select {
				case <-quiet:
					t.Errorf("after the end %v sends %x", from, d[:min(len(d), 40)])
				default:
				}
			})
			cause := errors.New("the test ends it")
			go func() {
				time.Sleep(at)
				cancel(cause)
			}()
			r := runBoth(ctx, crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b)), [2]*attemptNode{a, b}, 0)
			for i, e := range r {
				switch {
				case e.err == nil && e.took > at, e.err != nil && e.took != at:
					t.Errorf("end %d, cancelled after %v: returned after %v with %v", i, at, e.took, e.err)
				case e.err != nil && !errors.Is(e.err, context.Canceled):
					t.Errorf("end %d: %v, want it to match context.Canceled", i, e.err)
				}
			}
			if r[0].err == nil {
				time.Sleep(time.Second) // ctx is over, but not what it has established
				if _, ok := <-timeout(r[0].paths); !ok {
					t.Error("it ended with ctx")
				}
			}
			closeBoth(r)
			close(quiet)
			closeBoth(r) // may be called again
			time.Sleep(2 * time.Minute)
		})
	}
}

// timeout passes on what comes on a channel within a moment, or a path that nobody would find.
func timeout(paths <-chan foundPath) <-chan foundPath {
	c := make(chan foundPath, 1)
	select {
	case p, ok := <-paths:
		if ok {
			c <- p
		}
		close(c)
	case <-time.After(time.Millisecond):
		c <- foundPath{}
	}
	return c
}

// TestAttemptAgain: an end that breaks off at whatever stage and begins anew, with the same offers, comes together with
// the other, which may be in the middle of the handshake with the one before.
func TestAttemptAgain(t *testing.T) {
	var longest time.Duration
	for broken := range 2 {
		for at := time.Duration(0); at < 325*time.Millisecond; at += 25 * time.Millisecond {
			attemptBubble(t, attemptLink, func(t *testing.T, _ *lab.Network, a, b *attemptNode) {
				specs := crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b))
				var mu sync.Mutex
				var keys [2]string
				start := time.Now()
				confirmed := func() bool { // as two links would find out
					mu.Lock()
					defer mu.Unlock()
					return keys[0] != "" && keys[0] == keys[1]
				}
				var wg sync.WaitGroup
				for i, n := range []*attemptNode{a, b} {
					wg.Go(func() {
						for try := 0; !confirmed(); try++ {
							life := attemptLife
							if i == broken && try == 0 {
								life = at
							}
							ctx, cancel := context.WithTimeout(t.Context(), life)
							e, err := runAttempt(ctx, specs[i], n.env())
							if err == nil {
								mu.Lock()
								keys[i] = string(e.exporter)
								mu.Unlock()
								for end := time.Now().Add(confirmFor); !confirmed() && time.Now().Before(end) && ctx.Err() == nil; {
									time.Sleep(10 * time.Millisecond)
								}
								e.close()
							}
							cancel()
							if !confirmed() {
								time.Sleep(time.Second) // the pairing waits
							}
							if time.Since(start) > 2*time.Minute {
								t.Errorf("end %d broke off after %v: no keys in 2 minutes", broken, at)
								return
							}
						}
					})
				}
				wg.Wait()
				longest = max(longest, time.Since(start))
			})
		}
	}
	t.Logf("the longest took %v", longest)
	if longest > 45*time.Second {
		t.Errorf("the longest took %v", longest)
	}
}

// TestAttemptCloses closes one end only: the other is not told, and goes on until it is closed too.
func TestAttemptCloses(t *testing.T) {
	attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
		r := runBoth(t.Context(), crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b)), [2]*attemptNode{a, b}, 0)
		agreed(t, r)
		time.Sleep(time.Second)
		n.Tap(func(from, _ netip.AddrPort, d []byte) {
			if d[0] == handshakeKind || from == a.addr {
				t.Errorf("%v sends %x after close", from, d[:min(len(d), 40)])
			}
		})
		synctest.Wait()
		r[0].close()
		time.Sleep(10 * time.Second)
		r[1].close()
	})
}

// TestAttemptNobodyThere ends with ctx, however late, and is not loud.
func TestAttemptNobodyThere(t *testing.T) {
	attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
		ctx, cancel := context.WithTimeout(t.Context(), attemptLife)
		defer cancel()
		specs := crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b))
		_, err := runAttempt(ctx, specs[0], a.env())
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if sent := n.Stats().Sent; sent > thinLimit || sent < 60 {
			t.Errorf("%d datagrams", sent)
		}
	})
}

// TestAttemptOtherPassword: who does not know the offer's password does not get as far as a handshake.
func TestAttemptOtherPassword(t *testing.T) {
	attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
		n.Tap(func(from, _ netip.AddrPort, d []byte) {
			if d[0] == handshakeKind {
				t.Errorf("%v begins a handshake", from)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		specs := crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b))
		specs[0].RemoteICE.Password = "AAAAAAAAAAAAAAAAAAAAAAAA"
		specs[1].RemoteICE.Password = "AAAAAAAAAAAAAAAAAAAAAAAA"
		if r := runBoth(ctx, specs, [2]*attemptNode{a, b}, 0); r[0].err == nil || r[1].err == nil {
			t.Error("established")
		}
	})
}

// TestAttemptOnTheWire: the only names that an attempt shows are those of its offers, made for it alone.
func TestAttemptOnTheWire(t *testing.T) {
	attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
		specs := crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b))
		names := []string{specs[0].LocalICE.Ufrag + ":" + specs[1].LocalICE.Ufrag, specs[1].LocalICE.Ufrag + ":" + specs[0].LocalICE.Ufrag}
		attributes := []stun.AttrType{
			stun.AttrUsername, stun.AttrPriority, stun.AttrICEControlled, stun.AttrICEControlling, stun.AttrUseCandidate,
			stun.AttrMessageIntegrity, stun.AttrFingerprint, stun.AttrXORMappedAddress,
		}
		var handshakes [2][]byte
		checks := 0
		n.Tap(func(from, _ netip.AddrPort, d []byte) {
			if d[0] == handshakeKind {
				i := 0
				if from == b.addr {
					i = 1
				}
				handshakes[i] = append(handshakes[i], d...)
				return
			}
			m := new(stun.Message)
			if err := stun.Decode(slices.Clone(d), m); err != nil {
				t.Errorf("%v sends %x: %v", from, d, err)
				return
			}
			for _, attr := range m.Attributes {
				if !slices.Contains(attributes, attr.Type) {
					t.Errorf("%v sends the attribute %v", from, attr)
				}
				if attr.Type == stun.AttrUsername {
					checks++
					if !slices.Contains(names, string(attr.Value)) {
						t.Errorf("%v sends the user name %q, want one of %q", from, attr.Value, names)
					}
				}
			}
		})
		r := runBoth(t.Context(), specs, [2]*attemptNode{a, b}, 0)
		agreed(t, r)
		closeBoth(r)
		for i, s := range specs {
			if !bytes.Contains(handshakes[i], s.Certificate.Certificate[0]) {
				t.Errorf("end %d has not shown the certificate of its offer", i)
			}
		}
		if checks == 0 {
			t.Error("no checks were seen")
		}
	})
}

// TestAttemptFamilies: with IPv4 and IPv6 both ends of a restart come to the same path, whichever answers first. For a
// new link they begin where each has been answered; the client's path is that of ICE then, which the server follows.
func TestAttemptFamilies(t *testing.T) {
	for seed := range uint64(20) {
		for _, kind := range []wire.OfferKind{wire.OfferNew, wire.OfferRestart} {
			opts := lab.Options{Seed: seed, Default: lab.Link{Delay: 30 * time.Millisecond, Jitter: 60 * time.Millisecond, Loss: 0.1}}
			attemptBubble(t, opts, func(t *testing.T, _ *lab.Network, a, b *attemptNode) {
				a.addSocket("[2001:db8::1]:4000")
				b.addSocket("[2001:db8::2]:4000")
				specs := crossed(kind, newAttemptEnd(a), newAttemptEnd(b))
				r := runBoth(t.Context(), specs, [2]*attemptNode{a, b}, 0)
				defer closeBoth(r)
				if err := errors.Join(r[0].err, r[1].err); err != nil {
					t.Fatal(err)
				}
				if kind == wire.OfferRestart && r[0].remote.Addr().Is4() != r[1].remote.Addr().Is4() {
					t.Errorf("seed %d: the paths lead to %v and %v", seed, r[0].remote, r[1].remote)
				}
				for i, n := range []*attemptNode{a, b} {
					if !n.mux.answered(specs[i].LocalICE.Ufrag, r[i].remote) {
						t.Errorf("seed %d: end %d has not been answered from %v", seed, i, r[i].remote)
					}
				}
				time.Sleep(5 * time.Second)
				select {
				case p := <-r[0].paths:
					r[0].remote = p.remote
				default:
				}
				if selected := r[0].remote; kind == wire.OfferNew && !a.mux.answered(specs[0].LocalICE.Ufrag, selected) {
					t.Errorf("seed %d: ICE proposes %v, which has not answered", seed, selected)
				}
			})
		}
	}
}

// TestAttemptNATs: with reflexive candidates a path is found straight through NATs, whichever end is the lower one.
func TestAttemptNATs(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b lab.NATOptions
		most time.Duration
	}{
		{"full cone both", lab.FullCone(), lab.FullCone(), 450 * time.Millisecond},
		{"port-restricted both", lab.PortRestricted(), lab.PortRestricted(), 450 * time.Millisecond},
		{"Linux both", lab.Linux(), lab.Linux(), 450 * time.Millisecond},
		{"symmetric and address-restricted", lab.Symmetric(), lab.AddressRestricted(), 500 * time.Millisecond},
		{"symmetric and full cone", lab.Symmetric(), lab.FullCone(), 500 * time.Millisecond},
	} {
		for _, kind := range []wire.OfferKind{wire.OfferNew, wire.OfferRestart} {
			for lower := range 2 {
				t.Run(fmt.Sprintf("%s, kind %d, lower %d", c.name, kind, lower), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := lab.New(attemptLink)
						defer n.Close()
						s := newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.9")), "192.0.2.9:3478")
						defer s.close()
						var nodes [2]*attemptNode
						var ends [2]attemptEnd
						outer := [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")}
						for i, nat := range []*lab.NAT{n.NAT(outer[0], c.a), n.NAT(outer[1], c.b)} {
							ip := netip.AddrFrom4([4]byte{10, byte(i), 0, 2})
							nodes[i] = newAttemptNode(t, nat.Host(ip), netip.AddrPortFrom(ip, 4000).String())
							defer nodes[i].close()
							mapped, err := nodes[i].mux.reflexive(t.Context(), s.addr)
							if err != nil {
								t.Fatal(err)
							}
							ends[i] = newAttemptEnd(nodes[i], wire.Candidate{Type: wire.CandidateHost, Addr: nodes[i].addr},
								wire.Candidate{Type: wire.CandidateServerReflexive, Addr: mapped})
						}
						x, y := lower, 1-lower
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						defer cancel()
						r := runBoth(ctx, crossed(kind, ends[x], ends[y]), [2]*attemptNode{nodes[x], nodes[y]}, 0)
						defer closeBoth(r)
						if err := errors.Join(r[0].err, r[1].err); err != nil {
							t.Fatal(err)
						}
						t.Logf("established after %v and %v", r[0].took, r[1].took)
						for i, to := range []netip.Addr{outer[y], outer[x]} {
							if e := r[i]; e.remote.Addr() != to || e.conduit != nil || e.took > c.most {
								t.Errorf("end %d: after %v by %v to %v, want to %v", i, e.took, e.conduit, e.remote, to)
							}
						}
					})
				})
			}
		}
	}
}

// TestAttemptRealSockets connects over the operating system's loopback, in real time.
func TestAttemptRealSockets(t *testing.T) {
	a, b := newAttemptNode(t, udpio.OS{}, "127.0.0.1:0"), newAttemptNode(t, udpio.OS{}, "127.0.0.1:0")
	defer a.close()
	defer b.close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := runBoth(ctx, crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b)), [2]*attemptNode{a, b}, 0)
	agreed(t, r)
	t.Logf("established after %v and %v", r[0].took, r[1].took)
	closeBoth(r)
}

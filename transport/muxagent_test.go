package transport

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	piontransport "github.com/pion/transport/v5"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/udpio"
)

// muxHost is a node's sockets on a lab host, with a mux on them.
type muxHost struct {
	*mux
	addrs   []netip.AddrPort
	sockets []*udpio.Socket
	closed  sync.Once
}

func newMuxHost(t *testing.T, n *lab.Network, ips ...string) *muxHost {
	t.Helper()
	h := &muxHost{}
	host := n.Host(netip.MustParseAddr(ips[0]))
	for _, ip := range ips {
		addr := netip.AddrPortFrom(netip.MustParseAddr(ip), 4000)
		host.AddAddr(addr.Addr())
		network := "udp6"
		if addr.Addr().Is4() {
			network = "udp4"
		}
		s, err := udpio.Listen(t.Context(), host, network, addr.String())
		if err != nil {
			t.Fatal(err)
		}
		h.addrs, h.sockets = append(h.addrs, addr), append(h.sockets, s)
	}
	h.mux = newMux(muxConfig{bases: h.addrs, send: func(b []byte, to netip.AddrPort) error {
		for i, a := range h.addrs {
			if a.Addr().Is4() == to.Addr().Is4() {
				return h.sockets[i].WriteTo(b, to)
			}
		}
		return errors.New("no socket of that family")
	}})
	for _, s := range h.sockets {
		s.Handle(udpio.STUN, h.handleSTUN)
		s.Handle(udpio.Handshake, h.handleHandshake)
	}
	return h
}

func (h *muxHost) Close() {
	h.closed.Do(func() {
		h.mux.Close()
		for _, s := range h.sockets {
			s.Close()
		}
	})
}

// muxNoNet is the network of agents that have only a mux: it has no interfaces, and panics when it is used.
type muxNoNet struct{ piontransport.Net }

func (muxNoNet) Interfaces() ([]*piontransport.Interface, error) { return nil, nil }

// muxAttempt is one side of an attempt: an agent, and DTLS by the attempt's ID.
type muxAttempt struct {
	t          *testing.T
	host       *muxHost
	control    bool
	agent      *ice.Agent
	ufrag, pwd string
	candidates []string
	hs         *handshakeConn
	dtls       *dtls.Conn
	exporter   string
}

func newMuxAttempt(t *testing.T, h *muxHost, control bool, more ...ice.AgentOption) *muxAttempt {
	t.Helper()
	a := &muxAttempt{t: t, host: h, control: control}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	var err error
	a.agent, err = ice.NewAgentWithOptions(append([]ice.AgentOption{
		ice.WithUDPMux(h.mux), ice.WithNet(muxNoNet{}), ice.WithLoggerFactory(quiet),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithDisableActiveTCP(),
		ice.WithHostAcceptanceMinWait(0), ice.WithPrflxAcceptanceMinWait(100 * time.Millisecond),
		ice.WithRelayAcceptanceMinWait(500 * time.Millisecond), ice.WithCheckInterval(50 * time.Millisecond),
		ice.WithMaxBindingRequests(2000), ice.WithFailedTimeout(85 * time.Second),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	gathered := make(chan struct{})
	if err := errors.Join(a.agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
		}
	}), a.agent.GatherCandidates()); err != nil {
		t.Fatal(err)
	}
	<-gathered
	if a.ufrag, a.pwd, err = a.agent.GetLocalUserCredentials(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range h.addrs {
		a.candidates = append(a.candidates, fmt.Sprintf("1 1 udp 2130706431 %s %d typ host", addr.Addr(), addr.Port()))
	}
	return a
}

// start starts the checks.
func (a *muxAttempt) start(peer *muxAttempt) error {
	for _, s := range peer.candidates {
		c, err := ice.UnmarshalCandidate(s)
		if err == nil {
			err = a.agent.AddRemoteCandidate(c)
		}
		if err != nil {
			return err
		}
	}
	startAs := a.agent.StartAccept
	if a.control {
		startAs = a.agent.StartDial
	}
	_, err := startAs(peer.ufrag, peer.pwd)
	return err
}

// mustStart is start for agents that are not closed meanwhile.
func (a *muxAttempt) mustStart(peer *muxAttempt) {
	a.t.Helper()
	if err := a.start(peer); err != nil {
		a.t.Fatal(err)
	}
}

// selected waits for the path that the agent selects.
func (a *muxAttempt) selected(ctx context.Context) (netip.AddrPort, error) {
	if err := a.agent.AwaitConnect(ctx); err != nil {
		return netip.AddrPort{}, err
	}
	pair, err := a.agent.GetSelectedCandidatePair()
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, err := netip.ParseAddr(pair.Remote.Address())
	return netip.AddrPortFrom(ip, uint16(pair.Remote.Port())), err
}

// handshake runs DTLS over the handshake conn: the controlling side is the client, the other waits for it.
func (a *muxAttempt) handshake(ctx context.Context) error {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return err
	}
	any := func([][]byte, [][]*x509.Certificate) error { return nil }
	if a.control {
		to, err := a.selected(ctx)
		if err != nil {
			return fmt.Errorf("ice: %w", err)
		}
		a.hs.SetRemote(to)
		a.dtls, err = dtls.ClientWithOptions(a.hs, net.UDPAddrFromAddrPort(to), dtls.WithCertificates(cert),
			dtls.WithInsecureSkipVerify(true), dtls.WithVerifyPeerCertificate(any),
			dtls.WithFlightInterval(250*time.Millisecond))
		if err != nil {
			return err
		}
	} else {
		a.dtls, err = dtls.ServerWithOptions(a.hs, &net.UDPAddr{}, dtls.WithCertificates(cert),
			dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerify(true), dtls.WithVerifyPeerCertificate(any),
			dtls.WithInsecureSkipVerifyHello(true), dtls.WithFlightInterval(250*time.Millisecond))
		if err != nil {
			return err
		}
	}
	if err := a.dtls.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("dtls: %w", err)
	}
	state, ok := a.dtls.ConnectionState()
	if !ok {
		return errors.New("dtls has no state")
	}
	keys, err := state.ExportKeyingMaterial("EXPORTER-test", nil, 32)
	a.exporter = string(keys)
	return err
}

func (a *muxAttempt) close() {
	a.t.Helper()
	if a.dtls != nil {
		a.hs.mute()
		a.dtls.Close()
	}
	if a.hs != nil {
		a.hs.Close()
	}
	if err := a.agent.Close(); err != nil {
		a.t.Error(err)
	}
}

// run does one side of an attempt up to its keys.
func (a *muxAttempt) run(ctx context.Context, peer *muxAttempt, id attemptID) error {
	a.hs = a.host.handshakeConn(id, func(from netip.AddrPort) bool { return a.control || a.host.answered(a.ufrag, from) })
	if err := a.start(peer); err != nil {
		return err
	}
	return a.handshake(ctx)
}

func muxIDOf(a, b *muxAttempt) attemptID {
	sum := sha256.Sum256([]byte(a.ufrag + "|" + b.ufrag))
	return attemptID(sum[:8])
}

// muxBubble runs test in virtual time, with two hosts of a v4 and a v6 address each; when it returns, every goroutine must
// have gone and the muxes must be empty.
func muxBubble(t *testing.T, opts lab.Options, test func(t *testing.T, n *lab.Network, a, b *muxHost)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := lab.New(opts)
		defer n.Close()
		a, b := newMuxHost(t, n, "10.0.0.1", "2001:db8::1"), newMuxHost(t, n, "10.0.0.2", "2001:db8::2")
		defer a.Close()
		defer b.Close()
		test(t, n, a, b)
		a.wantEmpty(t)
		b.wantEmpty(t)
	})
}

var muxLink = lab.Options{Default: lab.Link{Delay: 50 * time.Millisecond}}

func TestMuxAgentsConnect(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  string // of B's addresses
		late time.Duration
	}{
		{"at once", "", 0},
		{"IPv6 only", "10.0.0.2", 0},
		{"3 s apart", "", 3 * time.Second},
		{"30 s apart", "", 30 * time.Second},
		{"75 s apart", "", 75 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			muxBubble(t, muxLink, func(t *testing.T, n *lab.Network, A, B *muxHost) {
				if c.cut != "" {
					n.Partition([]netip.Addr{netip.MustParseAddr(c.cut)}, nil)
				}
				a, b := newMuxAttempt(t, A, true), newMuxAttempt(t, B, false)
				ctx, cancel := context.WithTimeout(t.Context(), c.late+5*time.Second)
				defer cancel()
				a.mustStart(b)
				time.Sleep(c.late)
				sent := n.Stats().Sent
				start := time.Now()
				b.mustStart(a)
				ra, errA := a.selected(ctx)
				rb, errB := b.selected(ctx)
				if err := errors.Join(errA, errB); err != nil {
					t.Fatal(err)
				}
				if ra.Port() != 4000 || c.cut != "" && !ra.Addr().Is6() {
					t.Errorf("a's path leads to %v", ra)
				}
				if !A.answered(a.ufrag, ra) || !B.answered(b.ufrag, rb) {
					t.Error("the selected address has not answered")
				}
				t.Logf("connected %v after the later start, %d datagrams before it", time.Since(start), sent)
				if took := time.Since(start); took > 700*time.Millisecond {
					t.Errorf("connected %v after the later start, want at most 700 ms", took)
				}
				if limit := uint64(2*thinBurst) + 2*uint64(c.late/thinInterval) + 2; sent > limit {
					t.Errorf("%d datagrams to a peer that was not there, want at most %d", sent, limit)
				}
				a.close()
				b.close()
			})
		})
	}
}

// TestMuxAttemptsDoNotMix runs many attempts at once between the same sockets: each must come to keys, the same on both
// sides and no other's.
func TestMuxAttemptsDoNotMix(t *testing.T) {
	for _, c := range []struct {
		name string
		link lab.Link
		n    int
	}{
		{"clean", lab.Link{Delay: 50 * time.Millisecond}, 12},
		{"lossy", lab.Link{Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.1, Duplicate: 0.05, Reorder: 0.1}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			muxBubble(t, lab.Options{Seed: 7, Default: c.link}, func(t *testing.T, _ *lab.Network, A, B *muxHost) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var wg sync.WaitGroup
				type pair struct{ a, b *muxAttempt }
				var pairs []pair
				for i := range c.n {
					a, b := newMuxAttempt(t, A, i%2 == 0), newMuxAttempt(t, B, i%2 != 0) // glare: both ways round
					pairs = append(pairs, pair{a, b})
					for k, side := range [2][2]*muxAttempt{{a, b}, {b, a}} {
						wg.Go(func() {
							time.Sleep(time.Duration(i*k) * 40 * time.Millisecond)
							if err := side[0].run(ctx, side[1], muxIDOf(a, b)); err != nil {
								t.Errorf("attempt %d, side %d: %v", i, k, err)
							}
						})
					}
				}
				wg.Wait()
				seen := make(map[string]bool)
				for i, p := range pairs {
					if p.a.exporter != p.b.exporter || p.a.exporter == "" || seen[p.a.exporter] {
						t.Errorf("attempt %d: the sides have different keys, none, or another attempt's", i)
					}
					seen[p.a.exporter] = true
					p.a.close()
					p.b.close()
				}
			})
		})
	}
}

// TestMuxAgentsShareUfrag connects two attempts that came of one offer of A: the second is B's after a restart, say.
func TestMuxAgentsShareUfrag(t *testing.T) {
	muxBubble(t, muxLink, func(t *testing.T, _ *lab.Network, A, B *muxHost) {
		offered := ice.WithLocalCredentials("sharedufrag", "the password of the shared offer")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		a1, a2 := newMuxAttempt(t, A, true, offered), newMuxAttempt(t, A, true, offered)
		b1, b2 := newMuxAttempt(t, B, false), newMuxAttempt(t, B, false)
		var wg sync.WaitGroup
		for _, side := range [][2]*muxAttempt{{a1, b1}, {b1, a1}, {a2, b2}, {b2, a2}} {
			wg.Go(func() {
				id := muxIDOf(side[0], side[1])
				if !side[0].control {
					id = muxIDOf(side[1], side[0])
				}
				if side[1] == a2 || side[0] == a2 {
					time.Sleep(60 * time.Millisecond) // the first is in the midst of it
				}
				if err := side[0].run(ctx, side[1], id); err != nil {
					t.Error(err)
				}
				if side[0] == a1 {
					a1.agent.Close() // the second goes on
				}
			})
		}
		wg.Wait()
		if a1.exporter != b1.exporter || a2.exporter != b2.exporter || a1.exporter == a2.exporter {
			t.Error("the attempts have mixed")
		}
		for _, a := range []*muxAttempt{a1, a2, b1, b2} {
			a.close()
		}
	})
}

// TestMuxAgentsEndAnyTime closes both sides at every stage. That it returns shows that Agent.Close never hangs, and the
// bubble that nothing goes on.
func TestMuxAgentsEndAnyTime(t *testing.T) {
	for at := time.Duration(0); at <= 700*time.Millisecond; at += 25 * time.Millisecond {
		muxBubble(t, muxLink, func(t *testing.T, _ *lab.Network, A, B *muxHost) {
			a, b := newMuxAttempt(t, A, true), newMuxAttempt(t, B, false)
			ctx, cancel := context.WithCancel(t.Context())
			id := muxIDOf(a, b)
			var wg sync.WaitGroup
			wg.Go(func() { _ = a.run(ctx, b, id) }) // fails unless it was done in time
			wg.Go(func() { _ = b.run(ctx, a, id) })
			time.Sleep(at)
			switch int(at/(25*time.Millisecond)) % 3 {
			case 0: // agents under the feet of the handshake
				a.agent.Close()
				b.agent.Close()
			case 1: // the mux first
				A.mux.Close()
				B.mux.Close()
			}
			cancel()
			wg.Wait()
			a.close()
			b.close()
		})
	}
}

// TestMuxAgentEndsWhileGathering closes an agent that has not finished GetConn.
func TestMuxAgentEndsWhileGathering(t *testing.T) {
	for i := range 20 {
		muxBubble(t, muxLink, func(t *testing.T, _ *lab.Network, A, _ *muxHost) {
			agent, err := ice.NewAgentWithOptions(ice.WithUDPMux(A.mux), ice.WithNet(muxNoNet{}),
				ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(agent.OnCandidate(func(ice.Candidate) {}), agent.GatherCandidates()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i%4) * time.Nanosecond)
			if err := agent.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMuxExpectedAgent holds that an agent made late takes the checks that waited for it. Here nothing else can connect
// it before the next check: it knows no address of the peer, as with a peer behind a symmetric NAT.
func TestMuxExpectedAgent(t *testing.T) {
	muxBubble(t, muxLink, func(t *testing.T, _ *lab.Network, A, B *muxHost) {
		offered := &muxAttempt{ufrag: "expectedufrag", pwd: "a password of the expected agent", candidates: []string{
			"1 1 udp 2130706431 10.0.0.2 4000 typ host",
		}}
		forget := B.expect(offered.ufrag)
		a := newMuxAttempt(t, A, true)
		a.mustStart(offered)
		time.Sleep(3 * time.Second) // checks went after 0 to 0.45, 1.05, 1.65, 2.25 and 2.85 s
		b := newMuxAttempt(t, B, false, ice.WithLocalCredentials(offered.ufrag, offered.pwd))
		b.mustStart(&muxAttempt{ufrag: a.ufrag, pwd: a.pwd})
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		if _, err := a.selected(ctx); err != nil {
			t.Errorf("not connected by the checks that waited: %v", err)
		}
		forget()
		a.close()
		b.close()
	})
}

// TestMuxRelay connects by a relay alone, which the agent takes as a virtual candidate and which outlives it.
func TestMuxRelay(t *testing.T) {
	muxBubble(t, muxLink, func(t *testing.T, n *lab.Network, A, B *muxHost) {
		n.Partition([]netip.Addr{A.addrs[0].Addr(), A.addrs[1].Addr()}, []netip.Addr{B.addrs[0].Addr(), B.addrs[1].Addr()})
		relayed := netip.MustParseAddrPort("10.0.0.9:5000") // stands for the allocation of a TURN server
		socket, err := udpio.Listen(t.Context(), n.Host(relayed.Addr()), "udp4", relayed.String())
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		base := A.relay(relayed, socket.WriteTo)
		socket.Handle(udpio.STUN, base.handleSTUN)
		socket.Handle(udpio.Handshake, base.handleHandshake)

		a, b := newMuxAttempt(t, A, true), newMuxAttempt(t, B, false)
		conn, err := base.conn(a.ufrag)
		if err != nil {
			t.Fatal(err)
		}
		candidate, err := ice.NewCandidateRelay(&ice.CandidateRelayConfig{
			Network: "udp", Address: relayed.Addr().String(), Port: int(relayed.Port()), Component: 1,
			RelAddr: A.addrs[0].Addr().String(), RelPort: int(A.addrs[0].Port()),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.agent.AddVirtualCandidate(candidate, conn); err != nil {
			t.Fatal(err)
		}
		a.candidates = append(a.candidates, candidate.Marshal())

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		id := muxIDOf(a, b)
		a.hs = A.handshakeConn(id, nil)
		var errB error
		var wg sync.WaitGroup
		wg.Go(func() { errB = b.run(ctx, a, id) })
		a.mustStart(b)
		to, err := a.selected(ctx)
		if err != nil || to != B.addrs[0] {
			t.Fatalf("a's path leads to %v, %v, want %v", to, err, B.addrs[0])
		}
		a.hs.setRemote(base, to)
		if _, err := a.hs.WriteTo([]byte("records"), nil); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if got := b.hs.Remote(); got != relayed {
			t.Errorf("b's handshake follows %v, want the relay %v", got, relayed)
		}
		cancel()
		wg.Wait()
		if errB == nil {
			t.Error("b has finished a handshake that was none")
		}
		a.close()
		b.close()

		got := make(chan struct{}, 10)
		socket.Handle(udpio.Data, func([]byte, netip.AddrPort) { got <- struct{}{} })
		if err := B.sockets[0].WriteTo([]byte{0xC0, 1}, relayed); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if len(got) != 1 {
			t.Errorf("after Agent.Close the relay took %d datagrams, want 1", len(got))
		}
	})
}

// TestMuxRealSockets connects over the operating system's loopback, in real time.
func TestMuxRealSockets(t *testing.T) {
	open := func() *muxHost {
		s, err := udpio.Listen(t.Context(), nil, "udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h := &muxHost{addrs: []netip.AddrPort{s.LocalAddr()}, sockets: []*udpio.Socket{s}}
		h.mux = newMux(muxConfig{bases: h.addrs, send: s.WriteTo})
		s.Handle(udpio.STUN, h.handleSTUN)
		s.Handle(udpio.Handshake, h.handleHandshake)
		return h
	}
	A, B := open(), open()
	defer A.Close()
	defer B.Close()
	a, b := newMuxAttempt(t, A, true), newMuxAttempt(t, B, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	id := muxIDOf(a, b)
	var errB error
	var wg sync.WaitGroup
	wg.Go(func() { errB = b.run(ctx, a, id) })
	if err := a.run(ctx, b, id); err != nil {
		t.Error(err)
	}
	if wg.Wait(); errB != nil {
		t.Error(errB)
	}
	if a.exporter != b.exporter {
		t.Error("the sides have different keys")
	}
	a.close()
	b.close()
	A.wantEmpty(t)
	B.wantEmpty(t)
}

package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/ice/v4"

	"github.com/gocarrier/carrier/internal/wire"
)

const (
	// checkEvery is the pace of an agent's checks; the mux thins them.
	checkEvery = 50 * time.Millisecond
	// checkLimit and checkPatience keep an agent from giving up before its attempt does: the peer may come late.
	checkLimit    = uint16(2 * attemptLife / checkEvery)
	checkPatience = attemptLife
	// Pairs of these candidates are not nominated before, so that better ones have a chance.
	reflexiveWait = 100 * time.Millisecond
	relayWait     = 500 * time.Millisecond
)

// icePath is a pair whose check has been answered.
type icePath struct {
	relay    *relay // ours; nil: our sockets
	base     *muxBase
	remote   netip.AddrPort
	relayed  bool // by our relay or by the peer's
	rtt      time.Duration
	selected bool // ICE at both ends has settled on it
}

// better reports whether p should take the place of q. Between two of a kind it is ICE that decides, since both ends
// must come to the same.
func (p *icePath) better(q *icePath) bool {
	switch {
	case q == nil:
		return true
	case p.relayed != q.relayed:
		return !p.relayed
	}
	return p.selected && !q.selected
}

// iceAgent is the ICE of one attempt.
type iceAgent struct {
	agent  *ice.Agent
	mux    *mux
	relays map[string]agentRelay // by the ID of the candidate
	news   chan struct{}         // capacity 1: what paths says may have changed
}

// agentRelay is a relay at the address that the agent has of it.
type agentRelay struct {
	relay *relay
	base  *muxBase
}

// newICEAgent starts the checks of an attempt.
func newICEAgent(ctx context.Context, spec *attemptSpec, env *attemptEnv) (*iceAgent, error) {
	a := &iceAgent{mux: env.mux, relays: make(map[string]agentRelay), news: make(chan struct{}, 1)}
	var err error
	a.agent, err = ice.NewAgentWithOptions(
		ice.WithLocalCredentials(spec.LocalICE.Ufrag, spec.LocalICE.Password),
		ice.WithUDPMux(agentMux{env.mux, a.tell}), ice.WithNet(noNet{}), ice.WithLoggerFactory(pionLogs{env.log}),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithDisableActiveTCP(),
		ice.WithHostAcceptanceMinWait(0), ice.WithSrflxAcceptanceMinWait(reflexiveWait),
		ice.WithPrflxAcceptanceMinWait(reflexiveWait), ice.WithRelayAcceptanceMinWait(relayWait),
		ice.WithCheckInterval(checkEvery), ice.WithMaxBindingRequests(checkLimit), ice.WithFailedTimeout(checkPatience),
	)
	if err != nil {
		return nil, fmt.Errorf("make ice agent: %w", err)
	}
	if err := a.start(ctx, spec, env.relays()); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *iceAgent) start(ctx context.Context, spec *attemptSpec, relays []*relay) error {
	if err := a.gather(ctx); err != nil {
		return fmt.Errorf("gather ice candidates: %w", err)
	}
	for _, r := range relays {
		if err := a.addRelay(r, spec.LocalICE.Ufrag); err != nil {
			return fmt.Errorf("add relayed candidate: %w", err)
		}
	}
	if o := spec.Remote.Offer; o != nil { // without, the peer's checks will tell where it is
		for i := range o.Candidates {
			c, err := remoteCandidate(o, i)
			if err == nil {
				err = a.agent.AddRemoteCandidate(c)
			}
			if err != nil {
				return fmt.Errorf("add the peer's candidate %v: %w", o.Candidates[i].Addr, err)
			}
		}
	}
	begin := a.agent.StartAccept
	if spec.Lower {
		begin = a.agent.StartDial
	}
	if _, err := begin(spec.RemoteICE.Ufrag, spec.RemoteICE.Password); err != nil {
		return fmt.Errorf("start ice checks: %w", err)
	}
	return nil
}

// gather makes the host candidates: the mux's sockets.
func (a *iceAgent) gather(ctx context.Context) error {
	gathered := make(chan struct{}, 1)
	err := errors.Join(
		a.agent.OnSelectedCandidatePairChange(func(ice.Candidate, ice.Candidate) { a.tell() }),
		a.agent.OnCandidate(func(c ice.Candidate) {
			if c == nil {
				gathered <- struct{}{}
			}
		}),
		a.agent.GatherCandidates(),
	)
	if err != nil {
		return err
	}
	select {
	case <-gathered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// addRelay makes a candidate of a relay. The agent closes its conn, which leaves the relay as it is.
func (a *iceAgent) addRelay(r *relay, ufrag string) error {
	base := r.base()
	if base == nil {
		return nil // it has just been lost
	}
	c, err := ice.NewCandidateRelay(&ice.CandidateRelayConfig{
		Network: "udp", Address: base.addr.Addr().String(), Port: int(base.addr.Port()), Component: 1,
		RelAddr: netip.IPv4Unspecified().String(), // ours is nobody's business
	})
	if err != nil {
		return err
	}
	conn, err := base.conn(ufrag)
	if err != nil {
		return err
	}
	if err := a.agent.AddVirtualCandidate(c, agentConn{conn.(*muxConn), a.tell}); err != nil {
		return errors.Join(err, conn.Close())
	}
	a.relays[c.ID()] = agentRelay{r, base}
	return nil
}

// remoteCandidate returns candidate i of an offer as pion takes it.
func remoteCandidate(o *wire.Offer, i int) (ice.Candidate, error) {
	addr := unmapped(o.Candidates[i].Addr)
	ip, port, priority := addr.Addr().String(), int(addr.Port()), o.Priority(i)
	switch o.Candidates[i].Type {
	case wire.CandidateServerReflexive:
		return ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{
			Network: "udp", Address: ip, Port: port, Component: 1, Priority: priority,
		})
	case wire.CandidateRelayed:
		return ice.NewCandidateRelay(&ice.CandidateRelayConfig{
			Network: "udp", Address: ip, Port: port, Component: 1, Priority: priority,
		})
	case wire.CandidateHost:
	}
	return ice.NewCandidateHost(&ice.CandidateHostConfig{
		Network: "udp", Address: ip, Port: port, Component: 1, Priority: priority,
	})
}

// tell says that there may be news. It never blocks.
func (a *iceAgent) tell() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// wait waits for news, and returns the best path and the selected one; each is nil if there is none.
func (a *iceAgent) wait(ctx context.Context) (best, selected *icePath, err error) {
	select {
	case <-a.news:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	for _, p := range a.paths() {
		if p.better(best) {
			best = p
		}
		if p.selected {
			selected = p
		}
	}
	return best, selected, nil
}

// paths returns the pairs whose check was answered.
func (a *iceAgent) paths() (list []*icePath) {
	remotes, err := a.agent.GetRemoteCandidates()
	if err != nil {
		return nil // closed
	}
	known := make(map[string]ice.Candidate, len(remotes))
	for _, c := range remotes {
		known[c.ID()] = c
	}
	selected, _ := a.agent.GetSelectedCandidatePairStats()
	for _, s := range a.agent.GetCandidatePairsStats() {
		remote := known[s.RemoteCandidateID]
		if s.State != ice.CandidatePairStateSucceeded || remote == nil {
			continue
		}
		ip, err := netip.ParseAddr(remote.Address())
		if err != nil {
			continue
		}
		p := &icePath{
			remote:   netip.AddrPortFrom(ip.Unmap(), uint16(remote.Port())),
			relayed:  remote.Type() == ice.CandidateTypeRelay,
			rtt:      time.Duration(s.CurrentRoundTripTime * float64(time.Second)),
			selected: s.LocalCandidateID == selected.LocalCandidateID && s.RemoteCandidateID == selected.RemoteCandidateID,
		}
		if r, relayed := a.relays[s.LocalCandidateID]; relayed {
			p.relay, p.base, p.relayed = r.relay, r.base, true
		} else {
			p.base = a.mux.socket(ip.Unmap())
		}
		list = append(list, p)
	}
	return list
}

// path returns what is known of the path by base to remote.
func (a *iceAgent) path(base *muxBase, remote netip.AddrPort) icePath {
	for _, p := range a.paths() {
		if p.base == base && p.remote == remote {
			return *p
		}
	}
	p := icePath{base: base, remote: remote}
	for _, r := range a.relays {
		if r.base == base {
			p.relay, p.relayed = r.relay, true
		}
	}
	return p
}

// close ends the checks and returns when the agent's goroutines have gone.
func (a *iceAgent) close() { _ = a.agent.GracefulClose() } // never fails

// agentMux is the mux as one agent has it: conns tell of what arrives.
type agentMux struct {
	*mux
	tell func()
}

// GetConn is [mux.GetConn].
func (m agentMux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	conn, err := m.mux.GetConn(ufrag, addr)
	if err != nil {
		return nil, err
	}
	return agentConn{conn.(*muxConn), m.tell}, nil
}

// agentConn tells when the agent asks for the next message: it has then dealt with the one before, which may have been
// the answer to a check. pion itself tells of nothing before a pair is nominated, a round trip later.
type agentConn struct {
	*muxConn
	tell func()
}

// ReadFromAddrPort is [muxConn.ReadFromAddrPort].
func (c agentConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	c.tell()
	return c.muxConn.ReadFromAddrPort(b)
}

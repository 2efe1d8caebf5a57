package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/gocarrier/carrier/internal/wire"
)

// attemptEnv is what attempts need of their node.
type attemptEnv struct {
	mux    *mux
	log    *slog.Logger
	relays func() []*relay // those that have an address now
	keyLog io.Writer       // nil: secrets are told to nobody
}

// established is an attempt that has found a path, and for a new link made keys.
type established struct {
	suite    suite   // of the DTLS handshake; new links only
	exporter []byte  // 32 bytes "EXPORTER-carrier-link"; new links only
	conduit  conduit // nil: the node's sockets; else the relay
	remote   netip.AddrPort
	relayed  bool          // by our relay, or by the peer's
	rtt      time.Duration // of a check, or 0: unknown
	// paths are those that ICE prefers to the one before, until close; then it is closed. Only the newest waits.
	// Only the end that controls ICE is told: the other follows what comes from there.
	paths <-chan foundPath
	// close frees agent and DTLS without an alert to the peer, and returns when they have gone; the last of pion's
	// goroutines may be about to return. It may be called again.
	close func()
}

// foundPath is a path that ICE proposes.
type foundPath struct {
	conduit conduit // nil: the node's sockets
	remote  netip.AddrPort
	relayed bool // by our relay, or by the peer's
}

// attempt is what runs for one spec.
type attempt struct {
	spec   *attemptSpec
	env    *attemptEnv
	agent  *iceAgent
	conn   *handshakeConn // new links only, as dtls
	dtls   *dtls.Conn
	paths  chan foundPath  // capacity 1
	ctx    context.Context // of what goes on until close
	cancel context.CancelFunc
	follow sync.WaitGroup
	once   sync.Once
}

// runAttempt checks paths by ICE, and for a new link runs the DTLS handshake on what it finds. It returns when that is
// done, or with an error when ctx ends or it failed; nothing is left running after an error. What it has established is
// independent of ctx, and lasts until close.
func runAttempt(ctx context.Context, spec attemptSpec, env attemptEnv) (*established, error) {
	a := &attempt{spec: &spec, env: &env, paths: make(chan foundPath, 1)}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	run := a.newLink
	if spec.Kind == wire.OfferRestart {
		run = a.restart
	}
	e, err := run(ctx)
	if err != nil {
		a.close()
		return nil, fmt.Errorf("attempt %x: %w", spec.ID, err)
	}
	e.paths, e.close = a.paths, a.close
	return e, nil
}

// restart finds a path for a link that has keys. Both ends wait for the same one.
func (a *attempt) restart(ctx context.Context) (*established, error) {
	if err := a.check(ctx); err != nil {
		return nil, err
	}
	for {
		best, selected, err := a.agent.wait(ctx)
		if err != nil {
			return nil, fmt.Errorf("find a path: %w", err)
		}
		if selected == nil {
			continue
		}
		if a.spec.Lower && best != selected {
			a.propose(best)
		}
		a.goOn(best)
		return selected.established(), nil
	}
}

// newLink finds a path and makes keys. The client begins on the first path that answers, and moves to better ones as
// they do; the server waits for it and follows it.
func (a *attempt) newLink(ctx context.Context) (*established, error) {
	ufrag := a.spec.LocalICE.Ufrag
	a.conn = a.env.mux.handshakeConn(a.spec.ID, func(from netip.AddrPort) bool { return a.env.mux.answered(ufrag, from) })
	if err := a.check(ctx); err != nil {
		return nil, err
	}
	if a.spec.Lower {
		var best *icePath
		for best == nil {
			var err error
			if best, _, err = a.agent.wait(ctx); err != nil {
				return nil, fmt.Errorf("find a path: %w", err)
			}
		}
		a.conn.setRemote(best.base, best.remote)
		a.goOn(best)
	}
	if err := a.handshake(ctx); err != nil {
		return nil, fmt.Errorf("dtls handshake: %w", err)
	}
	suite, exporter, err := exportKeys(a.dtls)
	if err != nil {
		return nil, err
	}
	if a.env.keyLog != nil {
		if _, err := fmt.Fprintf(a.env.keyLog, "CARRIER_LINK %x %x\n", a.spec.ID, exporter); err != nil {
			return nil, fmt.Errorf("write the key log: %w", err)
		}
	}
	select {
	case <-a.paths: // of before; a later one is a later path
	default:
	}
	p := a.agent.path(a.conn.path())
	e := p.established()
	e.suite, e.exporter = suite, exporter
	return e, nil
}

// handshake runs DTLS. The client's patience has an end, since the server may have begun anew in the middle of it, and
// then waits for a client that does too.
func (a *attempt) handshake(ctx context.Context) (err error) {
	limited := ctx
	if a.spec.Lower {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, handshakeLimit)
		defer cancel()
	}
	a.dtls, err = handshakeDTLS(limited, a.conn, a.spec, a.env)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return errHandshakeSlow
	}
	return err
}

// check starts ICE.
func (a *attempt) check(ctx context.Context) (err error) {
	a.agent, err = newICEAgent(ctx, a.spec, a.env)
	return err
}

// goOn proposes paths better than one, until close.
func (a *attempt) goOn(than *icePath) {
	if !a.spec.Lower {
		return
	}
	a.follow.Go(func() {
		for {
			best, _, err := a.agent.wait(a.ctx)
			if err != nil {
				return
			}
			if best == nil || !best.better(than) {
				continue
			}
			if best.base != than.base || best.remote != than.remote {
				a.propose(best)
			}
			than = best
		}
	})
}

// propose moves the handshake to a path, and tells of it. The order matters: newLink looks for what is told, then at
// the handshake.
func (a *attempt) propose(p *icePath) {
	if a.conn != nil {
		a.conn.setRemote(p.base, p.remote)
	}
	select {
	case <-a.paths:
	default:
	}
	a.paths <- p.found()
}

// found is the path as it is proposed.
func (p *icePath) found() foundPath {
	f := foundPath{remote: p.remote, relayed: p.relayed}
	if p.relay != nil { // a nil relay is not a nil conduit
		f.conduit = p.relay
	}
	return f
}

func (p *icePath) established() *established {
	f := p.found()
	return &established{conduit: f.conduit, remote: f.remote, relayed: f.relayed, rtt: p.rtt}
}

// close ends all that runs for the attempt.
func (a *attempt) close() {
	a.once.Do(func() {
		a.cancel()
		if a.conn != nil {
			a.conn.mute()
		}
		if a.dtls != nil {
			_ = a.dtls.Close() // writes its alert to the muted conn
		}
		if a.conn != nil {
			_ = a.conn.Close() // never fails
		}
		if a.agent != nil {
			a.agent.close()
		}
		a.follow.Wait()
		close(a.paths)
	})
}

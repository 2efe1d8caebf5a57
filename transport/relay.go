package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// relayFirstWait, doubled up to relayLastWait, is waited before an allocation that failed is tried again.
	relayFirstWait = time.Second
	relayLastWait  = 5 * time.Minute
	// relayProven is how long an allocation has to last for the next failure to count as the first.
	relayProven = 2 * time.Minute
	// allocateWait bounds one try to allocate.
	allocateWait = 10 * time.Second
)

// errNoRelay is what a relay gives that has no allocation at the moment.
var errNoRelay = errors.New("the relay is not available now")

// relayConfig is what a relay needs.
type relayConfig struct {
	server TURNServer
	net    Net
	mux    *mux
	log    *slog.Logger
	// onData takes the data packets that come by the relay; b is overwritten when it returns.
	onData func(b []byte, c conduit, from netip.AddrPort)
	// changed is called when the relay's address has; it must not wait for the relay.
	changed func()
}

// relay keeps an allocation at one TURN server (RFC 8656), and is the conduit of what goes by it. When the allocation
// is lost another is made, so that the relay outlives its address: paths by it go on, and to the peer it is as if a NAT
// had changed. All methods are safe for concurrent use; none blocks but close.
type relay struct {
	relayConfig
	cancel context.CancelFunc
	done   chan struct{}
	held   atomic.Pointer[allocation]

	dropped, refused, made atomic.Uint64
}

var _ conduit = (*relay)(nil)

// newRelay starts to keep an allocation.
func newRelay(c relayConfig) *relay {
	r := &relay{relayConfig: c, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go r.run(ctx)
	return r
}

// close gives the allocation back and returns when the relay's goroutines have gone. It may be called again.
func (r *relay) close() {
	r.cancel()
	<-r.done
}

// addr is the relayed address, at which peers reach us by the relay; not valid while there is none.
func (r *relay) addr() netip.AddrPort {
	if base := r.base(); base != nil {
		return base.addr
	}
	return netip.AddrPort{}
}

// base is the mux's at the relayed address, nil while there is none.
func (r *relay) base() *muxBase {
	if a := r.held.Load(); a != nil {
		return a.base
	}
	return nil
}

func (r *relay) relayed() bool { return true }

func (r *relay) local(netip.AddrPort) netip.AddrPort { return r.addr() }

func (r *relay) write(b []byte, size int, to netip.AddrPort) error {
	a := r.held.Load()
	if a == nil {
		return errNoRelay
	}
	for p := range slices.Chunk(b, max(size, 1)) {
		if err := a.send(p, to); err != nil {
			return err
		}
	}
	return nil
}

// writeWhole is not known by a relay.
func (r *relay) writeWhole([]byte, netip.AddrPort) error { return errors.ErrUnsupported }

// addStats adds the relay's counters to all.
func (r *relay) addStats(all map[string]uint64) {
	all["relay.allocated"] += r.made.Load()
	all["relay.refused"] += r.refused.Load()
	all["relay.dropped"] += r.dropped.Load()
}

// run makes one allocation after the other.
func (r *relay) run(ctx context.Context) {
	defer close(r.done)
	wait := relayFirstWait
	for {
		began := time.Now()
		err := r.hold(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= relayProven {
			wait = relayFirstWait
		}
		r.log.Debug("no relay", "server", r.server.Address, "err", err, "again", wait)
		pause := time.NewTimer(wait*4/5 + rand.N(wait*2/5)) // nodes of one server come back at different times
		wait = min(2*wait, relayLastWait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// hold makes an allocation and keeps it; it returns why it ended.
func (r *relay) hold(ctx context.Context) error {
	a, err := r.allocate(ctx)
	if err != nil {
		return err
	}
	r.made.Add(1)
	r.log.Debug("relay allocated", "server", r.server.Address, "addr", a.base.addr)
	r.held.Store(a)
	r.changed()
	select {
	case err = <-a.failed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	r.held.Store(nil)
	a.close()
	if ctx.Err() == nil {
		r.changed()
	}
	return err
}

// allocate tries the server's addresses in turn.
func (r *relay) allocate(ctx context.Context) (*allocation, error) {
	ctx, cancel := context.WithTimeout(ctx, allocateWait)
	defer cancel()
	servers, err := resolveServer(ctx, r.net, r.server.Address)
	if err != nil {
		return nil, fmt.Errorf("resolve turn server %s: %w", r.server.Address, err)
	}
	var errs []error
	for _, s := range servers {
		a, err := newAllocation(ctx, r, s)
		if err == nil {
			return a, nil
		}
		errs = append(errs, fmt.Errorf("allocate at turn server %v: %w", s, err))
	}
	return nil, errors.Join(errs...)
}

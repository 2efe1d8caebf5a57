package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// reflectEvery is how often STUN servers are asked while nothing happens, and
	// reflectLeast the least time between two rounds.
	reflectEvery = 5 * time.Minute
	reflectLeast = 10 * time.Second
	// maxReflectors bounds the STUN servers that are asked.
	maxReflectors = 8
)

// reflector asks the configured STUN servers which address we are seen at.
type reflector struct {
	t     *Transport
	again chan struct{} // capacity 1: addresses have changed

	mu   sync.Mutex // a leaf
	seen map[string][]netip.AddrPort
}

// newReflector starts to ask, if there are servers; its goroutine is one of
// Transport.tasks.
func newReflector(t *Transport) *reflector {
	r := &reflector{t: t, again: make(chan struct{}, 1), seen: map[string][]netip.AddrPort{}}
	if len(t.config.STUN) > 0 {
		t.tasks.Go(r.run)
	}
	return r
}

// run asks now and then, until the transport closes.
func (r *reflector) run() {
	for ctx := r.t.ctx; ctx.Err() == nil; {
		least := time.After(reflectLeast)
		round := time.NewTimer(reflectEvery)
		r.round(ctx)
		select {
		case <-round.C:
		case <-r.again:
		case <-ctx.Done():
		}
		round.Stop()
		select {
		case <-least:
		case <-ctx.Done():
		}
	}
}

// round asks every server once.
func (r *reflector) round(ctx context.Context) {
	servers := r.t.config.STUN
	var asked sync.WaitGroup
	for _, server := range servers[:min(len(servers), maxReflectors)] {
		asked.Go(func() {
			found, err := r.ask(ctx, server)
			if err != nil {
				r.t.log.Debug("stun server not asked", "server", server, "err", err)
			}
			if ctx.Err() == nil && r.found(server, found) {
				r.t.readdress()
			}
		})
	}
	asked.Wait()
}

// ask asks one server, by IPv4 and by IPv6 as far as both have it.
func (r *reflector) ask(ctx context.Context, server string) (found []netip.AddrPort, err error) {
	addrs, err := resolveServer(ctx, r.t.config.Net, server)
	if err != nil {
		return nil, fmt.Errorf("resolve stun server %s: %w", server, err)
	}
	for _, is4 := range []bool{true, false} {
		i := slices.IndexFunc(addrs, func(a netip.AddrPort) bool { return a.Addr().Is4() == is4 })
		if i < 0 || r.t.mux.socket(addrs[i].Addr()) == nil {
			continue
		}
		a, e := r.t.mux.reflexive(ctx, addrs[i])
		if err = errors.Join(err, e); e == nil {
			found = append(found, a)
		}
	}
	return found, err
}

// found notes what a server says, and reports whether it is news.
func (r *reflector) found(server string, addrs []netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(r.seen[server], addrs) {
		return false
	}
	r.seen[server] = addrs
	return true
}

// refresh asks again soon.
func (r *reflector) refresh() { rouse(r.again) }

// reflected are the addresses that STUN servers see us at.
func (t *Transport) reflected() (list []netip.AddrPort) {
	r := t.reflector
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, server := range t.config.STUN {
		list = append(list, r.seen[server]...)
	}
	return list
}

// resolveServer returns the addresses of host:port, IPv4 first: more peers can be reached from there.
func resolveServer(ctx context.Context, n Net, server string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("%q is not a port", service)
	}
	ips := make([]netip.Addr, 1)
	if ips[0], err = netip.ParseAddr(host); err != nil {
		if ips, err = n.LookupNetIP(ctx, "ip", host); err != nil {
			return nil, err
		}
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	slices.SortStableFunc(addrs, func(a, b netip.AddrPort) int { return cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()) })
	if len(addrs) == 0 {
		return nil, errors.New("the name has no address")
	}
	return addrs, nil
}

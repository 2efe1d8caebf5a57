package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Sending a request again (RFC 8489, section 6.2.1): after RTO, then twice as long each time, 7 requests in all; the
// last is given 16 RTO.
const (
	stunRTO      = 500 * time.Millisecond
	stunTries    = 7
	stunLastWait = 16 * stunRTO
)

// errNoSTUNAnswer is matched when all requests went unanswered, after 39.5 s.
var errNoSTUNAnswer = errors.New("no answer from the stun server")

// reflexive asks a STUN server, by the socket of its family, which address we are seen at. It may be called any number
// of times at once. Its error matches ctx's, errNoSTUNAnswer, net.ErrClosed after Close, or says what the server or the
// socket had against it.
func (m *mux) reflexive(ctx context.Context, server netip.AddrPort) (netip.AddrPort, error) {
	server = unmapped(server)
	base := m.socket(server.Addr())
	if base == nil || !sendable(server) {
		return netip.AddrPort{}, fmt.Errorf("ask stun server %v: no socket can send there", server)
	}
	k := &muxCheck{base: base, to: server, answer: make(chan stunMessage, 1)}
	_, _ = rand.Read(k.id[:]) // never fails
	m.mu.Lock()
	m.checks[k.id] = k
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.checks, k.id)
	}()
	msg, err := m.exchange(ctx, k)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ask stun server %v: %w", server, err)
	}
	if msg.class == stunError {
		return netip.AddrPort{}, fmt.Errorf("ask stun server %v: it refused with code %d", server, msg.errorCode())
	}
	addr, ok := msg.mapped()
	if !ok || addr.Addr().Is4() != server.Addr().Is4() {
		return netip.AddrPort{}, fmt.Errorf("ask stun server %v: its answer has no usable address", server)
	}
	return addr, nil
}

// exchange sends a request until it is answered.
func (m *mux) exchange(ctx context.Context, k *muxCheck) (stunMessage, error) {
	request := bindingRequest(k.id)
	wait := stunRTO
	for try := 1; try <= stunTries; try++ {
		select {
		case <-ctx.Done():
			return stunMessage{}, ctx.Err()
		case <-m.done:
			return stunMessage{}, net.ErrClosed
		default:
		}
		if err := k.base.send(request, k.to); err != nil {
			return stunMessage{}, err
		}
		if try == stunTries {
			wait = stunLastWait
		}
		timer := time.NewTimer(wait)
		select {
		case msg := <-k.answer:
			timer.Stop()
			return msg, nil
		case <-ctx.Done():
			timer.Stop()
			return stunMessage{}, ctx.Err()
		case <-m.done:
			timer.Stop()
			return stunMessage{}, net.ErrClosed
		case <-timer.C:
		}
		wait *= 2
	}
	return stunMessage{}, errNoSTUNAnswer
}

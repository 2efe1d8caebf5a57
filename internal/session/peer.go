package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/gocarrier/carrier/internal/wire"
)

// Peer holds the sessions with one friend over one link. The link's owner
// hands it what comes (Control, Lane, Datagram) and tells it the link's end
// (Close).
type Peer struct {
	cfg    Config
	log    *slog.Logger
	budget *Budget

	mu       sync.Mutex
	err      error               // the link has ended: an *Error
	next     uint64              // number of our next session
	seen     uint64              // highest number of a session of the peer's
	sessions map[uint64]*Session // all that have not ended
	requests int                 // of the peer's that wait for an answer
	claims   map[uint64]claim    // lanes that were named and have not come
	strays   strays

	countMu sync.Mutex
	counts  map[string]uint64
}

// claim is what a lane of the peer's was named for.
type claim interface{ claimed(Lane) }

// The names of what Stats counts.
const (
	countJunk       = "session_junk"              // messages that no honest node sends
	countRequests   = "session_requests_refused"  // beyond those that may wait
	countStrays     = "session_lanes_stopped"     // that belonged to nothing
	countStreams    = "session_streams_refused"   // beyond the limit of a session
	countDatagrams  = "session_datagrams_dropped" // of no flow, or not read
	countFaults     = "session_faults"            // sessions closed because the peer broke the protocol
	countOverBudget = "session_over_budget"       // sessions closed for want of memory
)

// New returns a Peer without sessions. It has no goroutine.
func New(c Config) *Peer {
	p := &Peer{
		cfg: c, log: c.Logger, budget: c.Budget,
		sessions: map[uint64]*Session{}, claims: map[uint64]claim{}, counts: map[string]uint64{},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.budget == nil {
		p.budget = NewBudget(0)
	}
	p.next = 2 - p.parity()
	p.strays.p = p
	return p
}

// parity is that of the numbers of what this end opens: sessions, flows, lanes.
func (p *Peer) parity() uint64 {
	if p.cfg.Lower {
		return 1
	}
	return 0
}

func (p *Peer) count(name string) {
	p.countMu.Lock()
	defer p.countMu.Unlock()
	p.counts[name]++
}

// Stats returns what was dropped or refused, by name.
func (p *Peer) Stats() map[string]uint64 {
	p.countMu.Lock()
	defer p.countMu.Unlock()
	out := make(map[string]uint64, len(p.counts))
	for name, n := range p.counts {
		out[name] = n
	}
	return out
}

// Sessions returns the sessions that are open.
func (p *Peer) Sessions() []*Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*Session
	for _, s := range p.sessions {
		s.mu.Lock()
		open := s.state == opened && s.err == nil
		s.mu.Unlock()
		if open {
			list = append(list, s)
		}
	}
	return list
}

// Dial asks the friend for a session: one round trip. Of r it takes Service,
// Metadata and Streams. The error is ctx's, or an [*Error]: [ErrRefused] with
// the friend's reason, or what ended the link.
func (p *Peer) Dial(ctx context.Context, r Request) (*Session, error) {
	if err := wire.CheckService(r.Service); err != nil {
		return nil, err
	}
	if len(r.Metadata) > wire.MaxMetadata {
		return nil, fmt.Errorf("metadata of %d bytes: %w, at most %d", len(r.Metadata), ErrTooLong, wire.MaxMetadata)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Streams = streamLimit(r.Streams)
	s, err := p.request(r)
	if err != nil {
		return nil, err
	}
	return p.await(ctx, s)
}

// await waits for the answer to the request of s. One that was accepted and then
// closed in order is a session like any other: what was written is to be read.
func (p *Peer) await(ctx context.Context, s *Session) (*Session, error) {
	select {
	case <-s.answered:
		s.relieve()
		if err := s.Err(); err != nil && !errors.Is(err, ErrPeerClosed) {
			return nil, err
		}
		return s, nil
	case <-ctx.Done():
		s.end(&Error{Cause: ErrWithdrawn}, ending{tell: &wire.SessionEnd{Session: s.id, Cause: wire.SessionWithdrawn}})
		return nil, ctx.Err()
	}
}

// request opens a lane and sends REQUEST.
func (p *Peer) request(r Request) (*Session, error) {
	p.mu.Lock()
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	lane, err := p.cfg.Lanes.Open()
	if err != nil {
		return nil, fmt.Errorf("open a lane for a session: %w", err)
	}
	s, err := p.ask(r, lane)
	if err != nil {
		abandon(lane, laneAborted)
		return nil, err
	}
	return s, nil
}

func (p *Peer) ask(r Request, lane Lane) (*Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	s := p.newSession(p.next, r, dialling)
	s.laneID, s.lane = lane.ID(), lane
	err := p.cfg.Signal.Send(wire.AppendSession(nil, wire.SessionRequest{
		Session: s.id, Lane: s.laneID, Streams: uint64(r.Streams), Service: r.Service, Metadata: r.Metadata,
	}))
	if err != nil {
		return nil, fmt.Errorf("ask for a session: %w", err)
	}
	p.next += 2
	p.sessions[s.id] = s
	// The lane begins after the request, which names it. A new one has room for
	// this; if it fails, the answer or the link's end says why.
	_, _ = lane.Write(appendHeader(nil, cmdNOP, 0, 0))
	return s, nil
}

// forget lets go of a session that has ended, unanswered or not.
func (p *Peer) forget(s *Session, unanswered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if unanswered {
		p.requests--
	}
	if p.sessions[s.id] == s {
		delete(p.sessions, s.id)
	}
	for id, c := range p.claims {
		if b, ok := c.(*bulk); c == claim(s) || ok && b.s == s {
			delete(p.claims, id)
		}
	}
}

// Control takes a message of the peer's.
func (p *Peer) Control(msg []byte) {
	m, err := wire.ParseSession(msg)
	if err != nil {
		p.count(countJunk)
		return
	}
	switch m := m.(type) {
	case wire.SessionRequest:
		p.requested(m)
	case wire.SessionAccept:
		p.with(m.Session, func(s *Session) { s.acceptedBy(int(m.Streams)) })
	case wire.SessionRefuse:
		p.with(m.Session, func(s *Session) { s.refusedBy(m.Reason) })
	case wire.SessionEnd:
		p.with(m.Session, func(s *Session) { s.endedBy(m) })
	case wire.SessionFlowOpen:
		p.with(m.Session, func(s *Session) { s.flowOpened(m.Flow) })
	case wire.SessionFlowClose:
		p.with(m.Session, func(s *Session) { s.flowClosed(m) })
	case wire.SessionBulk:
		p.with(m.Session, func(s *Session) { p.bulkOpened(s, m.Lane) })
	case wire.SessionBulkRefuse:
		p.with(m.Session, func(s *Session) { s.bulkRefused(m.Lane) })
	}
}

// with calls f for a session, unless it has ended.
func (p *Peer) with(id uint64, f func(*Session)) {
	p.mu.Lock()
	s := p.sessions[id]
	known := id < p.next
	if id&1 != p.parity() {
		known = id <= p.seen
	}
	p.mu.Unlock()
	switch {
	case s != nil:
		f(s)
	case !known:
		p.count(countJunk)
	}
}

// bulkOpened joins a stream and its lane.
func (p *Peer) bulkOpened(s *Session, lane uint64) {
	if !p.claimable(lane) {
		p.count(countJunk)
		return
	}
	if b, ok := s.bulkOpened(lane); ok {
		p.claim(lane, b)
		if s.Err() != nil {
			p.forget(s, false) // it ended meanwhile
		}
		return
	}
	if l := p.takeStray(lane); l != nil {
		abandon(l, laneRefused)
	}
}

// claimable reports whether the peer may name a lane: one of its own, that
// nothing else has.
func (p *Peer) claimable(lane uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return lane&1 != p.parity() && p.claims[lane] == nil
}

// claim gives c the lane, now or when it comes.
func (p *Peer) claim(lane uint64, c claim) {
	p.mu.Lock()
	l := p.strays.take(lane)
	if l == nil {
		p.claims[lane] = c
	}
	p.mu.Unlock()
	if l != nil {
		c.claimed(l)
	}
}

func (p *Peer) takeStray(lane uint64) Lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.strays.take(lane)
}

// Lane takes a lane that the peer has opened.
func (p *Peer) Lane(l Lane) {
	p.mu.Lock()
	c := p.claims[l.ID()]
	delete(p.claims, l.ID())
	kept := c == nil && p.err == nil && p.strays.add(l)
	p.mu.Unlock()
	switch {
	case c != nil:
		c.claimed(l)
	case !kept:
		p.count(countStrays)
		abandon(l, laneUnclaimed)
	}
}

// Datagram takes a datagram of the peer's; b is not kept.
func (p *Peer) Datagram(session, flow uint64, b []byte) {
	p.mu.Lock()
	s := p.sessions[session]
	p.mu.Unlock()
	if s == nil {
		p.count(countDatagrams)
		return
	}
	s.datagram(flow, b)
}

// Close ends all sessions because the link has ended, for the reason err; they
// end with [ErrLinkLost]. It returns when their goroutines have.
func (p *Peer) Close(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = &Error{Cause: ErrLinkLost, Err: err}
	}
	var list []*Session
	for _, s := range p.sessions {
		list = append(list, s)
	}
	lanes := p.strays.drop()
	clear(p.claims)
	p.mu.Unlock()
	for _, l := range lanes {
		abandon(l, laneUnclaimed)
	}
	for _, s := range list {
		s.end(&Error{Cause: ErrLinkLost, Err: err}, ending{})
	}
	for _, s := range list {
		s.work.Wait()
	}
}

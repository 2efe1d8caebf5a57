package session

import (
	"fmt"

	"github.com/gocarrier/carrier/internal/wire"
)

// Request is a session that is asked for: by [Peer.Dial], or by the friend, as
// [Config.OnRequest] gets it. A friend's must be accepted or refused.
type Request struct {
	Service  string // the name of a service, 1 to [wire.MaxService] bytes
	Metadata []byte // for the service, at most [wire.MaxMetadata] bytes
	// Streams is how many streams may be open at once; 0 is
	// [wire.DefaultStreams], more than [wire.MaxStreams] is that. The session
	// gets the lower limit of its two ends.
	Streams int

	s *Session // of the friend's
}

// AcceptOptions are those of Accept.
type AcceptOptions struct {
	Streams int // as in Request
}

// requested handles REQUEST.
func (p *Peer) requested(m wire.SessionRequest) {
	r := &Request{Service: m.Service, Metadata: m.Metadata, Streams: int(m.Streams)}
	p.mu.Lock()
	if m.Session&1 == p.parity() || m.Session <= p.seen || m.Lane&1 == p.parity() || p.claims[m.Lane] != nil || p.err != nil {
		p.mu.Unlock()
		p.count(countJunk)
		return
	}
	p.seen = m.Session
	refusal := ""
	switch {
	case p.cfg.OnRequest == nil:
		refusal = "no sessions here"
	case p.requests >= maxRequests:
		refusal = "too many requests wait for an answer"
	}
	if refusal != "" {
		l := p.strays.take(m.Lane)
		p.mu.Unlock()
		if l != nil {
			abandon(l, laneUnclaimed)
		}
		p.count(countRequests)
		p.send(wire.SessionRefuse{Session: m.Session, Reason: refusal})
		return
	}
	r.s = p.newSession(m.Session, *r, requested)
	r.s.laneID = m.Lane
	p.sessions[m.Session] = r.s
	p.requests++
	p.mu.Unlock()
	p.claim(m.Lane, r.s)
	p.cfg.OnRequest(r)
}

// send sends a message on whose arrival nothing rests.
func (p *Peer) send(m wire.SessionMessage) {
	if err := p.cfg.Signal.Send(wire.AppendSession(nil, m)); err != nil {
		p.log.Debug("session message not sent", "err", err)
	}
}

// Accept opens the session; nil options are the defaults. It does not wait. An
// [*Error] says that the friend no longer wants it, or the link is gone.
func (r *Request) Accept(o *AcceptOptions) (*Session, error) {
	if o == nil {
		o = &AcceptOptions{}
	}
	s := r.s
	defer s.relieve()
	if err := r.accept(min(r.Streams, streamLimit(o.Streams))); err != nil {
		return nil, err
	}
	s.p.answered()
	return s, nil
}

func (r *Request) accept(limit int) error {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := r.open(); err != nil {
		return err
	}
	if err := s.p.cfg.Signal.Send(wire.AppendSession(nil, wire.SessionAccept{Session: s.id, Streams: uint64(limit)})); err != nil {
		return fmt.Errorf("accept a session: %w", err)
	}
	s.start(limit)
	return nil
}

// Refuse refuses the session, with a reason of at most [wire.MaxReason] bytes
// for the friend.
func (r *Request) Refuse(reason string) error {
	if len(reason) > wire.MaxReason {
		return fmt.Errorf("reason of %d bytes: %w, at most %d", len(reason), ErrTooLong, wire.MaxReason)
	}
	s := r.s
	s.mu.Lock()
	err := r.open()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if !s.end(&Error{Cause: ErrRefused, Reason: reason}, ending{}) {
		return s.Err()
	}
	s.p.send(wire.SessionRefuse{Session: s.id, Reason: wire.CloseReason(reason)})
	return nil
}

// Done is closed when the request has come to nothing: refused, withdrawn, or
// the link is lost. After Accept it is the session's.
func (r *Request) Done() <-chan struct{} { return r.s.done }

// open returns why the request can be answered no more. Under the session's
// lock.
func (r *Request) open() error {
	switch s := r.s; {
	case s.err != nil:
		return s.err
	case s.state != requested:
		return ErrAnswered
	}
	return nil
}

// answered counts one request less that waits.
func (p *Peer) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests--
}

// acceptedBy handles ACCEPT.
func (s *Session) acceptedBy(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != dialling || s.err != nil || limit > s.limit {
		s.p.count(countJunk)
		return
	}
	s.start(limit)
	close(s.answered)
}

// refusedBy handles REFUSE.
func (s *Session) refusedBy(reason string) {
	s.mu.Lock()
	dialling := s.state == dialling
	s.mu.Unlock()
	if !dialling {
		s.p.count(countJunk)
		return
	}
	s.end(&Error{Cause: ErrRefused, Remote: true, Reason: reason}, ending{})
}

// endedBy handles END.
func (s *Session) endedBy(m wire.SessionEnd) {
	e := &Error{Remote: true, Code: m.Code, Reason: m.Reason}
	switch m.Cause {
	case wire.SessionClosed: // the end of the lane comes behind all that was written
		s.mu.Lock()
		s.toldEnd = true
		s.mu.Unlock()
		rouse(s.moved)
		return
	case wire.SessionAborted:
		e.Cause = ErrAborted
	case wire.SessionFault:
		e.Cause = ErrFault
		s.p.log.Warn("session closed: the friend's node says that this one broke the protocol", "service", s.service, "reason", m.Reason)
	case wire.SessionOverBudget:
		e.Cause = ErrOverBudget
	case wire.SessionWithdrawn:
		e.Cause = ErrWithdrawn
	}
	s.end(e, ending{})
}

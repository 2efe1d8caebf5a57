package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// Close closes all streams and then the session: the friend gets what was
// written. It returns at once; Done is closed when all has arrived, after 30 s
// at most. A session that has ended otherwise is to be closed, too: it lets go
// of what was not read.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil
	}
	s.closing = true
	s.accepts = nil // closed with all others
	for _, r := range s.reliables {
		r.close()
	}
	for _, f := range s.flows {
		f.close()
	}
	for _, b := range s.bulks {
		b.close()
	}
	if s.err != nil {
		return nil
	}
	s.tell(wire.SessionEnd{Session: s.id})
	s.drain.timer = time.AfterFunc(drainTime, func() {
		s.end(&Error{Cause: ErrClosed, Err: errDrain}, ending{})
	})
	s.out.wake.Signal()
	rouse(s.acceptable)
	return nil
}

var errDrain = errors.New("not all that was written has arrived")

// finishClose is the rest of Close, when all is written to the lane.
func (s *Session) finishClose() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.mu.Lock()
	s.drain.stop = cancel
	ended := s.err != nil
	s.mu.Unlock()
	if ended {
		return
	}
	err := s.lane.CloseWrite()
	if err == nil {
		err = s.lane.Flush(ctx)
	}
	if err != nil {
		if s.explain() == nil {
			s.end(&Error{Cause: ErrClosed, Err: fmt.Errorf("%w: %w", errDrain, err)}, ending{})
		}
		return
	}
	select {
	case <-s.drained:
	case <-s.done:
	}
	s.end(&Error{Cause: ErrClosed}, ending{orderly: true})
}

// Abort ends the session at once: what has not arrived is lost. The friend
// learns code, at most [wire.MaxVarint], and reason, cut to 255 bytes.
func (s *Session) Abort(code uint64, reason string) {
	code, reason = min(code, wire.MaxVarint), wire.CloseReason(reason)
	s.end(&Error{Cause: ErrAborted, Code: code, Reason: reason}, ending{
		tell: &wire.SessionEnd{Session: s.id, Cause: wire.SessionAborted, Code: code, Reason: reason},
	})
}

// protocolError ends the session because of what the peer sent.
func (s *Session) protocolError(err error) {
	s.p.count(countFaults)
	s.p.log.Warn("session closed: the friend's node broke the protocol", "service", s.service, "err", err)
	reason := wire.CloseReason(err.Error())
	s.end(&Error{Cause: ErrFault, Remote: true, Reason: reason}, ending{
		tell: &wire.SessionEnd{Session: s.id, Cause: wire.SessionFault, Reason: reason},
	})
}

// overBudget ends the session because all together hold too much. One that has
// ended loses what was not read.
func (s *Session) overBudget() {
	e := &Error{Cause: ErrOverBudget}
	if s.end(e, ending{tell: &wire.SessionEnd{Session: s.id, Cause: wire.SessionOverBudget}}) {
		s.p.count(countOverBudget)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purge(e)
}

// explain waits a moment for the message that says why a lane has failed, and
// returns why the session has ended, nil if it has not.
func (s *Session) explain() error {
	timer := time.NewTimer(explainTime)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
	return s.Err()
}

// laneFailed ends the session when its lane has: most often the link has ended,
// or the peer has aborted the session, and is about to say so.
func (s *Session) laneFailed(err error) {
	if s.explain() == nil {
		s.end(&Error{Cause: ErrAborted, Remote: true, Err: err}, ending{})
	}
}

// tell sends a message to the other end. When it cannot, the two no longer
// agree: the session ends. Under the session's lock.
func (s *Session) tell(m wire.SessionMessage) {
	if err := s.p.cfg.Signal.Send(wire.AppendSession(nil, m)); err != nil {
		go s.end(&Error{Cause: ErrAborted, Err: fmt.Errorf("tell the friend: %w", err)}, ending{})
	}
}

// ending is how a session ends.
type ending struct {
	orderly bool             // all has been exchanged: what was read stays, the lanes end by themselves
	tell    *wire.SessionEnd // nil: the peer knows
}

// end ends the session, unless it has ended, which it reports. Called without
// locks.
func (s *Session) end(e *Error, how ending) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	if s.closing && !errors.Is(e, ErrClosed) {
		e = &Error{Cause: ErrClosed, Err: e}
	}
	s.err = e
	if how.tell != nil {
		_ = s.p.cfg.Signal.Send(wire.AppendSession(nil, *how.tell)) // the lane's end tells, too
	}
	for _, t := range []*time.Timer{s.laneTimer, s.drain.timer} {
		if t != nil {
			t.Stop()
		}
	}
	if s.drain.stop != nil {
		s.drain.stop()
	}
	if !how.orderly {
		s.accepts = nil
		s.purge(e)
	}
	s.release()
	lane, bulks := s.lane, maps.Clone(s.bulks)
	s.wakeAll()
	if s.state == dialling {
		close(s.answered)
	}
	close(s.done)
	unanswered := s.state == requested
	s.mu.Unlock()

	s.p.forget(s, unanswered)
	if lane != nil && how.orderly {
		_ = lane.Close() // both halves are over: it cannot matter
	} else if lane != nil {
		abandon(lane, laneAborted)
	}
	if !how.orderly {
		for _, b := range bulks {
			b.abandon(laneAborted)
		}
	}
	return true
}

// purge drops what has come and was not read, and says why to who reads on.
func (s *Session) purge(err error) {
	for _, r := range s.reliables {
		if r.in.n > 0 {
			r.lost = err
			r.drop()
		}
	}
	for _, f := range s.flows {
		f.drop()
	}
}

// release gives back what the budget counts beside what can still be read.
func (s *Session) release() {
	held := s.held
	for _, r := range s.reliables {
		held -= int64(r.charged)
	}
	for _, f := range s.flows {
		held -= int64(f.held)
	}
	for _, r := range s.out.waiting {
		r.waiting = false
	}
	s.out.buf, s.out.held, s.out.waiting, s.out.updates = nil, 0, nil, nil
	s.early.drop()
	s.charge(-held)
}

// wakeAll wakes all who wait for the session.
func (s *Session) wakeAll() {
	for _, r := range s.reliables {
		r.readable.Broadcast()
		r.writable.Broadcast()
	}
	for _, f := range s.flows {
		f.readable.Broadcast()
	}
	s.out.wake.Signal()
}

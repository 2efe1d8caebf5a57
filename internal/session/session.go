package session

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// state is how far a session has come.
type state uint8

const (
	requested state = iota // by the peer; the program has not answered
	dialling               // by us; the peer has not answered
	opened
)

// Session is a set of streams with one friend that belong together. It ends by
// Close or Abort of either end, with the link, or for want of memory; then Done
// is closed and Err says why.
type Session struct {
	p             *Peer
	budget        *Budget
	id            uint64
	service       string
	metadata      []byte
	local, remote net.Addr

	answered   chan struct{} // closed when the peer has answered our request
	acceptable chan struct{} // capacity 1: a stream waits in accepts
	moved      chan struct{} // capacity 1: something came for which peerClosed may wait
	drained    chan struct{} // closed when the lane has been read to its end after our Close
	done       chan struct{} // closed when the session has ended
	work       sync.WaitGroup
	over       atomic.Bool // the budget is exceeded since relieve was called

	mu        sync.Mutex
	state     state
	closing   bool  // Close was called: nothing is opened any more
	toldEnd   bool  // the peer has said that it closes, behind whatever else it said
	err       error // why it has ended: an *Error
	limit     int   // of streams
	window    int   // of a reliable stream
	laneID    uint64
	lane      Lane        // nil until the peer's has come
	laneTimer *time.Timer // until then
	drain     drain
	held      int64 // what the budget counts for the session

	count                  int                  // streams that are open
	reliables              map[uint32]*reliable // open, or with something to be read
	flows                  map[uint64]*flow     // likewise
	bulks                  map[uint64]*bulk
	nextStream, peerStream uint32 // our next one; the peer's last one
	nextFlow, peerFlow     uint64
	accepts                []*Stream // not yet taken by AcceptStream
	early                  early
	out                    outgoing
}

// drain is the end of Close: what was written arrives.
type drain struct {
	timer *time.Timer
	stop  context.CancelFunc
}

// newSession makes a session that is not open yet.
func (p *Peer) newSession(id uint64, r Request, st state) *Session {
	s := &Session{
		p: p, budget: p.budget, id: id, service: r.Service, metadata: r.Metadata, state: st, limit: r.Streams,
		answered: make(chan struct{}), acceptable: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		drained: make(chan struct{}), done: make(chan struct{}),
	}
	s.out.wake.L, s.out.budget = &s.mu, p.budget
	s.local, s.remote = addr{r.Service, id, true}, addr{r.Service, id, false}
	if p.cfg.Addr != nil {
		s.local, s.remote = p.cfg.Addr(r.Service)
	}
	return s
}

// start opens the session with the limit that both ends agree on; its
// goroutines run as soon as the lane is there. Under the session's lock.
func (s *Session) start(limit int) {
	s.state = opened
	s.limit, s.window = limit, streamWindow(limit)
	s.out.room = outRoom
	s.reliables, s.flows, s.bulks = map[uint32]*reliable{}, map[uint64]*flow{}, map[uint64]*bulk{}
	// smux begins behind 1 and 2, with the odd numbers for who dialled.
	s.nextStream, s.peerStream = 2, 1
	if s.dialled() {
		s.nextStream, s.peerStream = 3, 0
	}
	s.nextFlow = 2 - s.p.parity()
	s.charge(sessionCost)
	if s.lane != nil {
		s.run()
		return
	}
	s.laneTimer = time.AfterFunc(laneTime, func() {
		s.protocolError(fmt.Errorf("lane %d, which the request names, has not come", s.laneID))
	})
}

// dialled reports whether this end asked for the session.
func (s *Session) dialled() bool { return s.id&1 == s.p.parity() }

func (s *Session) run() {
	s.work.Add(2)
	go s.send()
	go s.receive()
}

// claimed takes the lane that the peer's request named.
func (s *Session) claimed(l Lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		abandon(l, laneUnclaimed)
		return
	}
	s.lane = l
	if s.laneTimer != nil {
		s.laneTimer.Stop()
	}
	if s.state == opened {
		s.run()
	}
}

// Codes with which a lane is reset.
const (
	laneUnclaimed = 1 // it belongs to nothing
	laneAborted   = 2 // its session has ended
	laneRefused   = 3 // too many streams
)

// abandon ends both halves of a lane.
func abandon(l Lane, code uint64) {
	l.Reset(code)
	l.Stop(code)
	_ = l.Close() // it is over already; this lets go of it
}

// Service returns the name that the session was asked for by.
func (s *Session) Service() string { return s.service }

// Metadata returns what the request carried for the service; it must not be
// changed.
func (s *Session) Metadata() []byte { return s.metadata }

// Limit returns how many streams of all kinds may be open at once.
func (s *Session) Limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session has ended, an [*Error], and nil before.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// charge adds to what the budget counts for the session. Under its lock; who
// has let go of it calls relieve.
func (s *Session) charge(n int64) {
	s.held += n
	if s.budget.charge(s, n) {
		s.over.Store(true)
	}
}

// relieve closes sessions if the budget is exceeded. Called without locks.
func (s *Session) relieve() {
	if s.over.Load() && s.over.Swap(false) {
		s.budget.relieve()
	}
}

// OpenStream opens a stream: nil options are those of a reliable one. It does
// not wait for the friend. [ErrTooManyStreams]: as many as the session's limit
// are open; one counts until both ends have closed it.
func (s *Session) OpenStream(ctx context.Context, o *StreamOptions) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o == nil {
		o = &StreamOptions{}
	}
	var lane Lane
	if o.Bulk && o.Mode == Reliable {
		if err := s.locked(s.openError); err != nil {
			return nil, err
		}
		l, err := s.p.cfg.Lanes.Open()
		if err != nil {
			return nil, fmt.Errorf("open a lane for a stream: %w", err)
		}
		lane = l
	}
	defer s.relieve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openError(); err != nil {
		if lane != nil {
			abandon(lane, laneAborted)
		}
		return nil, err
	}
	var c conn
	var err error
	switch {
	case lane != nil:
		c, err = s.openBulk(lane)
	case o.Mode == Datagram:
		c, err = s.openFlow()
	default:
		r := s.newReliable(s.nextStream)
		s.nextStream += 2
		s.out.control(appendHeader(nil, cmdSYN, r.id, 0))
		c = r
	}
	if err != nil {
		return nil, err
	}
	return &Stream{conn: c, s: s, mode: o.Mode}, nil
}

// openError returns why no stream can be opened.
func (s *Session) openError() error {
	switch {
	case s.err != nil:
		return s.err
	case s.closing:
		return &Error{Cause: ErrClosed}
	case s.count >= s.limit, s.nextStream > 1<<32-3:
		return fmt.Errorf("%w: %d", ErrTooManyStreams, s.limit)
	}
	return nil
}

// accepted queues a stream for AcceptStream. Under the session's lock.
func (s *Session) accepted(st *Stream) {
	s.accepts = append(s.accepts, st)
	rouse(s.acceptable)
}

func rouse(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// AcceptStream waits for a stream that the friend opens. The error is ctx's, or
// why the session has ended; of one that the friend has closed, the streams
// that came before are still given.
func (s *Session) AcceptStream(ctx context.Context) (*Stream, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		st, err := s.nextAccepted()
		if st != nil || err != nil {
			return st, err
		}
		select {
		case <-s.acceptable:
		case <-s.done:
		case <-ctx.Done():
		}
	}
}

func (s *Session) nextAccepted() (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.accepts) == 0 {
		if s.closing && s.err == nil {
			return nil, &Error{Cause: ErrClosed}
		}
		return nil, s.err
	}
	st := s.accepts[0]
	s.accepts[0] = nil
	s.accepts = s.accepts[1:]
	if len(s.accepts) > 0 {
		rouse(s.acceptable)
	}
	return st, nil
}

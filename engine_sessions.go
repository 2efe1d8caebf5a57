package carrier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/gocarrier/carrier/internal/session"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	// backlog is how many requests of a service wait for Accept; more are refused.
	backlog = 128
	// streamBacklog is how many accepted streams wait in a listener of streams.
	streamBacklog = 128
)

// services are the names that this node offers. Its mutex is a leaf.
type services struct {
	e      *engine
	mu     sync.Mutex
	byName map[string]*SessionListener
}

// listen begins a service.
func (v *services) listen(name string, opts *ListenOptions) (*SessionListener, error) {
	const op = "listen"
	if err := wire.CheckService(name); err != nil {
		return nil, &Error{Op: op, What: name, Err: because(ErrBadService, err), Hint: "use 1 to 255 bytes of UTF-8"}
	}
	l := &SessionListener{services: v, name: name, requests: make(chan *SessionRequest, backlog), done: make(chan struct{})}
	if opts != nil {
		l.options = *opts
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.e.ctx.Err() != nil:
		return nil, closedError(op, v.e.cause())
	case v.byName[name] != nil:
		return nil, &Error{Op: op, What: name, Err: ErrServiceInUse, Hint: "close the other listener first"}
	}
	v.byName[name] = l
	return l, nil
}

// remove ends a service, and refuses what waits for it.
func (v *services) remove(l *SessionListener) error {
	v.mu.Lock()
	if v.byName[l.name] != l {
		v.mu.Unlock()
		return nil
	}
	delete(v.byName, l.name)
	close(l.done)
	v.mu.Unlock()
	for {
		select {
		case r := <-l.requests:
			_ = r.Refuse(notListening) // or it is withdrawn
		default:
			return nil
		}
	}
}

// close ends all services.
func (v *services) close() {
	v.mu.Lock()
	list := make([]*SessionListener, 0, len(v.byName))
	for _, l := range v.byName {
		list = append(list, l)
	}
	v.mu.Unlock()
	for _, l := range list {
		_ = v.remove(l) // cannot fail
	}
}

// Reasons of refusals that come from the node itself.
const (
	notListening = "no such service here"
	busy         = "the service is busy"
)

// requested takes a friend's request. It does not block.
func (v *services) requested(from ID, inner *session.Request) {
	refuse := func(reason string) { _ = inner.Refuse(reason) } // or it is withdrawn
	v.mu.Lock()
	l := v.byName[inner.Service]
	v.mu.Unlock()
	f := v.e.node.friends.find(from)
	if l == nil || f == nil {
		refuse(notListening)
		return
	}
	r := &SessionRequest{friend: f, inner: inner, streams: l.options.Streams}
	if l.options.Allow == nil {
		v.queue(l, r)
		return
	}
	v.e.spawn(func() {
		if err := l.options.Allow(r); err != nil {
			refuse(wire.CloseReason(err.Error()))
			return
		}
		v.queue(l, r)
	})
}

// queue gives a request to the listener, unless it is closed or full.
func (v *services) queue(l *SessionListener, r *SessionRequest) {
	v.mu.Lock()
	reason := ""
	if v.byName[l.name] != l {
		reason = notListening
	} else {
		select {
		case l.requests <- r:
		default:
			reason = busy
		}
	}
	v.mu.Unlock()
	if reason != "" {
		_ = r.Refuse(reason) // or it is withdrawn
	}
}

// accept is SessionListener.Accept. Requests that have come to nothing while
// they waited are passed over.
func (v *services) accept(ctx context.Context, l *SessionListener) (*SessionRequest, error) {
	for {
		select {
		case r := <-l.requests:
			select {
			case <-r.inner.Done():
				continue
			default:
				return r, nil
			}
		case <-l.done:
			return nil, l.closed()
		case <-ctx.Done():
			return nil, ctxError(ctx, "accept", l.name, "no request")
		}
	}
}

func (l *SessionListener) closed() error {
	if e := l.services.e; e.ctx.Err() != nil {
		return closedError("accept", e.cause())
	}
	return &Error{Op: "accept", What: l.name, Err: net.ErrClosed, Hint: "listen again"}
}

// streamListener accepts the reliable streams of all sessions of a service.
type streamListener struct {
	*SessionListener
	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	streams chan *Stream
}

// listenStreams is Node.Listen.
func (v *services) listenStreams(name string, opts *ListenOptions) (net.Listener, error) {
	l, err := v.listen(name, opts)
	if err != nil {
		return nil, err
	}
	s := &streamListener{SessionListener: l, streams: make(chan *Stream, streamBacklog)}
	s.ctx, s.cancel = context.WithCancel(v.e.ctx)
	v.e.spawn(s.run)
	return s, nil
}

// run accepts every session.
func (s *streamListener) run() {
	for {
		r, err := s.SessionListener.Accept(s.ctx)
		if err != nil {
			return
		}
		if sess, err := r.Accept(); err == nil {
			s.services.e.spawn(func() { s.serve(sess) })
		}
	}
}

// serve accepts the streams of one session, until the listener is closed; what
// was accepted by then goes on, and so does its session.
func (s *streamListener) serve(sess *Session) {
	for {
		stream, err := sess.AcceptStream(s.ctx)
		if err != nil {
			return
		}
		if stream.Mode() != Reliable {
			_ = stream.Close() // not what this listener is for
			continue
		}
		select {
		case s.streams <- stream:
		case <-s.ctx.Done():
			_ = stream.Close() // nobody will have it
			return
		}
	}
}

// Accept implements net.Listener.
func (s *streamListener) Accept() (net.Conn, error) {
	select {
	case stream := <-s.streams:
		return stream, nil
	case <-s.done:
		return nil, s.closed()
	}
}

// Close implements net.Listener.
func (s *streamListener) Close() error {
	err := s.SessionListener.Close()
	s.cancel()
	for {
		select {
		case stream := <-s.streams:
			_ = stream.Close() // nobody will have it
		default:
			return err
		}
	}
}

func (e *engine) newSession(ctx context.Context, f *Friend, service string, opts *SessionOptions) (*Session, error) {
	const op = "open session with"
	if opts == nil {
		opts = &SessionOptions{}
	}
	if err := wire.CheckService(service); err != nil {
		return nil, &Error{Op: op, What: shortID(f.id), Err: because(ErrBadService, err), Hint: "use 1 to 255 bytes of UTF-8"}
	}
	if len(opts.Metadata) > wire.MaxMetadata {
		return nil, &Error{Op: op, What: shortID(f.id), Err: ErrTooLong, Hint: "metadata has at most 8,192 bytes"}
	}
	n, err := e.waitLink(ctx, op, f, !opts.NoWait)
	if err != nil {
		return nil, err
	}
	inner, err := n.sessions.Dial(ctx, session.Request{Service: service, Metadata: opts.Metadata, Streams: opts.Streams})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctxError(ctx, op, shortID(f.id), "no answer yet")
		}
		return nil, sessionError(op, f, err)
	}
	return &Session{friend: f, inner: inner}, nil
}

func (e *engine) dial(ctx context.Context, f *Friend, service string) (*Stream, error) {
	s, err := e.newSession(ctx, f, service, &SessionOptions{Streams: 1})
	if err != nil {
		return nil, err
	}
	stream, err := s.OpenStream(ctx, nil)
	if err != nil {
		s.Abort("no stream")
		return nil, err
	}
	stream.alone = true
	return stream, nil
}

// sessionCause puts an error of the session room into this package's words: a
// sentinel, and what lies behind it. nil: what it matches is the standard
// library's.
func sessionCause(err error) error {
	var to error
	switch {
	case errors.Is(err, session.ErrClosed): // whatever came after that
		return nil
	case errors.Is(err, session.ErrLinkLost):
		to = ErrLinkLost
	case errors.Is(err, session.ErrPeerClosed), errors.Is(err, session.ErrStreamClosed):
		to = ErrPeerClosed
	case errors.Is(err, session.ErrAborted), errors.Is(err, session.ErrFault):
		to = ErrAborted
	case errors.Is(err, session.ErrOverBudget):
		to = ErrOverBudget
	case errors.Is(err, session.ErrRefused):
		to = ErrSessionRefused
	case errors.Is(err, session.ErrWithdrawn):
		to = ErrCancelled
	case errors.Is(err, session.ErrTooManyStreams):
		to = ErrTooManyStreams
	case errors.Is(err, session.ErrTooLong):
		to = ErrTooLong
	default:
		return nil
	}
	var end *session.Error
	if errors.As(err, &end) {
		return because(to, behind(end))
	}
	return to
}

// behind is what the end of a session says beyond its cause.
func behind(end *session.Error) error {
	said := ""
	switch {
	case errors.Is(end.Cause, session.ErrFault):
		said = end.Cause.Error()
	case end.Remote && (errors.Is(end.Cause, session.ErrAborted) || errors.Is(end.Cause, session.ErrOverBudget)):
		said = "by the friend"
	}
	if end.Code != 0 {
		said = strings.TrimSpace(fmt.Sprintf("%s (code %d)", said, end.Code))
	}
	if end.Reason != "" {
		if said != "" {
			said += ": "
		}
		said += strconv.Quote(end.Reason)
	}
	switch {
	case said == "":
		return end.Err
	case end.Err == nil:
		return errors.New(said)
	}
	return fmt.Errorf("%s: %w", said, end.Err)
}

func sessionError(op string, f *Friend, err error) error {
	if err == nil {
		return nil
	}
	if cause := sessionCause(err); cause != nil {
		err = cause
	}
	return &Error{Op: op, What: shortID(f.id), Err: err}
}

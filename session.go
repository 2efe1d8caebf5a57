package carrier

import (
	"context"
	"net"

	"github.com/gocarrier/carrier/internal/session"
)

// Addr is one end of a session: a person, and the name of a service. It is the
// [net.Addr] of streams and listeners.
type Addr struct {
	ID      ID
	Service string
}

// Network returns "carrier".
func (Addr) Network() string { return "carrier" }

// String gives ID/service.
func (a Addr) String() string { return a.ID.String() + "/" + a.Service }

// SessionOptions are the choices of one NewSession; nil or zero means the
// defaults.
type SessionOptions struct {
	// Metadata is for the service, at most 8,192 bytes.
	Metadata []byte
	// Streams is how many streams may be open at once: 256 if zero, at most
	// 1,024. The session gets the lower limit of its two ends.
	Streams int
	// NoWait fails at once, with ErrOffline, when the friend is not there: offline,
	// or not heard on its link just now.
	NoWait bool
}

// ListenOptions are the choices of one listener; nil or zero means the defaults.
type ListenOptions struct {
	// Allow decides who may have a session: an error refuses, and its text is the
	// reason that the friend is told, cut at 255 bytes. Nil: any friend. It is
	// called on a goroutine of its own for each request, and may answer later.
	Allow func(*SessionRequest) error
	// Streams is the limit of each session: 256 if zero, at most 1,024.
	Streams int
}

// Listen offers a service to friends: what is accepted are the reliable streams
// of all their sessions, as [*Stream]. Friend.Dial is its counterpart. It
// returns ErrServiceInUse or ErrBadService. opts may be nil.
func (n *Node) Listen(service string, opts *ListenOptions) (net.Listener, error) {
	return n.engine.services.listenStreams(service, opts)
}

// ListenSessions offers a service to friends: what is accepted are requests for
// sessions. It returns ErrServiceInUse or ErrBadService. opts may be nil.
func (n *Node) ListenSessions(service string, opts *ListenOptions) (*SessionListener, error) {
	return n.engine.services.listen(service, opts)
}

// Dial opens a session with one reliable stream; closing the stream closes
// both. It waits for the friend to be online. Its errors are those of
// NewSession.
func (f *Friend) Dial(ctx context.Context, service string) (*Stream, error) {
	return f.node.engine.dial(ctx, f, service)
}

// NewSession asks the friend for a session and waits until it is accepted: one
// round trip over a link that is up. Without one it waits for the friend to be
// online, unless opts say NoWait. opts may be nil.
//
// It returns ErrNotFriend, ErrOffline, ErrBadService, ErrTooLong for metadata,
// ErrSessionRefused with the friend's reason, ErrLinkLost, or the end of ctx.
func (f *Friend) NewSession(ctx context.Context, service string, opts *SessionOptions) (*Session, error) {
	return f.node.engine.newSession(ctx, f, service, opts)
}

// SessionListener gives the requests for sessions with one service. All methods
// are safe for concurrent use.
type SessionListener struct {
	services *services
	name     string
	options  ListenOptions
	requests chan *SessionRequest
	done     chan struct{}
}

// Accept waits for a friend's request, which must then be accepted or refused.
// The error is that of ctx, or matches net.ErrClosed after Close.
func (l *SessionListener) Accept(ctx context.Context) (*SessionRequest, error) {
	return l.services.accept(ctx, l)
}

// Addr is our end.
func (l *SessionListener) Addr() net.Addr { return Addr{l.services.e.identity.ID(), l.name} }

// Close ends the service: later requests are refused, sessions go on. It may be
// called again.
func (l *SessionListener) Close() error { return l.services.remove(l) }

// SessionRequest is a friend's wish for a session. It is answered once.
type SessionRequest struct {
	friend  *Friend
	inner   *session.Request
	streams int
}

// Friend returns who asks.
func (r *SessionRequest) Friend() *Friend { return r.friend }

// Service returns the name that is asked for.
func (r *SessionRequest) Service() string { return r.inner.Service }

// Metadata returns what the friend has sent along, at most 8,192 bytes, which
// must not be changed.
func (r *SessionRequest) Metadata() []byte { return r.inner.Metadata }

// Accept opens the session. It does not wait. An error says that the friend no
// longer wants it (ErrCancelled), that the link is lost (ErrLinkLost), or that
// the request was answered before.
func (r *SessionRequest) Accept() (*Session, error) {
	inner, err := r.inner.Accept(&session.AcceptOptions{Streams: r.streams})
	if err != nil {
		return nil, sessionError("accept session of", r.friend, err)
	}
	return &Session{friend: r.friend, inner: inner}, nil
}

// Refuse refuses the session; the friend is told the reason, at most 255 bytes
// (ErrTooLong).
func (r *SessionRequest) Refuse(reason string) error {
	return sessionError("refuse session of", r.friend, r.inner.Refuse(reason))
}

// Session is a conversation with a friend on one service: streams, reliable and
// datagram, that either end opens. It ends when either end closes or aborts it,
// when the link to the friend is lost, or with the node. All methods are safe
// for concurrent use.
type Session struct {
	friend *Friend
	inner  *session.Session
}

// Friend returns who is at the other end.
func (s *Session) Friend() *Friend { return s.friend }

// Service returns the name that the session was asked for by.
func (s *Session) Service() string { return s.inner.Service() }

// Metadata returns what the request carried; it must not be changed.
func (s *Session) Metadata() []byte { return s.inner.Metadata() }

// Streams returns how many streams may be open at once.
func (s *Session) Streams() int { return s.inner.Limit() }

// OpenStream opens a stream; the friend gets it from AcceptStream. It does not
// wait for the friend. opts may be nil: a reliable stream. It returns
// ErrTooManyStreams when as many as Streams says are open, or the session's end.
func (s *Session) OpenStream(ctx context.Context, opts *StreamOptions) (*Stream, error) {
	if opts == nil {
		opts = &StreamOptions{}
	}
	inner, err := s.inner.OpenStream(ctx, &session.StreamOptions{Mode: session.Mode(opts.Mode), Bulk: opts.Bulk})
	if err != nil {
		return nil, sessionError("open stream to", s.friend, err)
	}
	return &Stream{inner: inner, session: s}, nil
}

// AcceptStream waits for a stream that the friend opens. The error is that of
// ctx, or the session's end.
func (s *Session) AcceptStream(ctx context.Context) (*Stream, error) {
	inner, err := s.inner.AcceptStream(ctx)
	if err != nil {
		return nil, sessionError("accept stream of", s.friend, err)
	}
	return &Stream{inner: inner, session: s}, nil
}

// Close ends the session in order: all streams are closed, and what was written
// still reaches the friend, for 30 s at most. It returns at once; Done is closed
// when all has arrived.
func (s *Session) Close() error { return s.inner.Close() }

// Abort ends the session at once, with a reason for the friend, cut at 255
// bytes. What is under way is lost.
func (s *Session) Abort(reason string) { s.inner.Abort(0, reason) }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.inner.Done() }

// Err returns why the session has ended, nil before: it matches net.ErrClosed
// if this end closed it, ErrPeerClosed, ErrAborted, ErrLinkLost or
// ErrOverBudget.
func (s *Session) Err() error { return sessionError("session with", s.friend, s.inner.Err()) }

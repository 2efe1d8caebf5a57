package wire

import "fmt"

// Limits of session signalling.
const (
	MaxService     = 255 // bytes of a service's name
	MaxMetadata    = 8192
	MaxReason      = MaxCloseReason
	MaxStreams     = 1024 // streams of a session open at once
	DefaultStreams = 256
)

// SessionKind is the first byte of a message of session signalling.
type SessionKind uint8

// The messages of session signalling. They travel on the control lane of a
// link, in order.
const (
	SessionRequestKind    SessionKind = 0x01
	SessionAcceptKind     SessionKind = 0x02
	SessionRefuseKind     SessionKind = 0x03
	SessionEndKind        SessionKind = 0x04
	SessionFlowOpenKind   SessionKind = 0x05
	SessionFlowCloseKind  SessionKind = 0x06
	SessionBulkKind       SessionKind = 0x07
	SessionBulkRefuseKind SessionKind = 0x08
)

// SessionMessage is one of the messages below, by value. Sessions, lanes and
// flows are numbers from 1 up to [MaxVarint].
type SessionMessage interface{ kind() SessionKind }

// SessionRequest asks for a session. Its sender opens the lane at the same time.
type SessionRequest struct {
	Session, Lane uint64
	Streams       uint64 // the sender's limit of streams open at once, 1 to MaxStreams
	Service       string // see CheckService
	Metadata      []byte // at most MaxMetadata bytes, for the service
}

// SessionAccept answers a request: the session is open.
type SessionAccept struct {
	Session uint64
	Streams uint64 // the session's limit: that of the request, or less
}

// SessionRefuse answers a request: there is no session.
type SessionRefuse struct {
	Session uint64
	Reason  string // for people to read: UTF-8 of at most MaxReason bytes
}

// SessionCause says why a session ends.
type SessionCause uint8

// The causes of the end of a session.
const (
	SessionClosed     SessionCause = 0 // in order: what was written arrives
	SessionAborted    SessionCause = 1 // by the program, with its code
	SessionFault      SessionCause = 2 // the other end broke the protocol
	SessionOverBudget SessionCause = 3 // the sender has no memory left for it
	SessionWithdrawn  SessionCause = 4 // the request, before it was answered
)

// SessionEnd ends a session, or withdraws a request.
type SessionEnd struct {
	Session uint64
	Cause   SessionCause
	Code    uint64 // the program's, up to MaxVarint; 0 unless the cause is SessionAborted
	Reason  string // for people to read: UTF-8 of at most MaxReason bytes
}

// SessionFlowOpen opens a datagram stream.
type SessionFlowOpen struct{ Session, Flow uint64 }

// FlowCause says how a flow is closed.
type FlowCause uint8

// The ways of closing a flow.
const (
	FlowFinished FlowCause = 0 // the sender sends no more
	FlowClosed   FlowCause = 1 // nor does it read
	FlowRefused  FlowCause = 2 // it has never been open: too many streams
)

// SessionFlowClose ends the sender's direction of a flow.
type SessionFlowClose struct {
	Session, Flow uint64
	Cause         FlowCause
	Sent          uint64 // how many datagrams were sent; 0 if refused
}

// SessionBulk makes a lane a reliable stream of a session.
type SessionBulk struct{ Session, Lane uint64 }

// SessionBulkRefuse answers a SessionBulk: too many streams.
type SessionBulkRefuse struct{ Session, Lane uint64 }

func (SessionRequest) kind() SessionKind    { return SessionRequestKind }
func (SessionAccept) kind() SessionKind     { return SessionAcceptKind }
func (SessionRefuse) kind() SessionKind     { return SessionRefuseKind }
func (SessionEnd) kind() SessionKind        { return SessionEndKind }
func (SessionFlowOpen) kind() SessionKind   { return SessionFlowOpenKind }
func (SessionFlowClose) kind() SessionKind  { return SessionFlowCloseKind }
func (SessionBulk) kind() SessionKind       { return SessionBulkKind }
func (SessionBulkRefuse) kind() SessionKind { return SessionBulkRefuseKind }

// CheckService returns nil if s can be the name of a service: 1 to
// [MaxService] bytes of UTF-8 without control characters. Else the error
// matches [ErrValue].
func CheckService(s string) error {
	if s == "" {
		return fmt.Errorf("%w: service without a name", ErrValue)
	}
	return checkText("service", s, MaxService, false)
}

// AppendSession appends a message of session signalling: kind ‖ session ‖
// fields. It panics if a field is outside its limits.
func AppendSession(dst []byte, m SessionMessage) []byte {
	dst = append(dst, byte(m.kind()))
	switch m := m.(type) {
	case SessionRequest:
		dst = appendVarints(dst, m.Session, m.Lane, m.Streams, uint64(length(len(m.Service), MaxService)))
		dst = append(dst, m.Service...)
		dst = AppendVarint(dst, uint64(length(len(m.Metadata), MaxMetadata)))
		dst = append(dst, m.Metadata...)
	case SessionAccept:
		dst = appendVarints(dst, m.Session, m.Streams)
	case SessionRefuse:
		dst = appendReason(AppendVarint(dst, m.Session), m.Reason)
	case SessionEnd:
		dst = append(AppendVarint(dst, m.Session), byte(m.Cause))
		dst = appendReason(AppendVarint(dst, m.Code), m.Reason)
	case SessionFlowOpen:
		dst = appendVarints(dst, m.Session, m.Flow)
	case SessionFlowClose:
		dst = append(appendVarints(dst, m.Session, m.Flow), byte(m.Cause))
		dst = AppendVarint(dst, m.Sent)
	case SessionBulk:
		dst = appendVarints(dst, m.Session, m.Lane)
	case SessionBulkRefuse:
		dst = appendVarints(dst, m.Session, m.Lane)
	}
	return dst
}

// ParseSession decodes a message of session signalling. It shares no memory
// with b. A kind that this node does not know is [ErrKind].
func ParseSession(b []byte) (SessionMessage, error) {
	r := Reader{rest: b}
	var m SessionMessage
	switch kind := SessionKind(r.Uint8()); kind {
	case SessionRequestKind:
		m = r.sessionRequest()
	case SessionAcceptKind:
		m = SessionAccept{Session: r.number("session"), Streams: r.streams()}
	case SessionRefuseKind:
		m = SessionRefuse{Session: r.number("session"), Reason: r.reason()}
	case SessionEndKind:
		m = r.sessionEnd()
	case SessionFlowOpenKind:
		m = SessionFlowOpen{Session: r.number("session"), Flow: r.number("flow")}
	case SessionFlowCloseKind:
		m = r.sessionFlowClose()
	case SessionBulkKind:
		m = SessionBulk{Session: r.number("session"), Lane: r.number("lane")}
	case SessionBulkRefuseKind:
		m = SessionBulkRefuse{Session: r.number("session"), Lane: r.number("lane")}
	default:
		r.Fail(fmt.Errorf("%w: session message 0x%02X", ErrKind, uint8(kind)))
		return nil, r.err
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return m, nil
}

func (r *Reader) sessionRequest() SessionRequest {
	m := SessionRequest{Session: r.number("session"), Lane: r.number("lane"), Streams: r.streams()}
	m.Service = r.checked(r.text(r.limited(MaxService)), CheckService)
	m.Metadata = r.Bytes(r.limited(MaxMetadata))
	return m
}

func (r *Reader) sessionEnd() SessionEnd {
	m := SessionEnd{Session: r.number("session"), Cause: SessionCause(r.Uint8())}
	r.check(m.Cause <= SessionWithdrawn, "cause of the end of a session")
	m.Code = r.Varint()
	r.check(m.Code == 0 || m.Cause == SessionAborted, "code of a session that was not aborted")
	m.Reason = r.reason()
	return m
}

func (r *Reader) sessionFlowClose() SessionFlowClose {
	m := SessionFlowClose{Session: r.number("session"), Flow: r.number("flow"), Cause: FlowCause(r.Uint8())}
	r.check(m.Cause <= FlowRefused, "cause of the end of a flow")
	m.Sent = r.Varint()
	r.check(m.Sent == 0 || m.Cause != FlowRefused, "datagrams on a flow that was refused")
	return m
}

// number reads a varint above 0.
func (r *Reader) number(what string) uint64 {
	v := r.Varint()
	if r.err == nil && v == 0 {
		r.err = fmt.Errorf("%w: %s 0", ErrValue, what)
	}
	return v
}

// streams reads a limit of streams.
func (r *Reader) streams() uint64 {
	v := r.Varint()
	r.check(r.err != nil || v >= 1 && v <= MaxStreams, "limit of streams")
	return v
}

// limited reads a varint that is a length.
func (r *Reader) limited(limit int) int {
	v := r.Varint()
	if v > uint64(limit) {
		r.Fail(fmt.Errorf("%w: length %d, at most %d", ErrValue, v, limit))
		return 0
	}
	return int(v)
}

func (r *Reader) reason() string { return r.text(r.limited(MaxReason)) }

func appendVarints(dst []byte, list ...uint64) []byte {
	for _, v := range list {
		dst = AppendVarint(dst, v)
	}
	return dst
}

func appendReason(dst []byte, s string) []byte {
	dst = AppendVarint(dst, uint64(length(len(s), MaxReason)))
	return append(dst, s...)
}

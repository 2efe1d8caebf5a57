package session

import (
	"errors"
	"fmt"
	"net"
)

// The reasons why a session or stream does not work, or works no more. Those
// that end a session come in an [*Error]; streams return them in a
// [*net.OpError].
var (
	// ErrClosed: the program closed it, at this end. It matches [net.ErrClosed].
	ErrClosed = fmt.Errorf("closed at this end: %w", net.ErrClosed)
	// ErrPeerClosed: the friend closed the session, in order.
	ErrPeerClosed = errors.New("the friend closed the session")
	// ErrAborted: Abort was called, at the end that Remote names.
	ErrAborted = errors.New("session aborted")
	// ErrLinkLost: the link to the friend has ended.
	ErrLinkLost = errors.New("link lost")
	// ErrOverBudget: the session held most of the memory that a node gives to
	// all its sessions, when there was no more.
	ErrOverBudget = errors.New("session closed for want of memory")
	// ErrFault: what one end sent broke the protocol.
	ErrFault = errors.New("session protocol broken")
	// ErrRefused: the friend refused the request.
	ErrRefused = errors.New("session refused")
	// ErrWithdrawn: who asked for the session no longer wants it.
	ErrWithdrawn = errors.New("session request withdrawn")
	// ErrAnswered: the request was accepted or refused before.
	ErrAnswered = errors.New("session request was answered before")
	// ErrTooManyStreams: the session has as many streams open as its limit
	// allows. Of a stream that was opened: the friend's view of the limit.
	ErrTooManyStreams = errors.New("too many streams open in the session")
	// ErrStreamClosed: the friend closed the stream and reads no more of it.
	ErrStreamClosed = errors.New("the friend closed the stream")
	// ErrWriteClosed: CloseWrite was called. It matches [net.ErrClosed].
	ErrWriteClosed = fmt.Errorf("writing half closed: %w", net.ErrClosed)
	// ErrTooLong: the datagram is above MaxDatagramSize, or the metadata, name
	// or reason above its limit.
	ErrTooLong = errors.New("too long")
)

// Error is the end of a session, or a request that came to nothing.
type Error struct {
	Cause  error  // one of ErrClosed, ErrPeerClosed, ErrAborted, ErrLinkLost, ErrOverBudget, ErrFault, ErrRefused, ErrWithdrawn
	Remote bool   // the friend's end was the cause
	Code   uint64 // of Abort
	Reason string // of Abort, Refuse, or the fault; may be the friend's words
	Err    error  // what lies behind it, if anything
}

func (e *Error) Error() string {
	s := e.Cause.Error()
	if e.Remote && !errors.Is(e.Cause, ErrPeerClosed) {
		s += " by the friend"
	}
	if e.Code != 0 {
		s += fmt.Sprintf(" (code %d)", e.Code)
	}
	if e.Reason != "" {
		s += fmt.Sprintf(": %q", e.Reason)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause and what lies behind it.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Cause}
	}
	return []error{e.Cause, e.Err}
}

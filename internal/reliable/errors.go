package reliable

import (
	"errors"
	"fmt"
)

// What is refused of the program.
var (
	// ErrTooManyLanes: the peer takes no more lanes now. Open again after the event CanOpen.
	ErrTooManyLanes = errors.New("the peer takes no more lanes now")
	// ErrTooLong: a datagram is longer than [Machine.MaxDatagram].
	ErrTooLong = errors.New("datagram too long for a packet")
	// ErrWriteClosed: a Write after CloseWrite.
	ErrWriteClosed = errors.New("lane is closed for writing")
	// ErrControlLane: lane 0 does not end.
	ErrControlLane = errors.New("the control lane cannot be closed")
)

// What a peer does wrong. Each ends the link with a CLOSE of its own code, see [PeerError.Code].
var (
	// ErrFrame: a packet holds no frame, or one that is unknown or undecodable, or that does not belong here.
	ErrFrame = errors.New("undecodable packet")
	// ErrOptimisticAck: an ACK of a packet that was never sent.
	ErrOptimisticAck = errors.New("acknowledgement of a packet never sent")
	// ErrFlowControl: more bytes than a lane's or the link's window allows.
	ErrFlowControl = errors.New("window exceeded")
	// ErrLaneLimit: more lanes opened than allowed.
	ErrLaneLimit = errors.New("more lanes than allowed")
	// ErrLaneState: a frame for a lane that this end never opened, or that ends lane 0.
	ErrLaneState = errors.New("frame does not fit the state of its lane")
	// ErrFinalSize: bytes beyond a lane's end, or an end that moves.
	ErrFinalSize = errors.New("final size of a lane changed")
	// ErrInconsistent: bytes that came again, and were others.
	ErrInconsistent = errors.New("data sent again differs")
	// ErrTooManyRanges: data with more gaps than an honest sender leaves.
	ErrTooManyRanges = errors.New("too many gaps in what was sent")
)

// Codes of CLOSE that the machine itself sends, one for each fault of a peer. Those of programs are below CodeFaults.
const (
	CodeFaults uint64 = 0x100 + iota
	CodeFrame
	CodeOptimisticAck
	CodeFlowControl
	CodeLaneLimit
	CodeLaneState
	CodeFinalSize
	CodeInconsistent
	CodeTooManyRanges
)

// A PeerError is a fault of the peer, for which the machine closed the link. It matches one of the sentinels that say
// what a peer does wrong.
type PeerError struct {
	Err    error  // the sentinel
	Detail string // the case at hand
}

// Error implements error.
func (e *PeerError) Error() string {
	return fmt.Sprintf("peer broke the protocol: %v: %s", e.Err, e.Detail)
}

// Unwrap returns the sentinel.
func (e *PeerError) Unwrap() error { return e.Err }

// Code is what the CLOSE to the peer carries.
func (e *PeerError) Code() uint64 {
	for i, err := range []error{
		ErrFrame, ErrOptimisticAck, ErrFlowControl, ErrLaneLimit, ErrLaneState, ErrFinalSize, ErrInconsistent, ErrTooManyRanges,
	} {
		if errors.Is(e.Err, err) {
			return CodeFrame + uint64(i)
		}
	}
	return CodeFaults
}

// A ClosedError says that the link was closed by either end.
type ClosedError struct {
	Code   uint64
	Reason string
	Remote bool // by the peer
}

// Error implements error.
func (e *ClosedError) Error() string {
	who := "this end"
	if e.Remote {
		who = "the peer"
	}
	return fmt.Sprintf("link closed by %s: %q (code %d)", who, e.Reason, e.Code)
}

// A LaneError says that one direction of a lane was ended early.
type LaneError struct {
	Lane, Code uint64
	Remote     bool   // by the peer
	Op         string // "reset" or "stop"
}

// Error implements error.
func (e *LaneError) Error() string {
	who := "this end"
	if e.Remote {
		who = "the peer"
	}
	return fmt.Sprintf("lane %d: %s by %s (code %d)", e.Lane, e.Op, who, e.Code)
}

package session

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// Lane is an ordered, reliable stream of bytes in both directions, as the
// transport gives it. Close ends the writing half after what was written and
// drops what comes; it does not wait. Reset, Stop and Close wake whoever is in
// Write or Read.
type Lane interface {
	net.Conn
	// ID is the lane's number, the same at both ends, unique in the link.
	ID() uint64
	// CloseWrite ends the writing half after what was written.
	CloseWrite() error
	// Reset ends the writing half without what has not arrived.
	Reset(code uint64)
	// Stop ends the reading half and tells the peer to write no more.
	Stop(code uint64)
	// Flush waits until all that was written, and the end of the half, has
	// arrived.
	Flush(ctx context.Context) error
}

// Lanes opens lanes. The peer learns of one by the first byte written to it.
type Lanes interface{ Open() (Lane, error) }

// Datagrams sends datagrams that may be lost. Send neither blocks nor keeps b.
type Datagrams interface {
	Send(session, flow uint64, b []byte) error
	// Max is the length of the longest datagram, in bytes; it may change.
	Max() int
}

// Signal sends messages to the [Peer.Control] of the other end, in order, each
// once. It queues: it neither blocks nor calls back. An error means that the
// message does not go out.
type Signal interface{ Send(msg []byte) error }

// Config is what a [Peer] is made of. Lanes, Datagrams and Signal are required.
type Config struct {
	Lower     bool // our ID is the lower one of the two
	Lanes     Lanes
	Datagrams Datagrams
	Signal    Signal
	// Budget counts the memory of sessions; nil: one of its own, of
	// [DefaultBudget] bytes.
	Budget *Budget
	// OnRequest is called for each request of the friend's, from Control, and
	// must not block. nil refuses all.
	OnRequest func(*Request)
	// Addr gives the addresses of the streams of a service; nil: plain ones.
	Addr func(service string) (local, remote net.Addr)
	// Logger is for what goes wrong; nil discards.
	Logger *slog.Logger
}

// Bounds on what the other end can make this one hold.
const (
	maxRequests   = 256             // that wait for an answer
	maxStrays     = 256             // lanes that nothing has named
	strayTime     = 5 * time.Second // how long they are kept
	laneTime      = 10 * time.Second
	maxEarly      = 16 // datagrams of flows that are not open yet, of a session
	earlyTime     = time.Second
	flowQueue     = 256 << 10 // bytes that wait in a flow to be read
	maxRefusals   = 1 << 20   // bytes of frames that the peer makes us send and does not take
	drainTime     = 30 * time.Second
	lingerTime    = time.Second // how long a flow waits for datagrams that were sent before its end
	explainTime   = 250 * time.Millisecond
	outRoom       = 128 << 10 // bytes of streams that wait to be written to the lane
	streamCost    = 1 << 10   // what a stream costs beside what it holds
	sessionCost   = 32 << 10
	minWindow     = 256 << 10 // the least window of a stream
	sessionWindow = 16 << 20  // of all streams together, where their windows allow
)

// streamWindow is how many bytes of a stream may be sent and not read, in a
// session with that limit of streams.
func streamWindow(limit int) int { return max(sessionWindow/limit, minWindow) }

// streamLimit returns the limit that a program asks for: 0 is the default.
func streamLimit(n int) int {
	if n <= 0 {
		return wire.DefaultStreams
	}
	return min(n, wire.MaxStreams)
}

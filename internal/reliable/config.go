package reliable

import (
	"math"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// Never is the instant that [Machine.Timeout] returns when nothing is to be waited for.
const Never = time.Duration(math.MaxInt64)

// MaxAckDelay is how long a machine keeps an ACK back at most, and the most delay of a peer's that it believes.
const MaxAckDelay = wire.MaxAckDelay * time.Microsecond

// Config is what a [Machine] is made from. The zero value is the even end with all defaults.
type Config struct {
	// Odd says that this end opens the odd lanes (1, 3, …); the other end then opens the even ones (2, 4, …). Exactly one
	// of the two ends sets it. Lane 0, for control, is open at both from the start.
	Odd bool
	// RTT is the round trip that the handshake measured; 0 assumes 100 ms until the first sample.
	RTT time.Duration
	// MaxPacket is the bytes of the largest plaintext packet to be sent before [Machine.SetMaxPacket]: the unit of
	// congestion control, and what bounds datagrams; 0 is 1200, the least is 256. Packets that come may be of any size.
	MaxPacket int
	// Controller makes the congestion control of a path; nil is [NewCubic].
	Controller func(Path) Controller
	// LaneWindow and LinkWindow are the most bytes that wait here to be read, of one lane and of all lanes but lane 0
	// together. The windows start at [wire.InitialLaneWindow] and [wire.InitialLinkWindow], which are also the least, and
	// grow up to these as a fast reader needs it; 0 is 16 MiB and 32 MiB.
	LaneWindow, LinkWindow int
	// SendBuffer is how many bytes one lane takes that were not sent yet; 0 is 256 KiB. When that of 16 lanes is taken, each
	// lane takes no more than 16 KiB.
	SendBuffer int
	// DatagramQueue is how many bytes of datagrams wait, to be sent and to be read alike, each with 32 bytes added to its
	// own; 0 is 256 KiB.
	DatagramQueue int
	// Lanes is how many lanes the peer may have open at once; 0 is 1024, the least is [wire.InitialLanes].
	Lanes int
}

const (
	minPacket            = 256
	defaultLaneWindow    = 16 << 20
	defaultLinkWindow    = 32 << 20
	defaultSendBuffer    = 256 << 10
	defaultDatagramQueue = 256 << 10
	defaultLanes         = 1024
)

// filled returns c with the defaults in the place of zeros.
func (c Config) filled() Config {
	set := func(v *int, zero, least int) {
		if *v <= 0 {
			*v = zero
		}
		*v = max(*v, least)
	}
	set(&c.MaxPacket, defaultPacket, minPacket)
	set(&c.LaneWindow, defaultLaneWindow, wire.InitialLaneWindow)
	set(&c.LinkWindow, defaultLinkWindow, wire.InitialLinkWindow)
	set(&c.SendBuffer, defaultSendBuffer, 1)
	set(&c.DatagramQueue, defaultDatagramQueue, 1)
	set(&c.Lanes, defaultLanes, wire.InitialLanes)
	c.LinkWindow = max(c.LinkWindow, c.LaneWindow)
	if c.RTT <= 0 {
		c.RTT = defaultRTT
	}
	if c.Controller == nil {
		c.Controller = NewCubic
	}
	return c
}

package lab

import (
	"strconv"
	"time"
)

// Link is how datagrams travel from one address to another, in one direction. The zero value is perfect: no delay, no
// loss, no limit.
//
// A datagram that is not above the MTU waits in the queue and is sent at Rate, is then perhaps duplicated or lost, and
// arrives after Delay and Jitter. Sizes are bytes of UDP payload everywhere.
type Link struct {
	// Delay is the time a datagram travels.
	Delay time.Duration
	// Jitter is the most that is added to Delay, drawn evenly for each datagram. It bunches datagrams and keeps their
	// order, as a queue elsewhere on the way does, unless JitterReorders.
	Jitter time.Duration
	// JitterReorders lets a datagram that drew little jitter overtake one that drew much.
	JitterReorders bool
	// Loss, Duplicate and Reorder are chances from 0 to 1, drawn for each datagram, that of loss for each copy. A
	// reordered one is held back, for up to Delay + Jitter (10 ms where these are zero) longer, and later ones
	// overtake it.
	Loss, Duplicate, Reorder float64
	// Burst adds times at which much is lost.
	Burst Burst
	// Rate is the capacity in bytes a second, up to 1 TB/s; zero is unlimited.
	Rate int64
	// Queue is how many bytes, those of the datagram that is being sent included, wait for their turn at Rate before
	// what comes is dropped, below 2 GiB; zero is what Rate sends in 100 ms, at least 64 KiB. A datagram that finds
	// the link idle is taken whatever its size.
	Queue int
	// MTU is the largest datagram that passes; larger ones vanish, as on a way whose routers neither fragment nor
	// say so. Zero is no limit.
	MTU int
}

// Burst is the model of Gilbert and Elliott: a link is in a good state, where it loses by Link.Loss, or in a bad one,
// where it loses by Burst.Loss, and may change from one to the other before each datagram. Bad times last 1/Leave
// datagrams in the mean, and a share of Enter/(Enter+Leave) of all is sent in them. The zero value has none.
type Burst struct {
	// Enter and Leave are the chances, from 0 to 1, to change into the bad state and out of it.
	Enter, Leave float64
	// Loss is the chance of loss in the bad state; zero means 1.
	Loss float64
}

const (
	maxRate  = 1_000_000_000_000
	maxQueue = 2<<30 - 1
)

// check panics on values that have no meaning, since a test with a mistyped link would prove nothing.
func (l Link) check() {
	chance := func(name string, p float64) {
		if !(p >= 0 && p <= 1) {
			panic("lab: Link." + name + " is " + strconv.FormatFloat(p, 'g', -1, 64) + ", want 0 to 1")
		}
	}
	chance("Loss", l.Loss)
	chance("Duplicate", l.Duplicate)
	chance("Reorder", l.Reorder)
	chance("Burst.Enter", l.Burst.Enter)
	chance("Burst.Leave", l.Burst.Leave)
	chance("Burst.Loss", l.Burst.Loss)
	switch {
	case l.Burst.Enter > 0 && l.Burst.Leave == 0:
		panic("lab: Link.Burst has no Leave, so that it never ends: use Loss")
	case l.Delay < 0 || l.Jitter < 0 || l.Rate < 0 || l.Queue < 0 || l.MTU < 0:
		panic("lab: Link has a negative Delay, Jitter, Rate, Queue or MTU")
	case l.Rate > maxRate || l.Queue > maxQueue:
		panic("lab: Link has a Rate above 1 TB/s or a Queue of 2 GiB or more")
	}
}

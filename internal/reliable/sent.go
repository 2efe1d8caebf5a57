package reliable

import (
	"fmt"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// A sentPacket is what is remembered of an ack-eliciting packet until its fate is known.
type sentPacket struct {
	pn     uint64
	at     time.Duration
	mark   rateMark
	size   int32
	frames int32  // first of its frames
	next   int32  // in its list
	path   uint32 // number of the path that it took
	state  packetState
	// broken: between the packet before it in flight and this one, something was acknowledged.
	broken bool
}

type packetState uint8

const (
	inFlight packetState = iota
	lostByNumber
	lostByTime
)

// A sentFrame is what is done when its packet is acknowledged or lost.
type sentFrame struct {
	lane   *Lane
	offset uint64 // of data; of an ACK the highest number in it
	n      int32  // bytes of data
	next   int32
	kind   wire.FrameKind
	fin    bool
}

// A packetList links packets in the order of their numbers.
type packetList struct {
	head, tail int32
	n          int
}

// A sentLog remembers the packets sent: those in flight, and those that are lost, for a while, as they may arrive after
// all. It also knows which numbers were never used, so that an ACK of one is caught.
type sentLog struct {
	packets slab[sentPacket]
	frames  slab[sentFrame]
	flying  packetList
	lost    packetList
	broken  bool // what the next packet begins with

	next    uint64          // number above all used
	gaps    [knownGaps]span // numbers skipped, newest ones
	gapAt   uint8           // where the next gap goes
	lastUse time.Duration   // when the last ack-eliciting packet left
}

// knownGaps is how many gaps in the numbers used are remembered.
const knownGaps = 32

// use marks a number as used.
func (s *sentLog) use(pn uint64) {
	if pn < s.next {
		panic(fmt.Sprintf("reliable: packet number %d after %d", pn, s.next-1))
	}
	if pn > s.next {
		s.gaps[s.gapAt%knownGaps] = span{s.next, pn}
		s.gapAt = (s.gapAt + 1) % knownGaps
	}
	s.next = pn + 1
}

// neverSent reports whether a range holds a number that was not used, as far as that is remembered, and returns it.
func (s *sentLog) neverSent(x wire.AckRange) (uint64, bool) {
	if x.High >= s.next {
		return x.High, true
	}
	for _, g := range s.gaps {
		if x.Low < g.hi && x.High >= g.lo {
			return max(x.Low, g.lo), true
		}
	}
	return 0, false
}

// push appends a packet to a list.
func (s *sentLog) push(l *packetList, i int32) {
	if l.tail != 0 {
		s.packets.at(l.tail).next = i
	} else {
		l.head = i
	}
	l.tail = i
	l.n++
}

// unlink removes from a list the packet i that follows prev, 0 if it is the first, and returns the one behind it.
func (s *sentLog) unlink(l *packetList, prev, i int32) (next int32) {
	p := s.packets.at(i)
	next = p.next
	p.next = 0
	if prev != 0 {
		s.packets.at(prev).next = next
	} else {
		l.head = next
	}
	if l.tail == i {
		l.tail = prev
	}
	l.n--
	return next
}

// note adds a frame to the packet i.
func (s *sentLog) note(i int32, f sentFrame) {
	n := s.frames.take()
	p := s.packets.at(i)
	f.next = p.frames
	*s.frames.at(n) = f
	p.frames = n
}

// free forgets a packet that is in no list, with its frames.
func (s *sentLog) free(i int32) {
	for f := s.packets.at(i).frames; f != 0; {
		next := s.frames.at(f).next
		s.frames.give(f)
		f = next
	}
	s.packets.give(i)
}

// breakRun notes that something was acknowledged before the packet next in flight, or before the next to be sent.
func (s *sentLog) breakRun(next int32) {
	if next != 0 {
		s.packets.at(next).broken = true
	} else {
		s.broken = true
	}
}

// trim frees the memory of packets if none is remembered.
func (s *sentLog) trim() {
	if s.packets.used() == 0 {
		s.packets.reset()
		s.frames.reset()
	}
}

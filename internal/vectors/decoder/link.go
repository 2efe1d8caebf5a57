package decoder

import (
	"bytes"
	"errors"
	"fmt"
)

// Link is a recorded link: both ends, of direction 0 and 1.
type Link struct {
	ID        Hex
	Ends      [2]*linkEnd
	Datagrams []sentDatagram
}

// linkEnd is what one end has sent.
type linkEnd struct {
	receiver   *Receiver
	ids        map[string]uint32 // connection IDs that it may use
	lanes      map[uint64]*half
	named      uint64 // the highest lane of its own that it may have opened
	window     map[uint64]uint64
	link       uint64 // credit that it gives for the link
	most       uint64 // and for lanes
	token      Hex    // of its ASK
	answers    []Hex
	challenges map[string]bool // tokens
	closed     *Close
	packets    int
	highest    int64
}

// sentDatagram is a DATAGRAM frame.
type sentDatagram struct {
	from byte
	Datagram
}

// pathsKnown is how many connection IDs beyond what was seen an end knows.
const pathsKnown = 9

// maxDatagram is how long a datagram of a flow is at most.
const maxDatagram = 1183

// NewLink follows a link with keys.
func NewLink(id []byte, s *Schedule) *Link {
	l := &Link{ID: id}
	for d := range byte(2) {
		l.Ends[d] = &linkEnd{
			receiver: NewReceiver(s, d, 0), ids: s.connections(d, pathsKnown), lanes: make(map[uint64]*half),
			window: make(map[uint64]uint64), challenges: make(map[string]bool), link: linkCredit, most: lanesAtAll, highest: -1,
		}
	}
	return l
}

// Packet opens what an end has sent and takes its frames.
func (l *Link) Packet(from byte, datagram []byte) error {
	e := l.Ends[from]
	if len(datagram) < minPacket {
		return Outcome("type")
	}
	if _, ok := e.ids[string(datagram[1:9])]; !ok {
		return errConnection
	}
	number, plaintext, err := e.receiver.Open(datagram)
	if err != nil {
		return err
	}
	if int64(number) <= e.highest {
		return fmt.Errorf("packet %d was sent behind packet %d", number, e.highest)
	}
	l.Ends[1-from].receiver.Sealed()
	e.packets++
	e.highest = int64(number)
	r := &reader{bytes: plaintext}
	frames := readPacket(r)
	if r.err != nil {
		return fmt.Errorf("packet %d: %w", number, r.err)
	}
	if r.left() > 0 {
		return fmt.Errorf("packet %d: %d bytes behind its frames", number, r.left())
	}
	for _, f := range frames {
		if err := l.frame(from, f); err != nil {
			return fmt.Errorf("packet %d: frame of kind %#02x: %w", number, f.Kind, err)
		}
	}
	return nil
}

// confirmed reports whether an end was sent an ANSWER to its ASK.
func (l *Link) confirmed(end byte) bool {
	for _, a := range l.Ends[1-end].answers {
		if bytes.Equal(a, l.Ends[end].token) {
			return true
		}
	}
	return false
}

// frame takes one that an end has sent.
func (l *Link) frame(from byte, f Frame) error {
	e, other := l.Ends[from], l.Ends[1-from]
	if e.closed != nil && f.Kind != frameClose {
		return errors.New("behind CLOSE")
	}
	if f.Kind != frameAsk && f.Kind != frameAnswer && !l.confirmed(from) {
		return errors.New("before the keys are confirmed")
	}
	switch v := f.Value.(type) {
	case Hex:
		return l.token(from, f.Kind, v)
	case *Ack:
		return other.acknowledged(v)
	case *Close:
		e.closed = v
	case Number:
		switch f.Kind {
		case frameLinkWindow:
			e.link = max(e.link, uint64(v))
		case frameLanes:
			e.most = max(e.most, uint64(v))
		}
	case *LaneWindow:
		// Credit is for what the other end writes, on a lane of either's.
		e.window[v.Lane] = max(e.window[v.Lane], v.Max)
		return l.open(from, v.Lane)
	case *Stop:
		if err := l.mayEnd(from, v.Lane); err != nil {
			return err
		}
		other.half(v.Lane).stopped = true
	case *Reset:
		if err := l.mayEnd(from, v.Lane); err != nil {
			return err
		}
		h := e.half(v.Lane)
		h.reset = v
		if err := h.finish(v.Size); err != nil {
			return err
		}
		return l.credit(from, v.Lane)
	case *Data:
		if err := l.open(from, v.Lane); err != nil {
			return err
		}
		if v.Fin && v.Lane == 0 {
			return errControlEnds
		}
		if err := e.half(v.Lane).add(v); err != nil {
			return err
		}
		return l.credit(from, v.Lane)
	case *Datagram:
		if len(v.Data) > maxDatagram {
			return fmt.Errorf("of %d bytes", len(v.Data))
		}
		l.Datagrams = append(l.Datagrams, sentDatagram{from: from, Datagram: *v})
	}
	return nil
}

// token takes a frame of no more than a token.
func (l *Link) token(from byte, kind uint8, token Hex) error {
	e, other := l.Ends[from], l.Ends[1-from]
	switch kind {
	case frameAsk:
		if e.token != nil && !bytes.Equal(e.token, token) {
			return errors.New("another token than before")
		}
		e.token = token
	case frameAnswer:
		if !bytes.Equal(token, other.token) {
			return errors.New("token that was not asked")
		}
		e.answers = append(e.answers, token)
	case frameChallenge:
		e.challenges[string(token)] = true
	case frameResponse:
		if !other.challenges[string(token)] {
			return errors.New("token of no challenge")
		}
	}
	return nil
}

var errControlEnds = errors.New("lane 0 never ends")

// mayEnd checks that an end may RESET or STOP a lane.
func (l *Link) mayEnd(from byte, lane uint64) error {
	if lane == 0 {
		return errControlEnds
	}
	return l.open(from, lane)
}

// acknowledged checks that an end has sent what the other says has come.
func (e *linkEnd) acknowledged(a *Ack) error {
	for _, r := range a.Ranges {
		if int64(r.High) > e.highest {
			return fmt.Errorf("packet %d was never sent", r.High)
		}
		for n := r.Low; n <= r.High; n++ {
			if !e.receiver.opened[n] {
				return fmt.Errorf("packet %d was never sent", n)
			}
		}
	}
	return nil
}

func (e *linkEnd) half(lane uint64) *half {
	h := e.lanes[lane]
	if h == nil {
		h = &half{}
		e.lanes[lane] = h
	}
	return h
}

// open checks that an end may name a lane: the lower ID opens the odd ones, the
// other the even ones.
func (l *Link) open(from byte, lane uint64) error {
	if lane == 0 {
		return nil
	}
	opener := byte(1 - lane&1)
	e := l.Ends[opener]
	if from == opener {
		e.named = max(e.named, lane)
	}
	if lane > e.named {
		return fmt.Errorf("lane %d was never opened", lane)
	}
	if count := (lane + 1) / 2; count > l.Ends[1-opener].most {
		return fmt.Errorf("lane %d is above the credit for lanes", lane)
	}
	return nil
}

// credit holds an end to what the other allows.
func (l *Link) credit(from byte, lane uint64) error {
	e, other := l.Ends[from], l.Ends[1-from]
	if h := e.half(lane); h.high > max(laneCredit, other.window[lane]) {
		return fmt.Errorf("byte %d of lane %d is above its credit", h.high, lane)
	}
	sum := uint64(0)
	for n, h := range e.lanes {
		if n != 0 {
			sum += h.high
		}
	}
	if sum > other.link {
		return fmt.Errorf("%d bytes are above the link's credit of %d", sum, other.link)
	}
	return nil
}

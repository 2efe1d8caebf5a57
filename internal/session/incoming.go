package session

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// readBuffer is how much of the lane is read at once, at most.
const readBuffer = 16 << 10

// receive is the goroutine that reads the session's lane. It never waits for a
// stream's reader: what comes has been allowed by a window, and what has not
// ends the session.
func (s *Session) receive() {
	defer s.work.Done()
	r := bufio.NewReaderSize(s.lane, readBuffer)
	for {
		b, err := r.Peek(frameHeader)
		if err != nil {
			s.laneEnded(err, len(b) > 0)
			return
		}
		h := parseHeader(b)
		discard(r, frameHeader)
		if err = s.frame(h, r); errors.Is(err, errFrame) {
			s.protocolError(err)
			return
		}
		if err != nil {
			s.laneEnded(err, true)
			return
		}
		s.relieve()
	}
}

// laneEnded ends the session when its lane cannot be read any more: at the
// end, or inside of a frame.
func (s *Session) laneEnded(err error, inside bool) {
	switch {
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		s.laneFailed(err)
	case inside:
		s.protocolError(fmt.Errorf("%w: lane ended inside of one", errFrame))
	default:
		s.peerClosed()
	}
}

// errFrame: what the peer sent on the lane breaks the protocol.
var errFrame = errors.New("bad frame")

// frame handles one frame; its header has been read.
func (s *Session) frame(h header, r *bufio.Reader) error {
	if h.version != smuxVersion {
		return fmt.Errorf("%w: version %d", errFrame, h.version)
	}
	switch {
	case h.command == cmdPSH:
		return s.data(h, r)
	case h.command == cmdUPD && h.length == updLength:
		b, err := r.Peek(updLength)
		if err != nil {
			return err
		}
		consumed, window := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		discard(r, updLength)
		return s.locked(func() error { return s.update(h.stream, consumed, window) })
	case h.length != 0:
		return fmt.Errorf("%w: command %d with %d bytes", errFrame, h.command, h.length)
	case h.command == cmdSYN:
		return s.locked(func() error { return s.syn(h.stream) })
	case h.command == cmdFIN:
		return s.locked(func() error { return s.fin(h.stream) })
	case h.command == cmdNOP:
		return nil
	}
	return fmt.Errorf("%w: command %d", errFrame, h.command)
}

// discard takes bytes off r that it has shown.
func discard(r *bufio.Reader, n int) { _, _ = r.Discard(n) } // they are buffered: it cannot fail

func (s *Session) locked(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// syn handles SYN.
func (s *Session) syn(id uint32) error {
	if id&1 != s.peerStream&1 || id <= s.peerStream {
		return fmt.Errorf("%w: SYN of stream %d after %d", errFrame, id, s.peerStream)
	}
	s.peerStream = id
	if s.err != nil {
		return nil
	}
	if s.closing || s.count >= s.limit {
		if s.out.len() > maxRefusals {
			return fmt.Errorf("%w: streams above the limit, and what refuses them is not taken", errFrame)
		}
		s.p.count(countStreams)
		s.out.control(appendUpdate(nil, id, goneRefused, 0))
		s.out.control(appendHeader(nil, cmdFIN, id, 0))
		return nil
	}
	s.accepted(&Stream{conn: s.newReliable(id), s: s, mode: Reliable})
	return nil
}

// find returns the stream, nil if it is over; it must have been opened.
func (s *Session) find(id uint32) (*reliable, error) {
	if r := s.reliables[id]; r != nil {
		return r, nil
	}
	if last := [2]uint32{s.nextStream - 2, s.peerStream}; id <= last[(id^s.nextStream)&1] {
		return nil, nil
	}
	return nil, fmt.Errorf("%w: stream %d was not opened", errFrame, id)
}

// fin handles FIN.
func (s *Session) fin(id uint32) error {
	r, err := s.find(id)
	if r == nil {
		return err
	}
	r.finished = true
	r.readable.Broadcast()
	r.settle()
	return nil
}

// update handles UPD.
func (s *Session) update(id, consumed, window uint32) error {
	r, err := s.find(id)
	if r == nil {
		return err
	}
	if window == 0 {
		r.gone = ErrStreamClosed
		if consumed == goneRefused {
			r.gone = ErrTooManyStreams
		}
		r.writable.Broadcast()
		return nil
	}
	n := uint64(consumed - uint32(r.consumed)) // they count modulo 2³²
	if n > r.sent-r.consumed {
		return fmt.Errorf("%w: stream %d: more was consumed than sent", errFrame, id)
	}
	r.consumed += n
	r.window = uint64(window)
	r.writable.Broadcast()
	return nil
}

// data handles PSH: what has come of it is there to be read before the rest has.
func (s *Session) data(h header, r *bufio.Reader) error {
	for left := h.length; left > 0; {
		b, err := r.Peek(min(left, max(1, r.Buffered())))
		if err != nil {
			return err
		}
		if err := s.push(h.stream, b); err != nil {
			return err
		}
		left -= len(b)
		discard(r, len(b))
	}
	return nil
}

// push gives bytes to a stream.
func (s *Session) push(id uint32, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(id)
	if r == nil {
		return err // over at both ends, or refused
	}
	if r.finished {
		return fmt.Errorf("%w: stream %d: data after FIN", errFrame, id)
	}
	r.received += uint64(len(b))
	if r.closed || s.err != nil {
		return nil
	}
	if r.received-r.read > uint64(s.window) {
		return fmt.Errorf("%w: stream %d: above its window of %d bytes", errFrame, id, s.window)
	}
	r.in.write(s.budget, b)
	r.recharge()
	r.readable.Signal()
	return nil
}

// peerClosed is the end of the lane: the peer has closed the session, or has
// answered our close.
func (s *Session) peerClosed() {
	s.mu.Lock()
	if s.closing {
		close(s.drained)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.awaitRest()
	s.end(&Error{Cause: ErrPeerClosed, Remote: true}, ending{orderly: true})
}

// awaitRest gives what was sent before the session was closed, and not on its
// lane, time to arrive.
func (s *Session) awaitRest() {
	limit := time.NewTimer(lingerTime)
	defer limit.Stop()
	for s.missing() {
		select {
		case <-s.moved:
		case <-limit.C:
			return
		case <-s.done:
			return
		}
	}
}

// missing reports whether streams, their lanes or datagrams may still come.
func (s *Session) missing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.toldEnd {
		return true
	}
	for _, f := range s.flows {
		if f.missing() {
			return true
		}
	}
	for _, b := range s.bulks {
		if b.lane == nil {
			return true
		}
	}
	return false
}

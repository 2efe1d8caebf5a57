package session

import "sync"

// outgoing is what waits to be written to the session's lane. Under the
// session's lock.
type outgoing struct {
	budget  *Budget
	wake    sync.Cond   // of the goroutine that writes
	buf     []byte      // frames
	held    int         // bytes of streams in buf
	room    int         // for bytes of streams
	waiting []*reliable // streams that wait for room, in turn
	updates []*reliable // streams whose peer may send more
}

// data appends bytes of a stream, for which it has taken room.
func (o *outgoing) data(stream uint32, p []byte) {
	o.reserve(frameHeader + len(p))
	o.buf = append(appendHeader(o.buf, cmdPSH, stream, len(p)), p...)
	o.held += len(p)
	o.wake.Signal()
}

// control appends a frame that needs no room.
func (o *outgoing) control(frame []byte) {
	o.reserve(len(frame))
	o.buf = append(o.buf, frame...)
	o.wake.Signal()
}

// reserve makes room in memory.
func (o *outgoing) reserve(n int) {
	if n += len(o.buf); n > cap(o.buf) {
		grown := append((*o.budget.take(n))[:0], o.buf...)
		o.release(o.buf)
		o.buf = grown
	}
}

// release gives memory back.
func (o *outgoing) release(buf []byte) {
	if cap(buf) > 0 {
		o.budget.give(&buf)
	}
}

// free gives room to those who wait.
func (o *outgoing) free(n int) {
	o.room += n
	for len(o.waiting) > 0 && o.room > 0 {
		r := o.waiting[0]
		o.waiting = o.waiting[1:]
		r.waiting = false
		r.grant = min(o.room, maxFrame)
		o.room -= r.grant
		r.writable.Broadcast()
	}
	if len(o.waiting) == 0 {
		o.waiting = nil // what was served must not be kept
	}
}

// empty reports whether nothing waits.
func (o *outgoing) empty() bool { return len(o.buf) == 0 && len(o.updates) == 0 }

// take returns what is to be written next, and how many bytes of streams that
// is; spare is memory for what comes meanwhile.
func (o *outgoing) take(spare []byte) (buf []byte, held int) {
	for _, r := range o.updates {
		r.updating = false
		r.told = r.read
		if !r.finished && !r.closed {
			o.control(appendUpdate(nil, r.id, uint32(r.read), uint32(r.s.window)))
		}
	}
	clear(o.updates)
	o.updates = o.updates[:0]
	buf, held = o.buf, o.held
	o.buf, o.held = spare[:0], 0
	return buf, held
}

// send is the goroutine that writes the session's lane.
func (s *Session) send() {
	defer s.work.Done()
	s.mu.Lock()
	var spare []byte
	for s.err == nil {
		if s.out.empty() {
			if s.closing {
				break
			}
			s.out.release(spare)
			s.out.release(s.out.buf)
			spare, s.out.buf = nil, nil
			s.out.wake.Wait()
			continue
		}
		buf, held := s.out.take(spare)
		s.mu.Unlock()
		_, err := s.lane.Write(buf)
		s.mu.Lock()
		if s.err == nil {
			s.charge(-int64(held))
			s.out.free(held)
		}
		spare = buf
		if err != nil {
			s.mu.Unlock()
			s.laneFailed(err)
			return
		}
	}
	ended := s.err != nil
	s.mu.Unlock()
	if !ended {
		s.finishClose()
	}
}

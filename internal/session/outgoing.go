package session

import (
	"slices"
	"sync"
)

// outgoing is what waits to be written to the session's lane. Under the
// session's lock.
type outgoing struct {
	budget  *Budget
	wake    sync.Cond   // of the goroutine that writes
	buf     *[]byte     // frames; nil while there are none
	held    int         // bytes of streams in buf
	room    int         // for bytes of streams
	waiting []*reliable // streams that wait for room, in turn
	updates []*reliable // streams whose peer may send more
}

// data appends bytes of a stream, for which it has taken room.
func (o *outgoing) data(stream uint32, p []byte) {
	buf := o.reserve(frameHeader + len(p))
	*buf = append(appendHeader(*buf, cmdPSH, stream, len(p)), p...)
	o.held += len(p)
	o.wake.Signal()
}

// control appends a frame that needs no room.
func (o *outgoing) control(frame []byte) {
	buf := o.reserve(len(frame))
	*buf = append(*buf, frame...)
	o.wake.Signal()
}

// reserve makes room in memory, and returns the buffer that has it. Buffers stay
// behind the pointers that the budget gives, since others would be allocated.
func (o *outgoing) reserve(n int) *[]byte {
	switch {
	case o.buf == nil:
		o.buf = o.budget.take(n)
		*o.buf = (*o.buf)[:0]
	case len(*o.buf)+n > cap(*o.buf):
		grown := o.budget.take(len(*o.buf) + n)
		*grown = append((*grown)[:0], *o.buf...)
		o.release(o.buf)
		o.buf = grown
	}
	return o.buf
}

// release gives memory back.
func (o *outgoing) release(buf *[]byte) {
	if buf != nil {
		o.budget.give(buf)
	}
}

// manyWaiting is how long a queue of those who wait may be and still be kept
// when it is empty.
const manyWaiting = 64

// free gives room to those who wait.
func (o *outgoing) free(n int) {
	o.room += n
	served := 0
	for ; served < len(o.waiting) && o.room > 0; served++ {
		r := o.waiting[served]
		r.waiting = false
		r.grant = min(o.room, maxFrame)
		o.room -= r.grant
		r.writable.Broadcast()
	}
	o.waiting = slices.Delete(o.waiting, 0, served)
	if len(o.waiting) == 0 && cap(o.waiting) > manyWaiting {
		o.waiting = nil
	}
}

// empty reports whether nothing waits.
func (o *outgoing) empty() bool { return o.len() == 0 && len(o.updates) == 0 }

// len is how many bytes of frames wait.
func (o *outgoing) len() int {
	if o.buf == nil {
		return 0
	}
	return len(*o.buf)
}

// take returns what is to be written next, and how many bytes of streams that
// is; spare is memory for what comes meanwhile, or nil.
func (o *outgoing) take(spare *[]byte) (buf *[]byte, held int) {
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
	if o.buf, o.held = spare, 0; spare != nil {
		*spare = (*spare)[:0]
	}
	return buf, held
}

// send is the goroutine that writes the session's lane.
func (s *Session) send() {
	defer s.work.Done()
	s.mu.Lock()
	var spare *[]byte
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
		var err error
		if buf != nil { // else there were only updates that nobody needs any more
			_, err = s.lane.Write(*buf)
		}
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

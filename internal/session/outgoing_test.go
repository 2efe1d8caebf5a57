package session

import (
	"sync"
	"testing"
)

// TestOutgoingAllocations: what streams write is gathered for the lane without
// allocations, whether the queue is given back between or not, and with two
// streams that wait for room in turn.
func TestOutgoingAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("not judged under the race detector, whose pools forget")
		return
	}
	var mu sync.Mutex
	s := &Session{window: minWindow}
	s.out = outgoing{budget: NewBudget(0), room: outRoom}
	s.out.wake.L = &mu
	var streams [2]*reliable
	for i := range streams {
		streams[i] = &reliable{s: s, id: uint32(i), window: 1 << 40}
		streams[i].writable.L = &mu
	}
	data := make([]byte, maxFrame)
	var spare *[]byte
	round := func(idle bool) {
		for range 2 * outRoom / maxFrame { // more than there is room for
			for _, r := range streams {
				if n := r.room(len(data)); n > 0 {
					s.out.data(r.id, data[:n])
					r.sent += uint64(n)
				}
			}
		}
		s.out.updates = append(s.out.updates, streams[0])
		buf, held := s.out.take(spare)
		if held == 0 || len(*buf) < held {
			t.Fatalf("%d bytes of streams in %d of frames", held, len(*buf))
		}
		s.out.free(held)
		if spare = buf; idle {
			s.out.release(spare)
			s.out.release(s.out.buf)
			spare, s.out.buf = nil, nil
		}
	}
	for _, idle := range []bool{false, true} {
		for range 10 {
			round(idle)
		}
		if n := testing.AllocsPerRun(1000, func() { round(idle) }); n != 0 {
			t.Errorf("%v allocations for %d bytes, want none (idle between: %v)", n, outRoom, idle)
		}
	}
}

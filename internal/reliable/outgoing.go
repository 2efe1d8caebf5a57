package reliable

import "github.com/gocarrier/carrier/internal/wire"

// An outgoing is the direction of a lane in which this end writes. Of its bytes, by offset:
//
//	0 … acked … next … written
//
// what is below acked is acknowledged and forgotten, what is below next was sent, the rest waits. Between acked and next
// some is acknowledged already, and some is lost and to be sent again before anything new.
type outgoing struct {
	ring                 ring
	acked, next, written uint64
	limit                uint64 // of the peer's window
	arrived              ranges // acknowledged, above acked
	lost                 ranges
	code                 uint64 // of the reset
	state                outState
	finSent              bool // and not lost since
	finAcked             bool
	full                 bool // a Write took less than it was given
	stopped              bool // the reset was asked for by the peer
}

// outState is how far a direction has come to its end.
type outState uint8

const (
	writing   outState = iota
	closing            // the end is known, and on its way
	outDone            // it is acknowledged, with all that was written
	resetting          // the reset is on its way
	outReset           // it is acknowledged
)

// over reports whether nothing of this direction is to be sent or acknowledged.
func (o *outgoing) over() bool { return o.state == outDone || o.state == outReset }

// unsent is how many bytes wait to be sent for the first time.
func (o *outgoing) unsent() int { return int(o.written - o.next) }

// again reports whether something is to be sent that needs no credit.
func (o *outgoing) again() bool {
	return !o.lost.empty() || o.state == closing && !o.finSent && o.next == o.written
}

// fresh reports whether bytes wait that the lane's window lets out.
func (o *outgoing) fresh() bool { return o.next < o.written && o.next < o.limit }

// take takes bytes that are written from the program.
func (o *outgoing) take(p *pool, b []byte) {
	o.ring.reserve(p, o.acked, o.written, o.written+uint64(len(b)))
	o.ring.put(o.written, b)
	o.written += uint64(len(b))
}

// ackData notes that bytes, and perhaps the end, have arrived.
func (o *outgoing) ackData(p *pool, from, to uint64, fin bool) {
	if o.state >= outDone {
		return
	}
	switch {
	case to <= o.acked:
	case from <= o.acked:
		o.acked = to
		for !o.arrived.empty() && o.arrived.first().lo <= o.acked {
			o.acked = max(o.acked, o.arrived.first().hi)
			o.arrived.dropFirst()
		}
		if !o.lost.empty() {
			o.lost.remove(0, o.acked)
		}
		if o.acked == o.written {
			o.ring.release(p)
		}
	default:
		o.arrived.add(from, to)
		o.lost.remove(from, to)
	}
	if fin {
		o.finSent, o.finAcked = true, true
	}
	if o.finAcked && o.acked == o.written {
		o.state = outDone
	}
}

// lose notes that bytes, and perhaps the end, are to be sent again unless they have arrived otherwise.
func (o *outgoing) lose(from, to uint64, fin bool) {
	if o.state >= outDone {
		return
	}
	if fin && !o.finAcked {
		o.finSent = false
	}
	from = max(from, o.acked)
	if from >= to {
		return
	}
	o.lost.add(from, to)
	if o.arrived.empty() {
		return
	}
	s := o.arrived.s
	for i := o.arrived.search(from + 1); i < len(s) && s[i].lo < to; i++ {
		o.lost.remove(s[i].lo, s[i].hi)
	}
}

// reset gives up what is not acknowledged.
func (o *outgoing) reset(p *pool, code uint64) {
	o.state, o.code = resetting, code
	o.ring.release(p)
	o.lost, o.arrived = ranges{}, ranges{}
	o.written, o.acked = o.next, o.next
}

// chunk returns the next bytes to send, at most room of them with the frame's header, and credit of those that are new;
// ok is false if there is nothing to send or no room for it.
func (o *outgoing) chunk(id uint64, room int, credit uint64) (at uint64, n int, fin, ok bool) {
	var want uint64
	if !o.lost.empty() {
		x := o.lost.first()
		at, want = x.lo, x.hi-x.lo
	} else {
		at = o.next
		if end := min(o.written, o.limit); end > at {
			want = min(end-at, credit)
		}
	}
	n = int(min(want, uint64(room)))
	n = min(n, room-wire.DataOverhead(id, at, n))
	ends := o.state == closing && !o.finSent
	if n < 0 || n == 0 && !(ends && at == o.written) {
		return 0, 0, false, false
	}
	return at, n, ends && at+uint64(n) == o.written, true
}

// sent notes that a chunk leaves, and returns how many of its bytes are new.
func (o *outgoing) sent(at uint64, n int, fin bool) (fresh uint64) {
	end := at + uint64(n)
	if fin {
		o.finSent = true
	}
	if at == o.next {
		o.next = end
		return uint64(n)
	}
	o.lost.remove(at, end)
	return 0
}

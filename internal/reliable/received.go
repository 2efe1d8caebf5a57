package reliable

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

const (
	maxTracked  = 256 // ranges of numbers received that are remembered; an ACK holds the newest 64
	youngCount  = 100 // ack-eliciting packets in which every second one is acknowledged
	youngEvery  = 2
	settledEach = 10
	leastDelay  = time.Millisecond
)

// A receivedLog remembers which packet numbers came, and decides when an ACK goes out: at once when packets are missing
// or late or the peer asks for it, else after some packets or a short time.
type receivedLog struct {
	numbers ranges
	floor   uint64 // numbers below it are too old to know
	from    uint64 // numbers below it need not be reported: the peer has seen that
	newest  time.Duration
	ranges  []wire.AckRange // memory for ACKs

	count   int           // ack-eliciting packets since the last ACK
	total   int           // in all, up to youngCount
	due     time.Duration // when an ACK is to go out at the latest, Never if none is
	pending bool          // something came that no ACK has reported
	second  uint64        // number at which the loss of those before a gap is certain: that is reported at once
}

func newReceivedLog() receivedLog { return receivedLog{due: Never} }

// fresh reports whether a number has not come before, as far as that is known.
func (r *receivedLog) fresh(pn uint64) bool {
	if pn < r.floor {
		return false
	}
	if n := len(r.numbers.s); n > 0 && pn >= r.numbers.s[n-1].hi {
		return true
	}
	return !r.numbers.contains(pn)
}

// add notes a fresh number. eliciting: it wants an ACK; urgent: at once; srtt bounds how long it waits.
func (r *receivedLog) add(now time.Duration, pn uint64, eliciting, urgent bool, srtt time.Duration) {
	inOrder := true
	if r.numbers.empty() {
		r.newest = now
	} else if last := r.numbers.last(); pn >= last.hi {
		r.newest = now
		if pn > last.hi {
			inOrder = false
			r.second = pn + packetThreshold - 1
		} else if pn == r.second {
			inOrder = false
		}
	} else {
		inOrder = false
		r.from = min(r.from, pn)
	}
	r.numbers.add(pn, pn+1)
	if r.numbers.len() > maxTracked {
		r.floor = r.numbers.first().hi
		r.numbers.dropFirst()
	}
	if !eliciting {
		return
	}
	r.pending = true
	r.count++
	every := settledEach
	if r.total < youngCount {
		r.total++
		every = youngEvery
	}
	switch {
	case urgent || !inOrder || r.count >= every:
		r.due = now
	case r.due == Never:
		r.due = now + max(leastDelay, min(MaxAckDelay, srtt/4))
	}
}

// ack returns the ACK of all that came and is to be reported. It is valid until the next call.
func (r *receivedLog) ack(now time.Duration) wire.Ack {
	a := wire.Ack{Delay: uint64((now - r.newest) / time.Microsecond), Ranges: r.ranges[:0]}
	s := r.numbers.spans()
	for i := len(s) - 1; i >= 0 && len(a.Ranges) < wire.MaxAckRanges; i-- {
		if s[i].hi <= r.from && len(a.Ranges) > 0 {
			break
		}
		a.Ranges = append(a.Ranges, wire.AckRange{Low: s[i].lo, High: s[i].hi - 1})
	}
	r.ranges = a.Ranges
	return a
}

// acked notes that an ACK went out.
func (r *receivedLog) acked() { r.count, r.due, r.pending = 0, Never, false }

// seen notes that the peer has seen an ACK up to the number pn.
func (r *receivedLog) seen(pn uint64) { r.from = max(r.from, pn+1) }

// trim frees memory that is made again when needed.
func (r *receivedLog) trim() {
	r.ranges = nil
	r.numbers.trim()
}

package lab

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

const (
	minHoldBack = 10 * time.Millisecond
	minQueue    = 64 << 10
)

// Path is a [Link] in use: one direction of a line, stepped by its caller, without a clock or a socket. It is what a
// [Network] has inside, for tests that pass datagrams on by themselves. Times count from an epoch of the caller's and
// must not fall from one call to the next. The same seed and the same calls give the same results; nothing but its
// making allocates. It is not safe for concurrent use.
type Path struct {
	link  Link // defaults filled in
	pcg   rand.PCG
	rand  *rand.Rand
	bad   bool // of Link.Burst
	stats Stats

	// The queue is kept in byte-nanoseconds, of which the link sends Rate in each nanosecond, so that rounding never
	// adds up.
	at   time.Duration // the instant that work holds for; until then the link is taken
	work int64         // what waits at that instant
	free time.Duration // when all of it will have been sent

	order time.Duration    // when the last datagram in order had its jitter behind it
	due   [2]time.Duration // what Carry returns
}

// NewPath makes a path that behaves as l, with chances drawn from seed. It panics on a Link that has no meaning, such
// as a Loss of 2.
func NewPath(l Link, seed uint64) *Path {
	p := &Path{pcg: *rand.NewPCG(seed, ^seed)}
	p.rand = rand.New(&p.pcg)
	p.Set(l)
	return p
}

// Set makes the path behave as l for what is carried from now on, in the good state of a Burst; the stream of chances
// goes on. What was carried before leaves and arrives as it would have, and no longer counts against the queue. What
// comes later waits behind it, and overtakes it only where the Delay is shorter now. It panics as NewPath does.
func (p *Path) Set(l Link) {
	l.check()
	if l.Queue == 0 {
		l.Queue = int(min(max(minQueue, l.Rate/10), maxQueue))
	}
	if l.Burst.Loss == 0 {
		l.Burst.Loss = 1
	}
	p.link, p.bad = l, false
	p.at, p.work = p.free, 0
}

// Carry takes a datagram of size bytes that is handed to the path now, and says when its copies arrive: none where it
// is dropped, else one or, duplicated, up to two, not always in order of time. The slice is valid until the next call.
func (p *Path) Carry(now time.Duration, size int) []time.Duration {
	p.stats.Sent++
	p.stats.SentBytes += uint64(size)
	if p.link.MTU > 0 && size > p.link.MTU {
		p.stats.TooLong++
		return nil
	}
	sent, ok := p.send(now, size)
	if !ok {
		p.stats.QueueFull++
		return nil
	}
	copies := 1
	if p.hits(p.link.Duplicate) {
		p.stats.Duplicated++
		copies = 2
	}
	arriving := p.due[:0]
	for range copies {
		if p.loses() {
			p.stats.Lost++
			continue
		}
		p.stats.Delivered++
		arriving = append(arriving, p.arrival(sent))
	}
	return arriving
}

// Queued returns how many bytes wait at now for their turn, the unsent ones of the datagram that is being sent
// included.
func (p *Path) Queued(now time.Duration) int {
	p.drain(now)
	return int((p.work + int64(time.Second) - 1) / int64(time.Second))
}

// Stats returns what the path has counted since NewPath: the fields up to TooLong, of which Delivered is what arrives
// by the word of Carry.
func (p *Path) Stats() Stats { return p.stats }

// send puts a datagram into the queue and says when its last byte leaves, or that the queue is full.
func (p *Path) send(now time.Duration, size int) (time.Duration, bool) {
	if p.link.Rate == 0 {
		return max(now, p.free), true
	}
	p.drain(now)
	work := p.work + int64(size)*int64(time.Second)
	if p.work > 0 && work > int64(p.link.Queue)*int64(time.Second) {
		return 0, false
	}
	p.work = work
	p.free = p.at + time.Duration((work+p.link.Rate-1)/p.link.Rate)
	return p.free, true
}

// drain takes from the queue what has been sent by now.
func (p *Path) drain(now time.Duration) {
	switch {
	case now >= p.free:
		p.at, p.work = now, 0
	case now > p.at: // and work is more than that, since free is later
		p.work -= int64(now-p.at) * p.link.Rate
		p.at = now
	}
}

// loses draws whether a copy is lost.
func (p *Path) loses() bool {
	b := &p.link.Burst
	if p.bad {
		p.bad = !p.hits(b.Leave)
	} else {
		p.bad = p.hits(b.Enter)
	}
	if p.bad {
		return p.hits(b.Loss)
	}
	return p.hits(p.link.Loss)
}

// arrival draws when a copy arrives that left at sent.
func (p *Path) arrival(sent time.Duration) time.Duration {
	l := &p.link
	if l.Jitter > 0 {
		sent += p.upTo(l.Jitter)
	}
	overtakes := sent < p.order
	if overtakes && !l.JitterReorders {
		overtakes, sent = false, p.order
	}
	held := p.hits(l.Reorder)
	if held || overtakes {
		p.stats.Reordered++
	}
	if held {
		hold := l.Delay + l.Jitter
		if hold == 0 {
			hold = minHoldBack
		}
		return sent + l.Delay + p.upTo(hold)
	}
	p.order = max(p.order, sent)
	return sent + l.Delay
}

// hits draws with chance c.
func (p *Path) hits(c float64) bool { return c > 0 && p.rand.Float64() < c }

// upTo draws evenly from (0, d].
func (p *Path) upTo(d time.Duration) time.Duration { return 1 + time.Duration(p.rand.Int64N(int64(d))) }

// pathSeed gives the direction p a stream of chances of its own, which depends on nothing but seed and p.
func pathSeed(seed uint64, p pair) uint64 {
	h := fnv.New64a()
	from, to := p.from.As16(), p.to.As16()
	h.Write(from[:])
	h.Write(to[:])
	var s [8]byte
	binary.BigEndian.PutUint64(s[:], seed)
	h.Write(s[:])
	return h.Sum64()
}

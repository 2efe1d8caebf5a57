package reliable_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/reliable"
)

// sealing is what a packet costs on the line besides its plaintext: type, connection ID, number and tag.
const sealing = 1 + 8 + 4 + 16

// world is machines joined by paths in virtual time. Nothing runs beside it: the same calls see the same run.
type world struct {
	begin  time.Duration // the instant at which it all began; messages count from it
	now    time.Duration
	agenda agenda
	order  uint64 // of what was put on the agenda
	ends   []*end
	spare  [][]byte // packets that have arrived
	err    error    // what ended the run
	trace  func(format string, args ...any)
}

// end is one machine, with what its program and its line are like.
type end struct {
	*reliable.Machine
	name   string
	w      *world
	peer   *end
	path   *lab.Path // to the peer; several ends may share one
	pn     uint64    // number of the next packet
	size   int       // of the largest packet made
	buf    []byte
	wake   time.Duration
	spins  int
	closed bool // the machine's death is part of the plan

	event  func(reliable.Event)            // what the program does about it; nil ignores
	late   func() time.Duration            // how much later than asked the machine is called; nil is never
	skip   func() uint64                   // how many packet numbers are left out; nil is none
	short  func(size int) int              // the buffer for a packet; nil is size
	loses  func(packet []byte) bool        // whether the line loses this one
	probed func(reliable.Probe)            // what a packet that came has of probes
	sees   func(pn uint64, b []byte)       // every packet made
	took   func(size int, d time.Duration) // how long each that arrives will have been on the way

	packets, bytes int // made
}

func newWorld() *world { return &world{trace: func(string, ...any) {}} }

// join makes two ends that reach each other over these paths, at least one of which opens odd lanes.
func (w *world) join(a, b reliable.Config, there, back *lab.Path) (x, y *end) {
	a.Odd, b.Odd = true, false
	x, y = w.add("a", a, there), w.add("b", b, back)
	x.peer, y.peer = y, x
	return x, y
}

func (w *world) add(name string, c reliable.Config, p *lab.Path) *end {
	size := c.MaxPacket
	if size == 0 {
		size = 1200
	}
	e := &end{
		Machine: reliable.New(w.now, c), name: fmt.Sprintf("%s%d", name, len(w.ends)/2), w: w,
		path: p, size: size, buf: make([]byte, size), wake: w.now,
	}
	w.ends = append(w.ends, e)
	return e
}

// at has f done by the program of e at an instant.
func (w *world) at(when time.Duration, e *end, f func()) {
	w.agenda.push(entry{due: max(when, w.now), order: w.order, to: e, do: f})
	w.order++
}

// every has f done each period from an instant on, until it returns false.
func (w *world) every(from, period time.Duration, e *end, f func() bool) {
	w.at(from, e, func() {
		if f() {
			w.every(w.now+period, period, e, f)
		}
	})
}

// fail ends the run; the first cause stays.
func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("at %v: %w", w.now-w.begin, fmt.Errorf(format, args...))
		w.trace("FAILED: %v", w.err)
	}
}

// run lets time pass until done (nil: never) is true, nothing is left to happen, or until is reached.
func (w *world) run(until time.Duration, done func() bool) {
	for w.err == nil && (done == nil || !done()) {
		next := reliable.Never
		if len(w.agenda) > 0 {
			next = w.agenda[0].due
		}
		for _, e := range w.ends {
			next = min(next, e.wake)
		}
		if next == reliable.Never {
			return
		}
		if next > until {
			w.now = max(w.now, until)
			return
		}
		w.now = max(w.now, next)
		w.step()
	}
}

// step does everything that is due.
func (w *world) step() {
	for len(w.agenda) > 0 && w.agenda[0].due <= w.now && w.err == nil {
		x := w.agenda.pop()
		if x.do != nil {
			x.do()
		} else {
			x.to.receive(x.pn, x.packet)
		}
		x.to.soon()
	}
	for _, e := range w.ends {
		if e.wake <= w.now && w.err == nil {
			e.turn()
		}
	}
}

// spoil is what stands in memory that was given back.
var spoil = bytes.Repeat([]byte{0xAA}, 2048)

// receive hands a packet to the machine, and then spoils its memory, which is the caller's again.
func (e *end) receive(pn uint64, packet []byte) {
	e.w.trace("%s gets %d, %d bytes", e.name, pn, len(packet))
	p, err := e.Receive(e.w.now, pn, packet)
	for b := packet; len(b) > 0; {
		b = b[copy(b, spoil):]
	}
	e.w.spare = append(e.w.spare, packet)
	if err != nil && !e.closed {
		e.w.fail("%s: packet %d of an honest peer: %w", e.name, pn, err)
	}
	if e.probed != nil && (p.HasChallenge || p.HasResponse) {
		e.probed(p)
	}
}

// probe sends a packet that asks, or answers, whether the way is good.
func (e *end) probe(p reliable.Probe) {
	if n := e.Probe(e.pn, e.buf, p); n > 0 {
		e.send(e.buf[:n])
	}
}

// over says whether err is that of a link that was closed as planned.
func (e *end) over(err error) bool {
	if !e.closed || err == nil {
		return false
	}
	var c *reliable.ClosedError
	return errors.As(err, &c)
}

// soon has the machine called as soon as the program gets to it.
func (e *end) soon() {
	when := e.w.now
	if e.late != nil {
		when += e.late()
	}
	e.wake = min(e.wake, when)
}

// turn sends all that the machine has to send, and asks when it wants to be called again.
func (e *end) turn() {
	w := e.w
	made := 0
	for w.err == nil {
		acted := e.poll()
		size := e.size
		if e.short != nil {
			size = e.short(size)
		}
		n := e.NextPacket(w.now, e.pn, e.buf[:size])
		if n == 0 && size < e.size { // a datagram needs more
			n = e.NextPacket(w.now, e.pn, e.buf)
		}
		if n > 0 {
			e.send(e.buf[:n])
			if made++; made > 100_000 {
				w.fail("%s: sends without end", e.name)
			}
		} else if !acted {
			break
		}
	}
	when := e.Timeout()
	switch {
	case when > w.now:
		e.spins = 0
	case made == 0:
		if e.spins++; e.spins > 1 {
			w.fail("%s: Timeout is %v ago, twice, and there is nothing to do", e.name, w.now-when)
		}
	}
	if e.late != nil && when != reliable.Never {
		when += e.late()
	}
	e.wake = max(when, w.now)
}

// poll has the program act on all events, and says whether there were any.
func (e *end) poll() (acted bool) {
	for n := 0; ; n++ {
		v, ok := e.Poll()
		if !ok {
			return acted
		}
		if n > 1_000_000 {
			e.w.fail("%s: events without end", e.name)
			return false
		}
		acted = true
		if e.event != nil {
			e.event(v)
		}
	}
}

// send puts a packet on the line under its number, which is never used again.
func (e *end) send(p []byte) {
	w := e.w
	e.packets++
	e.bytes += len(p)
	if e.sees != nil {
		e.sees(e.pn, p)
	}
	if e.loses == nil || !e.loses(p) {
		for _, due := range e.path.Carry(w.now, len(p)+sealing) {
			var b []byte
			if last := len(w.spare) - 1; last >= 0 {
				b, w.spare = w.spare[last], w.spare[:last]
			}
			if e.took != nil {
				e.took(len(p), due-w.now)
			}
			w.agenda.push(entry{due: due, order: w.order, to: e.peer, pn: e.pn, packet: append(b[:0], p...)})
			w.order++
		}
	}
	w.trace("%s sends %d, %d bytes", e.name, e.pn, len(p))
	e.pn++
	if e.skip != nil {
		e.pn += e.skip()
	}
}

// entry is something that will happen: a packet arrives, or the program does something.
type entry struct {
	due    time.Duration
	order  uint64
	to     *end
	pn     uint64
	packet []byte
	do     func()
}

// agenda is the heap of what will happen, first due first, equal ones in the order in which they were put there.
type agenda []entry

func (a agenda) before(i, j int) bool {
	if a[i].due != a[j].due {
		return a[i].due < a[j].due
	}
	return a[i].order < a[j].order
}

func (a *agenda) push(x entry) {
	h := append(*a, x)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	*a = h
}

func (a *agenda) pop() entry {
	h := *a
	x, last := h[0], len(h)-1
	h[0] = h[last]
	h[last] = entry{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h.before(child, least) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*a = h
	return x
}

const (
	patternPeriod = 1<<20 + 7
	patternChunk  = 256 << 10
)

// pattern is what all content is cut from: random bytes that repeat after patternPeriod.
var pattern = sync.OnceValue(func() []byte {
	rng := rand.NewChaCha8([32]byte{1})
	b := make([]byte, patternPeriod+patternChunk)
	_, _ = rng.Read(b[:patternPeriod]) // never fails
	copy(b[patternPeriod:], b)
	return b
})

// content is n bytes, at most patternChunk, at an offset of the content that begins at base.
func content(base, offset, n int) []byte {
	from := (base + offset) % patternPeriod
	return pattern()[from : from+n]
}

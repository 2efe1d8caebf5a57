package reliable_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/reliable"
)

// pair is two machines joined by nothing but memory: what x sends is on its way for 100 µs, and so is what y answers.
type pair struct {
	x, y     *reliable.Machine
	now      time.Duration
	pnX, pnY uint64
	lose     uint64 // each packet of x whose number this divides; 0 is none

	bufs  [batch][]byte
	sizes [batch]int
	read  []byte
	got   int // bytes that y has read

	out, in, back time.Duration // spent by the clock in x making packets, y taking them, and both with the answers
	timed         bool
}

const (
	oneWay = 100 * time.Microsecond
	batch  = 64 // packets made before the peer sees them
)

func newPair(c reliable.Config) *pair {
	p := &pair{read: make([]byte, 64<<10)}
	for i := range p.bufs {
		p.bufs[i] = make([]byte, 1400)
	}
	p.reset(c)
	return p
}

// reset begins anew with other machines.
func (p *pair) reset(x reliable.Config) {
	x.MaxPacket = 1400
	y := x
	x.Odd = true
	p.x, p.y, p.now, p.pnX, p.pnY = reliable.New(0, x), reliable.New(0, y), 0, 0, 0
}

// open opens n lanes and fills them.
func (p *pair) open(tb testing.TB, n int) {
	tb.Helper()
	for opened := 0; opened < n; {
		l, err := p.x.Open()
		if err != nil { // more are allowed after a while
			p.round(tb, batch, false)
			continue
		}
		opened++
		fill(tb, l)
	}
}

func fill(tb testing.TB, l *reliable.Lane) {
	for {
		b := content(0, 0, 16<<10)
		n, err := l.Write(b)
		if err != nil {
			tb.Fatal(err)
		}
		if n < len(b) {
			return
		}
	}
}

// round has x make up to most packets, which y takes and answers. Lanes are filled again if so told. It returns how
// many packets x made.
func (p *pair) round(tb testing.TB, most int, refill bool) (made int) {
	var t0, t1, t2 time.Time
	if p.timed {
		t0 = time.Now()
	}
	for v, ok := p.x.Poll(); ok; v, ok = p.x.Poll() {
		if refill && v.Lane != nil && v.Ready&reliable.Writable != 0 {
			fill(tb, v.Lane)
		}
	}
	first := p.pnX
	for made < most {
		n := p.x.NextPacket(p.now, p.pnX, p.bufs[made])
		if n == 0 {
			break
		}
		p.sizes[made] = n
		p.pnX++
		made++
	}
	p.now += oneWay
	if p.timed {
		t1 = time.Now()
		p.out += t1.Sub(t0)
	}
	for i := range made {
		pn := first + uint64(i)
		if p.lose != 0 && pn%p.lose == 0 {
			continue
		}
		if _, err := p.y.Receive(p.now, pn, p.bufs[i][:p.sizes[i]]); err != nil {
			tb.Fatal(err)
		}
	}
	for v, ok := p.y.Poll(); ok; v, ok = p.y.Poll() {
		if v.Lane != nil {
			for n := 1; n > 0; p.got += n {
				n, _ = v.Lane.Read(p.read)
			}
		}
	}
	if p.timed {
		t2 = time.Now()
		p.in += t2.Sub(t1)
	}
	p.now += oneWay
	for {
		n := p.y.NextPacket(p.now, p.pnY, p.bufs[0])
		if n == 0 {
			break
		}
		if _, err := p.x.Receive(p.now, p.pnY, p.bufs[0][:n]); err != nil {
			tb.Fatal(err)
		}
		p.pnY++
	}
	if p.timed {
		p.back += time.Since(t2)
	}
	return made
}

// settle lets time pass until neither machine waits for anything.
func (p *pair) settle(tb testing.TB) {
	tb.Helper()
	for range 100_000 {
		p.round(tb, batch, false)
		next := min(p.x.Timeout(), p.y.Timeout())
		if next == reliable.Never {
			return
		}
		p.now = max(p.now, next)
	}
	tb.Fatalf("no rest: x %+v, y %+v", p.x.Stats(), p.y.Stats())
}

// warm has the windows, buffers and tables grow to what the work takes.
func (p *pair) warm(tb testing.TB, rounds int) {
	tb.Helper()
	for range rounds {
		if p.round(tb, batch, true) == 0 {
			p.now = max(p.now, min(p.x.Timeout(), p.y.Timeout()))
		}
	}
}

// small is the buffer of one lane of many: all of them together should fit a processor's cache.
func small(lanes int) reliable.Config {
	if lanes == 1 {
		return reliable.Config{}
	}
	return reliable.Config{SendBuffer: 4 << 10}
}

// BenchmarkPacket is a packet of 1,400 bytes from one machine's lanes to the other's, Write and Read included. It also
// reports the time of its parts: out is what the sender takes, in the receiver, ack the answers on both sides.
func BenchmarkPacket(b *testing.B) {
	for _, lanes := range []int{1, 1000} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			p := newPair(small(lanes))
			p.open(b, lanes)
			p.warm(b, 2000)
			p.timed, p.out, p.in, p.back = true, 0, 0, 0
			b.ReportAllocs()
			b.SetBytes(1400)
			b.ResetTimer()
			for n := 0; n < b.N; {
				made := p.round(b, min(batch, b.N-n), true)
				if made == 0 {
					p.now = max(p.now, min(p.x.Timeout(), p.y.Timeout()))
				}
				n += made
			}
			per := func(d time.Duration, name string) { b.ReportMetric(float64(d.Nanoseconds())/float64(b.N), name) }
			per(p.out, "out-ns/packet")
			per(p.in, "in-ns/packet")
			per(p.back, "ack-ns/packet")
		})
	}
}

// BenchmarkTransfer is the throughput of a lane, memory to memory, both ends on one core.
func BenchmarkTransfer(b *testing.B) {
	const size = 1 << 20
	p := newPair(reliable.Config{})
	p.open(b, 1)
	p.warm(b, 2000)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		for until := p.got + size; p.got < until; {
			if p.round(b, batch, true) == 0 {
				p.now = max(p.now, min(p.x.Timeout(), p.y.Timeout()))
			}
		}
	}
}

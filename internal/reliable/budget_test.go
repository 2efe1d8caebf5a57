package reliable_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

// TestAllocations holds the packet path free of allocations, with one lane and many, and when packets are lost.
func TestAllocations(t *testing.T) {
	for _, c := range []struct {
		lanes int
		lose  uint64
	}{{1, 0}, {1000, 0}, {1, 50}, {100, 50}} {
		t.Run(fmt.Sprintf("lanes=%d,lose=%d", c.lanes, c.lose), func(t *testing.T) {
			p := newPair(small(c.lanes))
			p.lose = c.lose
			p.open(t, c.lanes)
			p.warm(t, 1500)
			packets := 0
			allocs := testing.AllocsPerRun(200, func() {
				n := p.round(t, batch, true)
				if n == 0 {
					p.now = max(p.now, min(p.x.Timeout(), p.y.Timeout()))
				}
				packets += n
			})
			if packets < 200 {
				t.Fatalf("only %d packets in 200 rounds", packets)
			}
			if allocs != 0 {
				t.Errorf("got %v allocations a round, want none", allocs)
			}
		})
	}
}

// TestDatagramAllocations holds datagrams free of allocations.
func TestDatagramAllocations(t *testing.T) {
	p := newPair(reliable.Config{})
	got := 0
	round := func() {
		for i := range 20 {
			if err := p.x.SendDatagram(7, uint64(i), content(i, 0, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if p.round(t, batch, false) == 0 {
			p.now = max(p.now, min(p.x.Timeout(), p.y.Timeout()))
		}
		for {
			if _, _, _, ok := p.y.ReadDatagram(); !ok {
				return
			}
			got++
		}
	}
	for range 1000 {
		round()
	}
	if allocs := testing.AllocsPerRun(500, round); allocs != 0 {
		t.Errorf("got %v allocations a round of 20 datagrams, want none", allocs)
	}
	if got < 10_000 {
		t.Errorf("only %d datagrams have come", got)
	}
}

// live is the heap that is in use.
func live() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// exchange moves n bytes each way over one lane, to its end.
func (p *pair) exchange(t *testing.T, n int) {
	t.Helper()
	l, err := p.x.Open()
	if err != nil {
		t.Fatal(err)
	}
	var peer *reliable.Lane
	var wrote, got [2]int
	var closed, over [2]bool
	in := p.read
	for !over[0] || !over[1] {
		for i, r := range []*reliable.Lane{l, peer} {
			if r == nil {
				continue
			}
			for wrote[i] < n {
				k, err := r.Write(content(0, wrote[i], min(n-wrote[i], 64<<10)))
				if err != nil {
					t.Fatal(err)
				}
				if wrote[i] += k; k == 0 {
					break
				}
			}
			if wrote[i] == n && !closed[i] {
				closed[i] = true
				if err := r.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			for !over[i] {
				k, err := r.Read(in)
				if over[i] = errors.Is(err, io.EOF); err != nil && !over[i] {
					t.Fatal(err)
				}
				if got[i] += k; k == 0 {
					break
				}
			}
		}
		before := p.pnX + p.pnY
		p.shuttle(t, func(v reliable.Event) {
			if v.Ready&reliable.Opened != 0 {
				peer = v.Lane
			}
		})
		if next := min(p.x.Timeout(), p.y.Timeout()); p.pnX+p.pnY == before && next != reliable.Never {
			p.now = max(p.now, next)
		}
	}
	if got != [2]int{n, n} {
		t.Fatalf("got %d bytes, want %d each way", got, n)
	}
}

// shuttle carries what both machines have to send, and hands on the events of y.
func (p *pair) shuttle(t *testing.T, event func(reliable.Event)) {
	t.Helper()
	for i, m := range []*reliable.Machine{p.x, p.y} {
		to, pn := p.y, &p.pnX
		if i == 1 {
			to, pn = p.x, &p.pnY
		}
		p.now += oneWay
		for range batch {
			n := m.NextPacket(p.now, *pn, p.bufs[0])
			if n == 0 {
				break
			}
			if _, err := to.Receive(p.now, *pn, p.bufs[0][:n]); err != nil {
				t.Fatal(err)
			}
			*pn++
		}
	}
	for _, ok := p.x.Poll(); ok; _, ok = p.x.Poll() {
	}
	for v, ok := p.y.Poll(); ok; v, ok = p.y.Poll() {
		event(v)
	}
}

// TestIdleMemory weighs machines that have done nothing, and such that have moved megabytes and rest.
func TestIdleMemory(t *testing.T) {
	const pairs, limit = 100, 8 << 10
	p := newPair(reliable.Config{})
	p.exchange(t, 1<<20) // whatever is made once
	p.reset(reliable.Config{})
	var machines [2 * pairs]*reliable.Machine
	before := live()
	for i := 0; i < len(machines); i += 2 {
		p.reset(reliable.Config{})
		p.settle(t)
		machines[i], machines[i+1] = p.x, p.y
	}
	fresh := (live() - before) / len(machines)
	clear(machines[:])
	p.reset(reliable.Config{})
	before = live()
	for i := 0; i < len(machines); i += 2 {
		p.reset(reliable.Config{})
		for j := range 3 {
			p.exchange(t, 50_000*(j+1))
			for k := range 20 {
				if err := p.x.SendDatagram(1, uint64(k), content(k, 0, 1000)); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.settle(t)
		for {
			if _, _, _, ok := p.y.ReadDatagram(); !ok {
				break
			}
		}
		p.settle(t)
		machines[i], machines[i+1] = p.x, p.y
	}
	used := (live() - before) / len(machines)
	t.Logf("an idle machine holds %d bytes when fresh, %d after work", fresh, used)
	if fresh > limit || used > limit {
		t.Errorf("an idle machine holds %d bytes when fresh and %d after work, want at most %d", fresh, used, limit)
	}
	if fresh < 500 || used < 500 { // a machine cannot be that small: the scale is broken
		t.Errorf("a machine of %d bytes when fresh and %d after work weighs too little to be believed", fresh, used)
	}
	runtime.KeepAlive(machines)
}

// TestLaneMemory weighs open lanes that have carried a little and rest.
func TestLaneMemory(t *testing.T) {
	const lanes, limit = 1000, 1 << 10
	p := newPair(reliable.Config{})
	p.settle(t)
	before := live()
	var open []*reliable.Lane
	for len(open) < lanes {
		l, err := p.x.Open()
		if errors.Is(err, reliable.ErrTooManyLanes) {
			p.round(t, batch, false)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Write(content(0, 0, 100)); err != nil {
			t.Fatal(err)
		}
		open = append(open, l)
	}
	p.settle(t)
	if p.got != lanes*100 {
		t.Fatalf("%d bytes have come, want %d", p.got, lanes*100)
	}
	each := (live() - before) / (2 * lanes)
	t.Logf("an open lane at rest holds %d bytes an end", each)
	if each > limit {
		t.Errorf("an open lane at rest holds %d bytes an end, want at most %d", each, limit)
	}
	runtime.KeepAlive(open)
	runtime.KeepAlive(p)
}

// TestFloods has a peer that holds the keys send what costs most, endlessly: memory and time stay bounded, and the
// machine lives on or ends with a named error.
func TestFloods(t *testing.T) {
	const packets = 4000
	frames := func(append1 func(dst []byte, i int) []byte) func(n int) []byte {
		i := 0
		return func(int) []byte {
			b := make([]byte, 0, 1400)
			for len(b) < 1300 {
				b = append1(b, i)
				i++
			}
			return b
		}
	}
	tests := []struct {
		name string
		make func(n int) []byte
		step uint64 // from one packet number to the next
		err  error  // nil: it may live
		heap int
	}{
		{"pings with gaps in numbers", func(int) []byte { return []byte{byte(wire.FramePing)} }, 2, nil, 64 << 10},
		{"a byte in each other place", frames(func(dst []byte, i int) []byte {
			return wire.AppendData(dst, wire.Data{Lane: 2, Offset: uint64(2*i + 1), Data: []byte{1}})
		}), 1, reliable.ErrTooManyRanges, 4 << 20},
		{"the last byte of each window", frames(func(dst []byte, i int) []byte {
			return wire.AppendData(dst, wire.Data{Lane: uint64(2*i + 2), Offset: wire.InitialLaneWindow - 1, Data: []byte{1}})
		}), 1, reliable.ErrFlowControl, 4 << 20},
		{"lanes without end", frames(func(dst []byte, i int) []byte {
			return wire.AppendData(dst, wire.Data{Lane: uint64(2*i + 2), Data: []byte{1}})
		}), 1, reliable.ErrLaneLimit, 4 << 20},
		{"lanes opened and reset", frames(func(dst []byte, i int) []byte {
			return wire.AppendReset(dst, wire.Reset{Lane: uint64(2*i + 2), Code: 1})
		}), 1, reliable.ErrLaneLimit, 4 << 20},
		{"the same byte again", frames(func(dst []byte, _ int) []byte {
			return wire.AppendData(dst, wire.Data{Lane: 2, Data: []byte{1}})
		}), 1, nil, 64 << 10},
		{"empty datagrams", frames(func(dst []byte, i int) []byte {
			return wire.AppendDatagram(dst, wire.Datagram{Session: 1, Flow: uint64(i)})
		}), 1, nil, 2 << 20},
		{"path challenges", frames(func(dst []byte, _ int) []byte {
			return wire.AppendPathChallenge(dst, [8]byte{1})
		}), 1, nil, 64 << 10},
		{"windows", frames(func(dst []byte, i int) []byte {
			return wire.AppendLaneWindow(wire.AppendLinkWindow(dst, uint64(i)), wire.LaneWindow{Lane: 2, Max: uint64(i)})
		}), 1, nil, 64 << 10},
		{"credit for lanes", frames(func(dst []byte, i int) []byte { return wire.AppendLanes(dst, uint64(i)) }), 1, nil, 64 << 10},
		{"stops", frames(func(dst []byte, _ int) []byte { return wire.AppendStop(dst, wire.Stop{Lane: 2, Code: 9}) }), 1, nil, 64 << 10},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			m := reliable.New(0, reliable.Config{Odd: true})
			buf := make([]byte, 1400)
			before := live()
			var now, clock time.Duration
			var pn uint64
			var err error
			top, sent := 0, uint64(0)
			for i := range packets {
				b := c.make(i)
				began := time.Now()
				if _, err = m.Receive(now, pn, b); err != nil {
					break
				}
				pn += c.step
				now += 10 * time.Microsecond
				for range 10 { // what it answers is never acknowledged
					n := m.NextPacket(now, sent, buf)
					if n == 0 {
						break
					}
					sent++
				}
				clock += time.Since(began)
				if i%(packets/4) == packets/4-1 {
					top = max(top, live()-before)
				}
			}
			top = max(top, live()-before)
			t.Logf("%d bytes of heap at most, %v a packet, %d answers, ended with %v", top, clock/packets, sent, err)
			if top > c.heap {
				t.Errorf("it holds %d bytes, want at most %d", top, c.heap)
			}
			if !errors.Is(err, c.err) {
				t.Errorf("it ended with %v, want %v", err, c.err)
			}
			limit := time.Millisecond // some hundred times what it takes, and less than any walk over all that came
			if testing.Short() {      // which is how the race detector runs, and that is slow
				limit *= 20
			}
			if each := clock / packets; each > limit {
				t.Errorf("a packet takes %v, want at most %v", each, limit)
			}
			runtime.KeepAlive(m)
		})
	}
}

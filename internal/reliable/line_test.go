package reliable

import (
	"container/heap"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// fixed is a controller whose window never moves, and which notes what it is told.
type fixed struct {
	window int
	told   func(format string, args ...any) // nil: nobody
}

func (f *fixed) Window() int                     { return f.window }
func (f *fixed) Rate() float64                   { return 0 }
func (f *fixed) Sent(time.Duration, int, int)    {}
func (f *fixed) Acked(_ time.Duration, _ Sample) {}

func (f *fixed) Lost(_ time.Duration, l Loss) {
	if f.told == nil {
		return
	}
	text := ""
	if l.Persistent {
		text = ", persistent congestion"
	}
	f.told("lost: %d packets, %d bytes%s", l.Packets, l.Bytes, text)
}

func (f *fixed) Spurious(_ time.Duration, l Loss) {
	if f.told != nil {
		f.told("arrived after all: %d packets, %d bytes", l.Packets, l.Bytes)
	}
}

// fixedWindow makes the congestion control of a test: as many bytes in flight, unpaced.
func fixedWindow(bytes int) func(Path) Controller {
	return func(Path) Controller { return &fixed{window: bytes} }
}

// A transit is a packet on its way.
type transit struct {
	at     time.Duration
	seq    int
	to     *end
	pn     uint64
	packet []byte
}

type transits []transit

func (f transits) Len() int { return len(f) }
func (f transits) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].seq < f[j].seq
}
func (f transits) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *transits) Push(x any)   { *f = append(*f, x.(transit)) }
func (f *transits) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

// An end is a machine at one end of a line, with the program on it.
type end struct {
	*Machine
	t      testing.TB
	name   string
	peer   *end
	next   uint64 // packet number
	buf    []byte
	greedy bool              // reads all that comes
	known  map[uint64]*Lane  // lanes, ended ones too
	got    map[uint64]uint64 // bytes read of each
	put    map[uint64]uint64 // bytes written
	drop   map[uint64]bool
	hold   map[uint64]time.Duration
	twice  map[uint64]bool
	ended  map[uint64]int
}

// A line joins two machines in virtual time.
type line struct {
	t        testing.TB
	now      time.Duration
	delay    time.Duration
	down     bool
	mtu      int // larger packets are lost; 0: none is
	a, b     *end
	transits transits
	seq      int
	log      func(format string, args ...any)
	tap      func(from *end, packet []byte) // sees all packets that are sent
}

func newLine(t testing.TB, delay time.Duration, a, b Config) *line {
	l := &line{t: t, delay: delay, log: func(string, ...any) {}, tap: func(*end, []byte) {}}
	a.Odd = true
	l.a, l.b = newEnd(t, "a", a), newEnd(t, "b", b)
	l.a.peer, l.b.peer = l.b, l.a
	return l
}

func newEnd(t testing.TB, name string, c Config) *end {
	m := New(0, c)
	return &end{
		Machine: m, t: t, name: name, buf: make([]byte, 64<<10),
		known: map[uint64]*Lane{0: m.Control()}, got: make(map[uint64]uint64), put: make(map[uint64]uint64),
		drop: make(map[uint64]bool), hold: make(map[uint64]time.Duration), twice: make(map[uint64]bool), ended: make(map[uint64]int),
	}
}

// content is the byte that a test writes at an offset of a lane.
func content(lane, at uint64) byte { return byte(lane*31 + at*7 + at>>8*3 + at>>16*5) }

func pattern(lane, from uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = content(lane, from+uint64(i))
	}
	return b
}

// write writes n bytes more to a lane, and returns how many were taken.
func (e *end) write(id uint64, n int) int {
	e.t.Helper()
	n, err := e.known[id].Write(pattern(id, e.put[id], n))
	if err != nil {
		e.t.Fatalf("%s writes on lane %d: %v", e.name, id, err)
	}
	e.put[id] += uint64(n)
	return n
}

// read reads up to n bytes of a lane and checks them.
func (e *end) read(id uint64, n int) (int, error) {
	e.t.Helper()
	b := make([]byte, n)
	n, err := e.known[id].Read(b)
	for i, c := range b[:n] {
		if at := e.got[id] + uint64(i); c != content(id, at) {
			e.t.Fatalf("%s reads %#x at %d of lane %d, want %#x", e.name, c, at, id, content(id, at))
		}
	}
	e.got[id] += uint64(n)
	return n, err
}

// open opens a lane.
func (e *end) open() *Lane {
	e.t.Helper()
	l, err := e.Open()
	if err != nil {
		e.t.Fatalf("%s: %v", e.name, err)
	}
	e.known[l.ID()] = l
	return l
}

// pump sends all that an end wants to send now.
func (l *line) pump(e *end) {
	for range 100_000 {
		n := e.NextPacket(l.now, e.next, e.buf)
		if n == 0 {
			return
		}
		l.carry(e, e.next, e.buf[:n])
		e.next++
	}
	l.t.Fatalf("%s sends without end at %v", e.name, l.now)
}

// carry takes a packet of one end to the other.
func (l *line) carry(e *end, pn uint64, packet []byte) {
	fate := ""
	copies := 1
	if e.twice[pn] {
		copies, fate = 2, "  twice"
	}
	if l.down || e.drop[pn] || l.mtu > 0 && len(packet) > l.mtu {
		copies, fate = 0, "  lost"
	}
	late := e.hold[pn]
	if late > 0 {
		fate = fmt.Sprintf("  late by %v", late)
	}
	l.tap(e, packet)
	l.log("%s %d: %s%s", e.name, pn, describe(packet), fate)
	for range copies {
		l.seq++
		heap.Push(&l.transits, transit{at: l.now + l.delay + late, seq: l.seq, to: e.peer, pn: pn, packet: append([]byte(nil), packet...)})
	}
}

// events does what the events of an end ask for.
func (l *line) events(e *end) {
	for {
		ev, ok := e.Poll()
		if !ok {
			return
		}
		l.log("%s: %s", e.name, eventText(ev))
		if ev.Lane == nil {
			continue
		}
		id := ev.Lane.ID()
		if ev.Ready&Ended != 0 {
			e.ended[id]++
		}
		e.known[id] = ev.Lane
		if e.greedy {
			for {
				n, err := e.read(id, 64<<10)
				if n == 0 || err != nil {
					break
				}
			}
		}
	}
}

// run lets time pass.
func (l *line) run(d time.Duration) {
	l.until(l.now+d, func() bool { return false })
}

// until lets time pass up to an instant, or until done.
func (l *line) until(deadline time.Duration, done func() bool) bool {
	for step := range 10_000_000 {
		for _, e := range []*end{l.a, l.b} {
			l.pump(e)
			l.events(e)
			l.pump(e)
			if step%64 == 0 {
				if err := e.check(); err != nil {
					l.t.Fatalf("%s at %v: %v", e.name, l.now, err)
				}
			}
		}
		if done() {
			return true
		}
		next := min(l.a.Timeout(), l.b.Timeout())
		if len(l.transits) > 0 {
			next = min(next, l.transits[0].at)
		}
		if next > deadline {
			l.now = max(l.now, deadline)
			return false
		}
		l.now = max(l.now, next)
		for len(l.transits) > 0 && l.transits[0].at <= l.now {
			f := heap.Pop(&l.transits).(transit)
			died := f.to.Err() != nil
			if _, err := f.to.Receive(l.now, f.pn, f.packet); err != nil && !died {
				l.log("%s is dead: %v", f.to.name, err)
			}
			l.pump(f.to)
		}
	}
	l.t.Fatalf("no progress at %v", l.now)
	return false
}

func eventText(e Event) string {
	var words []string
	for _, x := range []struct {
		bit  Ready
		name string
	}{
		{Opened, "opened"},
		{Readable, "readable"},
		{Writable, "writable"},
		{Ended, "ended"},
		{CanOpen, "can open lanes"},
		{Datagrams, "datagrams"},
	} {
		if e.Ready&x.bit != 0 {
			words = append(words, x.name)
		}
	}
	if e.Lane == nil {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("lane %d %s", e.Lane.ID(), strings.Join(words, ", "))
}

// describe writes out the frames of a packet.
func describe(b []byte) string {
	var words []string
	for len(b) > 0 {
		text, rest, err := describeFrame(b)
		if err != nil {
			words = append(words, err.Error())
			break
		}
		words = append(words, text)
		b = rest
	}
	return strings.Join(words, ", ")
}

func describeFrame(b []byte) (text string, rest []byte, err error) {
	switch kind := wire.FrameKind(b[0]); kind {
	case wire.FramePadding:
		return fmt.Sprintf("padding %d", len(b)), nil, wire.ParsePadding(b)
	case wire.FramePing:
		rest, err = wire.ParsePing(b)
		return "ping", rest, err
	case wire.FrameAck:
		var a wire.Ack
		a, rest, err = wire.ParseAck(b, nil)
		text = "ack"
		for _, x := range a.Ranges {
			if x.Low == x.High {
				text += fmt.Sprintf(" %d", x.Low)
			} else {
				text += fmt.Sprintf(" %d-%d", x.Low, x.High)
			}
		}
		return text, rest, err
	case wire.FrameClose:
		var c wire.Close
		c, rest, err = wire.ParseClose(b)
		return fmt.Sprintf("close %d %q", c.Code, c.Reason), rest, err
	case wire.FrameLinkWindow:
		var n uint64
		n, rest, err = wire.ParseLinkWindow(b)
		return fmt.Sprintf("link window %d", n), rest, err
	case wire.FrameLaneWindow:
		var w wire.LaneWindow
		w, rest, err = wire.ParseLaneWindow(b)
		return fmt.Sprintf("window %d: %d", w.Lane, w.Max), rest, err
	case wire.FrameLanes:
		var n uint64
		n, rest, err = wire.ParseLanes(b)
		return fmt.Sprintf("lanes %d", n), rest, err
	case wire.FrameReset:
		var x wire.Reset
		x, rest, err = wire.ParseReset(b)
		return fmt.Sprintf("reset %d: code %d, size %d", x.Lane, x.Code, x.Size), rest, err
	case wire.FrameStop:
		var x wire.Stop
		x, rest, err = wire.ParseStop(b)
		return fmt.Sprintf("stop %d: code %d", x.Lane, x.Code), rest, err
	case wire.FrameDatagram:
		var d wire.Datagram
		d, rest, err = wire.ParseDatagram(b)
		return fmt.Sprintf("datagram %d/%d %d", d.Session, d.Flow, len(d.Data)), rest, err
	case wire.FrameData, wire.FrameDataFin:
		var d wire.Data
		d, rest, err = wire.ParseData(b)
		text = fmt.Sprintf("data %d: %d+%d", d.Lane, d.Offset, len(d.Data))
		if d.Fin {
			text += " end"
		}
		return text, rest, err
	default:
		return "", nil, fmt.Errorf("frame %#x", uint8(kind))
	}
}

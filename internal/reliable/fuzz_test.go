package reliable

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// A case of FuzzReceive is a row of packets, each behind a step of the packet number, what is done before it, and its
// length in two bytes.
func fuzzCase(packets ...[]byte) []byte {
	var b []byte
	for i, p := range packets {
		b = append(b, 1, byte(i))
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	return b
}

// FuzzReceive hands arbitrary packets to a machine in use: lanes of either end are open, with unread bytes, gaps, and
// bytes in flight, some of them acknowledged. There must be no panic, its state must not contradict itself, memory is
// bounded, what it answers is well-formed, and it never waits for the past without something to send. (The inputs are
// long: fuzz with -fuzzminimizetime 5x, or nearly all time goes into making them shorter.)
func FuzzReceive(f *testing.F) {
	// What a real peer says to such a machine: the whole of a conversation, and each packet of it alone.
	said := conversation(f)
	if len(said) < 15 {
		f.Fatalf("%d packets of a conversation, want more", len(said))
	}
	f.Add(fuzzCase(said...))
	for _, p := range said {
		f.Add(fuzzCase(p, p))
	}
	// What attackers say.
	abc := []byte("abc")
	f.Add(fuzzCase(dataFrame(2, 0, abc, true), dataFrame(2, 3, abc, false)))
	f.Add(fuzzCase(dataFrame(8, 3, abc, false), dataFrame(8, 0, abc, false), resetFrame(8, 9), stopFrame(8)))
	f.Add(fuzzCase(dataFrame(1, 1000, abc, false), dataFrame(3, 100, abc, true), stopFrame(1), stopFrame(3)))
	f.Add(fuzzCase(ackFrame(8, 9, 3, 5, 0, 0), ackFrame(0, 9)))
	f.Add(fuzzCase(ackFrame(0, 500)))
	f.Add(fuzzCase(gaps(2, 600)...))
	f.Add(fuzzCase(wire.AppendClose(nil, wire.Close{Code: 1, Reason: "bye"}), []byte{1}))
	f.Add(fuzzCase(wire.AppendPathChallenge(wire.AppendPathResponse(nil, [8]byte{1}), [8]byte{2}), wire.AppendPadding(nil, 30)))
	f.Add(fuzzCase(wire.AppendLanes(wire.AppendLinkWindow(wire.AppendLaneWindow(nil, wire.LaneWindow{Lane: 1, Max: 1 << 50}), 1<<50), 1<<50)))

	f.Fuzz(func(t *testing.T, data []byte) {
		e := inUse(t)
		now, pn := time.Second, uint64(100)
		for steps := 0; len(data) >= 4 && steps < 200; steps++ {
			pn += uint64(data[0]) - 3
			fuzzAct(e, data[1])
			now += time.Duration(data[1]) * ms / 4
			n := min(int(binary.BigEndian.Uint16(data[2:])), len(data)-4)
			if _, err := e.Receive(now, pn%wire.MaxVarint, data[4:4+n]); (err != nil) != (e.Err() != nil) {
				t.Fatalf("Receive says %v, Err %v", err, e.Err())
			}
			data = data[4+n:]
			fuzzSend(t, e, now)
			if err := e.check(); err != nil {
				t.Fatal(err)
			}
			if n, most := heldBy(e.Machine), 2*(e.cfg.LinkWindow+e.cfg.LaneWindow)+8<<20; n > most {
				t.Fatalf("%d bytes are held, want at most %d", n, most)
			}
		}
	})
}

// fuzzAct has the program do something.
func fuzzAct(e *end, what byte) {
	l := e.known[uint64(what/8%4)]
	if l == nil {
		return
	}
	switch what % 8 {
	case 0:
		_, _ = l.Read(make([]byte, 700))
	case 1:
		_, _ = l.Write(make([]byte, 900))
	case 2:
		_ = l.CloseWrite()
	case 3:
		l.Reset(1)
	case 4:
		l.Stop(1)
	case 5:
		_ = e.SendDatagram(1, 2, make([]byte, what))
	case 6:
		e.PathChanged(0, ms, 0)
	case 7:
		for ev, ok := e.Poll(); ok; ev, ok = e.Poll() {
			if ev.Lane != nil {
				_, _ = ev.Lane.Read(make([]byte, 64<<10))
			}
		}
	}
}

// fuzzSend has the machine send what it wants to, all of which must be well-formed.
func fuzzSend(t *testing.T, e *end, now time.Duration) {
	t.Helper()
	for n := 0; ; n++ {
		size := e.NextPacket(now, e.next, e.buf[:1200])
		if size == 0 {
			break
		}
		if n > 10_000 {
			t.Fatal("it sends without end")
		}
		e.next++
		for b := e.buf[:size]; len(b) > 0; {
			_, rest, err := describeFrame(b)
			if err != nil {
				t.Fatalf("sends %x: %v", e.buf[:size], err)
			}
			b = rest
		}
	}
	if at := e.Timeout(); at <= now {
		t.Fatalf("at %v it waits for %v, and has nothing to send", now, at)
	}
}

// inUse returns a machine in the midst of things. It has sent packets up to 10 or so, and received some below 100.
func inUse(t *testing.T) *end {
	t.Helper()
	e := newEnd(t, "in use", Config{Odd: true, Controller: fixedWindow(20_000)})
	e.open()
	e.open()
	e.hears(0, 0, wire.AppendLanes(nil, 200))
	e.hears(0, 2, dataFrame(2, 0, pattern(2, 0, 500), false), dataFrame(4, 700, pattern(4, 700, 300), false))
	e.hears(0, 3, dataFrame(6, 0, pattern(6, 0, 100), true), dataFrame(1, 0, pattern(1, 0, 50), false))
	for ev, ok := e.Poll(); ok; ev, ok = e.Poll() {
		if ev.Lane != nil {
			e.known[ev.Lane.ID()] = ev.Lane
		}
	}
	e.write(1, 8000)
	e.write(3, 3000)
	e.write(2, 100)
	e.write(0, 10)
	e.send(0)
	e.hears(50*ms, 4, ackFrame(2, 3, 0, 0))
	e.send(50 * ms)
	return e
}

// heldBy is how many bytes of buffers a machine holds.
func heldBy(m *Machine) int {
	n := len(m.control.in.ring.buf) + len(m.control.out.ring.buf)
	for _, l := range m.lanes {
		n += len(l.in.ring.buf) + len(l.out.ring.buf) + 16*(cap(l.in.got.s)+cap(l.out.lost.s)+cap(l.out.arrived.s))
	}
	for _, c := range m.pool.classes {
		for _, b := range c.free {
			n += len(b)
		}
	}
	return n + len(m.inbox.ring.buf) + len(m.outbox.ring.buf) + 100*cap(m.sent.packets.items)
}

// conversation returns what one end of a busy, lossy link says to the other.
func conversation(f *testing.F) (said [][]byte) {
	l := newLine(f, 10*ms, Config{Controller: fixedWindow(20_000)}, Config{Controller: fixedWindow(20_000)})
	l.a.greedy, l.b.greedy = true, true
	for pn := range uint64(1000) {
		l.a.drop[pn], l.b.drop[pn] = pn%7 == 5, pn%5 == 4
	}
	la, lb := l.a.open(), l.b.open()
	l.a.write(la.ID(), 9000)
	l.b.write(lb.ID(), 9000)
	l.b.write(0, 40)
	if err := l.b.SendDatagram(1, 2, []byte("datagram")); err != nil {
		f.Fatal(err)
	}
	l.tap = func(from *end, packet []byte) {
		if from == l.b {
			said = append(said, bytes.Clone(packet))
		}
	}
	l.run(300 * ms)
	_ = lb.CloseWrite()
	l.b.known[la.ID()].Stop(7)
	l.run(300 * ms)
	l.b.open().Reset(3)
	l.b.Close(1, "the end")
	l.run(time.Second)
	return said
}

package reliable

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestLaneEnds goes through all the ways in which the two directions of a lane end, in either order, over a line that
// loses packets: each end is told exactly once that the lane is over, and nothing of it is left.
func TestLaneEnds(t *testing.T) {
	ways := map[string]func(l *Lane){
		"close":       func(l *Lane) { _ = l.CloseWrite() },
		"reset":       func(l *Lane) { l.Reset(5) },
		"close reset": func(l *Lane) { _ = l.CloseWrite(); l.Reset(6) },
		"stopped":     nil, // by the other end
	}
	for wayA, endA := range ways {
		for wayB, endB := range ways {
			for drop := range uint64(12) {
				l := newLine(t, 5*ms, Config{}, Config{})
				l.run(time.Second)
				l.a.greedy, l.b.greedy = true, true
				la := l.a.open()
				id := la.ID()
				l.a.drop[l.a.next+drop%6] = true
				l.b.drop[l.b.next+drop/2] = true
				l.a.write(id, 3000)
				if !l.until(l.now+time.Second, func() bool { return l.b.known[id] != nil }) {
					t.Fatal("the lane does not open")
				}
				lb := l.b.known[id]
				l.b.write(id, 3000)
				if drop%3 == 0 {
					l.run(20 * ms)
				}
				for _, x := range []struct {
					own, other *Lane
					end        func(*Lane)
				}{{la, lb, endA}, {lb, la, endB}} {
					if x.end != nil {
						x.end(x.own)
					} else {
						x.other.Stop(9)
					}
				}
				l.run(30 * time.Second)
				if l.a.ended[id] != 1 || l.b.ended[id] != 1 {
					t.Fatalf("a %s, b %s, drop %d: told %d and %d times that it is over", wayA, wayB, drop, l.a.ended[id], l.b.ended[id])
				}
				for _, e := range []*end{l.a, l.b} {
					if s := e.Stats(); s.Lanes != 1 || s.Unread != 0 || s.Unacked != 0 || !s.Idle || e.unsent != 0 || e.gaps != 0 || e.Machine.read != e.received {
						t.Fatalf("a %s, b %s, drop %d: %s is left with %+v, %d of %d bytes read", wayA, wayB, drop, e.name, s, e.Machine.read, e.received)
					}
					if e.Timeout() != Never {
						t.Fatalf("%s waits for %v with nothing to do", e.name, e.Timeout())
					}
				}
			}
		}
	}
}

// TestLaneErrors: what the methods of a lane say after each way to end it.
func TestLaneErrors(t *testing.T) {
	l := newLine(t, 5*ms, Config{}, Config{})
	l.run(time.Second)
	open := func() (*Lane, *Lane) {
		la := l.a.open()
		l.a.write(la.ID(), 100)
		l.run(100 * ms)
		return la, l.b.known[la.ID()]
	}
	one := make([]byte, 1)
	check := func(what string, err, want error) {
		t.Helper()
		var got, laneWant *LaneError
		if errors.As(want, &laneWant) {
			if !errors.As(err, &got) || *got != *laneWant {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
			return
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	write := func(l *Lane) error { _, err := l.Write(one); return err }
	read := func(l *Lane) error {
		for {
			if n, err := l.Read(make([]byte, 1000)); n == 0 {
				return err
			}
		}
	}

	la, lb := open()
	check("close", la.CloseWrite(), nil)
	check("close again", la.CloseWrite(), nil)
	check("write after close", write(la), ErrWriteClosed)
	if la.Flushed() {
		t.Error("flushed before the end is acknowledged")
	}
	l.run(100 * ms)
	if !la.Flushed() {
		t.Error("not flushed when the end is acknowledged")
	}
	check("read at the end", read(lb), io.EOF)
	check("read at the end again", read(lb), io.EOF)

	la, lb = open()
	la.Reset(0)
	check("write after reset", write(la), &LaneError{Lane: la.id, Op: "reset"})
	check("close after reset", la.CloseWrite(), &LaneError{Lane: la.id, Op: "reset"})
	if la.Flushed() {
		t.Error("flushed after a reset")
	}
	l.run(100 * ms)
	check("read after reset", read(lb), &LaneError{Lane: la.id, Remote: true, Op: "reset"})
	check("write after the reset is acknowledged", write(la), &LaneError{Lane: la.id, Op: "reset"})
	check("the other direction", write(lb), nil)

	la, lb = open()
	lb.Stop(wire.MaxVarint + 7)
	check("read after stop", read(lb), &LaneError{Lane: la.id, Code: wire.MaxVarint, Op: "stop"})
	l.run(100 * ms)
	check("write after the peer's stop", write(la), &LaneError{Lane: la.id, Code: wire.MaxVarint, Remote: true, Op: "stop"})
	check("read after stop and reset", read(lb), &LaneError{Lane: la.id, Code: wire.MaxVarint, Op: "stop"})

	check("close of lane 0", l.a.Control().CloseWrite(), ErrControlLane)
	l.a.Control().Reset(1)
	l.a.Control().Stop(1)
	l.run(100 * ms)
	check("lane 0 after all", write(l.a.Control()), nil)
	l.run(100 * ms)
	if unread, _ := l.b.Control().Buffered(); unread != 1 {
		t.Errorf("%d bytes on lane 0", unread)
	}
	if l.a.Err() != nil || l.b.Err() != nil {
		t.Error(l.a.Err(), l.b.Err())
	}
}

// TestWritable: after a short Write the event comes when half of the buffer is free, once, and not without a short Write.
func TestWritable(t *testing.T) {
	e, c := newSender(t, 12_000)
	l := e.known[1]
	for v, ok := e.Poll(); ok; v, ok = e.Poll() {
		t.Errorf("event %s before anything", eventText(v))
	}
	if n, err := l.Write(make([]byte, 300<<10)); n != 256<<10 || err != nil {
		t.Fatalf("%d taken, %v; want 256 KiB", n, err)
	}
	if n, err := l.Write(make([]byte, 1)); n != 0 || err != nil {
		t.Fatalf("%d taken by a full buffer, %v", n, err)
	}
	if _, unacked := l.Buffered(); unacked != 256<<10 {
		t.Errorf("%d bytes buffered", unacked)
	}
	events := 0
	now := 100 * ms
	for l.out.unsent() > 0 {
		e.send(now)
		now += 10 * ms
		for v, ok := e.Poll(); ok; v, ok = e.Poll() {
			if events++; v.Lane != l || v.Ready != Writable || l.out.unsent() > 128<<10 || l.out.unsent() < 110<<10 {
				t.Errorf("event %s with %d bytes unsent", eventText(v), l.out.unsent())
			}
		}
		e.hears(now, e.next, ackFrame(0, e.next-1))
	}
	if events != 1 {
		t.Errorf("%d events, want 1", events)
	}
	c.window = 1 << 20
	if _, err := l.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	e.send(now)
	if v, ok := e.Poll(); ok {
		t.Errorf("event %s without a short Write", eventText(v))
	}
}

// TestManyLanesBuffer: few lanes have the whole send buffer each, many together are bounded, and each has some.
func TestManyLanesBuffer(t *testing.T) {
	e, _ := newSender(t, 1<<20)
	e.hears(time.Second, 100, wire.AppendLanes(nil, 1000))
	total := 0
	for i := range 500 {
		n, err := e.open().Write(make([]byte, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		want := 256 << 10
		if i >= manyBuffers {
			want = crowdedBuffer
		}
		if n != want {
			t.Fatalf("lane %d takes %d, want %d", i, n, want)
		}
		total += n
	}
	if e.unsent != total {
		t.Errorf("%d bytes count as unsent, want %d", e.unsent, total)
	}
	for _, l := range e.known {
		l.Reset(1)
	}
	if e.unsent != 0 {
		t.Errorf("%d bytes count as unsent after resets", e.unsent)
	}
}

// TestOpened: opening a lane opens all below it, told in order, and events of a lane come after its opening.
func TestOpened(t *testing.T) {
	e, _ := newSender(t, 1<<20)
	e.hears(time.Second, 100, dataFrame(6, 0, []byte("x"), false), dataFrame(2, 0, []byte("x"), false))
	var got []string
	for v, ok := e.Poll(); ok; v, ok = e.Poll() {
		got = append(got, eventText(v))
	}
	want := []string{"lane 2 opened, readable", "lane 4 opened", "lane 6 opened, readable"}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%q, want %q", got, want)
	}
}

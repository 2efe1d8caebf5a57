package reliable

import (
	"errors"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestProbe: probes carry their tokens, elicit nothing, and their numbers may be acknowledged.
func TestProbe(t *testing.T) {
	a, _ := newSender(t, 1<<20)
	b := newEnd(t, "b", Config{})
	b.send(0)
	want := Probe{Challenge: [8]byte{1, 2}, Response: [8]byte{3, 4}, HasChallenge: true, HasResponse: true}
	buf := make([]byte, 1200)
	for i := range buf {
		buf[i] = 0xFF
	}
	if n := a.Probe(a.next, buf, want); n != len(buf) {
		t.Fatalf("%d bytes, want all of the buffer", n)
	}
	got, err := b.Receive(time.Second, 50, buf)
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if b.acks.due != Never || a.recovery.inFlight != 0 {
		t.Error("a probe elicits an ACK, or is in flight")
	}
	a.hears(time.Second, 51, ackFrame(a.next, a.next))
	a.next++
	if n := a.Probe(a.next, buf, Probe{}); n != 0 {
		t.Error("a probe of nothing")
	}
	if n := a.Probe(a.next, buf[:17], want); n != 0 {
		t.Error("a probe in too small a buffer")
	}
	if n := a.Probe(a.next, buf[:9], Probe{HasResponse: true}); n != 9 || wire.FrameKind(buf[0]) != wire.FramePathResponse {
		t.Errorf("the smallest probe: %d bytes, %x", n, buf[:9])
	}
	a.next++
	// The packet after probes goes on.
	a.write(1, 10)
	if n := a.NextPacket(time.Second, a.next, buf); n == 0 {
		t.Error("nothing follows a probe")
	}
}

// TestPathChanged: congestion control and the estimate of the round trip begin anew; old packets count for neither, but
// what they carried is acknowledged, or sent again.
func TestPathChanged(t *testing.T) {
	var made []Path
	var heard []*listener
	e := newEnd(t, "a", Config{Odd: true, Controller: func(p Path) Controller {
		made = append(made, p)
		heard = append(heard, &listener{fixed: fixed{window: 6000}})
		return heard[len(heard)-1]
	}})
	e.open()
	e.write(1, 20_000)
	e.send(0)
	if e.Stats().InFlight < 6000 {
		t.Fatal("the window is not full")
	}
	e.hears(300*ms, 1, ackFrame(0, 0))
	e.send(300 * ms)
	for e.recovery.timeouts < 3 { // the old path dies
		e.send(e.Timeout())
	}
	now := e.now
	e.PathChanged(now, 20*ms, 1000)
	if s := e.Stats(); s.InFlight != 0 || s.RTT != 0 || e.recovery.timeouts != 0 {
		t.Errorf("%d in flight, round trip %v, %d timeouts on a new path", s.InFlight, s.RTT, e.recovery.timeouts)
	}
	if len(made) != 2 || made[1].MaxPacket != 1000 || made[1].RTT != 20*ms {
		t.Fatalf("paths %+v", made)
	}
	first := e.next
	if n := e.NextPacket(now, e.next, e.buf); n == 0 || n > 1000 {
		t.Fatalf("packet of %d bytes on the new path", n)
	}
	e.next++
	e.send(now)
	old := heard[1].samples
	e.hears(now+20*ms, 2, ackFrame(1, 2)) // of the old path
	if len(heard[1].samples) != len(old) || e.Stats().RTT != 0 {
		t.Error("an ACK of the old path's packets is a sample of the new one")
	}
	if got := e.known[1].out.acked; got == 0 {
		t.Error("what arrived on the old path does not count")
	}
	e.hears(now+21*ms, 3, ackFrame(first, e.next-1))
	if s := e.Stats(); s.RTT != 21*ms || len(heard[1].samples) != 1 || len(heard[1].losses) != 0 || len(heard[0].losses) != 0 {
		t.Errorf("round trip %v, %d samples, losses %+v", s.RTT, len(heard[1].samples), heard[1].losses)
	}
	for step := 0; e.Stats().Unacked > 0; step++ {
		if step > 100 {
			t.Fatal("what was in flight on the old path is not sent again")
		}
		now += 30 * ms
		e.send(now)
		e.hears(now, uint64(10+step), ackFrame(first, e.next-1))
	}
	e.PathChanged(now, 0, 0)
	if p := made[2]; p.MaxPacket != 1000 || p.RTT != defaultRTT {
		t.Errorf("path of unknown measure %+v", p)
	}
}

// TestCloseAgain: the CLOSE is said once, and again to a peer that goes on, at a limited rate; one that has closed itself
// is told nothing.
func TestCloseAgain(t *testing.T) {
	e, _ := newSender(t, 1<<20)
	e.Close(wire.MaxVarint+1, string(make([]byte, 300))+"\xff")
	said := 0
	for now := time.Second; now < 11*time.Second; now += 10 * ms {
		if _, err := e.Receive(now, uint64(now), []byte{byte(wire.FramePing)}); err == nil {
			t.Fatal("a closed machine receives")
		}
		if now >= e.Timeout() {
			if n := e.NextPacket(now, e.next, e.buf); n == 0 {
				t.Fatal("nothing at the timeout")
			}
			c, rest, err := wire.ParseClose(e.buf)
			if err != nil || c.Code != wire.MaxVarint || len(c.Reason) > wire.MaxCloseReason || rest == nil {
				t.Fatalf("%+v, %v", c, err)
			}
			e.next++
			said++
		}
		if n := e.NextPacket(now, e.next, e.buf); n != 0 {
			t.Fatal("said twice at once")
		}
	}
	if said < 10 || said > 100 {
		t.Errorf("said %d times in ten seconds of packets", said)
	}
	if e.Timeout() < e.now {
		t.Error("waits for the past")
	}

	e, _ = newSender(t, 1<<20)
	_, err := e.Receive(time.Second, 100, wire.AppendClose(nil, wire.Close{Code: 3, Reason: "bye"}))
	var closed *ClosedError
	if !errors.As(err, &closed) || *closed != (ClosedError{Code: 3, Reason: "bye", Remote: true}) {
		t.Errorf("%v", err)
	}
	if _, err := e.Receive(time.Second, 101, []byte{1}); !errors.As(err, &closed) {
		t.Errorf("%v", err)
	}
	if e.Timeout() != Never || e.NextPacket(time.Hour, e.next, e.buf) != 0 {
		t.Error("a machine that the peer closed has something to say")
	}
}

// TestSmallBuffers: a buffer too small to make progress in gives nothing, the smallest one loses nothing.
func TestSmallBuffers(t *testing.T) {
	l := newLine(t, 5*ms, Config{}, Config{})
	l.a.greedy, l.b.greedy = true, true
	if n := l.a.NextPacket(0, 0, make([]byte, leastBuffer-1)); n != 0 {
		t.Errorf("%d bytes in too small a buffer", n)
	}
	l.a.buf, l.b.buf = make([]byte, leastBuffer), make([]byte, leastBuffer)
	id := l.a.open().ID()
	for pn := range uint64(2000) {
		l.a.drop[pn] = pn%7 == 3
		l.b.drop[pn] = pn%5 == 3
	}
	l.a.write(id, 50_000)
	l.b.write(0, 20_000)
	if !l.until(time.Minute, func() bool { return l.b.got[id] == 50_000 && l.a.got[0] == 20_000 }) {
		t.Errorf("%d and %d bytes", l.b.got[id], l.a.got[0])
	}
}

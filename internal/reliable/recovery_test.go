package reliable

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestRTT follows RFC 9002, section 5.3.
func TestRTT(t *testing.T) {
	r := newRTT(100 * ms)
	if r.timeout() != 100*ms+200*ms+25*ms {
		t.Errorf("timeout before a sample %v", r.timeout())
	}
	for _, c := range []struct{ sample, delay, latest, min, smoothed, variance time.Duration }{
		{80 * ms, 20 * ms, 80 * ms, 80 * ms, 80 * ms, 40 * ms},                                           // the first, delay and all
		{160 * ms, 0, 160 * ms, 80 * ms, 90 * ms, 50 * ms},                                               // (7·80 + 160)/8; (3·40 + 80)/4
		{110 * ms, 20 * ms, 110 * ms, 80 * ms, 90 * ms, 37500 * time.Microsecond},                        // less the delay: 90
		{90 * ms, 20 * ms, 90 * ms, 80 * ms, 90 * ms, 28125 * time.Microsecond},                          // would be below the least: as it is
		{130 * ms, time.Second, 130 * ms, 80 * ms, 91875 * time.Microsecond, 24843750 * time.Nanosecond}, // at most 25 ms of delay: 105
	} {
		r.update(c.sample, c.delay)
		if r.latest != c.latest || r.min != c.min || r.smoothed != c.smoothed || r.variance != c.variance {
			t.Errorf("sample %v, delay %v: %+v, want %+v", c.sample, c.delay, r, c)
		}
	}
	r.update(0, 0)
	if r.latest != time.Microsecond || r.min != time.Microsecond {
		t.Errorf("a sample of nothing: %+v", r)
	}
}

// TestBackOff: doubled each time, up to three seconds, or what the round trip asks for.
func TestBackOff(t *testing.T) {
	r := newRTT(100 * ms)
	r.update(100*ms, 0)
	want := []time.Duration{325 * ms, 650 * ms, 1300 * ms, 2600 * ms, 3 * time.Second, 3 * time.Second}
	for n, want := range want {
		if got := r.backedOff(n); got != want {
			t.Errorf("after %d: %v, want %v", n, got, want)
		}
	}
	slow := newRTT(2 * time.Second)
	for _, n := range []int{0, 1, 1000} {
		if got := slow.backedOff(n); got != slow.timeout() {
			t.Errorf("slow path, after %d: %v, want %v", n, got, slow.timeout())
		}
	}
}

func TestReorder(t *testing.T) {
	rtt := newRTT(80 * ms)
	o := newReorder()
	if o.packets != 3 || o.delay(&rtt) != 90*ms {
		t.Fatalf("%d packets, %v; want 3 and 9/8 of the round trip", o.packets, o.delay(&rtt))
	}
	o.spurious(false, 7, 1)
	o.spurious(false, 5, 1)
	if o.packets != 8 {
		t.Errorf("threshold %d after distances 7 and 5, want 8", o.packets)
	}
	for range 20 {
		o.spurious(true, 0, 2)
	}
	if got := o.delay(&rtt); got != 160*ms {
		t.Errorf("delay %v after many, want two round trips", got)
	}
	o.spurious(false, 1<<40, 2)
	if o.packets != maxThreshold {
		t.Errorf("threshold %d, want at most %d", o.packets, maxThreshold)
	}
	o.calm(2 + calmRounds - 1)
	if o.packets != maxThreshold || o.eighths != maxTimeEighths {
		t.Errorf("lowered too early: %+v", o)
	}
	for round := uint64(2); round < 1000; round++ {
		o.calm(round)
	}
	if o.packets != packetThreshold || o.eighths != timeThreshold {
		t.Errorf("after long calm: %+v", o)
	}
	tiny := newRTT(10 * time.Microsecond)
	if o.delay(&tiny) != granularity {
		t.Errorf("delay %v, want no less than timers are good for", o.delay(&tiny))
	}
}

// A listener is a controller that keeps what it is told.
type listener struct {
	fixed
	sent     int
	samples  []Sample
	losses   []Loss
	spurious []Loss
}

func (l *listener) Sent(_ time.Duration, _, _ int)   { l.sent++ }
func (l *listener) Acked(_ time.Duration, s Sample)  { l.samples = append(l.samples, s) }
func (l *listener) Lost(_ time.Duration, x Loss)     { l.losses = append(l.losses, x) }
func (l *listener) Spurious(_ time.Duration, x Loss) { l.spurious = append(l.spurious, x) }

// newSender returns a machine with a lane, whose packets begin at number 1, and what its controller hears.
func newSender(t testing.TB, window int) (*end, *listener) {
	t.Helper()
	c := &listener{fixed: fixed{window: window}}
	e := newEnd(t, "sender", Config{Odd: true, RTT: 50 * ms, Controller: func(Path) Controller { return c }})
	e.open()
	e.send(0)
	e.hears(50*ms, 0, wire.AppendAck(nil, &wire.Ack{Ranges: []wire.AckRange{{Low: 0, High: 0}}}))
	c.sent, c.samples = 0, nil
	return e, c
}

// send has the machine send all it wants to, into nothing, and returns how many packets that were.
func (e *end) send(now time.Duration) (n int) {
	for e.NextPacket(now, e.next, e.buf) > 0 {
		e.next++
		n++
	}
	return n
}

// hears hands the machine a packet of the peer's.
func (e *end) hears(now time.Duration, pn uint64, frames ...[]byte) {
	e.t.Helper()
	var packet []byte
	for _, f := range frames {
		packet = append(packet, f...)
	}
	if _, err := e.Receive(now, pn, packet); err != nil {
		e.t.Fatalf("packet %d: %v", pn, err)
	}
}

func ackFrame(ranges ...uint64) []byte {
	a := wire.Ack{}
	for i := 0; i < len(ranges); i += 2 {
		a.Ranges = append(a.Ranges, wire.AckRange{Low: ranges[i], High: ranges[i+1]})
	}
	return wire.AppendAck(nil, &a)
}

// TestSample: what congestion control hears of an ACK.
func TestSample(t *testing.T) {
	e, c := newSender(t, 1<<20)
	e.write(1, 1194*10)
	if n := e.send(100 * ms); n != 10 && n != 11 {
		t.Fatalf("%d packets", n)
	}
	inFlight := e.Stats().InFlight
	e.hears(150*ms, 1, ackFrame(1, 4))
	e.hears(160*ms, 2, ackFrame(1, 2)) // old: nothing new
	if len(c.samples) != 1 {
		t.Fatalf("%d samples, want 1", len(c.samples))
	}
	s := c.samples[0]
	if s.Bytes != 4800 || s.SentAt != 100*ms || s.InFlight != inFlight || s.RTT.Latest != 50*ms || s.RTT.Smoothed != 50*ms ||
		s.Delivered != 4800+uint64(inFlightOfFirst) || s.Limited {
		t.Errorf("sample %+v of %d bytes in flight", s, inFlight)
	}
	e.hears(170*ms, 3, ackFrame(4, 4, 1, 2))
	if len(c.samples) != 1 {
		t.Error("an ACK of nothing new gave a sample")
	}
	e.hears(180*ms, 4, ackFrame(6, 6, 1, 4))
	if got := c.samples[1]; got.Round != s.Round || got.RTT.Latest != 80*ms {
		t.Errorf("second sample %+v: same round as %d", got, s.Round)
	}
	e.write(1, 100)
	e.send(190 * ms)
	e.hears(240*ms, 5, ackFrame(e.next-1, e.next-1))
	if got := c.samples[2]; got.Round != s.Round+1 {
		t.Errorf("round %d after %d", got.Round, s.Round)
	}
}

// inFlightOfFirst is the size of the first packet of all, which announces lanes.
const inFlightOfFirst = 3

// TestLimited: a window grows only by what was sent when it was full.
func TestLimited(t *testing.T) {
	e, c := newSender(t, 6000)
	e.write(1, 3000)
	e.send(100 * ms) // 1 to 3: the program has no more
	e.hears(150*ms, 1, ackFrame(1, 3))
	e.write(1, 12_000)
	e.send(200 * ms) // 4 to 8: the window is full
	e.hears(250*ms, 2, ackFrame(4, 8))
	e.send(250 * ms)
	last := e.next - 1
	for e.Stats().Unacked > 0 {
		e.hears(300*ms, e.next, ackFrame(last, e.next-1))
		e.send(300 * ms)
	}
	e.write(1, 100)
	e.send(400 * ms)
	e.hears(450*ms, 1000, ackFrame(e.next-1, e.next-1))
	n := len(c.samples)
	if c.samples[0].Limited || !c.samples[1].Limited || c.samples[n-1].Limited {
		t.Errorf("limited: %v of the program's few, %v of a full window, %v of few again", c.samples[0].Limited, c.samples[1].Limited, c.samples[n-1].Limited)
	}
}

// TestPersistent: all packets of more than three timeouts are lost.
func TestPersistent(t *testing.T) {
	for _, heard := range []bool{false, true} {
		e, c := newSender(t, 1<<20)
		now := 100 * ms
		for range 20 { // over a second, of which six tenths are persistent
			e.write(1, 100)
			if e.NextPacket(now, e.next, e.buf) == 0 {
				t.Fatal("nothing is sent")
			}
			e.next++
			now += 50 * ms
		}
		if heard { // one in the middle arrived
			e.hears(now, 100, ackFrame(e.next-1, e.next-1, 11, 11))
		} else {
			e.hears(now, 100, ackFrame(e.next-1, e.next-1))
		}
		var persistent bool
		for _, l := range c.losses {
			persistent = persistent || l.Persistent
		}
		if want := !heard; persistent != want {
			t.Errorf("something heard in between %v: persistent congestion %v, want %v (%+v)", heard, persistent, want, c.losses)
		}
	}
}

// TestProbes: a timeout sends two packets beyond a full window, with the oldest data and a PING, and no more.
func TestProbes(t *testing.T) {
	e, c := newSender(t, 3600)
	e.write(1, 20_000)
	if n := e.send(100 * ms); n != 3 {
		t.Fatalf("%d packets in a window of 3", n)
	}
	at := e.Timeout()
	if want := 100*ms + e.recovery.rtt.timeout(); at != want {
		t.Fatalf("timeout at %v, want %v", at, want)
	}
	if n := e.send(at - 1); n != 0 {
		t.Fatalf("%d packets before the timeout", n)
	}
	n := e.NextPacket(at, e.next, e.buf)
	if text := describe(e.buf[:n]); text != "ping, data 1: 0+1194" {
		t.Errorf("probe %q", text)
	}
	e.next++
	if n := e.send(at); n != 1 {
		t.Errorf("%d more probes, want 1", n)
	}
	if len(c.losses) != 0 {
		t.Error("a timeout is taken for a loss")
	}
	if got, want := e.Timeout(), at+2*e.recovery.rtt.timeout(); got != want {
		t.Errorf("next timeout at %v, want %v", got, want)
	}
	e.hears(at+10*ms, 5, ackFrame(e.next-1, e.next-1))
	if e.recovery.timeouts != 0 {
		t.Error("an ACK does not end the back-off")
	}
}

// TestSpuriousData: what comes after it was given up is not sent again, and an end is not either.
func TestSpuriousData(t *testing.T) {
	e, c := newSender(t, 6001)
	e.write(1, 1195+1194*4)
	if err := e.known[1].CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := e.send(100 * ms); n != 5 {
		t.Fatalf("%d packets, want 5", n)
	}
	c.window = 0 // so that nothing can be sent again at once
	e.hears(150*ms, 1, ackFrame(4, 4))
	e.hears(152*ms, 2, wire.AppendPing(nil))
	if len(c.losses) != 1 || c.losses[0].Packets != 1 || c.losses[0].Bytes != 1200 {
		t.Fatalf("losses %+v, want packet 1", c.losses)
	}
	l := e.known[1]
	if l.out.lost.empty() {
		t.Fatal("nothing is to be sent again")
	}
	e.hears(155*ms, 3, ackFrame(1, 5))
	if len(c.spurious) != 1 || c.spurious[0].Packets != 1 || c.spurious[0].Bytes != 1200 {
		t.Errorf("spurious %+v, want packet 1", c.spurious)
	}
	if !l.out.lost.empty() || !l.Flushed() {
		t.Errorf("lost %v, flushed %v", l.out.lost.spans(), l.Flushed())
	}
	c.window = 1 << 20
	if n := e.send(200 * ms); n != 1 { // the ACK of the ping
		t.Errorf("%d packets, want the ACK alone", n)
	}
	if e.recovery.reorder.packets != 4 {
		t.Errorf("threshold %d, want 4: one was late by three", e.recovery.reorder.packets)
	}
}

// TestSpuriousBehind: of two packets given up, the later one comes after all: only the first is sent again.
func TestSpuriousBehind(t *testing.T) {
	e, c := newSender(t, 7000)
	e.write(1, 1195+1194*5)
	if n := e.send(100 * ms); n != 6 {
		t.Fatalf("%d packets, want 6", n)
	}
	c.window = 0
	e.hears(150*ms, 1, ackFrame(5, 6))
	if n := e.known[1].out.lost.spans(); len(n) != 1 || n[0] != (span{0, 1195 + 1194*2}) {
		t.Fatalf("lost %v, want packets 1 to 3", n)
	}
	e.hears(155*ms, 2, ackFrame(5, 6, 3, 3)) // packet 4 is still awaited
	if n := e.known[1].out.lost.spans(); len(n) != 1 || n[0] != (span{0, 1195 + 1194}) {
		t.Errorf("lost %v, want packets 1 and 2", n)
	}
	if err := e.check(); err != nil {
		t.Error(err)
	}
}

// TestLostMemory: lost packets are remembered for a while, and not too many of them.
func TestLostMemory(t *testing.T) {
	e, _ := newSender(t, 1<<30)
	e.write(1, 200_000)
	for range 40 {
		e.send(100 * ms)
		e.hears(150*ms, e.next, ackFrame(e.next-1, e.next-1))
		if n := e.sent.lost.n; n > maxLost {
			t.Fatalf("%d lost packets remembered, want at most %d", n, maxLost)
		}
	}
	if e.sent.lost.n != maxLost {
		t.Fatalf("%d lost packets remembered, want %d: the test loses too few", e.sent.lost.n, maxLost)
	}
	if n, m := e.sent.packets.used(), e.sent.lost.n+e.sent.flying.n; n != m {
		t.Errorf("%d records, %d packets", n, m)
	}
	e.hears(20*time.Second, 1<<20, ackFrame(e.next-1, e.next-1))
	if e.sent.lost.n != 0 {
		t.Errorf("%d lost packets remembered after long", e.sent.lost.n)
	}
}

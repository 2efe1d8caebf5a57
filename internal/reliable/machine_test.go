package reliable

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTransfer moves bytes both ways over a line that loses and reorders.
func TestTransfer(t *testing.T) {
	for _, loss := range []float64{0, 0.02, 0.3} {
		l := newLine(t, 20*time.Millisecond, Config{}, Config{})
		r := rand.New(rand.NewPCG(1, uint64(loss*100)))
		l.a.greedy, l.b.greedy = true, true
		size := uint64(1 << 20)
		if testing.Short() {
			size = 1 << 18
		}
		id := l.a.open().ID()
		l.b.known[id] = nil
		for pn := range uint64(100_000) {
			for _, e := range []*end{l.a, l.b} {
				if r.Float64() < loss {
					e.drop[pn] = true
				} else if r.Float64() < loss {
					e.hold[pn] = time.Duration(r.IntN(30)) * time.Millisecond
				} else if r.Float64() < loss {
					e.twice[pn] = true
				}
			}
		}
		ok := l.until(10*time.Minute, func() bool {
			for _, e := range []*end{l.a, l.b} {
				if e.known[id] != nil && e.put[id] < size {
					e.write(id, int(min(size-e.put[id], 10_000)))
					if e.put[id] == size {
						if err := e.known[id].CloseWrite(); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			return l.a.ended[id] > 0 && l.b.ended[id] > 0
		})
		if !ok || l.a.got[id] != size || l.b.got[id] != size {
			t.Fatalf("loss %v: a read %d, b read %d, want %d each; a %+v, b %+v", loss, l.a.got[id], l.b.got[id], size, l.a.Stats(), l.b.Stats())
		}
		if _, err := l.a.known[id].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read at the end: %v, want EOF", err)
		}
		t.Logf("loss %v: %v, a %+v", loss, l.now, l.a.Stats())
	}
}

// TestPing: a ping leaves whatever the window says, also when an ACK came in between, and is acknowledged at once.
func TestPing(t *testing.T) {
	l := newLine(t, 10*ms, Config{Controller: fixedWindow(2400)}, Config{})
	if got := l.a.RTT(); got != defaultRTT {
		t.Errorf("round trip %v before a sample, want what is assumed", got)
	}
	if _, ok := l.a.LargestAcked(); ok {
		t.Error("something acknowledged before a packet left")
	}
	l.run(time.Second)
	l.a.open()
	l.a.write(1, 20_000)
	l.pump(l.a)
	l.run(19 * ms)
	l.a.Ping()
	if l.a.Timeout() > l.now {
		t.Error("a ping waits")
	}
	first := l.a.next
	l.a.hears(l.now, 999, ackFrame(first-1, first-1))
	l.pump(l.a)
	last := l.a.next - 1
	if !l.a.Waits() || last < first {
		t.Fatalf("packets from %d to %d left", first, last)
	}
	l.run(20 * ms)
	if got, ok := l.a.LargestAcked(); !ok || got < first {
		t.Errorf("largest acknowledged %d, %v; want from %d on", got, ok, first)
	}
	l.run(time.Second)
	if l.a.Waits() {
		t.Error("waits at rest")
	}
	l.a.Ping()
	began, n := l.now, l.a.next
	l.until(l.now+time.Second, func() bool { return l.a.next > n && !l.a.Waits() })
	if l.a.next != n+1 || l.now-began != 20*ms || l.a.RTT() < 19*ms {
		t.Errorf("a ping at rest: %d packets, answer after %v, round trip %v", l.a.next-n, l.now-began, l.a.RTT())
	}
}

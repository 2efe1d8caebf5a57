package reliable

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// share has lanes with these weights send for a while through a window, and returns the bytes each has sent.
func share(t *testing.T, weights []int, packets int) (sent []uint64) {
	t.Helper()
	e, _ := newSender(t, 12_000)
	e.hears(time.Second, 100, wire.AppendLanes(nil, 1000), wire.AppendLinkWindow(nil, 1<<40))
	var lanes []*Lane
	for i, w := range weights {
		l := e.known[1]
		if i > 0 {
			l = e.open()
		}
		l.SetWeight(w)
		l.out.limit = 1 << 40
		lanes = append(lanes, l)
	}
	now := time.Second
	for first := e.next; e.next < first+uint64(packets); {
		for _, l := range lanes {
			if _, err := l.Write(make([]byte, 64<<10)); err != nil {
				t.Fatal(err)
			}
		}
		now += 10 * ms
		e.send(now)
		e.hears(now, 1000+e.next, ackFrame(0, e.next-1))
	}
	for _, l := range lanes {
		sent = append(sent, l.out.next)
	}
	return sent
}

// TestWeights: what lanes send is in proportion to their weights.
func TestWeights(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {1, 2, 5}, {256, 1}, {3, 3, 3, 1, 1, 1}} {
		sum, all := 0, uint64(0)
		sent := share(t, weights, 6000)
		for i, w := range weights {
			sum += w
			all += sent[i]
		}
		for i, w := range weights {
			want := float64(all) * float64(w) / float64(sum)
			if got := float64(sent[i]); got < 0.9*want || got > 1.1*want {
				t.Errorf("weights %v: lane %d has sent %.0f, want %.0f", weights, i, got, want)
			}
		}
	}
	l := &Lane{}
	for weight, want := range map[int]int{-1: 1, 0: 1, 1: 1, 256: 256, 257: 256} {
		if l.SetWeight(weight); l.weight != want {
			t.Errorf("weight %d counts %d, want %d", weight, l.weight, want)
		}
	}
}

// TestTurns: with many lanes a packet carries one of them, and each has its turn before any has a second.
func TestTurns(t *testing.T) {
	weights := make([]int, 200)
	for i := range weights {
		weights[i] = 1
	}
	sent := share(t, weights, 2000)
	low, high := sent[0], sent[0]
	for _, n := range sent {
		low, high = min(low, n), max(high, n)
	}
	if low < 8*1190 || high-low > 3*1200 {
		t.Errorf("after ten turns lanes have sent %d to %d bytes", low, high)
	}
}

// TestLinkCredit: lanes with nothing but new bytes wait aside when the link's window is used up, what is lost and ends
// alone still go, and so does lane 0.
func TestLinkCredit(t *testing.T) {
	e, _ := newSender(t, 64<<20)
	for range 10 {
		l := e.open()
		for l.out.unsent() < 200<<10 {
			if n, err := l.Write(make([]byte, 100<<10)); err != nil || n == 0 {
				t.Fatal(n, err)
			}
		}
	}
	first := e.next
	e.send(time.Second)
	if e.sentNew != wire.InitialLinkWindow {
		t.Fatalf("%d bytes sent, want a link window", e.sentNew)
	}
	if e.active.first != nil || e.starved.first == nil || e.waiting() {
		t.Fatal("lanes without credit wait in turn")
	}
	if _, err := e.Control().Write(make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if err := e.known[1].CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := e.send(time.Second); n != 2 && n != 1 {
		t.Errorf("%d packets of lane 0 and an end", n)
	}
	if !e.known[1].out.finSent || e.Control().out.next != 500 {
		t.Error("lane 0 or an end waits for the link's window")
	}
	e.hears(2*time.Second, 100, ackFrame(first+1, e.next-1)) // the first packet is lost
	before := e.sentNew
	if n := e.send(2 * time.Second); n != 1 || e.sentNew != before {
		t.Errorf("%d packets for the one that was lost, %d new bytes", n, e.sentNew-before)
	}
	e.hears(2*time.Second, 101, wire.AppendLinkWindow(nil, wire.InitialLinkWindow+10_000))
	e.send(2 * time.Second)
	if got := e.sentNew - before; got != 10_000 {
		t.Errorf("%d bytes sent with credit for 10,000", got)
	}
}

// TestNoTinyPieces: what is left of a packet is not filled with crumbs of the next lane.
func TestNoTinyPieces(t *testing.T) {
	e, _ := newSender(t, 64<<20)
	e.write(1, 1200-6-20)
	e.open()
	e.write(3, 5000)
	n := e.NextPacket(time.Second, e.next, e.buf)
	if text := describe(e.buf[:n]); text != "data 1: 0+1174" {
		t.Errorf("packet %q", text)
	}
}

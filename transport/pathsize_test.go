package transport

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
)

// TestSizeSearch: on a path that carries so much the search ends with the
// largest size of the table that fits, after few challenges.
func TestSizeSearch(t *testing.T) {
	for _, test := range []struct{ mtu, want, most int }{
		{0, packetSize, 6},
		{packetSize, packetSize, 6},
		{1372, 1372, 4},
		{1400, 1372, 4},
		{1451, 1372, 4},
		{1452, 1452, 4},
		{1472, 1452, 4},
		{8799, 1452, 4},
		{8800, 8800, 2},
		{65507, 8800, 2},
	} {
		s, now, sent := newSizeSearch(), time.Second, 0
		if !s.wanted(now) {
			t.Fatal("no search is wanted")
		}
		s.begin(now)
		for s.next != noTime {
			now = s.next
			s.advance(now)
			token, size := s.probe(now, 50*time.Millisecond)
			if size == 0 {
				continue
			}
			if sent++; sent > 20 {
				t.Fatal("the search has no end")
			}
			s.answered(now, [8]byte{1}) // another's
			if size <= test.mtu {
				s.answered(now+50*time.Millisecond, token)
				s.answered(now+60*time.Millisecond, token) // again
			}
		}
		if s.size != test.want || sent > test.most {
			t.Errorf("MTU %d: size %d after %d challenges, want %d after at most %d", test.mtu, s.size, sent, test.want, test.most)
		}
		if s.wanted(now+sizeAgain-time.Second) || !s.wanted(now+sizeAgain+time.Second) {
			t.Errorf("MTU %d: the next search is not wanted after %v", test.mtu, sizeAgain)
		}
	}
}

// TestSizeSearchRefused: what cannot leave is not tried again; what passed before
// is used until the search that finds otherwise ends.
func TestSizeSearchRefused(t *testing.T) {
	s := newSizeSearch()
	s.refused(0) // no search: nobody was asked
	s.begin(0)
	token, size := s.probe(0, 0)
	if size != 1452 {
		t.Fatalf("%d is tried first, want what Ethernet carries", size)
	}
	s.answered(0, token)
	if _, size = s.probe(0, 0); size != maxPacketSize || s.size != 1452 {
		t.Errorf("%d is tried next, with %d in use", size, s.size)
	}
	s.refused(0)
	if s.next != noTime || s.size != 1452 {
		t.Errorf("size %d, and something to do at %v", s.size, s.next)
	}
	s.begin(time.Hour)
	if s.size != 1452 {
		t.Errorf("size %d while it is searched for again", s.size)
	}
	for s.next != noTime {
		s.probe(time.Hour, 0)
		s.refused(time.Hour)
	}
	if s.size != packetSize {
		t.Errorf("size %d on a path that carries nothing large any more", s.size)
	}
}

// sizeOf is the size of a link's full datagrams now.
func sizeOf(l *Link) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, used := l.sizes.size, l.machine.MaxPacket()+dataOverhead; known != used {
		return -1
	}
	return l.sizes.size
}

// carryAll sends data by one lane, and wants it at the other end.
func carryAll(t *testing.T, from, to *Lane, data []byte) {
	t.Helper()
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := from.Write(data); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(data))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what came is not what was sent: %v", err)
	}
	all.Wait()
}

// TestPathSize: a link's packets grow to what its path carries, and no more, once
// there is something to fill them.
func TestPathSize(t *testing.T) {
	for _, test := range []struct{ mtu, want int }{{1280 - 48, packetSize}, {1420 - 48, 1372}, {1500 - 48, 1452}, {1500 - 28, 1452}, {9000 - 28, 8800}} {
		synctest.Test(t, func(t *testing.T) {
			j := join(t, &lab.Link{Delay: 25 * time.Millisecond, MTU: test.mtu, Rate: 12_500_000, Loss: 0.01}, 7)
			a, b := j.lane(t)
			var largest atomic.Int64
			j.seenBy(func(_ int, p []byte, _ netip.AddrPort) { largest.Store(max(largest.Load(), int64(len(p)))) })
			for range 10 {
				carryAll(t, a, b, []byte("small"))
				time.Sleep(time.Second)
			}
			if got := largest.Load(); got > packetSize {
				t.Errorf("a datagram of %d bytes from a link with nothing to fill it", got)
			}
			carryAll(t, a, b, noise(1, 2<<20))
			time.Sleep(2 * time.Second)
			carryAll(t, a, b, noise(2, 1<<20))
			if got := sizeOf(j.a); got != test.want {
				t.Errorf("MTU %d: datagrams of %d bytes, want %d", test.mtu, got, test.want)
			}
			if got := sizeOf(j.b); got != packetSize {
				t.Errorf("MTU %d: the end that sends little has datagrams of %d bytes", test.mtu, got)
			}
			if got, want := j.a.MaxDatagram(), j.b.MaxDatagram(); got != want {
				t.Errorf("datagrams of the program may have %d bytes, want %d as before", got, want)
			}
		})
	}
}

// TestPathSizeFalls: when the path carries less in the midst of a transfer, the
// link finds that out, and no byte is lost or comes twice. When the way is wide
// again that is found out too.
func TestPathSizeFalls(t *testing.T) {
	for _, narrow := range []int{1280 - 48, 1400 - 28} {
		synctest.Test(t, func(t *testing.T) {
			wide := lab.Link{Delay: 10 * time.Millisecond, MTU: 1500 - 28, Rate: 12_500_000}
			j := join(t, &wide, 8)
			a, b := j.lane(t)
			carryAll(t, a, b, noise(1, 1<<20))
			if got := sizeOf(j.a); got != 1452 {
				t.Fatalf("datagrams of %d bytes, want 1452", got)
			}
			less := wide
			less.MTU = narrow
			begun := time.Now()
			time.AfterFunc(30*time.Millisecond, func() { j.carries(less) })
			carryAll(t, a, b, noise(2, 4<<20))
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("4 MiB took %v", took)
			}
			time.Sleep(2 * time.Second)
			want := packetSize
			if narrow >= 1372 {
				want = 1372
			}
			if got := sizeOf(j.a); got != want {
				t.Errorf("datagrams of %d bytes on a path for %d, want %d", got, narrow, want)
			}
			stats := map[string]uint64{}
			j.a.addStats(stats)
			if stats["data.size.fell"] == 0 {
				t.Error("that the size fell is not counted")
			}
			j.carries(wide)
			time.Sleep(sizeAgain)
			carryAll(t, a, b, noise(3, 1<<20))
			time.Sleep(time.Second)
			if got := sizeOf(j.a); got != 1452 {
				t.Errorf("datagrams of %d bytes on the wide path again, want 1452", got)
			}
		})
	}
}

// TestPathSizeOfPath: another path begins with the size that every path carries,
// and is searched for its own.
func TestPathSizeOfPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 10 * time.Millisecond, MTU: 9000, Rate: 12_500_000}, 9)
		a, b := j.lane(t)
		carryAll(t, b, a, noise(1, 1<<20))
		if got := sizeOf(j.b); got != 8800 {
			t.Fatalf("datagrams of %d bytes, want 8800", got)
		}
		moved := netip.MustParseAddrPort("10.0.0.77:77")
		large := 0
		j.carries(lab.Link{Delay: 10 * time.Millisecond, MTU: 1400, Rate: 12_500_000})
		j.mu.Lock()
		j.at[0] = moved // a's; what b sends to the old place is lost
		j.seen = func(from int, b []byte, to netip.AddrPort) {
			if from == 1 && to == moved && len(b) > 1372 {
				large++
			}
		}
		j.mu.Unlock()
		j.a.poke()
		carryAll(t, b, a, noise(2, 1<<20))
		j.seenBy(nil)
		if large > sizeTries {
			t.Errorf("%d datagrams that are too large on the new path, want at most %d to find that out", large, sizeTries)
		}
		time.Sleep(2 * time.Second)
		if got := sizeOf(j.b); got != 1372 {
			t.Errorf("datagrams of %d bytes on the new path, want 1372", got)
		}
	})
}

// TestPathSizeRelayed: what goes by a relay stays at the size of every path.
func TestPathSizeRelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 10 * time.Millisecond}, 10)
		j.a.setRelays([]netip.AddrPort{j.at[1]})
		a, b := j.lane(t)
		carryAll(t, a, b, noise(1, 1<<20))
		time.Sleep(2 * time.Second)
		carryAll(t, a, b, noise(2, 1<<20))
		if got := sizeOf(j.a); got != packetSize {
			t.Errorf("datagrams of %d bytes by a relay", got)
		}
	})
}

// TestPathSizeUnsupported: where the system cannot send a datagram in one piece,
// or none of such a size, nothing is lost but the attempt.
func TestPathSizeUnsupported(t *testing.T) {
	j := loopback(t)
	j.a.mu.Lock()
	d := j.a.paths.current.conduit.(*direct)
	d.sockets = slices.Clone(d.sockets)
	d.sockets[0] = pieces{d.sockets[0]}
	j.a.mu.Unlock()
	w, err := j.a.OpenLane()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	r := <-j.wb.lanes
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	carryAll(t, w, r, noise(1, 4<<20))
	if got := sizeOf(j.a); got != packetSize {
		t.Errorf("datagrams of %d bytes that could not be tried", got)
	}
}

// pieces is a socket that has nothing against fragments.
type pieces struct{ Socket }

func (pieces) WriteWhole([]byte, netip.AddrPort) error { return io.ErrShortWrite }

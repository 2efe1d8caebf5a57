package transport

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

// still is a handler that does nothing and keeps nothing.
type still struct{ lanes chan *Lane }

func (still) LinkUp(*Link)                           {}
func (still) LinkChanged(*Link)                      {}
func (still) LinkDown(*Link, error)                  {}
func (still) Control(*Link, uint8, []byte)           {}
func (s still) Lane(_ *Link, a *Lane)                { s.lanes <- a }
func (still) Datagram(*Link, uint64, uint64, []byte) {}

// cable joins two links, and nothing else: what one writes the other's reader
// finds in a ring of buffers.
type cable struct {
	to    *Link
	from  netip.AddrPort
	ring  chan *[maxPacketSize]byte
	free  chan *[maxPacketSize]byte
	sizes chan int
}

func newCable(from netip.AddrPort) *cable {
	const slots = 1024
	c := &cable{from: from, ring: make(chan *[maxPacketSize]byte, slots), free: make(chan *[maxPacketSize]byte, slots), sizes: make(chan int, slots)}
	for range slots {
		c.free <- new([maxPacketSize]byte)
	}
	return c
}

func (c *cable) write(b []byte, size int, _ netip.AddrPort) error {
	for len(b) > 0 {
		n := min(size, len(b))
		select {
		case slot := <-c.free:
			copy(slot[:], b[:n])
			c.sizes <- n
			c.ring <- slot
		default: // the ring is full, and the packet lost
		}
		b = b[n:]
	}
	return nil
}

func (c *cable) local(netip.AddrPort) netip.AddrPort { return c.from }
func (c *cable) relayed() bool                       { return false }

func (c *cable) writeWhole(b []byte, to netip.AddrPort) error { return c.write(b, len(b), to) }

// read gives the other link what comes, as a socket's reader does.
func (c *cable) read(back conduit) {
	for slot := range c.ring {
		c.to.receive(slot[:<-c.sizes], back, c.from, 0)
		c.free <- slot
	}
}

// idlePair is a pair of links with nothing round them. Its conduits are the
// caller's.
func idlePair(tb testing.TB, buffers *sync.Pool, lanes chan *Lane, ways [2]conduit) (links [2]*Link) {
	tb.Helper()
	master := bytes.Repeat([]byte{7}, 32)
	places := [2]netip.AddrPort{placeA, placeB}
	for end := range links {
		links[end] = newLink(linkEnv{
			handler: still{lanes}, log: slog.New(slog.DiscardHandler), buffers: buffers,
			register: func(*Link, uint32, uint32) {}, unregister: func(*Link, uint32) {}, up: func(*Link) {},
			proven: func(*Link) {}, changed: func(*Link) {}, down: func(*Link, error) {}, stopped: func(*Link) {},
		}, linkConfig{
			peer: crypto.ID{byte(end)}, lower: end == 0, master: bytes.Clone(master), keys: newLinkKeys(suiteAES128GCM, master, end == 0),
			conduit: ways[end], remote: places[1-end], machine: reliable.Config{RTT: time.Millisecond},
		})
	}
	return links
}

func endPair(links [2]*Link) {
	for _, l := range links {
		l.Close(CodeShutdown, "the test is over")
		l.hurry()
	}
	for _, l := range links {
		<-l.stopped
	}
}

// TestPacketAllocations: nothing is allocated a packet, sealing, opening, frames
// and acknowledgements at both ends included.
func TestPacketAllocations(t *testing.T) {
	buffers := &sync.Pool{New: func() any { b := make([]byte, roundSize); return &b }}
	ab, ba := newCable(placeA), newCable(placeB)
	lanes := make(chan *Lane, 1)
	links := idlePair(t, buffers, lanes, [2]conduit{ab, ba})
	ab.to, ba.to = links[1], links[0]
	var readers sync.WaitGroup
	readers.Go(func() { ab.read(ba) })
	readers.Go(func() { ba.read(ab) })
	<-links[0].up
	<-links[1].up
	w, err := links[0].OpenLane()
	if err != nil {
		t.Fatal(err)
	}
	data, got := noise(1, 64<<10), make([]byte, 64<<10)
	send := func(rounds int) {
		sent := make(chan error, 1)
		go func() {
			for range rounds {
				if _, err := w.Write(data); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		var r *Lane
		select {
		case r = <-lanes:
			lanes <- r
		case <-time.After(10 * time.Second):
			t.Fatal("the lane did not come")
		}
		for range rounds {
			if _, err := io.ReadFull(r, got); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	send(512) // buffers grow
	before, packets := mallocs(), packetsSent(links)
	send(512)
	n, packetsNow := mallocs()-before, packetsSent(links)-packets
	if !bytes.Equal(got, data) {
		t.Error("other bytes have come")
	}
	t.Logf("%d allocations for %d packets", n, packetsNow)
	if packetsNow < 512*64<<10/maxPacketSize {
		t.Errorf("%d packets", packetsNow)
	}
	if raceEnabled {
		t.Log("not judged under the race detector, whose pools forget")
	} else if most := 100 + packetsNow/100; n > most { // 100: pools that were emptied, and what the test does itself
		t.Errorf("%d allocations for %d packets, want at most %d", n, packetsNow, most)
	}
	endPair(links)
	close(ab.ring)
	close(ba.ring)
	readers.Wait()
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func packetsSent(links [2]*Link) (n uint64) {
	all := map[string]uint64{}
	for _, l := range links {
		l.addStats(all)
	}
	return all["data.packets.sent"]
}

// passing hands packets to the other link at once, and keeps nothing.
type passing struct {
	from netip.AddrPort
	mu   *sync.Mutex
	to   *Link
	back *passing
}

func (c *passing) write(b []byte, size int, _ netip.AddrPort) error {
	c.mu.Lock()
	to := c.to
	c.mu.Unlock()
	for len(b) > 0 && to != nil {
		n := min(size, len(b))
		to.receive(bytes.Clone(b[:n]), c.back, c.from, 0)
		b = b[n:]
	}
	return nil
}

func (c *passing) local(netip.AddrPort) netip.AddrPort { return c.from }
func (c *passing) relayed() bool                       { return false }

func (c *passing) writeWhole(b []byte, to netip.AddrPort) error { return c.write(b, len(b), to) }

// TestIdlePair: a pair of links that has been used and is idle costs, both ends
// together, 2 goroutines and less than 32 KiB.
func TestIdlePair(t *testing.T) { synctest.Test(t, idlePairs) }

func idlePairs(t *testing.T) {
	const pairs = 32
	buffers := &sync.Pool{New: func() any { b := make([]byte, roundSize); return &b }}
	lanes := make(chan *Lane, 1)
	var all [pairs][2]*Link
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	goroutines, before := runtime.NumGoroutine(), heap()
	for i := range all {
		var mu sync.Mutex
		ab, ba := &passing{from: placeA, mu: &mu}, &passing{from: placeB, mu: &mu}
		ab.back, ba.back = ba, ab
		links := idlePair(t, buffers, lanes, [2]conduit{ab, ba})
		mu.Lock()
		ab.to, ba.to = links[1], links[0]
		mu.Unlock()
		<-links[0].up
		<-links[1].up
		all[i] = links
		a, err := links[0].OpenLane()
		if err != nil {
			t.Fatal(err)
		}
		data := noise(uint64(i), 256<<10)
		go func() {
			_, _ = a.Write(data) // fails only with the link, and then the reader does
			_ = a.Close()
		}()
		b := <-lanes
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if err := l.SendControl(1, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(time.Minute) // buffers are trimmed, pings come and go
	extra := runtime.NumGoroutine() - goroutines
	each := (heap() - before) / pairs
	t.Logf("%d goroutines and %d bytes a pair", extra/pairs, each)
	if extra > 2*pairs {
		t.Errorf("%d goroutines for %d pairs, want 2 each", extra, pairs)
	}
	if each > 32<<10 && !raceEnabled {
		t.Errorf("%d bytes a pair, want 32 KiB", each)
	}
	for _, links := range all {
		endPair(links)
	}
}

// FuzzControlMessage: what is taken is what was sent, and a rest is not lost.
func FuzzControlMessage(f *testing.F) {
	message := func(kind byte, n int) []byte {
		return append(wire.AppendVarint([]byte{kind}, uint64(n)), make([]byte, n)...)
	}
	for _, b := range [][]byte{nil, {1}, {1, 0}, {1, 0x7f}, message(1, 5), append(message(2, 200), message(1, 0)...), message(3, MaxControl), {1, 0x80, 2, 0, 1}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, rest, ok, err := parseMessage(b)
		switch {
		case err != nil && ok, ok && len(m.body) > MaxControl:
			t.Errorf("took %d bytes, %v", len(m.body), err)
		case ok:
			again := append(wire.AppendVarint([]byte{m.kind}, uint64(len(m.body))), m.body...)
			if again = append(again, rest...); !bytes.Equal(again, b) {
				t.Errorf("% x was taken as % x", b, again)
			}
		case err == nil && !bytes.Equal(rest, b):
			t.Error("a part of a message was lost")
		}
	})
}

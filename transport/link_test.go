package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/lab"
)

// line joins two links without sockets. Each end has an address, which may
// change; a datagram to an address that the other end does not have is lost.
type line struct {
	mu    sync.Mutex
	at    [2]netip.AddrPort
	paths [2]*lab.Path // from that end; nil: at once
	begun time.Time
	down  [2]bool // what that end sends is lost
	links [2]*Link
	sent  [2]atomic.Int64
	seen  func(from int, b []byte, to netip.AddrPort) // every datagram
}

// lineEnd is the conduit of one end.
type lineEnd struct {
	line *line
	end  int
}

func (c lineEnd) write(b []byte, size int, to netip.AddrPort) error {
	for len(b) > 0 {
		n := min(size, len(b))
		c.line.carry(c.end, b[:n], to)
		b = b[n:]
	}
	return nil
}

func (c lineEnd) local(netip.AddrPort) netip.AddrPort {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	return c.line.at[c.end]
}

func (c lineEnd) relayed() bool { return false }

func (c lineEnd) writeWhole(b []byte, to netip.AddrPort) error { return c.write(b, len(b), to) }

func (n *line) carry(from int, b []byte, to netip.AddrPort) {
	n.sent[from].Add(1)
	b = bytes.Clone(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen != nil {
		n.seen(from, b, to)
	}
	if n.down[from] || n.at[1-from] != to {
		return
	}
	source := n.at[from]
	if n.paths[from] == nil {
		go n.arrive(1-from, b, source)
		return
	}
	for _, due := range n.paths[from].Carry(time.Since(n.begun), len(b)) {
		copied := bytes.Clone(b)
		time.AfterFunc(due-time.Since(n.begun), func() { n.arrive(1-from, copied, source) })
	}
}

// carries changes what both directions are like.
func (n *line) carries(l lab.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.paths {
		p.Set(l)
	}
}

// seenBy has f see every datagram from now on.
func (n *line) seenBy(f func(from int, b []byte, to netip.AddrPort)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = f
}

func (n *line) arrive(at int, b []byte, from netip.AddrPort) {
	n.mu.Lock()
	l := n.links[at]
	n.mu.Unlock()
	id, ok := dataConnID(b)
	if !ok || l == nil {
		return
	}
	for index := range uint32(64) {
		if l.keys.inID(index) == id {
			l.receive(b, lineEnd{n, at}, from, index)
			return
		}
	}
}

// witness is a handler that remembers.
type witness struct {
	mu        sync.Mutex
	lanes     chan *Lane
	messages  []message
	datagrams map[uint64]int
	changes   int
	down      error
}

func newWitness() *witness {
	return &witness{lanes: make(chan *Lane, 4096), datagrams: map[uint64]int{}}
}

func (w *witness) LinkUp(*Link) {}
func (w *witness) LinkChanged(*Link) {
	w.mu.Lock()
	w.changes++
	w.mu.Unlock()
}

func (w *witness) LinkDown(_ *Link, err error) {
	w.mu.Lock()
	w.down = err
	w.mu.Unlock()
}

func (w *witness) Control(_ *Link, kind uint8, body []byte) {
	w.mu.Lock()
	w.messages = append(w.messages, message{kind, body})
	w.mu.Unlock()
}
func (w *witness) Lane(_ *Link, a *Lane) { w.lanes <- a }
func (w *witness) Datagram(_ *Link, session, flow uint64, b []byte) {
	w.mu.Lock()
	w.datagrams[session<<32|flow<<16|uint64(len(b))]++
	w.mu.Unlock()
}

func (w *witness) got() []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.messages
}

// joined are two links over a line.
type joined struct {
	*line
	a, b   *Link
	wa, wb *witness
}

func join(t *testing.T, l *lab.Link, seed uint64) *joined {
	t.Helper()
	n := &line{begun: time.Now(), at: [2]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")}}
	if l != nil {
		n.paths = [2]*lab.Path{lab.NewPath(*l, seed), lab.NewPath(*l, seed+1)}
	}
	j := &joined{line: n, wa: newWitness(), wb: newWitness()}
	master := bytes.Repeat([]byte{7}, 32)
	buffers := &sync.Pool{New: func() any { b := make([]byte, roundSize); return &b }}
	made := func(end int, w *witness) *Link {
		env := linkEnv{
			handler: w, log: slog.New(slog.DiscardHandler), buffers: buffers,
			register: func(*Link, uint32, uint32) {}, unregister: func(*Link, uint32) {},
			up:      func(l *Link) { w.LinkUp(l) },
			proven:  func(*Link) {},
			changed: func(l *Link) { w.LinkChanged(l) },
			down:    func(l *Link, err error) { w.LinkDown(l, err) },
			stopped: func(*Link) {},
		}
		return newLink(env, linkConfig{
			peer: crypto.ID{byte(end)}, lower: end == 0, master: bytes.Clone(master), keys: newLinkKeys(suiteAES128GCM, master, end == 0),
			conduit: lineEnd{n, end}, remote: n.at[1-end],
		})
	}
	n.mu.Lock()
	j.a, j.b = made(0, j.wa), made(1, j.wb)
	n.links = [2]*Link{j.a, j.b}
	n.mu.Unlock()
	t.Cleanup(j.close)
	<-j.a.up
	<-j.b.up
	return j
}

func (j *joined) close() {
	for _, l := range j.links {
		l.Close(CodeShutdown, "the test is over")
		l.hurry()
		<-l.stopped
	}
}

// lane opens a lane at a, and gives both ends.
func (j *joined) lane(t *testing.T) (a, b *Lane) {
	t.Helper()
	a, err := j.a.OpenLane()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	b = <-j.wb.lanes
	if _, err := io.ReadFull(b, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b) // never fails
	return b
}

func TestLinkConfirmsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		join(t, &lab.Link{Delay: 25 * time.Millisecond}, 1)
		if took := time.Since(begun); took > 75*time.Millisecond {
			t.Errorf("both ends are up after %v, want at most one round trip and a half", took)
		}
	})
	synctest.Test(t, func(t *testing.T) { // asked again and again until it is answered
		begun := time.Now()
		join(t, &lab.Link{Delay: 25 * time.Millisecond, Loss: 0.5}, 2)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("both ends are up after %v at half the packets lost", took)
		}
	})
}

func TestLinkCarriesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 25 * time.Millisecond, Loss: 0.05, Duplicate: 0.02, Reorder: 0.02, Rate: 12_500_000}, 3)
		a, b := j.lane(t)
		up, down := noise(1, 4<<20), noise(2, 1<<20)
		var wg sync.WaitGroup
		send := func(w *Lane, data []byte) {
			wg.Go(func() {
				if _, err := w.Write(data); err != nil {
					t.Error(err)
				}
				if err := w.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
		}
		receive := func(r *Lane, want []byte) {
			wg.Go(func() {
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, %v; want the %d that were written", len(got), err, len(want))
				}
			})
		}
		send(a, up)
		receive(b, up)
		send(b, down)
		receive(a, down)
		for i := range 100 {
			if err := j.a.SendControl(uint8(i), noise(3, i*100)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.a.SendControl(200, noise(4, MaxControl)); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if err := a.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		got := j.wb.got()
		if len(got) != 101 {
			t.Fatalf("%d control messages, want 101", len(got))
		}
		for i, m := range got[:100] {
			if m.kind != uint8(i) || !bytes.Equal(m.body, noise(3, i*100)) {
				t.Errorf("control message %d is of kind %d with %d bytes", i, m.kind, len(m.body))
			}
		}
		if !bytes.Equal(got[100].body, noise(4, MaxControl)) {
			t.Error("the longest control message is another one")
		}
		if err := j.a.SendControl(1, make([]byte, MaxControl+1)); err == nil {
			t.Error("a control message too long was taken")
		}
	})
}

func TestLinkDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 5 * time.Millisecond, Duplicate: 0.3}, 4)
		most := j.a.MaxDatagram()
		if most < 1150 {
			t.Errorf("datagrams of at most %d bytes", most)
		}
		for size := 1; size <= most; size++ {
			if err := j.a.SendDatagram(3, 5, noise(1, size)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if err := j.a.SendDatagram(3, 5, make([]byte, most+1)); err == nil {
			t.Error("a datagram too long was taken")
		}
		time.Sleep(time.Second)
		j.wb.mu.Lock()
		defer j.wb.mu.Unlock()
		if len(j.wb.datagrams) != most {
			t.Errorf("%d datagrams came, want %d", len(j.wb.datagrams), most)
		}
		for id, n := range j.wb.datagrams {
			if n != 1 || id>>32 != 3 || id>>16&0xffff != 5 {
				t.Errorf("datagram %x came %d times", id, n)
			}
		}
	})
}

// TestLaneConn holds lanes to what every net.Conn promises.
func TestLaneConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		j := join(t, nil, 5)
		a, b := j.lane(t)
		return a, b, func() { a.Close(); b.Close(); j.close() }, nil
	})
}

func TestLaneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: time.Millisecond}, 6)
		one := make([]byte, 1)
		code := func(err error) uint64 {
			var aborted *LaneError
			if !errors.As(err, &aborted) || !aborted.Remote {
				t.Errorf("error %v, want one of the peer", err)
				return 0
			}
			return aborted.Code
		}

		a, b := j.lane(t)
		a.Reset(7)
		if _, err := b.Read(one); code(err) != 7 {
			t.Errorf("read after the peer's reset: %v", err)
		}
		b.Stop(9)
		if _, err := b.Write(one); err != nil {
			t.Errorf("the other half has ended too: %v", err)
		}

		a, b = j.lane(t)
		b.Stop(8)
		time.Sleep(10 * time.Millisecond)
		if _, err := a.Write(one); code(err) != 8 {
			t.Errorf("write after the peer's stop: %v", err)
		}

		a, b = j.lane(t)
		if err := a.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(one); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read after its deadline: %v", err)
		}
		if _, err := b.Write(one); err != nil {
			t.Fatal(err)
		}
		if err := a.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(one); err != nil {
			t.Errorf("read after a deadline that was taken back: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(one); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		if _, err := b.Read(one); !errors.Is(err, io.EOF) {
			t.Errorf("read after the peer's close: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, _ := j.lane(t)
		j.line.mu.Lock()
		j.line.down[0] = true
		j.line.mu.Unlock()
		if _, err := c.Write(one); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush of what does not arrive: %v", err)
		}
	})
}

// TestLinkClosedByPeer: each end says why.
func TestLinkClosedByPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 5 * time.Millisecond}, 7)
		a, b := j.lane(t)
		j.a.Close(0x42, "enough")
		<-j.b.Done()
		var closed *CloseError
		if !errors.As(j.b.Err(), &closed) || closed.Code != 0x42 || closed.Reason != "enough" {
			t.Errorf("the peer's error is %v", j.b.Err())
		}
		if !errors.Is(j.a.Err(), ErrClosed) {
			t.Errorf("our own error is %v", j.a.Err())
		}
		if _, err := b.Read(make([]byte, 1)); !errors.As(err, &closed) {
			t.Errorf("the peer's lane reads %v", err)
		}
		if _, err := a.Write(make([]byte, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("our lane writes %v", err)
		}
		if err := j.a.SendControl(1, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("control after close: %v", err)
		}
		if _, err := j.a.OpenLane(); !errors.Is(err, ErrClosed) {
			t.Errorf("open after close: %v", err)
		}
		<-j.a.stopped
		<-j.b.stopped
		j.wb.mu.Lock()
		defer j.wb.mu.Unlock()
		if !errors.As(j.wb.down, &closed) {
			t.Errorf("the handler was told %v", j.wb.down)
		}
	})
}

// TestSilentPeer: a peer that has gone is noticed, soon while something waits
// for it, later when idle.
func TestSilentPeer(t *testing.T) {
	for _, busy := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			j := join(t, &lab.Link{Delay: 25 * time.Millisecond}, 8)
			if busy {
				j.lane(t)
			}
			time.Sleep(20 * time.Second)
			if j.a.Suspect() {
				t.Fatal("a link that works is suspect")
			}
			j.mu.Lock()
			j.down = [2]bool{true, true}
			j.mu.Unlock()
			begun := time.Now()
			suspectBy, deadBy := 9*time.Second, 21*time.Second
			if busy {
				suspectBy, deadBy = 2*time.Second, 14*time.Second
			}
			for !j.a.Suspect() {
				time.Sleep(50 * time.Millisecond)
				if time.Since(begun) > suspectBy {
					t.Fatalf("busy %v: not suspect after %v", busy, suspectBy)
				}
			}
			<-j.a.Done()
			if took := time.Since(begun); took > deadBy || took < 10*time.Second {
				t.Errorf("busy %v: dead after %v, want at most %v", busy, took, deadBy)
			}
			if !errors.Is(j.a.Err(), ErrSilent) {
				t.Errorf("dead of %v", j.a.Err())
			}
		})
	}
}

// TestOutage: a link that is silent for less than it takes to be dead goes on.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 25 * time.Millisecond}, 9)
		a, b := j.lane(t)
		j.mu.Lock()
		j.down = [2]bool{true, true}
		j.mu.Unlock()
		data := noise(1, 100<<10)
		if _, err := a.Write(data); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Second)
		j.mu.Lock()
		j.down = [2]bool{}
		j.mu.Unlock()
		begun := time.Now()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("after the outage: %v", err)
		}
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("the link is used again after %v", took)
		}
		if j.a.Suspect() || j.b.Suspect() {
			t.Error("still suspect")
		}
	})
}

// TestFlapping: a link whose ways come and go carries everything once, and is
// suspect as often as it was silent.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 25 * time.Millisecond, Rate: 100_000}, 12)
		a, b := j.lane(t)
		data := noise(1, 4<<20)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Write(data); err != nil {
				t.Error(err)
			}
			if err := a.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
			}
		})
		for i := range 8 {
			time.Sleep(3 * time.Second)
			j.mu.Lock()
			j.down = [2]bool{i%3 != 1, i%3 != 2} // both ways, or one
			j.mu.Unlock()
			time.Sleep(time.Duration(4+i) * time.Second)
			j.mu.Lock()
			j.down = [2]bool{}
			j.mu.Unlock()
		}
		wg.Wait()
		if j.a.Suspect() || j.b.Suspect() || j.a.Err() != nil || j.b.Err() != nil {
			t.Errorf("suspect or ended: %v, %v", j.a.Err(), j.b.Err())
		}
		for _, w := range []*witness{j.wa, j.wb} {
			w.mu.Lock()
			if w.changes < 8 || w.changes > 40 {
				t.Errorf("%d changes were told of 8 outages", w.changes)
			}
			w.mu.Unlock()
		}
	})
}

// TestAddressChanges: the peer follows an end whose address changes, after it
// has answered there, and loses nothing.
func TestAddressChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 25 * time.Millisecond}, 10)
		a, b := j.lane(t)
		ids := map[connID]map[netip.AddrPort]bool{}
		j.mu.Lock()
		j.seen = func(from int, p []byte, _ netip.AddrPort) {
			id, _ := dataConnID(p)
			if ids[id] == nil {
				ids[id] = map[netip.AddrPort]bool{}
			}
			ids[id][j.at[0]] = true // whichever end sends: what is seen of the path
		}
		j.mu.Unlock()
		for i := range 5 {
			moved := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 9)
			j.mu.Lock()
			j.at[0] = moved
			j.mu.Unlock()
			j.a.poke()
			begun := time.Now()
			data := noise(uint64(i), 1<<20)
			go func() { _, _ = b.Write(data) }() // fails only with the link, which the reader sees
			got := make([]byte, len(data))
			if _, err := io.ReadFull(a, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("at %v: %v", moved, err)
			}
			if p := j.b.Path(); p.Remote != moved {
				t.Errorf("the peer sends to %v, want %v", p.Remote, moved)
			}
			t.Logf("moved to %v: 1 MiB after %v", moved, time.Since(begun))
			time.Sleep(time.Second)
		}
		// What each end sends after the first packets on a path bears a name of
		// that path alone.
		j.mu.Lock()
		defer j.mu.Unlock()
		if len(ids) < 10 {
			t.Errorf("%d connection IDs on 6 paths in 2 directions", len(ids))
		}
	})
}

// TestUnansweredPath: packets from an address that does not answer change
// nothing, and get little.
func TestUnansweredPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := join(t, &lab.Link{Delay: 5 * time.Millisecond}, 11)
		j.lane(t)
		before := j.b.Path().Remote
		victim := netip.MustParseAddrPort("203.0.113.1:53")
		var toVictim, fromVictim int
		j.mu.Lock()
		j.seen = func(from int, p []byte, _ netip.AddrPort) { // somebody on the path sends it on from the victim's address
			if from == 0 {
				fromVictim += len(p)
				b := bytes.Clone(p)
				go j.arrive(1, b, victim)
			}
		}
		j.mu.Unlock()
		for range 50 {
			j.a.poke()
			time.Sleep(100 * time.Millisecond)
		}
		j.b.mu.Lock()
		for _, p := range j.b.paths.all {
			if p.remote == victim {
				toVictim = p.sent
			}
		}
		j.b.mu.Unlock()
		if got := j.b.Path().Remote; got != before {
			t.Errorf("the path has changed to %v", got)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		if toVictim > fromVictim {
			t.Errorf("%d bytes to the victim for %d from it", toVictim, fromVictim)
		}
	})
}

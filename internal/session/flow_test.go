package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestDatagrams: boundaries are kept, each comes once, in both directions.
func TestDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		a, b := p.connect(4)
		x, y := stream(t, a, b, &StreamOptions{Mode: Datagram})
		if x.MaxDatagramSize() != fakeMax || y.Mode() != Datagram {
			t.Errorf("max %d, mode %d", x.MaxDatagramSize(), y.Mode())
		}
		for _, c := range [][2]*Stream{{x, y}, {y, x}} {
			go func() {
				for n := range 1000 {
					d := make([]byte, n%1000+2)
					binary.BigEndian.PutUint16(d, uint16(n))
					if k, err := c[0].Write(d); err != nil || k != len(d) {
						t.Errorf("wrote %d of %d, %v", k, len(d), err)
					}
					time.Sleep(time.Millisecond)
				}
				if err := c[0].CloseWrite(); err != nil {
					t.Error(err)
				}
			}()
		}
		var reading sync.WaitGroup
		for _, st := range []*Stream{y, x} {
			reading.Go(func() {
				buf := make([]byte, 2000)
				for n := range 1000 {
					k, err := st.Read(buf)
					if err != nil || k != n%1000+2 || binary.BigEndian.Uint16(buf) != uint16(n) {
						t.Errorf("datagram %d: %d bytes of number %d, %v", n, k, binary.BigEndian.Uint16(buf), err)
						return
					}
				}
				if k, err := st.Read(buf); k != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("after the end: %d, %v; want io.EOF", k, err)
				}
			})
		}
		reading.Wait()
		for _, st := range []*Stream{x, y} {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		if a.count+b.count+len(a.flows)+len(b.flows) != 0 {
			t.Errorf("%d and %d streams are counted after the end", a.count, b.count)
		}
		for name, p := range map[string]*Peer{"a": p.a, "b": p.b} {
			if n := p.Stats()[countDatagrams]; n != 0 {
				t.Errorf("%s dropped %d datagrams", name, n)
			}
		}
	})
}

func TestDatagramSizes(t *testing.T) {
	p := newPair(t, 0)
	a, b := p.connect(4)
	x, y := stream(t, a, b, &StreamOptions{Mode: Datagram})
	if n, err := x.Write(make([]byte, fakeMax+1)); n != 0 || !errors.Is(err, ErrTooLong) {
		t.Errorf("one byte too long: %d, %v; want ErrTooLong", n, err)
	}
	for _, d := range [][]byte{[]byte("hello"), {}, make([]byte, fakeMax), []byte("last")} {
		if n, err := x.Write(d); n != len(d) || err != nil {
			t.Errorf("write of %d: %d, %v", len(d), n, err)
		}
	}
	buf := make([]byte, fakeMax)
	if n, err := y.Read(buf[:3]); n != 3 || !errors.Is(err, io.ErrShortBuffer) || string(buf[:3]) != "hel" {
		t.Errorf("short buffer: %q, %v; want io.ErrShortBuffer", buf[:n], err)
	}
	if n, err := y.Read(buf); n != 0 || err != nil {
		t.Errorf("empty datagram: %d, %v; the rest of the one before is lost", n, err)
	}
	if n, err := y.Read(buf); n != fakeMax || err != nil {
		t.Errorf("longest datagram: %d, %v", n, err)
	}
	if n, err := y.Read(nil); n != 0 || !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("no buffer: %d, %v; want io.ErrShortBuffer", n, err)
	}
}

func TestDatagramDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 0)
		a, b := p.connect(4)
		x, y := stream(t, a, b, &StreamOptions{Mode: Datagram})
		start := time.Now()
		if err := y.SetReadDeadline(start.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := y.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if err := x.SetWriteDeadline(start); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: got %v", err)
		}
		for _, st := range []*Stream{x, y} {
			if err := st.SetDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := x.Write([]byte{1}); err != nil {
			t.Error(err)
		}
		if _, err := y.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

// TestDatagramClose: what was sent before the end is read before io.EOF, what is
// lost is waited for a second, and who writes to nobody learns it.
func TestDatagramClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		a, b := p.connect(4)
		x, y := stream(t, a, b, &StreamOptions{Mode: Datagram})
		lost := byte(3)
		p.endA.datagram = func(_, _ uint64, d []byte) bool { return d[0] != lost }
		for n := range byte(6) {
			if _, err := x.Write([]byte{n}); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got := []byte{}
		buf := make([]byte, 1)
		for {
			_, err := y.Read(buf)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[0])
		}
		if !bytes.Equal(got, []byte{0, 1, 2, 4, 5}) {
			t.Errorf("read %v", got)
		}
		if d := time.Since(start); d < lingerTime || d > lingerTime+20*time.Millisecond {
			t.Errorf("the end came after %v, want %v and the way", d, lingerTime)
		}
		if _, err := y.Write(buf); !errors.Is(err, ErrStreamClosed) {
			t.Errorf("write: got %v, want ErrStreamClosed", err)
		}
		if err := y.Close(); err != nil {
			t.Error(err)
		}
		for _, st := range []*Stream{x, y} {
			if _, err := st.Read(buf); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after Close: %v", err)
			}
			if _, err := st.Write(buf); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after Close: %v", err)
			}
		}
	})
}

// TestDatagramHalfClose: CloseWrite leaves the other direction open; Close after
// it tells the peer that nobody reads.
func TestDatagramHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 0)
		a, b := p.connect(4)
		x, y := stream(t, a, b, &StreamOptions{Mode: Datagram})
		if err := x.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write([]byte{1}); !errors.Is(err, ErrWriteClosed) {
			t.Errorf("write: got %v, want ErrWriteClosed", err)
		}
		buf := make([]byte, 1)
		if _, err := y.Read(buf); !errors.Is(err, io.EOF) {
			t.Errorf("read: got %v, want io.EOF", err)
		}
		if _, err := y.Write([]byte{2}); err != nil {
			t.Error(err)
		}
		if _, err := x.Read(buf); err != nil || buf[0] != 2 {
			t.Errorf("read %d, %v", buf[0], err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, err := y.Write([]byte{2}); !errors.Is(err, ErrStreamClosed) {
			t.Errorf("write: got %v, want ErrStreamClosed", err)
		}
	})
}

// TestDatagramQueue: nobody reads, so that the oldest are dropped; the memory
// stays bounded and goes back at the end.
func TestDatagramQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 0)
		a, b := p.connect(4)
		x, y := stream(t, a, b, &StreamOptions{Mode: Datagram})
		before := p.budgetB.Used()
		const sent = 1000
		for n := range sent {
			if _, err := x.Write(binary.BigEndian.AppendUint32(make([]byte, 0, 1000), uint32(n))[:1000]); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if held := p.budgetB.Used() - before; held > flowQueue || held < flowQueue-2000 {
			t.Errorf("%d bytes are held, want close to %d", held, flowQueue)
		}
		dropped := p.b.Stats()[countDatagrams]
		buf := make([]byte, 1000)
		for n := dropped; n < sent; n++ {
			if _, err := y.Read(buf); err != nil || binary.BigEndian.Uint32(buf) != uint32(n) {
				t.Fatalf("datagram %d, %v; want %d", binary.BigEndian.Uint32(buf), err, n)
			}
		}
		if held := p.budgetB.Used() - before; held != 0 {
			t.Errorf("%d bytes are held of an empty queue", held)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, err := y.Read(buf); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want io.EOF at once: what was dropped here is not waited for", err)
		}
	})
}

// TestEarlyDatagrams: those that overtake the opening of their flow are held,
// 16 of a session for 1 s.
func TestEarlyDatagrams(t *testing.T) {
	for _, c := range []struct {
		name       string
		sent       int
		wait       time.Duration
		first, end int // of what is read
	}{
		{"in time", 10, 900 * time.Millisecond, 0, 10},
		{"too many", 20, 0, 4, 20},
		{"too late", 10, 1100 * time.Millisecond, 10, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 0)
				_, b := p.connect(4)
				const flow = 1
				for n := range c.sent {
					p.b.Datagram(b.id, flow, []byte{byte(n)})
				}
				time.Sleep(c.wait)
				p.b.Control(wire.AppendSession(nil, wire.SessionFlowOpen{Session: b.id, Flow: flow}))
				p.b.Datagram(b.id, flow, []byte{99})
				st, err := b.AcceptStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 1)
				for n := c.first; n <= c.end; n++ {
					want := byte(n)
					if n == c.end {
						want = 99
					}
					if _, err := st.Read(buf); err != nil || buf[0] != want {
						t.Fatalf("read %d, %v; want %d", buf[0], err, want)
					}
				}
				if len(b.early.list) != 0 {
					t.Errorf("%d are still held", len(b.early.list))
				}
			})
		})
	}
}

// TestLateDatagrams: those of a flow that is over reach no other one.
func TestLateDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 0)
		a, b := p.connect(4)
		x, y := stream(t, a, b, &StreamOptions{Mode: Datagram})
		for _, st := range []*Stream{x, y} {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		p.b.Datagram(b.id, 1, []byte("late"))
		p.b.Datagram(b.id, 2, []byte("of a flow of ours that there never was"))
		p.b.Datagram(77, 1, []byte("of no session"))
		if n := p.b.Stats()[countDatagrams]; n != 3 {
			t.Errorf("%d were dropped, want 3", n)
		}
		_, y = stream(t, a, b, &StreamOptions{Mode: Datagram})
		if err := y.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := y.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want nothing to be read", err)
		}
	})
}

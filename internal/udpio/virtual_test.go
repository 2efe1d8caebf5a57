package udpio

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

func readOne(t *testing.T, c net.PacketConn) message {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 2048)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return message{string(b[:n]), from.(*net.UDPAddr).AddrPort()}
}

func TestConn(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		a, b := open(t, n), open(t, n)
		va, vb := a.Conn(KRPC), b.Conn(KRPC)
		if got, want := va.LocalAddr().String(), a.LocalAddr().String(); got != want {
			t.Errorf("LocalAddr = %s, want %s", got, want)
		}
		if k, err := va.WriteTo([]byte("d1:qe"), vb.LocalAddr()); k != 5 || err != nil {
			t.Fatalf("WriteTo = %d, %v", k, err)
		}
		if got := readOne(t, vb); got != (message{"d1:qe", a.LocalAddr()}) {
			t.Errorf("got %v, want the query from %v", got, a.LocalAddr())
		}
		send(t, a, "dlong", b.LocalAddr())
		send(t, a, "dnext", b.LocalAddr())
		short := make([]byte, 2)
		if k, _, err := vb.ReadFrom(short); string(short[:k]) != "dl" || err != nil {
			t.Errorf("got %q, %v, want dl", short[:k], err)
		}
		if got := readOne(t, vb); got.b != "dnext" {
			t.Errorf("got %q, want dnext: the rest of the long one is lost", got.b)
		}
		if _, err := va.WriteTo([]byte("d"), nil); err == nil {
			t.Error("WriteTo took a nil address")
		}
		if _, err := va.WriteTo([]byte("d"), &net.UnixAddr{Name: "x"}); err == nil {
			t.Error("WriteTo took a unix address")
		}
	})
}

func TestConnDeadlines(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		s := open(t, n)
		v := s.Conn(KRPC)
		timeout := func(what string, err error) {
			t.Helper()
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s gave %v, want a timeout that matches os.ErrDeadlineExceeded", what, err)
			}
		}
		start := time.Now()
		v.SetReadDeadline(start.Add(20 * time.Millisecond))
		_, _, err := v.ReadFrom(make([]byte, 1))
		timeout("a read", err)
		if took := time.Since(start); took < 20*time.Millisecond {
			t.Errorf("the read failed after %v, want 20 ms", took)
		}
		v.SetReadDeadline(time.Now().Add(time.Hour))
		ended := make(chan error)
		go func() {
			_, _, err := v.ReadFrom(make([]byte, 1))
			ended <- err
		}()
		time.Sleep(5 * time.Millisecond)
		v.SetDeadline(time.Now().Add(-time.Second))
		timeout("a read whose deadline was moved", <-ended)
		_, err = v.WriteTo([]byte("d"), v.LocalAddr())
		timeout("a late write", err)
		v.SetDeadline(time.Time{})
		if _, err := v.WriteTo([]byte("d"), v.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if got := readOne(t, v); got.b != "d" {
			t.Errorf("got %q, want d: a deadline does not kill the conn", got.b)
		}
	})
}

func TestConnCloseLeavesTheSocketOpen(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		s := open(t, n)
		data := collect(s, Data)
		v := s.Conn(KRPC)
		ended := make(chan error)
		go func() {
			_, _, err := v.ReadFrom(make([]byte, 1))
			ended <- err
		}()
		time.Sleep(5 * time.Millisecond)
		for range 2 {
			if err := v.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the read ended with %v, want net.ErrClosed", err)
		}
		if _, err := v.WriteTo([]byte("d"), v.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTo gave %v, want net.ErrClosed", err)
		}
		if err := v.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline gave %v, want net.ErrClosed", err)
		}
		send(t, s, "d", s.LocalAddr())
		send(t, s, "\xC0", s.LocalAddr())
		take(t, data)
		if got := s.Stats().Unheard[KRPC]; got != 1 {
			t.Errorf("%d counted as unheard, want 1", got)
		}
	})
}

// TestNewestConnGetsTheKind: the older one's Close does not take the kind from it.
func TestNewestConnGetsTheKind(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		s := open(t, n)
		old := s.Conn(KRPC)
		fresh := s.Conn(KRPC)
		old.Close()
		send(t, s, "d", s.LocalAddr())
		if got := readOne(t, fresh); got.b != "d" {
			t.Errorf("got %q, want d", got.b)
		}
	})
}

// TestSlowConnHoldsNobodyUp: a conn that is not read fills to its limit; other kinds go on, and it too once it is read.
func TestSlowConnHoldsNobodyUp(t *testing.T) {
	s := new(Socket)
	s.conns = make(map[*virtual]struct{})
	v := s.Conn(KRPC)
	datagram := make([]byte, 1000)
	datagram[0] = 'd'
	const room = queueLimit / (1000 + queueOverhead)
	for range room + 7 {
		s.dispatch(datagram, sender)
	}
	heard := 0
	s.Handle(Data, func([]byte, netip.AddrPort) { heard++ })
	s.dispatch([]byte{0xC0}, sender)
	if got := s.Stats().QueueFull[KRPC]; got != 7 || heard != 1 {
		t.Errorf("%d dropped and %d of another kind heard, want 7 and 1", got, heard)
	}
	for range room {
		readOne(t, v)
	}
	s.dispatch(datagram, sender)
	if got := readOne(t, v); len(got.b) != 1000 {
		t.Errorf("%d bytes after the queue was read, want 1000", len(got.b))
	}
	if got := s.Stats().QueueFull[KRPC]; got != 7 {
		t.Errorf("%d dropped, want 7 still", got)
	}
}

package udpio

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
)

// onEach runs f over the operating system's loopback, over the lab, and over the lab in a bubble, where a goroutine that
// outlives the socket fails the test.
func onEach(t *testing.T, f func(*testing.T, Net)) {
	onLab := func(t *testing.T) {
		n := lab.New(lab.Options{})
		defer n.Close()
		f(t, n.Host(netip.MustParseAddr("10.0.0.1")))
	}
	t.Run("os", func(t *testing.T) { f(t, OS{}) })
	t.Run("lab", onLab)
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, onLab) })
}

func open(t *testing.T, n Net) *Socket {
	t.Helper()
	return openAt(t, n, "udp4", "127.0.0.1:0")
}

func openAt(t *testing.T, n Net, network, address string) *Socket {
	t.Helper()
	s, err := Listen(t.Context(), n, network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

type message struct {
	b    string
	from netip.AddrPort
}

// collect has the datagrams of a kind go to a channel.
func collect(s *Socket, k Kind) <-chan message {
	got := make(chan message, 300)
	s.Handle(k, func(b []byte, from netip.AddrPort) { got <- message{string(b), from} })
	return got
}

func take(t *testing.T, got <-chan message) message {
	t.Helper()
	select {
	case m := <-got:
		return m
	case <-time.After(5 * time.Second):
		t.Fatal("nothing arrived for 5 s")
		return message{}
	}
}

func send(t *testing.T, s *Socket, b string, to netip.AddrPort) {
	t.Helper()
	if err := s.WriteTo([]byte(b), to); err != nil {
		t.Fatal(err)
	}
}

func TestHandle(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		a, b := open(t, n), open(t, n)
		envelopes, krpc := collect(b, Envelope), collect(b, KRPC)
		send(t, a, "\xC8sealed", b.LocalAddr())
		send(t, a, "d1:qe", b.LocalAddr())
		send(t, a, "?", b.LocalAddr())
		send(t, a, "", b.LocalAddr())
		send(t, a, "\x00stun", b.LocalAddr())
		send(t, a, "\xC8last", b.LocalAddr())
		for _, want := range []string{"\xC8sealed", "\xC8last"} {
			if got := take(t, envelopes); got != (message{want, a.LocalAddr()}) {
				t.Errorf("got %v, want %q from %v", got, want, a.LocalAddr())
			}
		}
		if got := take(t, krpc); got != (message{"d1:qe", a.LocalAddr()}) {
			t.Errorf("got %v, want the query", got)
		}
		s := b.Stats()
		if s.Received[Envelope] != (Traffic{2, 12}) || s.Received[KRPC] != (Traffic{1, 5}) || s.Unknown != 1 || s.Empty != 1 || s.Unheard[STUN] != 1 {
			t.Errorf("the receiver counted %v", s.Counters())
		}
		s = a.Stats()
		if s.Sent[Envelope] != (Traffic{2, 12}) || s.Sent[STUN] != (Traffic{1, 5}) || s.SentUnknown != (Traffic{2, 1}) {
			t.Errorf("the sender counted %v", s.Counters())
		}
		b.Handle(Envelope, nil)
		send(t, a, "\xC8unheard", b.LocalAddr())
		send(t, a, "d", b.LocalAddr())
		take(t, krpc)
		if got := b.Stats().Unheard[Envelope]; got != 1 || len(envelopes) != 0 {
			t.Errorf("%d counted as unheard after Handle(nil), want 1", got)
		}
	})
}

func TestLargestDatagram(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		a, b := open(t, n), open(t, n)
		got := collect(b, KRPC)
		large := string(slices.Repeat([]byte{'d'}, 65507))
		send(t, a, large, b.LocalAddr())
		if m := take(t, got); m.b != large {
			t.Errorf("%d bytes arrived, want 65507", len(m.b))
		}
	})
}

// TestSendersAreUnmapped uses a socket of both families, which sees IPv4 senders as 4-in-6.
func TestSendersAreUnmapped(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		a, b := open(t, n), openAt(t, n, "udp", ":0")
		got := collect(b, KRPC)
		send(t, a, "d", netip.AddrPortFrom(a.LocalAddr().Addr(), b.LocalAddr().Port()))
		m := take(t, got)
		if m.from != a.LocalAddr() {
			t.Errorf("came from %v, want %v", m.from, a.LocalAddr())
		}
		back := collect(a, KRPC)
		send(t, b, "d2", m.from)
		take(t, back)
	})
}

// TestDestinationsAreUnmapped: no network need know of 4-in-6.
func TestDestinationsAreUnmapped(t *testing.T) {
	c := newScripted()
	s := openAt(t, c, "udp4", ":0")
	mapped := netip.AddrPortFrom(netip.AddrFrom16(sender.Addr().As16()), sender.Port())
	send(t, s, "d", mapped)
	if err := s.WriteSegments([]byte("dd"), 1, mapped); err != nil {
		t.Fatal(err)
	}
	if want := []netip.AddrPort{sender, sender, sender}; !slices.Equal(c.sent, want) {
		t.Errorf("sent to %v, want %v", c.sent, want)
	}
}

func TestAddressInUse(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		a := open(t, n)
		_, err := Listen(t.Context(), n, "udp4", a.LocalAddr().String())
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v, want EADDRINUSE", err)
		}
	})
}

func TestClose(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		s := open(t, n)
		v := s.Conn(KRPC)
		ended := make(chan error)
		go func() {
			_, _, err := v.ReadFrom(make([]byte, 10))
			ended <- err
		}()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				select {
				case <-s.Done():
				default:
					t.Error("Close returned before the reader had gone")
				}
			})
		}
		wg.Wait()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the virtual conn's read ended with %v, want net.ErrClosed", err)
		}
		if err := s.WriteTo([]byte("d"), s.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTo gave %v, want net.ErrClosed", err)
		}
		if _, _, err := s.Conn(STUN).ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a conn of a closed socket read %v, want net.ErrClosed", err)
		}
		if err := v.Close(); err != nil {
			t.Errorf("closing the virtual conn afterwards: %v", err)
		}
		openAt(t, n, "udp4", s.LocalAddr().String()) // the port is free again
	})
}

// TestParallelUse is for the race detector.
func TestParallelUse(t *testing.T) {
	onEach(t, func(t *testing.T, n Net) {
		s := open(t, n)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 50 {
					s.WriteTo([]byte("d1:qe"), s.LocalAddr())
					v := s.Conn(KRPC)
					v.SetReadDeadline(time.Now().Add(time.Millisecond))
					v.WriteTo([]byte("d1:re"), v.LocalAddr())
					v.ReadFrom(make([]byte, 10))
					s.Handle(KRPC, func([]byte, netip.AddrPort) {})
					s.SetTURNServers([]netip.AddrPort{s.LocalAddr()})
					s.Stats()
					v.Close()
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		wg.Wait()
		s.Close()
	})
}

// TestNoAllocations: the way of a datagram through WriteTo, the reader and a listener costs no memory.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates; only the exchange itself is tested")
	}
	s := open(t, OS{})
	got := make(chan int, 1)
	s.Handle(Data, func(b []byte, _ netip.AddrPort) { got <- len(b) })
	b := make([]byte, 1200)
	b[0] = 0xC0
	to := s.LocalAddr()
	allocs := testing.AllocsPerRun(500, func() {
		s.WriteTo(b, to)
		<-got
	})
	if allocs != 0 && !raceEnabled {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

// scripted is a Net whose socket reads what it is told: errors, then datagrams.
type scripted struct {
	OS
	reads  chan any // error or []byte
	calls  atomic.Int64
	closed chan struct{}
	once   sync.Once
	sent   []netip.AddrPort // where to; written by the test's goroutine only
}

func newScripted() *scripted {
	return &scripted{reads: make(chan any, 2000), closed: make(chan struct{})}
}

func (c *scripted) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return c, nil
}
func (c *scripted) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5} }
func (c *scripted) ReadFrom(b []byte) (int, net.Addr, error) {
	c.calls.Add(1)
	select {
	case <-c.closed:
		return 0, nil, errors.New("closed in the words of another network")
	case r := <-c.reads:
		if err, ok := r.(error); ok {
			return 0, nil, err
		}
		return copy(b, r.([]byte)), net.UDPAddrFromAddrPort(sender), nil
	}
}

func (c *scripted) WriteTo(b []byte, to net.Addr) (int, error) {
	c.sent = append(c.sent, to.(*net.UDPAddr).AddrPort())
	return len(b), nil
}

func (c *scripted) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

func TestReaderSurvivesErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ENOBUFS, syscall.EMSGSIZE, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			c := newScripted()
			s := openAt(t, c, "udp4", ":0")
			got := collect(s, KRPC)
			start := time.Now()
			for range patientReads {
				c.reads <- &net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError("recvfrom", errno)}
			}
			c.reads <- []byte("d")
			if m := take(t, got); m != (message{"d", sender}) {
				t.Errorf("%v: got %v", errno, m)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("%v: waited %v, want the first %d errors to cost no time", errno, took, patientReads)
			}
			if got := s.Stats().ReadErrors; got != patientReads {
				t.Errorf("%v: %d counted, want %d", errno, got, patientReads)
			}
		})
	}
}

// TestErrorsCostLittle: 1,000 errors in a row of one datagram each hold the reader up by a millisecond each at most; one
// that stays is met once a second.
func TestErrorsCostLittle(t *testing.T) {
	flood := func(err error) *scripted {
		c := newScripted()
		for range 1000 {
			c.reads <- err
		}
		return c
	}
	synctest.Test(t, func(t *testing.T) {
		c := flood(syscall.ECONNREFUSED)
		c.reads <- []byte("d")
		s := openAt(t, c, "udp4", ":0")
		start := time.Now()
		got := collect(s, KRPC)
		take(t, got)
		if took := time.Since(start); took > time.Second {
			t.Errorf("1,000 refusals held a datagram up for %v, want 1 s at most", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := flood(syscall.EIO)
		s := openAt(t, c, "udp4", ":0")
		time.Sleep(time.Minute)
		if calls := c.calls.Load(); calls < 60 || calls > 80 {
			t.Errorf("%d reads in a minute, want about one a second", calls)
		}
		start := time.Now()
		s.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v, want it not to wait for the pause", took)
		}
	})
}

func TestReaderEndsWithTheConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newScripted()
		s := openAt(t, c, "udp4", ":0")
		v := s.Conn(KRPC)
		c.reads <- &net.OpError{Op: "read", Net: "udp", Err: net.ErrClosed}
		<-s.Done()
		if _, _, err := v.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
	})
}

func TestOSLocalAddrs(t *testing.T) {
	got, err := OS{}.LocalAddrs()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := (OS{}).LocalAddrs(); !slices.Equal(got, again) {
		t.Errorf("two calls gave %v and %v", got, again)
	}
	for _, p := range got {
		if p.Addr().IsLinkLocalUnicast() || p.Addr().Is4In6() || !p.IsValid() {
			t.Errorf("%v is among the addresses", p)
		}
	}
}

func TestUsableAddresses(t *testing.T) {
	parse := func(list ...string) (addrs []net.Addr) {
		for _, s := range list {
			ip, ipNet, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: ipNet.Mask})
		}
		return addrs
	}
	cases := []struct {
		in   []net.Addr
		want []string
	}{
		{parse("127.0.0.1/8", "::1/128", "192.0.2.7/24", "fe80::1/64", "169.254.1.1/16", "2001:db8::7/64", "192.0.2.7/24"), []string{"192.0.2.7/24", "2001:db8::7/64"}},
		{parse("127.0.0.1/8", "::1/128", "fe80::1/64"), []string{"127.0.0.1/8", "::1/128"}},
		{[]net.Addr{&net.UnixAddr{}, &net.IPNet{}, &net.IPNet{IP: net.IPv4(192, 0, 2, 1).To16(), Mask: net.CIDRMask(120, 128)}}, []string{"192.0.2.1/24"}},
		{nil, nil},
	}
	for _, c := range cases {
		var got []string
		for _, p := range usable(c.in) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("usable(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

// TestIdleSocketIsOneGoroutine: a socket with virtual conns costs its reader and nothing else.
func TestIdleSocketIsOneGoroutine(t *testing.T) {
	settled := func(want int) int { // goroutines that have said they are done take a moment to go
		for range 200 {
			if runtime.NumGoroutine() == want {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		return runtime.NumGoroutine()
	}
	var before int
	for now := -1; now != before; now = runtime.NumGoroutine() { // wait for those of earlier tests
		before = runtime.NumGoroutine()
		time.Sleep(20 * time.Millisecond)
	}
	s := open(t, OS{})
	for k := range Kind(kinds) {
		s.Conn(k)
	}
	if got := settled(before + 1); got != before+1 {
		t.Errorf("%d goroutines, want 1", got-before)
	}
	s.Close()
	if got := settled(before); got != before {
		t.Errorf("%d goroutines stay after Close", got-before)
	}
}

// BenchmarkLoopback is one 1200-byte datagram from socket to socket.
func BenchmarkLoopback(b *testing.B) {
	s, err := Listen(b.Context(), OS{}, "udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	got := make(chan struct{}, 1)
	s.Handle(Data, func([]byte, netip.AddrPort) { got <- struct{}{} })
	packet := make([]byte, 1200)
	packet[0] = 0xC0
	b.ReportAllocs()
	b.SetBytes(1200)
	for b.Loop() {
		s.WriteTo(packet, s.LocalAddr())
		<-got
	}
}

package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
	addrC = netip.MustParseAddr("10.0.0.3")
)

// arrived is a numbered datagram with the time since the start at which it came.
type arrived struct {
	number int
	at     time.Duration
}

// line is a sender and a receiver on one link.
type line struct {
	*Network
	from, to udpConn
	start    time.Time
}

// onLine runs f in a bubble with a network whose default link is l.
func onLine(t *testing.T, l Link, f func(*testing.T, *line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Seed: 1, Default: l, ReceiveBuffer: 1 << 30})
		defer n.Close()
		f(t, &line{n, listen(t, n.Host(addrA), "udp4", ":0"), listen(t, n.Host(addrB), "udp4", ":7"), time.Now()})
	})
}

// send sends a datagram of size bytes that begins with its number.
func (l *line) send(t *testing.T, number, size int) {
	t.Helper()
	b := make([]byte, max(size, 4))
	binary.BigEndian.PutUint32(b, uint32(number))
	if _, err := l.from.WriteToUDPAddrPort(b, netip.AddrPortFrom(addrB, 7)); err != nil {
		t.Fatal(err)
	}
}

// receive takes all that arrives until nothing has for a minute.
func (l *line) receive(t *testing.T) []arrived {
	t.Helper()
	var all []arrived
	b := make([]byte, maxDatagram)
	for {
		l.to.SetReadDeadline(time.Now().Add(time.Minute))
		if _, _, err := l.to.ReadFromUDPAddrPort(b); err != nil {
			wantTimeout(t, err)
			return all
		}
		all = append(all, arrived{int(binary.BigEndian.Uint32(b)), time.Since(l.start)})
	}
}

func TestDelay(t *testing.T) {
	onLine(t, Link{Delay: 50 * time.Millisecond}, func(t *testing.T, l *line) {
		for i := range 3 {
			l.send(t, i, 100)
		}
		time.Sleep(10 * time.Millisecond)
		l.send(t, 3, 100)
		want := []arrived{{0, 50e6}, {1, 50e6}, {2, 50e6}, {3, 60e6}}
		if got := l.receive(t); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestPerfectLinkDeliversAtOnce(t *testing.T) {
	onLine(t, Link{}, func(t *testing.T, l *line) {
		l.send(t, 7, 100)
		if got := l.Stats().Delivered; got != 1 {
			t.Errorf("%d delivered when WriteTo returns, want 1", got)
		}
		if got, want := l.receive(t), []arrived{{7, 0}}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestJitterNeverReorders(t *testing.T) {
	onLine(t, Link{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond}, func(t *testing.T, l *line) {
		all := make(chan []arrived)
		go func() { all <- l.receive(t) }()
		for i := range 500 {
			l.send(t, i, 100)
			time.Sleep(50 * time.Millisecond) // apart by more than the jitter, so that each draw shows
		}
		low, high := time.Hour, time.Duration(0)
		for i, a := range <-all {
			took := a.at - time.Duration(i)*50*time.Millisecond
			low, high = min(low, took), max(high, took)
		}
		if low <= 10e6 || low > 11e6 || high < 29e6 || high > 30e6 {
			t.Errorf("took %v to %v, want nearly 10 to 30 ms", low, high)
		}
	})
	onLine(t, Link{Jitter: 20 * time.Millisecond}, func(t *testing.T, l *line) {
		for i := range 500 {
			l.send(t, i, 100)
			time.Sleep(time.Millisecond)
		}
		got := l.receive(t)
		if len(got) != 500 {
			t.Fatalf("%d arrived, want 500", len(got))
		}
		for i, a := range got {
			if a.number != i {
				t.Fatalf("number %d arrived in place %d", a.number, i)
			}
		}
	})
}

// TestChances sends 10,000 and wants each chance within a tenth of what was told, and the counters to agree.
func TestChances(t *testing.T) {
	const total = 10000
	near := func(t *testing.T, what string, got int, p float64) {
		t.Helper()
		if want := p * total; float64(got) < 0.9*want || float64(got) > 1.1*want {
			t.Errorf("%d %s, want about %.0f", got, what, want)
		}
	}
	run := func(t *testing.T, l Link, check func(*testing.T, []arrived, Stats)) {
		onLine(t, l, func(t *testing.T, l *line) {
			for i := range total {
				l.send(t, i, 10)
				time.Sleep(time.Millisecond)
			}
			got := l.receive(t)
			s := l.Stats()
			if s.Sent != total || s.Delivered != uint64(len(got)) || s.Sent+s.Duplicated != s.Delivered+s.Lost {
				t.Errorf("%d arrived, counters do not add up: %+v", len(got), s)
			}
			check(t, got, s)
		})
	}
	t.Run("loss", func(t *testing.T) {
		run(t, Link{Delay: time.Millisecond, Loss: 0.3}, func(t *testing.T, got []arrived, s Stats) {
			near(t, "arrived", len(got), 0.7)
			near(t, "counted", int(s.Lost), 0.3)
		})
	})
	t.Run("total loss", func(t *testing.T) {
		run(t, Link{Loss: 1}, func(t *testing.T, got []arrived, _ Stats) {
			if len(got) != 0 {
				t.Errorf("%d arrived, want none", len(got))
			}
		})
	})
	t.Run("duplicate", func(t *testing.T) {
		run(t, Link{Delay: time.Millisecond, Duplicate: 0.2}, func(t *testing.T, got []arrived, s Stats) {
			near(t, "arrived", len(got)-total, 0.2)
			near(t, "counted", int(s.Duplicated), 0.2)
		})
	})
	t.Run("reorder", func(t *testing.T) {
		run(t, Link{Delay: 20 * time.Millisecond, Reorder: 0.1}, func(t *testing.T, got []arrived, s Stats) {
			late := 0 // overtaken by a later one
			highest := -1
			for _, a := range got {
				if a.number < highest {
					late++
				}
				highest = max(highest, a.number)
			}
			near(t, "counted", int(s.Reordered), 0.1)
			if len(got) != total || late < int(s.Reordered)*8/10 || late > int(s.Reordered) {
				t.Errorf("%d arrived, %d overtaken of %d held back", len(got), late, s.Reordered)
			}
		})
	})
}

func TestRate(t *testing.T) {
	onLine(t, Link{Delay: 10 * time.Millisecond, Rate: 100_000}, func(t *testing.T, l *line) {
		for i := range 5 {
			l.send(t, i, 1000)
		}
		want := []arrived{{0, 20e6}, {1, 30e6}, {2, 40e6}, {3, 50e6}, {4, 60e6}}
		if got := l.receive(t); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestQueue(t *testing.T) {
	onLine(t, Link{Rate: 100_000, Queue: 3000}, func(t *testing.T, l *line) {
		for i := range 10 {
			l.send(t, i, 1000)
		}
		if got, want := l.receive(t), []arrived{{0, 10e6}, {1, 20e6}, {2, 30e6}}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := l.Stats().QueueFull; got != 7 {
			t.Errorf("%d dropped before the queue, want 7", got)
		}
		l.send(t, 10, 5000) // larger than the queue, but the link is idle
		if got := l.receive(t); len(got) != 1 {
			t.Errorf("got %v, want the large one", got)
		}
	})
	onLine(t, Link{Rate: 1000}, func(t *testing.T, l *line) {
		for i := range 100 {
			l.send(t, i, 1024)
		}
		if got := len(l.receive(t)); got != 64 {
			t.Errorf("%d arrived through the queue that zero means, want 64 of 1 KiB", got)
		}
	})
}

func TestSetLinkIsForOneDirection(t *testing.T) {
	onLine(t, Link{Delay: 10 * time.Millisecond}, func(t *testing.T, l *line) {
		l.SetLink(addrA, addrB, Link{Delay: time.Second})
		l.send(t, 1, 4)
		if got, want := l.receive(t), []arrived{{1, time.Second}}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		start := time.Now()
		write(t, l.to, "back", &net.UDPAddr{IP: addrA.AsSlice(), Port: l.from.LocalAddr().(*net.UDPAddr).Port})
		read(t, l.from)
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("the way back took %v, want the default's 10 ms", took)
		}
		l.SetLink(addrA, addrB, Link{})
		start = time.Now()
		l.send(t, 2, 4)
		read(t, l.to)
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v after the link was made perfect, want 0", took)
		}
	})
}

// TestSetDefault: a default that changes holds where SetLink was not called, also where datagrams have gone before.
func TestSetDefault(t *testing.T) {
	for _, set := range []bool{false, true} {
		onLine(t, Link{Delay: 10 * time.Millisecond}, func(t *testing.T, l *line) {
			want := 30 * time.Millisecond
			if set {
				want = 100 * time.Millisecond
				l.SetLink(addrA, addrB, Link{Delay: want})
			}
			l.send(t, 1, 4)
			read(t, l.to)
			for _, delay := range []time.Duration{30 * time.Millisecond, 0} {
				l.SetDefault(Link{Delay: delay})
				if !set {
					want = delay
				}
				start := time.Now()
				l.send(t, 2, 4)
				read(t, l.to)
				if took := time.Since(start); took != want {
					t.Errorf("link set %t, default %v: took %v, want %v", set, delay, took, want)
				}
			}
		})
	}
}

// TestShortcutKeepsOrder: a datagram on a perfect link sent at the instant when an earlier one of another link is due
// arrives after it.
func TestShortcutKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{})
		defer n.Close()
		n.SetLink(addrA, addrC, Link{Delay: time.Millisecond})
		a, b, c := listen(t, n.Host(addrA), "udp4", ":1"), listen(t, n.Host(addrB), "udp4", ":1"), listen(t, n.Host(addrC), "udp4", ":1")
		write(t, a, "early", &net.UDPAddr{IP: addrC.AsSlice(), Port: 1})
		n.timer.Stop() // as if the timer's goroutine came second at that instant
		time.Sleep(time.Millisecond)
		write(t, b, "late", &net.UDPAddr{IP: addrC.AsSlice(), Port: 1})
		first, _ := read(t, c)
		if second, _ := read(t, c); first != "early" || second != "late" {
			t.Errorf("got %q, %q, want early, late", first, second)
		}
	})
}

func TestPartition(t *testing.T) {
	onLine(t, Link{Delay: time.Second}, func(t *testing.T, l *line) {
		c := listen(t, l.Host(addrC), "udp4", ":1")
		reaches := func(from udpConn) bool {
			from.WriteToUDPAddrPort(make([]byte, 4), netip.AddrPortFrom(addrB, 7))
			return len(l.receive(t)) == 1
		}
		if !reaches(l.from) || !reaches(c) {
			t.Fatal("no traffic before the partition")
		}
		l.send(t, 1, 4)
		l.Partition([]netip.Addr{addrB}, []netip.Addr{addrA})
		if got := l.receive(t); len(got) != 0 {
			t.Errorf("got %v, want what was in flight to be lost", got)
		}
		if reaches(l.from) {
			t.Error("A reaches B through the partition")
		}
		if !reaches(c) {
			t.Error("C, on no side, does not reach B")
		}
		if got := l.Stats().Partitioned; got != 2 {
			t.Errorf("%d counted, want 2", got)
		}
		l.Heal()
		if !reaches(l.from) {
			t.Error("A does not reach B after Heal")
		}
		l.Partition([]netip.Addr{addrB}, nil)
		if reaches(l.from) || reaches(c) {
			t.Error("B is reached though cut off from everybody")
		}
	})
}

func TestDown(t *testing.T) {
	onLine(t, Link{Delay: time.Second}, func(t *testing.T, l *line) {
		b := l.Host(addrB)
		l.send(t, 1, 4)
		b.Down()
		if got := l.receive(t); len(got) != 0 || l.Stats().HostDown != 1 {
			t.Errorf("got %v, %+v, want the one in flight dropped and counted", got, l.Stats())
		}
		if _, err := l.to.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(addrA, 1)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sending from a host that is down gave %v, want ENETUNREACH", err)
		}
		if addrs, _ := b.LocalAddrs(); len(addrs) != 0 {
			t.Errorf("LocalAddrs = %v, want none", addrs)
		}
		b.Up()
		l.send(t, 2, 4)
		if got := l.receive(t); len(got) != 1 {
			t.Errorf("got %v after Up, want one", got)
		}
	})
}

func TestTapSeesAll(t *testing.T) {
	type seen struct {
		from, to netip.AddrPort
		b        string
	}
	onLine(t, Link{Loss: 1}, func(t *testing.T, l *line) {
		var got []seen
		l.Tap(func(from, to netip.AddrPort, b []byte) { got = append(got, seen{from, to, string(b)}) })
		from := netip.AddrPortFrom(addrA, uint16(l.from.LocalAddr().(*net.UDPAddr).Port))
		b, self := netip.AddrPortFrom(addrB, 7), netip.AddrPortFrom(addrA, 1)
		l.from.WriteToUDPAddrPort([]byte("lost"), b)
		l.from.WriteToUDPAddrPort([]byte("self"), self)
		l.Partition([]netip.Addr{addrA}, []netip.Addr{addrB})
		l.from.WriteToUDPAddrPort([]byte("cut"), b)
		if want := []seen{{from, b, "lost"}, {from, self, "self"}, {from, b, "cut"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestForge: a datagram comes as from whom it says, and cuts between the two hold.
func TestForge(t *testing.T) {
	onLine(t, Link{Delay: time.Second}, func(t *testing.T, l *line) {
		forger, from, to := l.Host(addrC), netip.AddrPortFrom(addrA, 9), netip.AddrPortFrom(addrB, 7)
		b := []byte("forged")
		forger.Forge(b, from, to)
		b[0] = 'F' // it is the caller's again
		buf := make([]byte, 100)
		n, at, err := l.to.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "forged" || at != from || time.Since(l.start) != time.Second {
			t.Errorf("got %q from %v after %v, %v; want forged from %v after 1 s", buf[:n], at, time.Since(l.start), err, from)
		}
		l.Partition([]netip.Addr{addrA}, []netip.Addr{addrB})
		forger.Forge(b, from, to)
		if s := l.Stats(); s.Partitioned != 1 || s.Sent != 2 {
			t.Errorf("counted %+v, want 1 of 2 cut off", s)
		}
	})
}

func TestReceiveBufferIsBounded(t *testing.T) {
	n := New(Options{ReceiveBuffer: 10 * (100 + datagramOverhead)})
	defer n.Close()
	a, b := listen(t, n.Host(addrA), "udp4", ":1"), listen(t, n.Host(addrB), "udp4", ":1")
	for range 25 {
		write(t, a, string(make([]byte, 100)), &net.UDPAddr{IP: addrB.AsSlice(), Port: 1})
	}
	if s := n.Stats(); s.Delivered != 10 || s.BufferFull != 15 || b.(*Conn).Dropped() != 15 {
		t.Errorf("counted %+v, dropped %d, want 10 delivered and 15 dropped", s, b.(*Conn).Dropped())
	}
	read(t, b)
	write(t, a, "room again", &net.UDPAddr{IP: addrB.AsSlice(), Port: 1})
	if s := n.Stats(); s.Delivered != 11 {
		t.Errorf("%d delivered after one was read, want 11", s.Delivered)
	}
}

func TestNobodyThere(t *testing.T) {
	n := New(Options{})
	defer n.Close()
	a := listen(t, n.Host(addrA), "udp4", ":1")
	n.Host(addrB)
	write(t, a, "x", &net.UDPAddr{IP: addrB.AsSlice(), Port: 1})
	write(t, a, "x", &net.UDPAddr{IP: addrC.AsSlice(), Port: 1})
	if s := n.Stats(); s.NoPort != 1 || s.NoHost != 1 {
		t.Errorf("counted %+v, want 1 without a port and 1 without a host", s)
	}
}

func TestHostAddresses(t *testing.T) {
	n := New(Options{})
	defer n.Close()
	six, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.9.9.9")
	h := n.Host(addrA)
	h.AddAddr(six)
	if n.Host(six) != h {
		t.Error("Host of the second address is another host")
	}
	got, _ := h.LocalAddrs()
	if want := []netip.Prefix{netip.PrefixFrom(addrA, 24), netip.PrefixFrom(six, 64)}; !reflect.DeepEqual(got, want) {
		t.Errorf("LocalAddrs = %v, want %v", got, want)
	}
	b := listen(t, n.Host(addrB), "udp4", ":7")
	bound, wild := listen(t, h, "udp4", "10.0.0.1:5"), listen(t, h, "udp4", ":6")
	listen(t, h, "udp6", ":6") // another family, no conflict
	h.RemoveAddr(addrA)
	h.AddAddr(other)
	if _, err := bound.WriteTo([]byte("x"), &net.UDPAddr{IP: addrB.AsSlice(), Port: 7}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("sending from a lost address gave %v, want EADDRNOTAVAIL", err)
	}
	write(t, wild, "roamed", &net.UDPAddr{IP: addrB.AsSlice(), Port: 7})
	if _, from := read(t, b); from.String() != "10.9.9.9:6" {
		t.Errorf("came from %v, want the new address", from)
	}
	if n.Host(addrA) == h {
		t.Error("the removed address is still the host's")
	}
}

func TestLookup(t *testing.T) {
	n := New(Options{})
	defer n.Close()
	six := netip.MustParseAddr("2001:db8::1")
	n.Name("router.test", addrB, six)
	h := n.Host(addrA)
	cases := []struct {
		network, host string
		want          []netip.Addr
	}{
		{"ip", "router.test", []netip.Addr{addrB, six}},
		{"ip4", "router.test", []netip.Addr{addrB}},
		{"ip6", "router.test", []netip.Addr{six}},
		{"ip", "10.0.0.3", []netip.Addr{addrC}},
		{"ip4", "2001:db8::1", nil},
		{"ip", "nobody.test", nil},
	}
	for _, c := range cases {
		got, err := h.LookupNetIP(t.Context(), c.network, c.host)
		var dns *net.DNSError
		if !reflect.DeepEqual(got, c.want) || (c.want == nil) != (errors.As(err, &dns) && dns.IsNotFound) {
			t.Errorf("LookupNetIP(%s, %s) = %v, %v, want %v", c.network, c.host, got, err, c.want)
		}
	}
	listen(t, n.Host(addrB), "udp4", ":7")
	c, err := h.DialContext(t.Context(), "udp4", "router.test:7")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != "10.0.0.2:7" {
		t.Errorf("dialled %s, want 10.0.0.2:7", got)
	}
}

func TestCloseEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails if a goroutine stays
		n := New(Options{Default: Link{Delay: time.Hour}})
		c := listen(t, n.Host(addrA), "udp4", ":1")
		write(t, c, "x", &net.UDPAddr{IP: addrB.AsSlice(), Port: 1})
		done := make(chan error)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		n.Close()
		n.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the read ended with %v, want net.ErrClosed", err)
		}
		if _, err := n.Host(addrA).ListenPacket(t.Context(), "udp4", ":2"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listening on a closed network gave %v, want net.ErrClosed", err)
		}
	})
}

// trace runs three echoing hosts over a bad network and returns what was sent and received, with times.
func trace(t *testing.T, seed uint64) string {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Seed: seed, Default: Link{
			Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond,
			Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Rate: 50_000, Queue: 20_000,
		}})
		defer n.Close()
		start := time.Now()
		n.Tap(func(from, to netip.AddrPort, b []byte) {
			fmt.Fprintln(&log, time.Since(start), from, to, string(b))
		})
		a := listen(t, n.Host(addrA), "udp4", ":7")
		for _, addr := range []netip.Addr{addrB, addrC} {
			c := listen(t, n.Host(addr), "udp4", ":7")
			go func() {
				b := make([]byte, 2000)
				for {
					k, from, err := c.ReadFromUDPAddrPort(b)
					if err != nil {
						return
					}
					c.WriteToUDPAddrPort(b[:k], from)
				}
			}()
		}
		for i := range 300 {
			a.WriteToUDPAddrPort(fmt.Appendf(nil, "%d", i), netip.AddrPortFrom([]netip.Addr{addrB, addrC}[i%2], 7))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		fmt.Fprintf(&log, "%+v", n.Stats())
	})
	return log.String()
}

func TestSameSeedSameTrace(t *testing.T) {
	first := trace(t, 1)
	for range 5 {
		if again := trace(t, 1); again != first {
			t.Fatalf("the same seed gave two traces:\n%s\n\n%s", first, again)
		}
	}
	if other := trace(t, 2); other == first {
		t.Error("another seed gave the same trace")
	}
}

// TestThousandHosts has each of 1,000 hosts send to 50 others, and wants it within seconds, and an idle day at once.
func TestThousandHosts(t *testing.T) {
	const hosts, peers = 1000, 50
	start := time.Now()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Default: Link{Delay: 30 * time.Millisecond, Jitter: 5 * time.Millisecond}})
		defer n.Close()
		addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
		conns := make([]udpConn, hosts)
		for i := range conns {
			conns[i] = listen(t, n.Host(addr(i)), "udp4", ":7")
			go func() {
				b := make([]byte, 100)
				for {
					if _, _, err := conns[i].ReadFromUDPAddrPort(b); err != nil {
						return
					}
				}
			}()
		}
		for i, c := range conns {
			for k := range peers {
				c.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(addr((i+7*k+1)%hosts), 7))
			}
		}
		time.Sleep(24 * time.Hour)
		if got := n.Stats().Delivered; got != hosts*peers {
			t.Errorf("%d delivered, want %d", got, hosts*peers)
		}
	})
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestLinkWithoutMeaningPanics(t *testing.T) {
	for _, l := range []Link{{Loss: 1.5}, {Duplicate: -1}, {Reorder: 2}, {Delay: -1}, {Rate: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("SetLink took %+v", l)
				}
			}()
			n := New(Options{})
			defer n.Close()
			n.SetLink(addrA, addrB, l)
		}()
	}
}

// BenchmarkDatagram is one datagram over a link with delay, sent and read.
func BenchmarkDatagram(b *testing.B) {
	for _, link := range []Link{{}, {Delay: time.Microsecond}} {
		b.Run(fmt.Sprint(link.Delay), func(b *testing.B) {
			n := New(Options{Default: link})
			defer n.Close()
			src, _ := n.Host(addrA).ListenPacket(b.Context(), "udp4", ":1")
			dst, _ := n.Host(addrB).ListenPacket(b.Context(), "udp4", ":1")
			buf := make([]byte, 1200)
			b.ReportAllocs()
			b.SetBytes(1200)
			for b.Loop() {
				src.(*Conn).WriteToUDPAddrPort(buf, netip.AddrPortFrom(addrB, 1))
				dst.(*Conn).ReadFromUDPAddrPort(buf)
			}
		})
	}
}

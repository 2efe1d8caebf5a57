package udpio

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
)

// bothWays runs f with what the system offers for batches and with a call for each datagram.
func bothWays(t *testing.T, f func(t *testing.T)) {
	for name, value := range map[string]string{"offload": "", "plain": "1"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(switchOff, value)
			f(t)
		})
	}
}

// numbered makes datagrams of kind Data of size bytes, length in all, each of which begins with its number.
func numbered(length, size int) []byte {
	b := make([]byte, length)
	for i, d := range slices.Collect(slices.Chunk(b, size)) {
		for j := range d {
			d[j] = byte(i*31 + j*7)
		}
		d[0] = 0xC0
		if len(d) > 2 {
			d[1], d[2] = byte(i>>8), byte(i)
		}
	}
	return b
}

// shapes gives batches to try: datagram size and bytes in all. One fits into the smallest receive buffer.
func shapes() (all [][2]int) {
	for _, size := range []int{1, 2, 100, 1200, 1452, 9000, 32753, 32754, 40000, 65507} {
		for _, count := range []int{1, 2, 3, 45, 63, 64, 65, 129} {
			if size*count > 100_000 {
				continue
			}
			for _, short := range []int{0, 1, size / 2, size - 1} {
				if short < size {
					all = append(all, [2]int{size, size*count - short})
				}
			}
		}
	}
	return all
}

// exchange sends each of the shapes and checks that what arrives is the same datagrams in the same order.
func exchange(t *testing.T, from, to *Socket, dest netip.AddrPort) {
	t.Helper()
	type arrival struct {
		b    []byte
		from netip.AddrPort
	}
	got := make(chan arrival, 200)
	to.Handle(Data, func(b []byte, from netip.AddrPort) {
		got <- arrival{slices.Clone(b), from}
		clear(b[:cap(b)]) // as far as a listener can reach, nobody minds
	})
	sent := 0
	for _, shape := range shapes() {
		size, length := shape[0], shape[1]
		b := numbered(length, size)
		before := bytes.Clone(b)
		if err := from.WriteSegments(b, size, dest); err != nil {
			t.Fatalf("%d bytes by %d: %v", length, size, err)
		}
		if !bytes.Equal(b, before) {
			t.Fatalf("%d bytes by %d: WriteSegments changed them", length, size)
		}
		i := 0
		for want := range slices.Chunk(b, size) {
			select {
			case a := <-got:
				if !bytes.Equal(a.b, want) {
					t.Fatalf("%d bytes by %d: datagram %d has %d bytes that begin with %x, want %d with %x",
						length, size, i, len(a.b), a.b[:min(4, len(a.b))], len(want), want[:min(4, len(want))])
				}
				if a.from.Port() != from.LocalAddr().Port() || a.from.Addr().Is4In6() {
					t.Fatalf("came from %v, want %v", a.from, from.LocalAddr())
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%d bytes by %d: datagram %d did not arrive in 5 s", length, size, i)
			}
			i++
		}
		sent += i
	}
	if n := len(got); n != 0 {
		t.Errorf("%d datagrams more than were sent", n)
	}
	var total uint64
	for _, shape := range shapes() {
		total += uint64(shape[1])
	}
	want := Traffic{uint64(sent), total}
	if s := from.Stats(); s.Sent[Data] != want || s.WriteErrors != 0 {
		t.Errorf("the sender counted %v, want %v", s.Counters(), want)
	}
	if s := to.Stats(); s.Received[Data] != want {
		t.Errorf("the receiver counted %v, want %v", s.Counters(), want)
	}
}

func TestWriteSegments(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		onEach(t, func(t *testing.T, n Net) {
			a, b := open(t, n), open(t, n)
			exchange(t, a, b, b.LocalAddr())
		})
	})
}

func TestWriteSegmentsOverIPv6(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		a, b := openAt(t, OS{}, "udp6", "[::1]:0"), openAt(t, OS{}, "udp6", "[::1]:0")
		exchange(t, a, b, b.LocalAddr())
	})
}

// TestWriteSegmentsUnmapped uses a socket of both families, which sees IPv4 senders as 4-in-6, and destinations that are.
func TestWriteSegmentsUnmapped(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		a, b := open(t, OS{}), openAt(t, OS{}, "udp", ":0")
		mapped := netip.AddrPortFrom(netip.AddrFrom16(a.LocalAddr().Addr().As16()), b.LocalAddr().Port())
		exchange(t, a, b, mapped)
		exchange(t, b, a, a.LocalAddr())
	})
}

func TestWriteSegmentsOfNoSize(t *testing.T) {
	s := open(t, OS{})
	for _, size := range []int{0, -1} {
		if err := s.WriteSegments([]byte("\xC0"), size, s.LocalAddr()); err == nil {
			t.Errorf("a size of %d was taken", size)
		}
	}
	if err := s.WriteSegments(nil, 1200, s.LocalAddr()); err != nil {
		t.Errorf("no bytes: %v", err)
	}
	if got := s.Stats().Counters(); len(got) != 0 {
		t.Errorf("counted %v, want nothing", got)
	}
}

// kernel stands for a socket: it notes the calls, and fails those it is told to.
type kernel struct {
	batches, singles [][]byte // one a call that went well
	sizes            []int
	calls            int
	failBatch        func(call int) error
	failSingle       func(call int) error
}

func (k *kernel) send(b []byte, size int, to netip.AddrPort) error {
	k.calls++
	if to != sender {
		return fmt.Errorf("sent to %v, want %v", to, sender)
	}
	if k.failBatch != nil {
		if err := k.failBatch(k.calls); err != nil {
			return &net.OpError{Op: "write", Net: "udp", Err: err}
		}
	}
	k.batches, k.sizes = append(k.batches, b), append(k.sizes, size)
	return nil
}

func (k *kernel) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	k.calls++
	if to != sender {
		return 0, fmt.Errorf("sent to %v, want %v", to, sender)
	}
	if k.failSingle != nil {
		if err := k.failSingle(k.calls); err != nil {
			return 0, err
		}
	}
	k.singles = append(k.singles, b)
	return len(b), nil
}

func (k *kernel) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, net.ErrClosed
}
func (k *kernel) LocalAddr() net.Addr { return &net.UDPAddr{} }
func (k *kernel) Close() error        { return nil }

func (k *kernel) socket() *Socket { return &Socket{conn: k, offload: offload{send: k.send}} }

// TestBatches holds what each call carries: at most 64 datagrams and 65,507 bytes, as many as go, and a datagram that is
// alone goes by the plain call; none is sent to a 4-in-6 address.
func TestBatches(t *testing.T) {
	mapped := netip.AddrPortFrom(netip.AddrFrom16(sender.Addr().As16()), sender.Port())
	for _, shape := range shapes() {
		size, length := shape[0], shape[1]
		b := numbered(length, size)
		var k kernel
		if err := k.socket().WriteSegments(b, size, mapped); err != nil {
			t.Fatal(err)
		}
		per := max(1, min(64, 65507/size))
		want := (length + size*per - 1) / (size * per)
		if per == 1 {
			want = 0
		} else if rest := length % (size * per); rest != 0 && rest <= size {
			want--
		}
		if len(k.batches) != want {
			t.Errorf("%d bytes by %d: %d batches, want %d", length, size, len(k.batches), want)
		}
		for i, batch := range k.batches {
			if n := (len(batch) + size - 1) / size; n < 2 || n > 64 || len(batch) > 65507 || k.sizes[i] != size {
				t.Errorf("%d bytes by %d: a batch of %d datagrams, %d bytes, by %d", length, size, n, len(batch), k.sizes[i])
			}
		}
		if all := append(bytes.Join(k.batches, nil), bytes.Join(k.singles, nil)...); !bytes.Equal(all, b) {
			t.Errorf("%d bytes by %d: other bytes went out", length, size)
		}
		for _, d := range k.singles {
			if len(d) > size {
				t.Errorf("%d bytes by %d: a datagram of %d", length, size, len(d))
			}
		}
	}
}

// TestRefusedBatch: the datagrams of a batch that the system will not cut go one by one, and if it never will, so do
// those of the next.
func TestRefusedBatch(t *testing.T) {
	const size, length = 1000, 64*1000*2 + 1500 // batches of 64, 64 and 2
	for errno, remembered := range map[syscall.Errno]bool{syscall.EIO: true, syscall.EINVAL: false, syscall.EMSGSIZE: false} {
		b := numbered(length, size)
		k := kernel{failBatch: func(int) error { return errno }}
		s := k.socket()
		if err := s.WriteSegments(b, size, sender); err != nil {
			t.Fatalf("%v: %v", errno, err)
		}
		if got := slices.Collect(slices.Chunk(b, size)); !slices.EqualFunc(k.singles, got, bytes.Equal) {
			t.Errorf("%v: %d datagrams went one by one, want %d, in order", errno, len(k.singles), len(got))
		}
		refused := uint64(3)
		if remembered {
			refused = 1
		}
		st := s.Stats()
		if st.RefusedBatches != refused || st.SentBatches != 0 || st.WriteErrors != 0 || st.Sent[Data] != (Traffic{130, length}) {
			t.Errorf("%v: counted %v, want %d refused", errno, st.Counters(), refused)
		}

		k.failBatch, k.singles = nil, nil
		if err := s.WriteSegments(b, size, sender); err != nil {
			t.Fatalf("%v: %v", errno, err)
		}
		if plain := len(k.batches) == 0; plain != remembered {
			t.Errorf("%v: afterwards %d batches and %d single datagrams", errno, len(k.batches), len(k.singles))
		}
	}
}

// TestRefusedInTheMiddle: what went before a refused batch does not go twice.
func TestRefusedInTheMiddle(t *testing.T) {
	b := numbered(64*1000*3, 1000)
	k := kernel{failBatch: func(call int) error {
		if call == 2 {
			return syscall.EINVAL
		}
		return nil
	}}
	s := k.socket()
	if err := s.WriteSegments(b, 1000, sender); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if len(k.batches) != 2 || len(k.singles) != 64 || st.SentBatches != 2 || st.RefusedBatches != 1 || st.Sent[Data] != (Traffic{192, 192_000}) {
		t.Errorf("%d batches, %d single datagrams, counted %v", len(k.batches), len(k.singles), st.Counters())
	}
	if !bytes.Equal(k.singles[0], b[64_000:65_000]) || !bytes.Equal(k.batches[1], b[128_000:]) {
		t.Error("other datagrams than those of the second batch went one by one")
	}
}

// TestFailedBatch: an error that is not about the cutting is the caller's, and nothing goes twice.
func TestFailedBatch(t *testing.T) {
	b := numbered(64*1000*3, 1000)
	k := kernel{failBatch: func(call int) error {
		if call == 2 {
			return syscall.ENETUNREACH
		}
		return nil
	}}
	s := k.socket()
	if err := s.WriteSegments(b, 1000, sender); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("got %v, want ENETUNREACH", err)
	}
	st := s.Stats()
	if k.calls != 2 || st.SentBatches != 1 || st.WriteErrors != 1 || st.RefusedBatches != 0 || st.Sent[Data] != (Traffic{64, 64_000}) {
		t.Errorf("%d calls, counted %v", k.calls, st.Counters())
	}

	k = kernel{failSingle: func(call int) error {
		if call == 3 {
			return syscall.ENOBUFS
		}
		return nil
	}}
	s = &Socket{conn: &k}
	if err := s.WriteSegments(b, 1000, sender); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("got %v, want ENOBUFS", err)
	}
	st = s.Stats()
	if k.calls != 3 || st.WriteErrors != 1 || st.Sent[Data] != (Traffic{2, 2000}) {
		t.Errorf("one by one: %d calls, counted %v", k.calls, st.Counters())
	}
}

// TestBadDestination: EINVAL that is the destination's is the caller's, and costs nobody else the batches.
func TestBadDestination(t *testing.T) {
	invalid := func(int) error { return syscall.EINVAL }
	k := kernel{failBatch: invalid, failSingle: invalid}
	s := k.socket()
	if err := s.WriteSegments(numbered(3000, 1000), 1000, sender); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v, want EINVAL", err)
	}
	k.failBatch, k.failSingle = nil, nil
	if err := s.WriteSegments(numbered(3000, 1000), 1000, sender); err != nil || len(k.batches) != 1 {
		t.Errorf("afterwards: %v, %d batches, want 1", err, len(k.batches))
	}
}

// TestDeliver: datagrams that were read together reach the listeners of their kinds in order, and none can touch another.
func TestDeliver(t *testing.T) {
	s := new(Socket)
	var got []string
	for _, k := range []Kind{Data, Envelope, STUN} {
		s.Handle(k, func(b []byte, from netip.AddrPort) {
			if from != sender {
				t.Errorf("came from %v, want %v", from, sender)
			}
			got = append(got, string(b))
			_ = append(b, "beyond"...)
			clear(b)
		})
	}
	s.deliver([]byte("\xC0one\xC8two\x00thr\xC0fou?no!dno!\xC0la"), 4, sender)
	s.deliver([]byte("\xC0alone"), 6, sender)
	s.deliver([]byte("\xC0short"), 100, sender)
	s.deliver([]byte("\xC0whole"), 0, sender)
	s.deliver([]byte("\xC0odd"), -5, sender)
	s.deliver(nil, 0, sender)
	s.deliver(nil, 4, sender)
	want := []string{"\xC0one", "\xC8two", "\x00thr", "\xC0fou", "\xC0la", "\xC0alone", "\xC0short", "\xC0whole", "\xC0odd"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	st := s.Stats()
	if st.Received[Data] != (Traffic{7, 33}) || st.Unknown != 1 || st.Unheard[KRPC] != 1 || st.Empty != 2 || st.ReceivedBatches != 1 {
		t.Errorf("counted %v", st.Counters())
	}
}

// FuzzDeliver holds that of what is read together, whatever size the system tells, each byte reaches one listener, once
// and in order, or is counted as dropped.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte("\xC0one\xC8two\x00thr\xC0fou?no!dno!\xC0la"), 4)
	f.Add([]byte{0xC0}, 1)
	f.Add([]byte{}, 0)
	f.Add(numbered(4000, 1200), 1200)
	f.Add(numbered(100, 1), -1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		s := new(Socket)
		var heard uint64
		var got []byte
		for k := range Kind(kinds) {
			s.Handle(k, func(d []byte, _ netip.AddrPort) {
				heard++
				got = append(got, d...)
				clear(d)
				if cap(d) != len(d) && len(d) < len(b) {
					t.Error("a listener can reach beyond its datagram")
				}
			})
		}
		want, datagrams := []byte(nil), uint64(1)
		if size > 0 && len(b) > 0 {
			datagrams = 0
			for d := range slices.Chunk(b, size) {
				datagrams++
				if k, ok := KindOf(d[0]); ok && k != TURNChannel {
					want = append(want, d...)
				}
			}
		} else if len(b) > 0 {
			if k, ok := KindOf(b[0]); ok && k != TURNChannel {
				want = bytes.Clone(b)
			}
		}
		s.deliver(bytes.Clone(b), size, sender)
		if !bytes.Equal(got, want) {
			t.Errorf("listeners got %x, want %x", got, want)
		}
		st := s.Stats()
		if a, e := arrivals(st), fates(st, heard); a != datagrams || e != datagrams {
			t.Errorf("%d datagrams were counted %d times at arrival, %d times at the end", datagrams, a, e)
		}
	})
}

// TestSegmentsNeedNoAllocations: the way of a batch through WriteSegments, the reader and a listener costs no memory.
func TestSegmentsNeedNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates; only the exchange itself is tested")
	}
	bothWays(t, func(t *testing.T) {
		for network, address := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"} {
			s := openAt(t, OS{}, network, address)
			b := numbered(30*1200+5, 1200)
			arrived := make(chan struct{}, 1)
			missing := len(b)
			s.Handle(Data, func(d []byte, _ netip.AddrPort) {
				if missing -= len(d); missing == 0 {
					missing = len(b)
					arrived <- struct{}{}
				}
			})
			to := s.LocalAddr()
			allocs := testing.AllocsPerRun(200, func() {
				s.WriteSegments(b, 1200, to)
				<-arrived
			})
			if allocs != 0 && !raceEnabled {
				t.Errorf("%s: %v allocations a batch, want 0", network, allocs)
			}
		}
	})
}

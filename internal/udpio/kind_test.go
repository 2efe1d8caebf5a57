package udpio

import (
	"net/netip"
	"testing"
)

var sender = netip.MustParseAddrPort("192.0.2.1:5000")

func TestKindOf(t *testing.T) {
	ranges := []struct {
		from, to int
		kind     Kind
		name     string
	}{
		{0, 3, STUN, "stun"},
		{64, 79, TURNChannel, "turn_channel"},
		{'d', 'd', KRPC, "krpc"},
		{0xC0, 0xC7, Data, "data"},
		{0xC8, 0xCB, Envelope, "envelope"},
		{0xCC, 0xCC, Handshake, "handshake"},
	}
	for b := range 256 {
		var want Kind
		known := false
		for _, r := range ranges {
			if b >= r.from && b <= r.to {
				want, known = r.kind, true
				if got := r.kind.String(); got != r.name {
					t.Errorf("String = %q, want %q", got, r.name)
				}
			}
		}
		if got, ok := KindOf(byte(b)); got != want || ok != known {
			t.Errorf("KindOf(%d) = %v, %v, want %v, %v", b, got, ok, want, known)
		}
	}
}

// arrivals sums up where datagrams were counted at their arrival.
func arrivals(s Stats) (n uint64) {
	for _, t := range s.Received {
		n += t.Packets
	}
	return n + s.Unknown + s.Empty
}

// fates sums up what became of them; heard is how many a listener got.
func fates(s Stats, heard uint64) (n uint64) {
	for k := range Kind(kinds) {
		n += s.Unheard[k] + s.QueueFull[k]
	}
	return n + s.Unknown + s.Empty + s.NotTURN + heard
}

func TestDispatchCountsEachByteOnce(t *testing.T) {
	s := new(Socket)
	var heard uint64
	for _, k := range []Kind{STUN, Data, TURNChannel} {
		s.Handle(k, func(b []byte, _ netip.AddrPort) {
			heard++
			if got, _ := KindOf(b[0]); got != k {
				t.Errorf("the listener of %v got a datagram of %v", k, got)
			}
		})
	}
	s.dispatch(nil, sender)
	for b := range 256 {
		s.dispatch([]byte{byte(b), 1}, sender)
	}
	st := s.Stats()
	if a, f := arrivals(st), fates(st, heard); a != 257 || f != 257 {
		t.Errorf("257 datagrams were counted %d times at arrival, %d times at the end", a, f)
	}
	got := st.Counters()
	want := map[string]uint64{
		"received.stun.packets": 4, "received.stun.bytes": 8, "received.turn_channel.packets": 16, "received.turn_channel.bytes": 32,
		"received.krpc.packets": 1, "received.krpc.bytes": 2, "received.data.packets": 8, "received.data.bytes": 16,
		"received.envelope.packets": 4, "received.envelope.bytes": 8, "received.handshake.packets": 1, "received.handshake.bytes": 2,
		"dropped.unheard.krpc": 1, "dropped.unheard.envelope": 4, "dropped.unheard.handshake": 1,
		"dropped.not_turn": 16, "dropped.unknown": 222, "dropped.empty": 1,
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s = %d, want %d", name, got[name], w)
		}
	}
	if len(got) != len(want) || heard != 12 {
		t.Errorf("heard %d, want 12; counters %v, want %v", heard, got, want)
	}
}

func TestTURNChannelOnlyFromServers(t *testing.T) {
	s := new(Socket)
	heard := 0
	s.Handle(TURNChannel, func([]byte, netip.AddrPort) { heard++ })
	channel := []byte{64, 0, 0, 0}
	s.dispatch(channel, sender)
	s.SetTURNServers([]netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom16(sender.Addr().As16()), sender.Port())}) // as 4-in-6
	s.dispatch(channel, sender)
	s.dispatch(channel, netip.AddrPortFrom(sender.Addr(), sender.Port()+1))
	s.SetTURNServers(nil)
	s.dispatch(channel, sender)
	if got := s.Stats().NotTURN; heard != 1 || got != 3 {
		t.Errorf("heard %d and dropped %d, want 1 and 3", heard, got)
	}
}

// FuzzDispatch holds that whatever arrives is counted once and reaches the listener of its kind alone, unchanged.
func FuzzDispatch(f *testing.F) {
	for _, b := range []byte{0, 3, 4, 63, 64, 79, 80, 'd', 0xBF, 0xC0, 0xC7, 0xC8, 0xCB, 0xCC, 0xCD, 0xFF} {
		f.Add([]byte{b, 1, 2, 3}, true)
		f.Add([]byte{b}, false)
	}
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, listen bool) {
		s := new(Socket)
		var heard uint64
		for k := range Kind(kinds) {
			if listen {
				s.Handle(k, func(got []byte, from netip.AddrPort) {
					heard++
					if want, ok := KindOf(b[0]); !ok || want != k || string(got) != string(b) || from != sender {
						t.Errorf("the listener of %v got %x from %v", k, got, from)
					}
				})
			}
		}
		s.dispatch(b, sender)
		st := s.Stats()
		if a, e := arrivals(st), fates(st, heard); a != 1 || e != 1 {
			t.Errorf("%x was counted %d times at arrival, %d times at the end", b, a, e)
		}
	})
}

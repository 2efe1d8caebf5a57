package transport

import (
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

// FuzzMux gives the mux whatever may come from outside, as its sockets do, with agents and an attempt alive: nothing may
// panic or go beyond its bounds, and only what is theirs reaches them.
func FuzzMux(f *testing.F) {
	f.Add(checkOf(f, "aaaa", "x", 1), uint8(0))
	f.Add(checkOf(f, "bbbb", "x", 1), uint8(1))
	f.Add(checkOf(f, "nobody", "x", 1), uint8(2))
	f.Add(answerOf(f, 1, muxAddr4), uint8(0))
	f.Add(answerOf(f, 2, muxAddr6), uint8(1))
	f.Add(answerOf(f, 9, muxAddr4), uint8(3))
	f.Add(buildSTUN(f, stun.BindingError, stun.NewTransactionIDSetter([12]byte{1}), stun.CodeRoleConflict), uint8(0))
	f.Add(buildSTUN(f, stun.NewType(stun.MethodData, stun.ClassIndication), stun.TransactionID), uint8(0))
	f.Add(muxHandshakeOf(attemptID{1}, "records"), uint8(0))
	f.Add(muxHandshakeOf(attemptID{1}, ""), uint8(0))
	f.Add(muxHandshakeOf(attemptID{2}, "records"), uint8(1))
	f.Add([]byte{}, uint8(0))
	froms := []netip.AddrPort{muxPeer4, muxPeer6, netip.MustParseAddrPort("[::ffff:192.0.2.9]:5000"), {}}
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		r := newMuxRig()
		agent, other := r.conn(t, "aaaa", muxAddr4), r.conn(t, "bbbb", muxAddr6)
		writeMux(t, agent, checkOf(t, "x", "aaaa", 1), muxPeer4)
		writeMux(t, other, checkOf(t, "x", "bbbb", 2), muxPeer6)
		attempt := r.handshakeConn(attemptID{1}, func(from netip.AddrPort) bool { return r.answered("aaaa", from) })
		r.expect("cccc")
		from := froms[int(which)%len(froms)]
		for range 2 { // what is repeated too
			r.handleSTUN(b, from)
			r.handleHandshake(b, from)
		}
		for ufrag, c := range map[string]*muxConn{"aaaa": agent, "bbbb": other} {
			for _, p := range muxQueued(t, c.queue) {
				m, ok := parseSTUN(p.b)
				if !ok {
					t.Fatalf("the agent got what is no STUN: %x", p.b)
				}
				switch local := m.localUfrag(); m.class {
				case stunRequest:
					if local != ufrag {
						t.Fatalf("%s got a request for %q", ufrag, local)
					}
				default:
					if want := map[string]stunID{"aaaa": {1}, "bbbb": {2}}[ufrag]; m.id != want {
						t.Fatalf("%s got an answer to %x, it asked %x", ufrag, m.id, want)
					}
				}
			}
		}
		if len(r.sent) != 2 {
			t.Fatal("the mux answered by itself")
		}
		if got := muxQueued(t, attempt.queue); len(got) != 0 { // one datagram is no answer and a handshake both
			t.Fatalf("the attempt got %v from an address that has not answered", got)
		}
		r.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.agents)+len(r.handshakes)+len(r.checks) != 0 {
			t.Fatal("something is left in the mux")
		}
	})
}

package transport

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
)

// muxHandshakeOf makes a handshake datagram.
func muxHandshakeOf(id attemptID, records string) []byte {
	return append(append([]byte{handshakeKind}, id[:]...), records...)
}

func TestHandshakeConn(t *testing.T) {
	r := newMuxRig()
	a, b := r.handshakeConn(attemptID{1}, nil), r.handshakeConn(attemptID{2}, nil)
	if n, err := a.WriteTo([]byte("early"), nil); n != 5 || err != nil {
		t.Errorf("write without a remote: %d, %v, want it dropped", n, err)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropNoRemote: 1})

	// Two attempts, one remote address.
	r.handleHandshake(muxHandshakeOf(attemptID{1}, "to a"), muxPeer4)
	r.handleHandshake(muxHandshakeOf(attemptID{2}, "to b"), muxPeer4)
	buf := make([]byte, 100)
	n, from, err := a.ReadFrom(buf)
	if string(buf[:n]) != "to a" || err != nil || from.String() != muxPeer4.String() {
		t.Errorf("a read %q from %v, %v", buf[:n], from, err)
	}
	wantQueued(t, b.queue, []byte("to b"))
	a.WriteTo([]byte("answer"), nil)
	if want := muxHandshakeOf(attemptID{1}, "answer"); len(r.sent) != 1 || !bytes.Equal(r.sent[0].b, want) || r.sent[0].to != muxPeer4 {
		t.Errorf("sent %v, want %x to %v", r.sent, want, muxPeer4)
	}

	// It follows until it is told where to stay.
	r.handleHandshake(muxHandshakeOf(attemptID{1}, "moved"), muxPeer6)
	if got := a.Remote(); got != muxPeer6 {
		t.Errorf("remote is %v, want to follow to %v", got, muxPeer6)
	}
	a.SetRemote(netip.AddrPortFrom(netip.AddrFrom16(muxPeer4.Addr().As16()), 1))
	r.handleHandshake(muxHandshakeOf(attemptID{1}, "moved"), muxPeer6)
	if got, want := a.Remote(), netip.AddrPortFrom(muxPeer4.Addr(), 1); got != want {
		t.Errorf("remote is %v, want to stay at %v", got, want)
	}
	if got := a.LocalAddr().String(); got != muxAddr4.String() {
		t.Errorf("local address is %v, want %v", got, muxAddr4)
	}

	a.mute()
	if n, err := a.WriteTo([]byte("alert"), nil); n != 5 || err != nil || len(r.sent) != 1 {
		t.Errorf("write after mute: %d, %v, %d sent, want it dropped", n, err, len(r.sent))
	}
	r.fail = errors.New("no route")
	if _, err := b.WriteTo([]byte("x"), nil); !errors.Is(err, r.fail) {
		t.Errorf("failed send: %v, want %v", err, r.fail)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropMuted: 1, dropSendFailed: 1})
	a.Close()
	a.Close()
	if _, err := a.WriteTo([]byte("x"), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v, want net.ErrClosed", err)
	}

	again := r.handshakeConn(attemptID{2}, nil) // takes over
	if _, _, err := b.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of the conn replaced: %v, want net.ErrClosed", err)
	}
	r.handleHandshake(muxHandshakeOf(attemptID{2}, "to the new"), muxPeer4)
	wantQueued(t, again.queue, []byte("to the new"))
	again.Close()
	r.wantEmpty(t)
}

func TestHandshakeDrops(t *testing.T) {
	r := newMuxRig()
	h := r.handshakeConn(attemptID{1}, nil)
	r.handleHandshake(muxHandshakeOf(attemptID{2}, "to nobody"), muxPeer4)
	r.handleHandshake(muxHandshakeOf(attemptID{1}, ""), muxPeer4)
	r.handleHandshake(append([]byte{0xC8}, muxHandshakeOf(attemptID{1}, "x")[1:]...), muxPeer4)
	r.handleHandshake(nil, muxPeer4)
	r.handleHandshake(make([]byte, maxHandshake+1), muxPeer4)
	for range muxQueueLen + 3 {
		r.handleHandshake(muxHandshakeOf(attemptID{1}, "flood"), muxPeer4)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropNoAttempt: 4, dropOversize: 1, dropQueueFull: 3})
	if got := len(muxQueued(t, h.queue)); got != muxQueueLen {
		t.Errorf("%d wait, want %d", got, muxQueueLen)
	}
}

// TestHandshakeAccept holds that a datagram from an address that has not answered waits for that answer, and reaches
// nobody without it.
func TestHandshakeAccept(t *testing.T) {
	r := newMuxRig()
	agent := r.conn(t, "aaaa", muxAddr4)
	h := r.handshakeConn(attemptID{1}, func(a netip.AddrPort) bool { return r.answered("aaaa", a) })
	stranger := netip.MustParseAddrPort("198.51.100.1:4000")
	for range maxHeld {
		r.handleHandshake(muxHandshakeOf(attemptID{1}, "from a stranger"), stranger)
	}
	r.wantDrops(t, nil)
	r.handleHandshake(muxHandshakeOf(attemptID{1}, "hello"), muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropUnvalidated: 1})
	wantQueued(t, h.queue)
	if h.Remote().IsValid() {
		t.Error("it follows an address that is not accepted")
	}

	r.handleSTUN(checkOf(t, "aaaa", "x", 1), muxPeer4) // a request proves nothing
	wantQueued(t, h.queue)
	writeMux(t, agent, checkOf(t, "x", "aaaa", 2), muxPeer4)
	r.handleSTUN(answerOf(t, 2, muxAddr4), muxPeer4)
	wantQueued(t, h.queue, []byte("hello"))
	if got := h.Remote(); got != muxPeer4 {
		t.Errorf("remote is %v, want %v", got, muxPeer4)
	}
	r.handleHandshake(muxHandshakeOf(attemptID{1}, "more"), muxPeer4)
	wantQueued(t, h.queue, []byte("more"))
	r.handleHandshake(muxHandshakeOf(attemptID{1}, "from a stranger"), stranger)
	wantQueued(t, h.queue)
	if got := len(h.held); got != maxHeld {
		t.Errorf("%d are held, want %d", got, maxHeld)
	}
	h.Close()
	if h.held != nil {
		t.Error("a closed conn holds datagrams")
	}
}

func TestHandshakeRelay(t *testing.T) {
	r := newMuxRig()
	h := r.handshakeConn(attemptID{1}, nil)
	var relayed []netip.AddrPort
	relay := r.relay(netip.MustParseAddrPort("203.0.113.1:6000"), func(_ []byte, to netip.AddrPort) error {
		relayed = append(relayed, to)
		return nil
	})
	relay.handleHandshake(muxHandshakeOf(attemptID{1}, "by the relay"), muxPeer4)
	wantQueued(t, h.queue, []byte("by the relay"))
	h.WriteTo([]byte("back"), nil)
	if len(relayed) != 1 || relayed[0] != muxPeer4 || len(r.sent) != 0 {
		t.Errorf("sent %v by the relay and %d by the socket, want one by the relay", relayed, len(r.sent))
	}
	if got := h.LocalAddr().String(); got != "203.0.113.1:6000" {
		t.Errorf("local address is %v, want the relay's", got)
	}
	h.setRemote(relay, muxPeer6)
	r.handleHandshake(muxHandshakeOf(attemptID{1}, "direct"), muxPeer4)
	h.WriteTo([]byte("by the relay still"), nil)
	if len(relayed) != 2 || relayed[1] != muxPeer6 {
		t.Errorf("sent to %v by the relay, want %v last", relayed, muxPeer6)
	}
}

package transport

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

// rogue is a friend with a valid link who sends what it likes. It is the
// conduit of the link at the other end.
type rogue struct {
	t    *testing.T
	keys *linkKeys
	pn   uint64
	l    *Link // the honest end
	w    *witness

	mu  sync.Mutex
	got []roguePacket
	ids uint32 // registered of our connection IDs
}

type roguePacket struct {
	to    netip.AddrPort
	size  int
	plain []byte
}

// newRogue makes a link with a rogue, which has not confirmed anything.
func newRogue(t *testing.T) *rogue {
	master := bytes.Repeat([]byte{9}, 32)
	r := &rogue{t: t, keys: newLinkKeys(suiteAES128GCM, master, true), w: newWitness()}
	buffers := &sync.Pool{New: func() any { b := make([]byte, roundSize); return &b }}
	r.l = newLink(linkEnv{
		handler: r.w, log: slog.New(slog.DiscardHandler), buffers: buffers,
		register: func(_ *Link, first, n uint32) {
			if first != r.ids {
				t.Errorf("connection IDs from %d are registered after %d", first, r.ids)
			}
			r.ids += n
		},
		unregister: func(_ *Link, n uint32) { r.ids -= n },
		up:         r.w.LinkUp, proven: func(*Link) {}, changed: r.w.LinkChanged, down: r.w.LinkDown, stopped: func(*Link) {},
	}, linkConfig{
		peer: crypto.ID{1}, master: bytes.Clone(master), keys: newLinkKeys(suiteAES128GCM, master, false),
		conduit: r, remote: placeA,
	})
	t.Cleanup(func() {
		r.l.Close(CodeShutdown, "the test is over")
		r.l.hurry()
		<-r.l.stopped
		if r.ids != 0 {
			t.Errorf("%d connection IDs are left", r.ids)
		}
	})
	return r
}

// newKnownRogue is a rogue that has confirmed its keys.
func newKnownRogue(t *testing.T) *rogue {
	r := newRogue(t)
	token := r.asked()
	r.send(wire.AppendAnswer(wire.AppendAsk(nil, [16]byte{1}), token))
	<-r.l.up
	return r
}

func (r *rogue) local(netip.AddrPort) netip.AddrPort { return placeB }
func (r *rogue) relayed() bool                       { return false }

func (r *rogue) writeWhole(b []byte, to netip.AddrPort) error { return r.write(b, len(b), to) }

func (r *rogue) write(b []byte, size int, to netip.AddrPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(b) > 0 {
		n := min(size, len(b))
		p := bytes.Clone(b[:n])
		b = b[n:]
		_, plain, err := r.keys.open(p)
		if err != nil {
			r.t.Errorf("a packet that does not open: %v", err)
		}
		r.got = append(r.got, roguePacket{to, n, bytes.Clone(plain)})
	}
	return nil
}

// asked is the token that the link wants answered.
func (r *rogue) asked() [16]byte {
	for {
		for _, p := range r.packets() {
			if token, _, err := wire.ParseAsk(p.plain); err == nil {
				return token
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// packets are those that have come since the last call.
func (r *rogue) packets() []roguePacket {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// send sends frames from the usual place.
func (r *rogue) send(plain []byte) { r.sendFrom(placeA, 0, plain) }

func (r *rogue) sendFrom(from netip.AddrPort, index uint32, plain []byte) (size int) {
	r.mu.Lock()
	b := r.keys.seal(nil, r.keys.outID(index), r.pn, plain)
	r.pn++
	r.mu.Unlock()
	r.l.receive(b, r, from, index)
	return len(b)
}

// closed is the CLOSE that has come, if one has.
func closedBy(packets []roguePacket) (c wire.Close, n int) {
	for _, p := range packets {
		if x, _, err := wire.ParseClose(p.plain); err == nil {
			c = x
			n++
		}
	}
	return c, n
}

// TestRogueFrames: what breaks the protocol ends that link, with a reason that
// the peer is told.
func TestRogueFrames(t *testing.T) {
	control := func(offset uint64, b ...byte) []byte {
		return wire.AppendData(nil, wire.Data{Offset: offset, Data: b})
	}
	for name, plain := range map[string][]byte{
		"no frame":                {},
		"unknown kind":            {0x7f, 1, 2, 3},
		"frame cut short":         {byte(wire.FrameData), 1},
		"padding that is not":     {byte(wire.FramePing), 0, 0, 1},
		"confirmation later":      wire.AppendAsk(wire.AppendPing(nil), [16]byte{}),
		"reset of control":        wire.AppendReset(nil, wire.Reset{}),
		"end of control":          wire.AppendData(nil, wire.Data{Fin: true}),
		"data above the window":   wire.AppendData(nil, wire.Data{Lane: 1, Offset: 1 << 40, Data: []byte("x")}),
		"lane above the limit":    wire.AppendData(nil, wire.Data{Lane: 1<<20 + 1, Data: []byte("x")}),
		"lane of ours, not open":  wire.AppendData(nil, wire.Data{Lane: 2, Data: []byte("x")}),
		"ack of nothing sent":     wire.AppendAck(nil, &wire.Ack{Ranges: []wire.AckRange{{Low: 1 << 30, High: 1 << 30}}}),
		"control message too big": control(0, append([]byte{1}, wire.AppendVarint(nil, MaxControl+1)...)...),
		"control length bad":      control(0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newKnownRogue(t)
				r.send(plain)
				time.Sleep(time.Second)
				var fault *FaultError
				if !errors.As(r.l.Err(), &fault) {
					t.Fatalf("the link ended by %v, want a fault", r.l.Err())
				}
				c, n := closedBy(r.packets())
				if n == 0 || c.Code < 0x10 || c.Reason == "" {
					t.Errorf("the peer was told %+v %d times", c, n)
				}
				<-r.l.stopped
				r.w.mu.Lock()
				defer r.w.mu.Unlock()
				if !errors.As(r.w.down, &fault) {
					t.Errorf("the handler was told %v", r.w.down)
				}
			})
		})
	}
}

// TestRogueNoise: what does not open is counted and changes nothing.
func TestRogueNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newKnownRogue(t)
		good := r.keys.seal(nil, r.keys.outID(0), r.pn, wire.AppendPing(nil))
		r.pn++
		for i := range 2000 {
			b := noise(uint64(i), 29+i%100)
			if i%2 == 0 { // one bit of a good one
				b = bytes.Clone(good)
				b[i/2%len(b)] ^= 1 << (i % 8)
			}
			r.l.receive(b, r, placeC, 0)
		}
		for range 3 {
			r.l.receive(bytes.Clone(good), r, placeA, 0) // replayed
		}
		if err := r.l.Err(); err != nil {
			t.Fatalf("the link has ended: %v", err)
		}
		all := map[string]uint64{}
		r.l.addStats(all)
		if got := all["data.unopened"]; got < 1990 || got > 2002 {
			t.Errorf("%d packets counted, want about 2,000", got)
		}
		if p := r.l.Path(); p.Remote != placeA {
			t.Errorf("the path is %v", p)
		}
	})
}

// TestRogueUnconfirmed: a peer that does not confirm its keys never gets a byte
// of the program's, nor is one of its own taken or acknowledged.
func TestRogueUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRogue(t)
		if err := r.l.SendControl(1, []byte("secret")); err != nil {
			t.Fatal(err)
		}
		if err := r.l.SendDatagram(1, 1, []byte("secret")); err != nil {
			t.Fatal(err)
		}
		a, err := r.l.OpenLane()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write([]byte("secret")); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for i := 0; r.l.Err() == nil; i++ {
			r.send(wire.AppendAnswer(nil, [16]byte{byte(i)})) // not what was asked
			r.send(wire.AppendAsk(nil, [16]byte{byte(i)}))
			r.send(wire.AppendData(nil, wire.Data{Data: []byte{1, 1, 1}}))
			r.send(wire.AppendData(nil, wire.Data{Lane: 1, Data: []byte("x")}))
			r.send(wire.AppendPathChallenge(nil, [8]byte{1}))
			r.send(wire.AppendDatagram(nil, wire.Datagram{Session: 1, Flow: 1, Data: []byte("x")}))
			r.send([]byte{0x7f})
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(begun); took < confirmFor-time.Second || took > confirmFor+time.Second {
			t.Errorf("given up after %v, want %v", took, confirmFor)
		}
		<-r.l.stopped
		for _, p := range r.packets() {
			rest := p.plain
			for len(rest) > 0 {
				if _, after, err := wire.ParseAsk(rest); err == nil {
					rest = after
				} else if _, after, err := wire.ParseAnswer(rest); err == nil {
					rest = after
				} else {
					t.Fatalf("a packet of % x to a peer that has not confirmed", p.plain)
				}
			}
		}
		all := map[string]uint64{}
		r.l.addStats(all)
		if all["data.unconfirmed"] == 0 || all["data.packets.received"] > 0 {
			t.Errorf("counted %v", all)
		}
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		if len(r.w.messages)+len(r.w.datagrams)+len(r.w.lanes) > 0 {
			t.Error("something was handed to the program")
		}
	})
}

// TestRogueFloods: floods of all that is answered get no more back than they
// send, and leave the link as it is.
func TestRogueFloods(t *testing.T) {
	for name, flood := range map[string]func(i int) []byte{
		"ask":    func(i int) []byte { return wire.AppendAsk(nil, [16]byte{byte(i)}) },
		"answer": func(i int) []byte { return wire.AppendAnswer(nil, [16]byte{byte(i)}) },
		"challenge": func(i int) []byte {
			return append(wire.AppendPathChallenge(nil, [8]byte{byte(i)}), make([]byte, 24)...)
		},
		"response": func(i int) []byte { return wire.AppendPathResponse(nil, [8]byte{byte(i)}) },
		"many challenges": func(i int) (b []byte) {
			for j := range 100 {
				b = wire.AppendPathChallenge(b, [8]byte{byte(i), byte(j)})
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newKnownRogue(t)
				time.Sleep(2 * time.Second)
				r.packets()
				sent, packets := 0, 0
				for i := range 5000 {
					sent += r.sendFrom(placeA, 0, flood(i))
					packets++
					if i%10 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
				time.Sleep(100 * time.Millisecond)
				back, n := 0, 0
				for _, p := range r.packets() {
					back += p.size
					n++
				}
				if back > sent || n > 2*packets {
					t.Errorf("%d packets of %d bytes came back for %d of %d", n, back, packets, sent)
				}
				if r.l.Err() != nil || r.l.Path().Remote != placeA {
					t.Errorf("the link has ended (%v) or moved", r.l.Err())
				}
			})
		})
	}
}

// TestRogueSources: a friend whose packets come from everywhere makes us send no
// address more than came from there, and has a bounded number of names.
func TestRogueSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newKnownRogue(t)
		came, went := map[netip.AddrPort]int{}, map[netip.AddrPort]int{}
		for i := range 20_000 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i % 3000 >> 8), byte(i % 3000)}), 53)
			plain := wire.AppendPing(nil)
			if i%2 == 0 {
				plain = append(wire.AppendPathChallenge(nil, [8]byte{byte(i)}), make([]byte, i%1000)...)
			}
			r.mu.Lock()
			index := r.ids - 1 // the last that is known
			r.mu.Unlock()
			came[from] += r.sendFrom(from, index, plain)
			if i%50 == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			for _, p := range r.packets() {
				went[p.to] += p.size
			}
		}
		time.Sleep(3 * time.Second)
		for _, p := range r.packets() {
			went[p.to] += p.size
		}
		for at, n := range went {
			if at != placeA && n > came[at] {
				t.Errorf("%d bytes to %v, from where %d came", n, at, came[at])
			}
		}
		if r.ids > maxIDs {
			t.Errorf("%d connection IDs are known", r.ids)
		}
		if r.l.Path().Remote != placeA {
			t.Errorf("the path is %v", r.l.Path())
		}
		r.l.mu.Lock()
		if n := len(r.l.paths.all); n > maxPaths {
			t.Errorf("%d paths are known", n)
		}
		r.l.mu.Unlock()
	})
}

// TestRogueClose: after CLOSE nothing more is said, however much comes; a link
// that we have closed says so at a limited rate, and for a moment.
func TestRogueClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newKnownRogue(t)
		time.Sleep(time.Second)
		r.packets()
		for range 1000 {
			r.send(wire.AppendClose(nil, wire.Close{Code: 77, Reason: strings.Repeat("x", 200)}))
		}
		var closed *CloseError
		if !errors.As(r.l.Err(), &closed) || closed.Code != 77 {
			t.Errorf("the link ended by %v", r.l.Err())
		}
		<-r.l.stopped
		if n := len(r.packets()); n > 3 {
			t.Errorf("%d packets answer CLOSE", n)
		}

		r = newKnownRogue(t)
		r.send(wire.AppendClose(nil, wire.Close{Code: codeReplaced}))
		if !errors.Is(r.l.Err(), ErrReplaced) {
			t.Errorf("a link that the peer has replaced ended by %v", r.l.Err())
		}

		r = newKnownRogue(t)
		time.Sleep(time.Second)
		r.packets()
		r.l.Close(33, "enough")
		for range 1000 {
			r.send(wire.AppendPing(nil))
			time.Sleep(time.Millisecond)
		}
		<-r.l.stopped
		if c, n := closedBy(r.packets()); n < 2 || n > 20 || c.Code != 33 || c.Reason != "enough" {
			t.Errorf("CLOSE was sent %d times, as %+v", n, c)
		}
	})
}

// TestRogueControl: any number of small messages arrive, in rounds of bounded
// size.
func TestRogueControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newKnownRogue(t)
		const size = 1000
		small := bytes.Repeat([]byte{5, 0}, size/2) // messages without a body
		for i := range 200 {
			r.send(wire.AppendData(nil, wire.Data{Offset: uint64(i * size), Data: small}))
		}
		time.Sleep(time.Second)
		if got := len(r.w.got()); got != 200*size/2 {
			t.Errorf("%d messages arrived, want %d; the link: %v", got, 200*size/2, r.l.Err())
		}
		r.l.mu.Lock()
		if r.l.control.in != nil {
			t.Error("something is held")
		}
		r.l.mu.Unlock()
	})
}

// TestControlRounds: what one round hands on is bounded, and nothing is lost
// between rounds.
func TestControlRounds(t *testing.T) {
	for _, body := range []int{0, 1, 10_000} {
		m := reliable.New(0, reliable.Config{})
		one := append(wire.AppendVarint([]byte{5}, uint64(body)), make([]byte, body)...)
		stream := bytes.Repeat(one, 400_000/len(one))
		for at := 0; at < len(stream); at += 1000 {
			piece := stream[at:min(at+1000, len(stream))]
			if _, err := m.Receive(0, uint64(at), wire.AppendData(nil, wire.Data{Offset: uint64(at), Data: piece})); err != nil {
				t.Fatal(err)
			}
		}
		c := control{lane: m.Control(), ready: true}
		total := 0
		for more := true; more; {
			var messages []message
			var err error
			if messages, more, err = c.take(); err != nil {
				t.Fatal(err)
			}
			if len(messages) > maxNews {
				t.Fatalf("%d messages in a round", len(messages))
			}
			total += len(messages)
		}
		if want := len(stream) / len(one); total != want || c.in != nil {
			t.Errorf("%d messages of %d bytes, want %d; %d bytes are held", total, body, want, len(c.in))
		}
	}
}

// TestRogueLanes: a friend may open as many lanes as it is allowed, and no more.
func TestRogueLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newKnownRogue(t)
		for i := range uint64(5000) {
			if r.l.Err() != nil {
				break
			}
			r.send(wire.AppendData(nil, wire.Data{Lane: 2*i + 1, Data: []byte("x")}))
		}
		time.Sleep(time.Second)
		var peer *reliable.PeerError
		if !errors.As(r.l.Err(), &peer) {
			t.Errorf("the link ended by %v", r.l.Err())
		}
		if n := len(r.w.lanes); n > 1024 {
			t.Errorf("%d lanes were handed on", n)
		}
	})
}

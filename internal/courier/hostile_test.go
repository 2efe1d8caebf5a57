package courier

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// plant puts a value into a slot of from's, as anybody with the pair's key can.
func (n *node) plant(to *node, salt string, kind wire.Kind, body []byte, seq int64) {
	p := n.c.peers[to.id]
	week := crypto.Week(n.w.now)
	_, value := p.sealSlot(week, salt, kind, body)
	_, key := p.slotKey(crypto.Out, week)
	for _, h := range n.w.dht.near() {
		h.items[slotName(key, salt)] = Item{Key: key, Salt: salt, Value: value, Seq: seq}
	}
}

func TestAWindowThatLiesCostsLittle(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	packets := a.packets
	generation := uint64(1 << 60)
	for range 600 { // a new window each second, of slots that do not exist
		generation++
		a.receive(b.state(a, func(s *wire.State) {
			s.Window = &wire.Window{Sequence: wire.Sequence{Counter: 1}}
			for i := range uint8(wire.MaxSlots) {
				s.Window.Slots = append(s.Window.Slots, wire.WindowSlot{Slot: i, Generation: generation})
			}
		}), b.addr)
		w.run(time.Second)
	}
	// 12 readings at once and one in 10 s: 8 walks each.
	if rate := float64(a.packets-packets) / 600; rate > 42 {
		t.Errorf("%.0f packets/s for a friend's lies", rate)
	}
	if a.stat("effort.held") == 0 {
		t.Error("effort.held is not counted")
	}
	a.send(b, "still works")
	w.wait("mail", time.Second, func() bool { return len(b.got(a)) == 1 })
}

func TestStatesThatMakeUsPutAreHeld(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	from := len(w.dht.puts)
	n := uint64(1000)
	for range 300 {
		n++
		m := &wire.Mail{Generation: n, Base: 1, First: 1, Items: []wire.Item{{}}}
		var d []byte
		b.do(func() {
			p := b.c.peers[a.id]
			body, err := p.sealMail(m, wire.Prekey{Number: n, Public: a.Current().Public})
			if err != nil {
				t.Fatal(err)
			}
			d = p.sealDatagram(wire.KindMail, body)
		})
		a.receive(d, b.addr)
		w.run(time.Second)
	}
	if puts := len(w.dht.puts) - from; puts > 12+30+5 {
		t.Errorf("%d puts for mail to prekeys that never were", puts)
	}
	if got := a.stat("drop.prekey"); got != 300 {
		t.Errorf("drop.prekey = %d, want 300", got)
	}
}

func TestForeignValuesInSlots(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	p := b.c.peers[a.id]
	_, key := p.slotKey(crypto.Out, crypto.Week(w.now))
	for _, salt := range []string{saltState, "m0", "m1"} {
		for i, h := range w.dht.near() {
			h.items[slotName(key, salt)] = Item{
				Key: key, Salt: salt, Value: slices.Repeat([]byte{byte(i)}, []int{0, 1, 39, 40, 41, 512, 900, 5000}[i]),
				Seq: w.now.UnixMilli() + int64(i) + 1,
			}
		}
	}
	states := len(a.states[b.id])
	w.run(11 * time.Minute)
	if got := len(a.states[b.id]); got != states {
		t.Fatalf("%d states out of junk", got-states)
	}
	if a.stat("drop.slot.open") == 0 || a.stat("drop.malformed") == 0 {
		t.Errorf("junk is not counted: %v", a.c.Stats())
	}
	b.do(func() { b.c.StateNow(a.id) }) // the writer's next put is above the junk
	w.run(90 * time.Second)             // b was not seen for 10 minutes: asked each minute
	if got := len(a.states[b.id]); got == states {
		t.Error("the friend's state did not come through")
	}
}

// A value of one slot, or of one direction, is not taken in another.
func TestValuesAreBoundToTheirSlot(t *testing.T) {
	w, a, b := waiting(t)
	_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	for _, h := range w.dht.near() {
		h.items[slotName(key, saltState)] = h.items[slotName(key, "m0")]
	}
	b.start()
	b.ready()
	w.run(20 * time.Second)
	if got := b.stat("drop.slot.open"); got == 0 {
		t.Error("mail moved into the state's slot was opened")
	}
}

// Both friends hold the pair's keys: what we have written in our own direction
// must not pass for the friend's, nor what a thief of our key writes.
func TestRecordsCountOnlyByTheirSignature(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	p := a.c.peers[b.id]
	states := len(a.states[b.id])
	week := crypto.Week(w.now)
	_, public := p.slotKey(crypto.In, week) // a can derive it too
	s := &wire.State{Version: 1 << 61, Format: 1, Time: w.now.UnixMilli(), Relation: wire.RelationRemoved}
	body := p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s)) // by the wrong identity
	size, _ := wire.PadSlot(len(body))
	value := p.pair.Key(crypto.In, week).Seal(nil, slotData(public, saltState), wire.AppendPlain(nil, wire.KindState, body, size))
	for _, h := range w.dht.near() {
		h.items[slotName(public, saltState)] = Item{Key: public, Salt: saltState, Value: value, Seq: w.now.Add(time.Hour).UnixMilli()}
	}
	w.run(time.Minute)
	if len(a.states[b.id]) != states {
		t.Error("a forged state was taken")
	}
	if a.stat("drop.signature.state") == 0 {
		t.Error("drop.signature.state is not counted")
	}
}

func TestAnAbsurdSeqOrVersionHurtsOnlyItsWriter(t *testing.T) {
	w, a, b := apart(t)
	c := w.node("carol")
	befriend(a, c)
	c.start()
	c.ready()
	w.run(5 * time.Second)
	p := b.c.peers[a.id]
	b.do(func() {
		s := p.assemble()
		s.Version = math.MaxUint64
		body := p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s))
		b.plant(a, saltState, wire.KindState, body, math.MaxInt64)
	})
	w.run(time.Minute)
	if got := a.c.peers[b.id].theirs.Version; got != math.MaxUint64 {
		t.Fatalf("version %d", got)
	}
	if a.c.rising.last > uint64(w.now.Add(time.Hour).UnixMilli()) {
		t.Error("a friend's version has moved our own numbers")
	}
	states := len(a.states[c.id])
	c.do(func() { c.c.StateNow(a.id) })
	w.run(time.Minute)
	if len(a.states[c.id]) == states {
		t.Error("another friend is not heard any more")
	}
}

func TestPartsMustAgree(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	whole := wire.AppendItem(nil, &wire.Item{ID: wire.MessageID{1}, Time: 1, Body: []byte(strings.Repeat("z", 900))})
	half := len(whole) / 2
	plant := func(slot int, first, set uint64, counter uint32, index, count uint8, bytes []byte) {
		m := &wire.Mail{
			Sequence: wire.Sequence{Incarnation: a.inc, Counter: counter}, Generation: a.c.Rise(), Bond: a.friends[b.id].bond, Base: 1, First: first,
			Part: &wire.Part{Set: set, Index: index, Count: count, Bytes: bytes},
		}
		body, err := a.c.peers[b.id].sealMail(m, b.Current())
		if err != nil {
			t.Fatal(err)
		}
		a.plant(b, saltMail(slot), wire.KindMail, body, int64(m.Generation))
	}
	announce := func(slots ...uint8) {
		win := &wire.Window{Sequence: wire.Sequence{Incarnation: a.inc, Counter: 1}}
		for _, s := range slots {
			win.Slots = append(win.Slots, wire.WindowSlot{Slot: s, Generation: 1})
		}
		var d []byte
		a.do(func() {
			p := a.c.peers[b.id]
			s := p.assemble()
			s.Window = win
			d = p.sealDatagram(wire.KindState, p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s)))
		})
		b.receive(d, a.addr)
	}
	a.do(func() {
		plant(0, 1, 5, 1, 0, 2, whole[:half])
		plant(1, 1, 6, 1, 1, 2, whole[half:]) // of another set
		plant(2, 1, 5, 2, 1, 2, whole[half:]) // of another sequence
		plant(3, 1, 5, 1, 1, 3, whole[half:]) // of another count
		plant(4, 2, 5, 1, 1, 2, whole[half:]) // of another number
	})
	announce(0, 1, 2, 3, 4)
	w.run(20 * time.Second)
	if got := b.got(a); len(got) != 0 {
		t.Fatalf("parts that do not agree were joined: %d messages", len(got))
	}
	a.do(func() { plant(5, 1, 5, 1, 1, 2, whole[half:]) })
	announce(0, 1, 2, 3, 4, 5)
	w.wait("the whole", 20*time.Second, func() bool { return len(b.got(a)) == 1 })
	// Parts that make no item are given up, not tried for ever.
	a.do(func() {
		plant(6, 2, 9, 1, 0, 2, []byte{9, 9})
		plant(7, 2, 9, 1, 1, 2, []byte{9, 9})
	})
	announce(6, 7)
	w.run(20 * time.Second)
	if b.c.peers[a.id].inbox != nil {
		t.Error("nonsense is still being read")
	}
}

func TestSizesOfAllValues(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("a"), w.node("b")
	befriend(a, b)
	a.start()
	p := a.c.peers[b.id]
	six := wire.MaxEndpoints
	s := fullState(a, six)
	states := map[string]*wire.State{"largest state": s, "smallest state": {Format: 1}}
	for name, s := range states {
		body := p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s))
		_, value := p.sealSlot(crypto.Week(w.now), saltState, wire.KindState, body)
		want := map[string]int{"largest state": 900, "smallest state": 512}[name]
		if len(value) != want {
			t.Errorf("%s: a value of %d bytes, want %d", name, len(value), want)
		}
		if d := len(p.sealDatagram(wire.KindState, body)); d != 256 && d != 1408 && d != 900 {
			t.Errorf("%s: a datagram of %d bytes", name, d)
		}
	}
	profile := &wire.Profile{Version: 1, Name: strings.Repeat("n", wire.MaxName), Description: strings.Repeat("d", wire.MaxDescr)}
	a.c.profile = profile
	if _, v := p.sealSlot(1, saltProfile, wire.KindProfile, p.signProfile()); len(v) != 512 {
		t.Errorf("largest profile: %d bytes, want 512", len(v))
	}
	for _, tt := range []struct {
		name string
		body int
		want int
	}{{"one short message", 1, 512}, {"a slot full", wire.MaxSlotBody, 900}} {
		m := &wire.Mail{Base: 1, First: 1, Items: []wire.Item{{Body: make([]byte, tt.body)}}}
		body, err := p.sealMail(m, b.Current())
		if err != nil {
			t.Fatal(err)
		}
		if _, v := p.sealSlot(1, "m0", wire.KindMail, body); len(v) != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, len(v), tt.want)
		}
	}
	part := &wire.Mail{Base: 1, First: 1, Part: &wire.Part{Count: 1, Bytes: make([]byte, wire.MaxPartBytes)}}
	body, err := p.sealMail(part, b.Current())
	if err != nil {
		t.Fatal(err)
	}
	if _, v := p.sealSlot(1, "m0", wire.KindMail, body); len(v) != 900 {
		t.Errorf("largest part: %d bytes, want 900", len(v))
	}
	mail := &wire.Mail{Base: 1, First: 1, Items: []wire.Item{{Body: make([]byte, wire.MaxDirect)}}}
	if body, err = p.sealMail(mail, b.Current()); err != nil {
		t.Fatal(err)
	}
	if n := len(p.sealDatagram(wire.KindMail, body)); n != 1408 {
		t.Errorf("largest direct message: %d bytes, want 1408", n)
	}
	e := &endpoint{addr: victimV6()}
	a.do(func() { body = p.hello(e, false) })
	if n := len(p.sealDatagram(wire.KindHello, body)); n != 256 {
		t.Errorf("hello: %d bytes, want 256", n)
	}
	n := &wire.ReceiptNote{Version: 1, Receipt: *s.Receipt}
	body = p.sign(signReceipt, n.Receipt.Incarnation, n.Version, wire.AppendReceiptNote(nil, n))
	if n := len(p.sealDatagram(wire.KindReceipt, body)); n != 256 {
		t.Errorf("largest receipt: %d bytes, want 256", n)
	}
	if maxBody < 5000 {
		t.Errorf("the mailbox holds messages of %d bytes, want about 5 KiB", maxBody)
	}
}

package courier

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// A slot counts as stored in the copies of what it holds now: whole, and announced.
func TestStoredIn(t *testing.T) {
	for _, c := range []struct {
		name string
		slot slot
		want int
	}{
		{"stored and announced", slot{safe: true, copies: 8, shown: 5}, 5},
		{"the slot in fewer copies", slot{safe: true, copies: 3, shown: 5}, 3},
		{"not announced", slot{safe: true, copies: 8}, 0},
		{"not put", slot{copies: 8, shown: 5}, 0},
		{"more has come since", slot{safe: true, changed: true, copies: 8, shown: 5}, 0},
	} {
		if got := c.slot.storedIn(); got != c.want {
			t.Errorf("%s: %d copies, want %d", c.name, got, c.want)
		}
	}
}

// What was read of a friend's slots is not read again after a restart.
func TestSlotsReadStayRead(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	a.send(b, "x")
	w.wait("delivery", time.Minute, func() bool { return len(b.got(a)) == 1 })
	a.stop()
	b.stop() // before any other word of a's
	w.run(time.Minute)
	from := len(w.dht.gets)
	b.start()
	b.ready()
	w.run(time.Minute)
	for _, q := range w.dht.gets[from:] {
		if q.Salt == saltMail(0) {
			t.Fatal("a slot whose mail was taken is read again")
		}
	}
}

// What stands is announced, and what was announced counts: neither before its time.
func TestAnnouncedIsWhatStands(t *testing.T) {
	w, a, b := apart(t)
	p := a.c.peers[b.id]
	for _, c := range []struct {
		what string
		do   func(s *slot)
		want slot // standing and shown
	}{
		{"nobody took the put", func(s *slot) { p.slotPut(s, PutResult{Asked: 8, Answered: 8}, w.now) }, slot{}},
		{"one took it", func(s *slot) { p.slotPut(s, PutResult{Asked: 8, Answered: 8, Stored: 1}, w.now) }, slot{standing: 7}},
		{"a state names what stood before", func(*slot) {
			p.announced(&wire.Window{Slots: []wire.WindowSlot{{Slot: 0, Generation: 6}}}, 8)
		}, slot{}},
		{"a state names it", func(*slot) {
			p.announced(&wire.Window{Slots: []wire.WindowSlot{{Slot: 0, Generation: 7}}}, 8)
		}, slot{shown: 8}},
	} {
		a.do(func() {
			p.box = new(box)
			s := &p.box.slots[0]
			*s = slot{first: 1, last: 1, generation: 7, changed: true}
			c.do(s)
			if s.standing != c.want.standing || s.shown != c.want.shown {
				t.Errorf("%s: generation %d stands, shown in %d copies; want %d and %d", c.what, s.standing, s.shown, c.want.standing, c.want.shown)
			}
			p.box = nil
		})
	}
}

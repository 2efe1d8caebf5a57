package courier

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// layoutOf gives the mailbox as text: each slot in use, its messages or part.
func layoutOf(b *box) string {
	var list []string
	for i := range b.slots {
		if s := &b.slots[i]; s.last != 0 {
			x := fmt.Sprintf("m%d:%d-%d", i, s.first, s.last)
			if s.parts != 0 {
				x += fmt.Sprintf("(%d/%d)", s.part, s.parts)
			}
			if s.changed {
				x += "*"
			}
			list = append(list, x)
		}
	}
	return strings.Join(list, " ")
}

// outgoing numbers messages of these sizes from first; -1 is a SKIP.
func outgoing(first uint64, sizes ...int) (list []Outgoing) {
	for i, n := range sizes {
		list = append(list, Outgoing{Number: first + uint64(i), Size: max(n, 0), Skip: n < 0})
	}
	return list
}

func TestMailSlotLayout(t *testing.T) {
	w := newWorld(t)
	n := w.node("n")
	n.start()
	seq := wire.Sequence{Counter: 1}
	const half = wire.MaxSlotItems/2 - wire.ItemOverhead // two of these fill a slot
	type step struct {
		items []Outgoing
		want  string
	}
	// After each step what is marked * has been put.
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"appending touches only the last slot", []step{
			{outgoing(1, half), "m0:1-1*"},
			{outgoing(1, half, half), "m0:1-2*"},
			{outgoing(1, half, half, 10), "m0:1-2 m1:3-3*"},
			{outgoing(1, half, half, 10, 10), "m0:1-2 m1:3-4*"},
		}},
		{"a receipt frees what it covers", []step{
			{outgoing(1, half, half, half, half, 10), "m0:1-2* m1:3-4* m2:5-5*"},
			{outgoing(3, half, half, 10), "m1:3-4 m2:5-5"},
			{outgoing(3, half, half, 10, wire.MaxSlotBody), "m0:6-6* m1:3-4 m2:5-5"},
		}},
		{"the first number stays until a receipt covers it", []step{
			{outgoing(1, 10, 10, 10), "m0:1-3*"},
			{outgoing(3, 10), "m0:1-3"}, // 1 and 2 may go with the next rewrite
			{outgoing(3, 10, 10), "m0:1-4*"},
		}},
		{"a skip replaces its message where that stands", []step{
			{outgoing(1, half, half, half), "m0:1-2* m1:3-3*"},
			{outgoing(1, half, -1, half), "m0:1-2* m1:3-3"},
		}},
		{"a long message takes slots of its own", []step{
			{outgoing(1, 10, 1500, 10), "m0:1-1* m1:2-2(0/3)* m2:2-2(1/3)* m3:2-2(2/3)* m4:3-3*"},
			{outgoing(2, 1500, 10), "m1:2-2(0/3) m2:2-2(1/3) m3:2-2(2/3) m4:3-3"},
			{outgoing(3, 10), "m4:3-3"},
		}},
		{"the skip of a long message takes one slot", []step{
			{outgoing(1, 1500, 10), "m0:1-1(0/3)* m1:1-1(1/3)* m2:1-1(2/3)* m3:2-2*"},
			{outgoing(1, -1, 10), "m0:1-1* m3:2-2"},
		}},
		{"the largest takes all", []step{
			{outgoing(1, maxBody), "m0:1-1(0/8)* m1:1-1(1/8)* m2:1-1(2/8)* m3:1-1(3/8)* m4:1-1(4/8)* m5:1-1(5/8)* m6:1-1(6/8)* m7:1-1(7/8)*"},
			{outgoing(2, 10), "m0:2-2*"},
		}},
		{"a larger one waits and holds back what follows", []step{
			{outgoing(1, 10, maxBody+1, 10), "m0:1-1*"},
		}},
		{"what does not fit waits in order", []step{
			{
				outgoing(1, half+1, half+1, half+1, half+1, half+1, half+1, 2000, 10),
				"m0:1-1* m1:2-2* m2:3-3* m3:4-4* m4:5-5* m5:6-6*",
			},
			{
				outgoing(3, half+1, half+1, half+1, half+1, 2000, 10),
				"m0:7-7(0/4)* m1:7-7(1/4)* m2:3-3 m3:4-4 m4:5-5 m5:6-6 m6:7-7(2/4)* m7:7-7(3/4)*",
			},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := new(box)
			for i, s := range tt.steps {
				n.do(func() {
					b.release(seq, s.items[0].Number, len(s.items))
					b.layout(n.c, s.items, len(s.items), 1)
				})
				if got := layoutOf(b); got != s.want {
					t.Fatalf("step %d: %s, want %s", i, got, s.want)
				}
				for j := range b.slots {
					if x := &b.slots[j]; x.last != 0 && x.changed {
						x.changed, x.body, x.prekey = false, []byte{1}, 1
						x.skips = skips(span(s.items, x.first, x.last))
					}
				}
			}
		})
	}
}

func TestALayoutBeyondWhatIsPendingIsDropped(t *testing.T) {
	b := &box{}
	b.slots[2] = slot{first: 1, last: 9}
	b.release(wire.Sequence{}, 1, 3)
	if got := layoutOf(b); got != "" {
		t.Errorf("layout %s", got)
	}
}

func TestMailWaitsInTheDHT(t *testing.T) {
	for _, n := range []int{1, 10, 60} {
		w, a, b := apart(t)
		w.run(5 * time.Second)
		b.stop()
		for i := range n {
			a.send(b, fmt.Sprint("message ", i))
		}
		w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == n })
		if got := a.friends[b.id].stored[1]; got != 8 {
			t.Errorf("stored in %d copies, want 8", got)
		}
		a.stop()
		w.run(time.Hour)
		b.start()
		b.ready()
		took := w.wait("delivery", 20*time.Second, func() bool { return len(b.got(a)) == n })
		if took > 5*time.Second {
			t.Errorf("%d messages shown after %v, want 5 s at most", n, took)
		}
		for i, s := range b.got(a) {
			if want := fmt.Sprint("message ", i); s != want {
				t.Fatalf("message %d is %q", i, s)
			}
		}
		if via := b.friends[a.id].got[0].via; via != ViaDHT {
			t.Errorf("came via %v", via)
		}
		w.run(20 * time.Second)
		b.stop()
		a.start()
		a.ready()
		w.wait("receipt from the state of one who has gone", 20*time.Second, func() bool { return a.pending(b) == 0 })
		w.run(time.Second)
		if a.c.peers[b.id].box != nil {
			t.Error("the mailbox is kept after the receipt")
		}
		if a.Get(table, b.id, []byte(keyBox)) != nil {
			t.Error("the mailbox's row is kept after the receipt")
		}
	}
}

func TestLongMessagesByTheMailbox(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	w.run(30 * time.Second)
	bodies := []string{"first", strings.Repeat("y", maxBody-1500), "last"}
	for _, s := range bodies {
		a.send(b, s)
	}
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 3 })
	// A part that is missing at first comes with a later try.
	p := b.identityPair(a)
	key := p.slotKeyOf(crypto.In, crypto.Week(w.now))
	lost := make(map[*holder]Item)
	for _, h := range w.dht.holders {
		if i, ok := h.items[slotName(key, "m3")]; ok {
			lost[h] = i
			delete(h.items, slotName(key, "m3"))
		}
	}
	if len(lost) == 0 {
		t.Fatal("nothing stands in m3")
	}
	b.start()
	b.ready()
	w.run(1500 * time.Millisecond)
	if got := len(b.got(a)); got != 1 {
		t.Errorf("%d messages without the missing part, want the first alone", got)
	}
	for h, i := range lost {
		h.items[slotName(key, "m3")] = i
	}
	w.wait("delivery", 20*time.Second, func() bool { return len(b.got(a)) == 3 })
	for i, s := range b.got(a) {
		if s != bodies[i] {
			t.Errorf("message %d has %d bytes, want %d", i, len(s), len(bodies[i]))
		}
	}
}

type pairOf struct{ *crypto.Pair }

// identityPair gives n's pair with another, also while n is stopped.
func (n *node) identityPair(other *node) pairOf {
	p, err := n.identity.Pair(other.id)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return pairOf{p}
}

func (p pairOf) slotKeyOf(d crypto.Direction, w crypto.Epoch) [32]byte {
	return [32]byte(p.Slot(d, w)[32:])
}

// puts are the puts of a salt since an index.
func (d *dht) putsOf(salt string, from int) (list []Put) {
	for _, p := range d.puts[from:] {
		if p.Salt == salt {
			list = append(list, p)
		}
	}
	return list
}

func TestSlotsAreWrittenBeforeTheStateThatAnnouncesThem(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	w.run(time.Minute)
	from := len(w.dht.puts)
	a.send(b, "x")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	var order []string
	for _, p := range w.dht.puts[from:] {
		order = append(order, p.Salt)
	}
	if got := strings.Join(order, " "); got != "m0 s" {
		t.Errorf("put %s, want the slot and then the state", got)
	}
}

func TestStoredNeedsCopiesOfSlotAndState(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(d *dht)
		stored bool
		copies int
	}{
		{"8 copies", func(*dht) {}, true, 8},
		{"a small network, all of it", func(d *dht) { d.holders = d.holders[:5] }, true, 5},
		{"two nodes are all there are", func(d *dht) { d.holders = d.holders[:2] }, true, 2},
		{"all of few that answer", func(d *dht) { d.kill(6, 0) }, false, 0},
		{"some of those that answered refuse", func(d *dht) { d.kill(2, 3) }, false, 0},
		{"three answer and take it", func(d *dht) { d.kill(5, 0) }, true, 3},
		{"nobody answers", func(d *dht) { d.kill(8, 0) }, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, a, b := apart(t)
			w.run(5 * time.Second)
			b.stop()
			tt.change(w.dht)
			a.send(b, "x")
			_, ok := w.until(func() bool { return len(a.friends[b.id].stored) == 1 }, 2*time.Minute)
			if ok != tt.stored || a.friends[b.id].stored[1] != tt.copies {
				t.Errorf("stored %v in %d copies, want %v in %d", ok, a.friends[b.id].stored[1], tt.stored, tt.copies)
			}
		})
	}
}

// kill makes the first nodes dead and the next ones refuse what is put.
func (d *dht) kill(dead, refuse int) {
	for i, h := range d.near() {
		h.dead = i < dead
		h.refuse = i >= dead && i < dead+refuse
	}
}

func TestCopiesOnTheFriendsNodeDoNotCount(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	w.dht.holders[0].addr = b.addr
	from := len(w.dht.puts)
	a.send(b, "x")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	if got := a.friends[b.id].stored[1]; got != 7 {
		t.Errorf("stored in %d copies, want 7 of 8 holders", got)
	}
	for _, put := range w.dht.puts[from:] {
		if [32]byte(put.Key[32:]) == a.slotOf(b) && !slices.Contains(put.Not, b.addr) {
			t.Errorf("a put of %s counts copies on the friend's node", put.Salt)
		}
	}
}

// slotOf is the key of n's slots to another node this week.
func (n *node) slotOf(to *node) [32]byte {
	_, key := n.c.peers[to.id].slotKey(crypto.Out, crypto.Week(n.w.now))
	return key
}

func TestStoredCountsTheFewerCopiesOfSlotAndState(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	a.send(b, "x")
	w.wait("slot", time.Minute, func() bool { x := a.c.peers[b.id].box; return x != nil && x.slots[0].standing != 0 })
	w.dht.kill(3, 0) // before the state that announces it
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	if got := a.friends[b.id].stored[1]; got != 5 {
		t.Errorf("stored in %d copies, want the 5 of the state", got)
	}
}

func TestGenerationsRiseOverACrash(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	a.send(b, "one")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	before := a.c.peers[b.id].box.slots[0]
	a.stop()
	a.friends[b.id].stored = make(map[uint64]int)
	a.start()
	if got := a.c.peers[b.id].box.slots[0]; got.generation != before.generation || got.first != 1 || got.last != 1 {
		t.Errorf("restored %+v, want generation %d of message 1", got, before.generation)
	}
	a.ready()
	a.send(b, "two")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 2 })
	after := a.c.peers[b.id].box.slots[0]
	if after.generation <= before.generation || after.seq <= before.seq || after.first != 1 || after.last != 2 {
		t.Errorf("slot %+v after %+v: want a higher generation, appended", after, before)
	}
	b.start()
	b.ready()
	w.wait("delivery", 20*time.Second, func() bool { return len(b.got(a)) == 2 })
}

func TestMailIsPutOnlyAfterOurOwnRecordWasRead(t *testing.T) {
	w, a, _ := waiting(t)
	a.stop()
	a.start()
	from := len(w.dht.puts)
	a.ready()
	w.run(20 * time.Second)
	if got := w.dht.puts[from]; got.Salt != saltState || got.Seen == nil {
		t.Errorf("the first put of a run is of %q", got.Salt)
	}
	if len(w.dht.putsOf("m0", from)) != 1 {
		t.Error("the mail was not put again")
	}
}

func TestANewerPrekeyHasMailSealedAnew(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	a.send(b, "x")
	b.full = true // so that nothing gets its receipt
	w.run(time.Minute)
	old := a.c.peers[b.id].box.slots[0]
	b.do(func() {
		b.rotate()
		b.c.StateChanged(a.id)
	})
	w.wait("sealed anew", time.Minute, func() bool { return a.c.peers[b.id].box.slots[0].prekey == b.newest })
	if s := a.c.peers[b.id].box.slots[0]; s.generation <= old.generation || s.first != old.first {
		t.Errorf("sealed anew as %+v after %+v", s, old)
	}
}

func TestMailForALostPrekeyIsReportedAndSealedAnew(t *testing.T) {
	w, a, b := waiting(t)
	lost := b.newest
	b.rotate()
	delete(b.prekey, lost)
	b.start()
	b.ready()
	w.wait("cannotOpen", 30*time.Second, func() bool {
		s := a.states[b.id]
		return s[len(s)-1].CannotOpen == lost
	})
	w.wait("delivery", time.Minute, func() bool { return len(b.got(a)) == 1 })
	w.run(time.Minute)
	if s := a.states[b.id]; b.c.peers[a.id].cannotOpen != 0 || s[len(s)-1].CannotOpen != 0 {
		t.Error("cannotOpen is still reported after mail could be opened")
	}
}

func TestDirectMailForALostPrekeyIsSealedAnew(t *testing.T) {
	w, a, b := both(t)
	w.run(5 * time.Second)
	lost := b.newest
	b.rotate()
	delete(b.prekey, lost)
	a.send(b, "x")
	took := w.wait("delivery", 10*time.Second, func() bool { return len(b.got(a)) == 1 })
	if took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestLiveMailMovesToTheNextWeek(t *testing.T) {
	w := newWorld(t)
	w.now = (crypto.Week(w.now) + 1).WeekStart().Add(-2 * time.Hour)
	a, b := w.node("alice"), w.node("bob")
	befriend(a, b)
	a.start()
	a.ready()
	r := b.request(uint64(w.now.UnixMilli()))
	r.Endpoints = nil
	a.do(func() { a.c.Introduce(r) })
	a.send(b, "over the weekend")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	w.run(3 * time.Hour)
	_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	for _, salt := range []string{saltState, "m0"} {
		if len(w.dht.find(key, salt)) == 0 {
			t.Errorf("%s does not stand under the new week's key", salt)
		}
	}
	a.stop()
	w.run(4 * 24 * time.Hour)
	b.start()
	b.ready()
	w.wait("delivery", 20*time.Second, func() bool { return len(b.got(a)) == 1 })
}

func TestMailOfLastWeekIsFoundAtStart(t *testing.T) {
	w, a, b := waiting(t)
	a.stop()
	w.run((crypto.Week(w.now) + 1).WeekStart().Sub(w.now) + 3*24*time.Hour)
	b.start()
	b.ready()
	w.wait("delivery", 20*time.Second, func() bool { return len(b.got(a)) == 1 })
}

func (d *dht) find(key [32]byte, salt string) (list []Item) {
	for _, h := range d.holders {
		if i, ok := h.items[slotName(key, salt)]; ok {
			list = append(list, i)
		}
	}
	return list
}

func TestAStaleSlotIsAMissToRetry(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	a.send(b, "one")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	old := w.dht.find(key, "m0")[0]
	a.send(b, "two")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 2 })
	fresh := w.dht.find(key, "m0")[0]
	for _, h := range w.dht.near() {
		h.items[slotName(key, "m0")] = old
	}
	a.stop()
	b.start()
	b.ready()
	w.run(20 * time.Second)
	if got := len(b.got(a)); got != 0 || b.stat("slot.stale") == 0 {
		t.Errorf("%d messages from a stale slot, slot.stale = %d", got, b.stat("slot.stale"))
	}
	w.dht.holders[3].items[slotName(key, "m0")] = fresh
	w.wait("delivery", time.Minute, func() bool { return len(b.got(a)) == 2 })
}

func TestAFullInboxLeavesTheSlotUnread(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.full = true
	a.send(b, "x")
	w.run(5 * time.Minute)
	if a.pending(b) != 1 {
		t.Fatal("a receipt for mail that was not taken")
	}
	b.stop()
	b.full = false
	b.start()
	b.ready()
	w.wait("delivery after a restart", 20*time.Second, func() bool { return len(b.got(a)) == 1 })
}

func TestInboxRoomOffersWhatWasHeld(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.full = true
	a.send(b, "x")
	w.run(5 * time.Minute)
	b.full = false
	b.do(func() { b.c.InboxRoom(a.id) })
	if took := w.wait("delivery", time.Minute, func() bool { return len(b.got(a)) == 1 }); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestReadersKeepAliveWhatTheyRead(t *testing.T) {
	w, a, b := waiting(t)
	a.stop()
	from := len(w.dht.reputs)
	b.start()
	b.ready()
	w.run(20 * time.Second)
	var salts []string
	for _, i := range w.dht.reputs[from:] {
		salts = append(salts, i.Salt)
	}
	if got := strings.Join(salts, " "); got != "m0 s" && got != "s m0" {
		t.Errorf("put again %q, want state and slot", got)
	}
	for _, i := range w.dht.reputs[from:] {
		if len(i.Value) == 0 || i.Key == ([32]byte{}) {
			t.Error("put again without value or key")
		}
	}
}

func TestMailIsPutAgainWhileItWaits(t *testing.T) {
	w, a, b := waiting(t)
	from := len(w.dht.puts)
	generation := a.c.peers[b.id].box.slots[0].generation
	w.run(4 * time.Hour)
	if n := len(w.dht.putsOf("m0", from)); n < 12 || n > 21 {
		t.Errorf("put %d times in 4 hours, want each 15 min ± 20 %%", n)
	}
	if got := a.c.peers[b.id].box.slots[0].generation; got != generation {
		t.Error("the generation changed though the content did not")
	}
}

func TestConflictsInAMailSlotAreGoneAbove(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	// The friend, or another copy of us, has put something of a higher seq there.
	p := a.c.peers[b.id]
	_, public := p.slotKey(crypto.Out, crypto.Week(w.now))
	foreign := Item{Key: public, Salt: "m0", Value: []byte("junk"), Seq: w.now.Add(12 * time.Hour).UnixMilli()}
	for _, h := range w.dht.near() {
		h.items[slotName(public, "m0")] = foreign
	}
	a.send(b, "x")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	if got := a.stat("mailbox.conflict"); got != 1 {
		t.Errorf("mailbox.conflict = %d, want 1", got)
	}
	b.start()
	b.ready()
	w.wait("delivery", time.Minute, func() bool { return len(b.got(a)) == 1 })
}

// A slot that the state names and that is not found is looked for farther off.
func TestAMissedSlotIsLookedForWide(t *testing.T) {
	w, a, b := waiting(t)
	a.stop()
	for _, h := range w.dht.holders {
		for name := range h.items {
			if strings.HasSuffix(name, saltMail(0)) {
				delete(h.items, name)
			}
		}
	}
	from := len(w.dht.gets)
	b.start()
	b.ready()
	w.run(10 * time.Second)
	var wide []bool
	for _, q := range w.dht.gets[from:] {
		if q.Salt == saltMail(0) && (len(wide) == 0 || q.Wide != wide[len(wide)-1]) {
			wide = append(wide, q.Wide)
		}
	}
	if !slices.Equal(wide, []bool{false, true}) || b.stat("slot.miss") < 2 {
		t.Errorf("looks for the slot were wide: %v, %d misses; want first not, then always", wide, b.stat("slot.miss"))
	}
}

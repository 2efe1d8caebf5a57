package delivery

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// singleKey and singleRow are the row of one message as it was written before
// there were pages.
func singleKey(slot int) []byte { return wire.AppendUint16([]byte{keySeen}, uint16(slot)) }

func singleRow(e *seen) []byte {
	b := append([]byte{seenFormat}, e.id[:]...)
	b = wire.AppendSequence(b, e.mark.sequence)
	b = wire.AppendUint64(b, e.number)
	b = wire.AppendUint64(b, e.rank)
	return wire.AppendBool(b, e.skipped)
}

// batch is mail of a friend who has sent and finished everything before it.
func batch(seq wire.Sequence, first uint64, ids ...int) *wire.Mail {
	m := &wire.Mail{Sequence: seq, Base: first, First: first}
	for _, i := range ids {
		m.Items = append(m.Items, wire.Item{ID: numbered(i), Body: []byte("x")})
	}
	return m
}

// receive takes a batch, commits, and returns how many messages were new.
func (n *node) receive(t *testing.T, now time.Time, m *wire.Mail) int {
	t.Helper()
	if !n.peer.Receive(now, m, 1) {
		t.Fatalf("batch from %d on not taken", m.First)
	}
	out := n.take()
	must(t, out.Err)
	n.commit(out)
	n.unread -= len(out.Delivered)
	n.peer.Consumed(now, len(out.Delivered), len(out.Delivered))
	return len(out.Delivered)
}

// TestMemoryAcrossPages: whatever is remembered is what the last messages
// were, through any number of them, in sequences that end and repeat, with the
// memory in place, dropped, or read anew after a restart.
func TestMemoryAcrossPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	_, b := pair(t)
	limit := b.peer.limits.Seen
	var last []int // the model: the last IDs, newest at the end
	seq, number, fresh, now := wire.Sequence{Counter: 1}, uint64(1), 0, start
	for range 400 {
		now = now.Add(time.Second)
		var ids []int
		want := 0
		for range 1 + rng.IntN(40) {
			i := fresh
			if len(last) > 0 && rng.IntN(3) == 0 {
				i = last[rng.IntN(len(last))]
			} else {
				fresh++
			}
			if slices.Contains(ids, i) {
				continue
			}
			ids = append(ids, i)
			if at := slices.Index(last, i); at >= 0 {
				last = slices.Delete(last, at, at+1)
			} else {
				want++
			}
			if last = append(last, i); len(last) > limit {
				last = last[1:]
			}
		}
		if got := b.receive(t, now, batch(seq, number, ids...)); got != want {
			t.Fatalf("batch of %d from %d on: %d delivered, want %d", len(ids), number, got, want)
		}
		number += uint64(len(ids))
		switch rng.IntN(6) {
		case 0:
			seq.Counter, number = seq.Counter+1, 1 // and the oldest is forgotten at some time
		case 1:
			must(t, b.restart(now))
		case 2:
			now = now.Add(memoryFor)
			b.peer.Advance(now)
			if b.peer.memory.slots != nil {
				t.Fatal("the memory is still there after a minute without mail")
			}
		}
	}
	must(t, b.same())
	if got := b.count(TableSeen); got != limit/pageSlots || b.peer.stats.ForksSeen != 0 {
		t.Errorf("%d rows for %d messages, %d forks; want %d rows, no fork", got, fresh, b.peer.stats.ForksSeen, limit/pageSlots)
	}
}

// TestMemoryIsReadWhenNeeded: a restored Peer reads no row of what it has seen
// before mail comes, and keeps nothing of it a minute later.
func TestMemoryIsReadWhenNeeded(t *testing.T) {
	_, b := pair(t)
	const count = 1024
	for i := range count {
		b.receive(t, start, batch(wire.Sequence{Counter: 1}, uint64(i+1), i))
	}
	must(t, b.restart(start))
	if b.peer.memory.loaded || !b.peer.Next().IsZero() {
		t.Fatalf("memory in place after a restart, next step at %v", b.peer.Next())
	}
	if got := b.receive(t, start, batch(wire.Sequence{Counter: 2}, 1, count-1, 1, count)); got != 1 {
		t.Errorf("%d messages delivered, want only the one that is new", got)
	}
	if got, want := b.peer.Next(), start.Add(memoryFor); !got.Equal(want) {
		t.Errorf("next step at %v, want %v", got, want)
	}
	b.peer.Advance(start.Add(memoryFor - 1))
	if !b.peer.memory.loaded {
		t.Error("the memory went too early")
	}
	b.peer.Advance(start.Add(memoryFor))
	if b.peer.memory.loaded || !b.peer.Next().IsZero() {
		t.Errorf("memory in place a minute after the last mail, next step at %v", b.peer.Next())
	}
	if out := b.peer.Take(); len(out.Rows) > 0 {
		t.Errorf("dropping the memory writes %d rows", len(out.Rows))
	}
}

// TestUncommittedMemoryStays: what no row holds yet is not dropped.
func TestUncommittedMemoryStays(t *testing.T) {
	_, b := pair(t)
	b.peer.Receive(start, batch(wire.Sequence{Counter: 1}, 1, 1), 1)
	b.peer.Advance(start.Add(time.Hour))
	b.commit(b.take())
	if got := b.receive(t, start, batch(wire.Sequence{Counter: 2}, 1, 1)); got != 0 {
		t.Error("a message was delivered twice")
	}
}

// TestSinglesBecomePages: rows of the older kind are read, and replaced.
func TestSinglesBecomePages(t *testing.T) {
	const count = pageSlots + 5
	_, b := pair(t)
	for i := range count {
		b.receive(t, start, batch(wire.Sequence{Counter: 1}, uint64(i+1), i))
	}
	want := fmt.Sprint(memoryOf(b.peer))
	for i := range b.peer.memory.slots {
		b.rows[TableState+"\x00"+string(singleKey(i))] = string(singleRow(&b.peer.memory.slots[i]))
	}
	for page := range uint16(2) {
		delete(b.rows, TableSeen+"\x00"+string(pageKey(page)))
	}
	older := b.clone()
	for range 2 { // a crash before the first commit changes nothing
		b.store = older.clone()
		must(t, b.restart(start))
		if got := fmt.Sprint(memoryOf(b.peer)); got != want {
			t.Fatalf("restored %s, want %s", got, want)
		}
	}
	b.commit(b.take())
	if got := b.count(TableSeen); got != 2 || b.Get(TableState, singleKey(0)) != nil || b.Get(TableState, singleKey(count-1)) != nil {
		t.Errorf("%d pages, first single %x; want 2 pages and no single", got, b.Get(TableState, singleKey(0)))
	}
	must(t, b.restart(start))
	must(t, b.same())
	if got := fmt.Sprint(memoryOf(b.peer)); got != want {
		t.Errorf("read from pages %s, want %s", got, want)
	}
}

// TestDamagedMemory: with a page that cannot be read nothing is taken, and the
// node is told.
func TestDamagedMemory(t *testing.T) {
	_, b := pair(t)
	b.receive(t, start, batch(wire.Sequence{Counter: 1}, 1, 1, 2, 3))
	b.rows[TableSeen+"\x00"+string(pageKey(0))] += "x"
	must(t, b.restart(start))
	if b.peer.Receive(start, batch(wire.Sequence{Counter: 1}, 4, 4), 1) {
		t.Error("mail is done with, though it was not taken")
	}
	out := b.take()
	if out.Err == nil || len(out.Rows)+len(out.Delivered) > 0 || out.Answer {
		t.Errorf("got %+v, want an error and nothing else", out)
	}
}

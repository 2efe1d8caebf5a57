package delivery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// pair returns two open nodes with default limits.
func pair(tb testing.TB) (a, b *node) {
	limits := DefaultLimits()
	a, b = newNode("a", 100, &limits), newNode("b", 200, &limits)
	for _, n := range []*node{a, b} {
		n.open, n.capacity = true, 1000
		must(tb, n.restart(start))
	}
	return a, b
}

var start = time.UnixMilli(1_000_000)

func numbered(i int) (id wire.MessageID) {
	binary.BigEndian.PutUint64(id[:], uint64(i)+1)
	return id
}

func TestIdlePeerIsSmall(t *testing.T) {
	const count, limit = 10_000, 1024
	limits := DefaultLimits()
	peers := make([]*Peer, count)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range peers {
		p := New(Config{Own: crypto.Incarnation{Created: 1}, Limits: &limits})
		p.SetCapacity(1000)
		p.Open(start, 1)
		// A conversation that has ended leaves little behind.
		must(t, p.Send(start, Message{ID: numbered(i), Body: []byte("hello")}))
		p.Receipt(start, &wire.Receipt{Sequence: p.sequence, Number: 1, Mark: MarkOf(numbered(i)), Known: 1})
		p.Receive(start, &wire.Mail{Base: 1, First: 1, Items: []wire.Item{{ID: numbered(i)}}}, 1)
		p.Take()
		p.Advance(start.Add(EndedFor))
		p.Take()
		peers[i] = p
	}
	each := (heap() - before) / count
	t.Logf("%d bytes a peer", each)
	if each > limit {
		t.Errorf("an idle peer takes %d bytes, want at most %d", each, limit)
	}
	runtime.KeepAlive(peers)
}

// TestStepsAreLocal: what a step writes and allocates does not grow with what
// is pending.
func TestStepsAreLocal(t *testing.T) {
	a, b := pair(t)
	body := make([]byte, 100)
	sent := 0
	send := func() Output {
		must(t, a.peer.Send(start, Message{ID: numbered(sent), Body: body, Expiry: math.MaxInt64}))
		sent++
		return a.peer.Take()
	}
	a.commit(send())
	few := testing.AllocsPerRun(20, func() { a.commit(send()) })
	for sent < 10_000 {
		a.commit(send())
	}
	many := testing.AllocsPerRun(20, func() { a.commit(send()) })
	if many > few+1 {
		t.Errorf("Send makes %.0f allocations with 10,000 pending, %.0f with few", many, few)
	}
	if out := send(); len(out.Rows) != 2 { // body and message; a window full of numbers is drawn
		t.Errorf("Send writes %d rows, want 2", len(out.Rows))
	}
	b.peer.Receive(start, overWire(a.mail(1, 1)), 1)
	if out := b.peer.Take(); len(out.Rows) != 2 {
		t.Errorf("Receive of one message writes %d rows, want 2", len(out.Rows))
	}
	a.peer.Receipt(start, b.peer.CurrentReceipt())
	// Body deleted, its message, the one that gets the free number, and head.
	if out := a.peer.Take(); len(out.Rows) != 4 {
		t.Errorf("Receipt of one message writes %d rows, want 4", len(out.Rows))
	}
}

// TestForksAreBounded: a friend that answers each sequence with a fork makes
// us begin one a minute, in memory and after restarts, and at the highest
// counter none.
func TestForksAreBounded(t *testing.T) {
	a, _ := pair(t)
	for i := range 100 {
		must(t, a.peer.Send(start, Message{ID: numbered(i)}))
	}
	a.commit(a.take())
	now, begun := start, uint64(0)
	for i := range 36_000 { // an hour
		now = now.Add(100 * time.Millisecond)
		a.peer.Receipt(now, &wire.Receipt{Sequence: a.peer.sequence, Fork: true})
		a.peer.Advance(now)
		a.commit(a.take())
		if i%500 == 0 {
			begun += a.peer.Stats().NewSequences
			must(t, a.restart(now))
		}
	}
	begun += a.peer.Stats().NewSequences
	if got := int(a.peer.sequence.Counter) - 1; got > 61 || got < 30 || uint64(got) != begun {
		t.Errorf("%d sequences begun in an hour (%d counted), want up to 61", got, begun)
	}
	a.peer.sequence.Counter = math.MaxUint32
	a.peer.Receipt(now.Add(time.Hour), &wire.Receipt{Sequence: a.peer.sequence, Fork: true})
	if got := a.peer.sequence.Counter; got != math.MaxUint32 {
		t.Errorf("counter went on to %d", got)
	}
}

// TestForeignReceipts: receipts about stores that are not ours do nothing.
func TestForeignReceipts(t *testing.T) {
	a, _ := pair(t)
	must(t, a.peer.Send(start, Message{ID: numbered(1)}))
	a.commit(a.take())
	for _, seq := range []wire.Sequence{{}, {Incarnation: crypto.Incarnation{Created: 99}, Counter: 7}, {Incarnation: a.own}} {
		a.peer.Receipt(start, &wire.Receipt{Sequence: seq, Number: 1, Mark: MarkOf(numbered(1)), Fork: true})
		if out := a.peer.Take(); len(out.Rows)+len(out.Changes) > 0 || out.PendingChanged {
			t.Errorf("a receipt for %v does %+v", seq, out)
		}
	}
	if got := a.peer.Stats().StaleReceipts; got != 3 {
		t.Errorf("%d counted, want 3", got)
	}
}

// TestFaultyMail: batches that make no sense are counted and change nothing.
func TestFaultyMail(t *testing.T) {
	one := []wire.Item{{ID: numbered(1)}}
	for name, m := range map[string]wire.Mail{
		"nothing":          {Base: 1, First: 1},
		"number 0":         {Base: 1, First: 0, Items: one},
		"base 0":           {Base: 0, First: 1, Items: one},
		"base too high":    {Base: 3, First: 1, Items: one},
		"beyond window":    {Base: 1, First: 1025, Items: one},
		"numbers overflow": {Base: math.MaxUint64, First: math.MaxUint64, Items: one},
		"body too long":    {Base: 1, First: 1, Items: []wire.Item{{Body: make([]byte, wire.MaxMessage+1)}}},
		"part index":       {Base: 1, First: 1, Part: &wire.Part{Index: 2, Count: 2, Bytes: []byte{1}}},
		"part of nothing":  {Base: 1, First: 1, Part: &wire.Part{Index: 0, Count: 2}},
		"not an item":      {Base: 1, First: 1, Part: &wire.Part{Index: 0, Count: 1, Bytes: []byte{9}}},
	} {
		_, b := pair(t)
		b.peer.Receive(start, &m, 1)
		out := b.peer.Take()
		if got := b.peer.Stats().Faults; got != 1 || len(out.Delivered) > 0 {
			t.Errorf("%s: %d faults counted, %d delivered, want 1 and 0", name, got, len(out.Delivered))
		}
	}
}

// TestEarlyIsBounded: what comes too early takes bounded memory.
func TestEarlyIsBounded(t *testing.T) {
	_, b := pair(t)
	limits := DefaultLimits()
	for s := range 20 {
		seq := wire.Sequence{Counter: uint32(s)}
		for n := uint64(2); n < 1000; n++ {
			item := wire.Item{ID: numbered(int(n)), Body: make([]byte, 4000)}
			b.peer.Receive(start, &wire.Mail{Sequence: seq, Base: 1, First: n, Items: []wire.Item{item}}, 1)
			part := &wire.Part{Set: 1, Index: uint8(n % 8), Count: 200, Bytes: make([]byte, 60_000)}
			b.peer.Receive(start, &wire.Mail{Sequence: seq, Base: 1, First: n, Part: part}, 1)
		}
	}
	count, bytes := 0, 0
	for _, m := range b.peer.marks {
		for _, h := range m.held {
			count++
			bytes += len(h.item.Body)
		}
	}
	if count > limits.Held || bytes > limits.HeldBytes || count != b.peer.heldCount || bytes != b.peer.heldBytes {
		t.Errorf("%d messages of %d bytes held back (%d of %d counted), want at most %d of %d", count, bytes, b.peer.heldCount, b.peer.heldBytes, limits.Held, limits.HeldBytes)
	}
	if b.peer.partial.size > maxItem {
		t.Errorf("a partial message of %d bytes", b.peer.partial.size)
	}
	if len(b.peer.marks) != limits.Sequences {
		t.Errorf("%d marks kept, want %d", len(b.peer.marks), limits.Sequences)
	}
}

// TestPartialGivesWay: parts of a message that never becomes whole do not
// keep a later sequence's out, nor one of an older store for ever.
func TestPartialGivesWay(t *testing.T) {
	part := func(counter uint32, number, set uint64, index uint8) *wire.Mail {
		item := wire.Item{ID: numbered(int(set)), Body: []byte("hello")}
		b := wire.AppendItem(nil, &item)
		piece := [][]byte{b[:9], b[9:]}[index]
		return &wire.Mail{Sequence: wire.Sequence{Counter: counter}, Base: number, First: number, Part: &wire.Part{Set: set, Index: index, Count: 2, Bytes: piece}}
	}
	for _, c := range []struct {
		name string
		of   *wire.Mail // stands in the way
		then func(i uint8) *wire.Mail
		wait time.Duration
		want bool
	}{
		{"later sequence", part(1, 1, 5, 0), func(i uint8) *wire.Mail { return part(2, 1, 6, i) }, 0, true},
		{"older sequence", part(2, 1, 5, 0), func(i uint8) *wire.Mail { return part(1, 1, 6, i) }, 0, false},
		{"older sequence, later", part(2, 1, 5, 0), func(i uint8) *wire.Mail { return part(1, 1, 6, i) }, partialFor, true},
		{"newer set", part(1, 1, 5, 0), func(i uint8) *wire.Mail { return part(1, 1, 6, i) }, 0, true},
		{"older set", part(1, 1, 5, 0), func(i uint8) *wire.Mail { return part(1, 1, 4, i) }, 0, false},
		{"given up", part(1, 1, 5, 0), func(i uint8) *wire.Mail { return part(1, 2, 6, i) }, 0, true},
	} {
		_, b := pair(t)
		b.peer.Receive(start, c.of, 1)
		for i := range uint8(2) {
			b.peer.Receive(start.Add(c.wait), c.then(i), 1)
		}
		if got := len(b.peer.Take().Delivered) == 1; got != c.want {
			t.Errorf("%s: delivered %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNewIncarnationBeginsASequence(t *testing.T) {
	a, _ := pair(t)
	for i := range 3 {
		must(t, a.peer.Send(start, Message{ID: numbered(i)}))
	}
	a.commit(a.take())
	a.peer.Receipt(start, &wire.Receipt{Sequence: a.peer.sequence, Number: 1, Mark: MarkOf(numbered(0)), Known: 1})
	a.commit(a.take())
	a.own.Created++
	must(t, a.restart(start))
	a.commit(a.take())
	got := a.peer.Pending()
	if want := (wire.Sequence{Incarnation: a.own, Counter: 1}); got.Sequence != want || got.Base != 1 || len(got.Items) != 2 {
		t.Errorf("pending %+v, want 2 messages from 1 in sequence %v", got, want)
	}
	must(t, a.same())
}

// TestDamagedRows: rows that do not fit together are an error, never a panic.
func TestDamagedRows(t *testing.T) {
	a, b := pair(t)
	for i := range 4 {
		must(t, a.peer.Send(start, Message{ID: numbered(i), Body: []byte("hello")}))
	}
	a.commit(a.take())
	b.peer.Receive(start, a.mail(1, 4), 1)
	b.commit(b.take())
	for _, n := range []*node{a, b} {
		for key, value := range n.rows {
			if strings.HasPrefix(key, TableBody) {
				continue
			}
			for _, bad := range []string{"", value[:len(value)-1], value + "x", "\xff" + value[1:]} {
				n.rows[key] = bad
				p, err := n.restored()
				if err == nil && !p.remember(start) { // what is read when it is needed
					err = p.Take().Err
				}
				if !errors.Is(err, errDamaged) && !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrTrailing) {
					t.Errorf("row %q restored as %q: got %v, want an error", key, bad, err)
				}
			}
			n.rows[key] = value
		}
	}
	for what, damage := range map[string]func(rows map[string]string){
		"head is missing":   func(rows map[string]string) { delete(rows, TableState+"\x00h") },
		"unknown row":       func(rows map[string]string) { rows[TableState+"\x00x"] = "" },
		"row without a key": func(rows map[string]string) { rows[TableState+"\x00"] = "" },
		"message twice":     func(rows map[string]string) { rows[outboxKey(9)] = rows[outboxKey(1)] },
		"numbered behind":   func(rows map[string]string) { e := entry{id: numbered(0)}; rows[outboxKey(1)] = string(e.row()) },
		"slot of a received": func(rows map[string]string) {
			rows[TableState+"\x00"+string(singleKey(5))] = string(singleRow(&seen{mark: &received{}}))
		},
	} {
		a, _ := pair(t)
		for i := range 2 {
			must(t, a.peer.Send(start, Message{ID: numbered(i)}))
		}
		a.commit(a.take())
		damage(a.rows)
		if _, err := a.restored(); !errors.Is(err, errDamaged) {
			t.Errorf("%s: got %v, want %v", what, err, errDamaged)
		}
	}
}

func outboxKey(position uint64) string {
	return TableOutbox + "\x00" + string((&entry{position: position}).key())
}

func TestNames(t *testing.T) {
	for s := Queued; s <= Cancelled+1; s++ {
		if got, want := s.Ended(), s >= Delivered; got != want {
			t.Errorf("%s ended: got %v, want %v", s, got, want)
		}
	}
	if got, want := fmt.Sprint(Cancelled, Cancelled+1, ReasonWindow, ReasonWindow+1), "cancelled state 7 waits for receipts reason 6"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStoredOfALastSequence: what is told of the mailbox of a sequence that was
// left says nothing of the one that has taken its place.
func TestStoredOfALastSequence(t *testing.T) {
	a, _ := pair(t)
	must(t, a.peer.Send(start, Message{ID: numbered(1)}))
	last := a.peer.Pending().Sequence
	a.peer.Receipt(start, &wire.Receipt{Sequence: last, Fork: true})
	a.commit(a.take())
	next := a.peer.Pending().Sequence
	for _, c := range []struct {
		of   wire.Sequence
		want State
	}{{last, Queued}, {next, Stored}, {last, Stored}} {
		a.peer.Stored(start, c.of, []uint64{1}, 8)
		if e, ok := a.peer.Entry(numbered(1)); !ok || e.State != c.want {
			t.Errorf("stored in sequence %d, the present one is %d: state %v, want %v", c.of.Counter, next.Counter, e.State, c.want)
		}
	}
}

// TestHeldTwice: two messages under one number are a fork, though those before
// them have not come and nothing of either is final.
func TestHeldTwice(t *testing.T) {
	_, b := pair(t)
	seq := wire.Sequence{Incarnation: crypto.Incarnation{Created: 100}, Counter: 1}
	for i, c := range []struct {
		id   int
		fork bool
	}{{2, false}, {2, false}, {3, true}} {
		b.peer.Receive(start, &wire.Mail{Sequence: seq, Base: 1, First: 2, Items: []wire.Item{{ID: numbered(c.id)}}}, 1)
		b.commit(b.take())
		if r := b.peer.CurrentReceipt(); r.Fork != c.fork || r.Number != 0 {
			t.Errorf("mail %d: receipt up to %d, fork %t, want 0 and %t", i, r.Number, r.Fork, c.fork)
		}
	}
	if b.peer.heldCount != 0 || b.peer.heldBytes != 0 {
		t.Errorf("%d messages of %d bytes are held of a forked sequence", b.peer.heldCount, b.peer.heldBytes)
	}
}

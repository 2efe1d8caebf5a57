package delivery

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// FuzzOutside steps a Peer with whatever mail and receipts a friend may sign:
// it must not panic, must stay within its limits, write receipts that can be
// encoded and rows that can be read. The input is a list of records: kind,
// length (2), bytes.
func FuzzOutside(f *testing.F) {
	record := func(kind byte, b []byte) []byte { return append(wire.AppendUint16([]byte{kind}, uint16(len(b))), b...) }
	seq := wire.Sequence{Incarnation: newNode("a", 100, nil).own, Counter: 1}
	batch := wire.AppendMail(nil, &wire.Mail{Sequence: seq, Base: 1, First: 1, Items: []wire.Item{{ID: id("x"), Body: []byte("hi")}, {Skip: true, ID: id("y")}}})
	raised := wire.AppendMail(nil, &wire.Mail{Sequence: seq, Base: 9, First: 10, Items: []wire.Item{{ID: id("z")}}})
	item := wire.AppendItem(nil, &wire.Item{ID: id("p"), Body: []byte("part")})
	part := wire.AppendMail(nil, &wire.Mail{Sequence: seq, Base: 1, First: 3, Part: &wire.Part{Set: 1, Count: 1, Bytes: item}})
	receipt := wire.AppendReceipt(nil, &wire.Receipt{Sequence: seq, Number: 2, Mark: MarkOf(id("m1")), Known: 2, Skipped: []wire.Range{{From: 1, To: 1}}})
	f.Add(append(append(append(record(0, batch), record(0, raised)...), record(0, part)...), record(1, receipt)...))
	f.Add(append(record(1, receipt), record(0, batch)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := &Limits{Outbox: 8, OutboxBytes: 1000, Ended: 4, Inbox: 4, InboxBytes: 1000, Window: 4, Seen: 4, Sequences: 2, Held: 2, HeldBytes: 100}
		n := newNode("a", 100, limits)
		n.open, n.capacity = true, 1000
		must(t, n.restart(start))
		now := start
		for i := range 6 {
			must(t, n.peer.Send(now, Message{ID: id("m" + string(rune('0'+i))), Body: []byte("hello"), Expiry: now.Add(time.Duration(i) * time.Second).UnixMilli()}))
		}
		r := wire.NewReader(b)
		for r.Err() == nil && r.Len() > 0 {
			kind := r.Uint8()
			record := r.Bytes16(1 << 16)
			if kind%2 == 0 {
				if m, err := wire.ParseMail(record); err == nil {
					n.peer.Receive(now, m, 1)
				}
			} else if x, err := wire.ParseReceipt(record); err == nil {
				n.peer.Receipt(now, x)
			}
			now = now.Add(time.Second)
			n.peer.Advance(now)
			n.commit(n.take())
			if x := n.peer.CurrentReceipt(); x != nil {
				wire.AppendReceipt(nil, x)
			}
			p := n.peer
			if len(p.flight) > limits.Window || len(p.marks) > limits.Sequences || len(p.memory.slots) > limits.Seen ||
				p.heldCount > limits.Held || p.unreadCount > limits.Inbox || len(p.ended) > limits.Ended {
				t.Fatal("beyond its limits")
			}
			must(t, n.same())
		}
	})
}

// FuzzRestore reads rows that nobody wrote: an error, or a Peer that works.
func FuzzRestore(f *testing.F) {
	limits := DefaultLimits()
	e := entry{id: id("m"), size: 3, state: Stored, numbered: true}
	m := received{number: 3, skipped: []wire.Range{{From: 1, To: 2}}}
	s := memory{slots: []seen{{id: id("x"), mark: &m, number: 3, rank: 1}}}
	p := New(Config{Limits: &limits})
	p.headDirty = true
	head := p.Take().Rows[0]
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1}, e.row())
	f.Add(append([]byte{0}, receivedKey(m.sequence)...), m.row())
	f.Add(append([]byte{0}, singleKey(0)...), singleRow(&s.slots[0]))
	f.Add(append([]byte{2}, pageKey(0)...), s.page(0))
	f.Add(append([]byte{0}, head.Key...), head.Value)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		table := TableState
		if len(key) > 0 {
			table = []string{TableState, TableOutbox, TableSeen}[key[0]%3]
			key = key[1:]
		}
		n := newNode("a", 1, &limits)
		n.rows[table+"\x00"+string(key)] = string(value)
		p := n.peer
		if p.Restore(table, key, value) != nil || p.Restored() != nil {
			return
		}
		p.SetCapacity(100)
		p.Open(start, 1)
		p.Advance(start)
		p.Pending()
		p.CurrentReceipt()
		p.Receive(start, &wire.Mail{Base: 1, First: 1, Items: []wire.Item{{ID: id("m")}}}, 1)
		if out := p.Take(); out.Err != nil && len(out.Delivered) > 0 {
			t.Fatal("a message was taken by a Peer that could not remember")
		}
	})
}

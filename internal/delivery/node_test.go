package delivery

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// A node is one end as the engine would run it: a Peer, its rows as committed,
// and the program's side of the inbox in the same store.
type node struct {
	name     string
	own      crypto.Incarnation
	limits   *Limits
	open     bool
	capacity int
	peer     *Peer
	store
}

// store is what a commit makes durable.
type store struct {
	rows   map[string]string // table NUL key
	inbox  []Inbound         // delivered, in order, consumed or not
	unread int               // the last of them
}

func (s store) clone() store {
	return store{maps.Clone(s.rows), slices.Clone(s.inbox), s.unread}
}

func newNode(name string, created int64, limits *Limits) *node {
	n := &node{name: name, own: crypto.Incarnation{Created: created, Random: uint64(created)}, limits: limits}
	n.rows = make(map[string]string)
	n.peer = New(Config{Own: n.own, Limits: limits, Rows: n})
	return n
}

// take ends a turn without committing it.
func (n *node) take() Output { return n.peer.Take() }

// commit makes an output durable.
func (n *node) commit(out Output) {
	for _, r := range out.Rows {
		key := r.Table + "\x00" + string(r.Key)
		if r.Value == nil {
			delete(n.rows, key)
		} else {
			n.rows[key] = string(r.Value)
		}
	}
	n.inbox = append(n.inbox, out.Delivered...)
	n.unread += len(out.Delivered)
}

// unreadBytes is the size of what was not consumed.
func (n *node) unreadBytes() (bytes int) {
	for _, in := range n.inbox[len(n.inbox)-n.unread:] {
		bytes += len(in.Body)
	}
	return bytes
}

// Get reads a committed row.
func (n *node) Get(table string, key []byte) []byte {
	if v, ok := n.rows[table+"\x00"+string(key)]; ok {
		return []byte(v)
	}
	return nil
}

// restored returns a Peer made from the committed rows.
func (n *node) restored() (*Peer, error) {
	p := New(Config{Own: n.own, Limits: n.limits, Rows: n})
	for key, value := range n.rows { // in random order
		table, k, _ := strings.Cut(key, "\x00")
		if err := p.Restore(table, []byte(k), []byte(value)); err != nil {
			return nil, err
		}
	}
	if err := p.Restored(); err != nil {
		return nil, err
	}
	p.SetUnread(n.unread, n.unreadBytes())
	return p, nil
}

// restart drops the Peer and makes it anew from the rows.
func (n *node) restart(now time.Time) error {
	p, err := n.restored()
	if err != nil {
		return err
	}
	n.peer = p
	p.SetCapacity(n.capacity)
	if n.open {
		p.Open(now, 1)
	}
	return nil
}

// same reports how a Peer restored from the rows differs from the living one,
// which must have been committed.
func (n *node) same() error {
	p, err := n.restored()
	if err != nil {
		return err
	}
	p.capacity, p.open = n.peer.capacity, n.peer.open
	if !p.remember(start) || !n.peer.remember(time.UnixMilli(n.peer.memory.used)) {
		return errors.Join(p.out.Err, n.peer.out.Err)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"pending", p.Pending(), n.peer.Pending()},
		{"outbox", pendingOf(p), pendingOf(n.peer)},
		{"ended", len(p.ended), len(n.peer.ended)},
		{"bytes", p.bytes, n.peer.bytes},
		{"deadlines", len(p.due), len(n.peer.due)},
		{"marks", marksOf(p), marksOf(n.peer)},
		{"receipt", describeReceipt(p.CurrentReceipt()), describeReceipt(n.peer.CurrentReceipt())},
		{"memory", memoryOf(p), memoryOf(n.peer)},
		{"unread", p.unreadCount, n.peer.unreadCount},
		{"unread bytes", p.unreadBytes, n.peer.unreadBytes},
		{"began", p.began, n.peer.began},
	} {
		if reflect.DeepEqual(c.got, c.want) {
			continue
		}
		if got, want := fmt.Sprint(c.got), fmt.Sprint(c.want); got != want {
			return fmt.Errorf("%s: %s restored: got %s, want %s", n.name, c.what, got, want)
		}
	}
	for _, it := range n.peer.Pending().Items {
		if body, ok := n.rows[TableBody+"\x00"+string(BodyKey(it.ID))]; !ok || len(body) != it.Size {
			return fmt.Errorf("%s: body of %s has %d bytes, want %d", n.name, name(it.ID), len(body), it.Size)
		}
	}
	if bodies := n.count(TableBody); bodies != len(n.peer.flight)+n.peer.queue.len {
		return fmt.Errorf("%s: %d bodies kept of %d pending", n.name, bodies, len(n.peer.flight)+n.peer.queue.len)
	}
	return nil
}

func (n *node) count(table string) (c int) {
	for key := range n.rows {
		if strings.HasPrefix(key, table+"\x00") {
			c++
		}
	}
	return c
}

func pendingOf(p *Peer) (out []Entry) {
	for e := range p.Outbox() {
		if !e.State.Ended() {
			out = append(out, e)
		}
	}
	return out
}

func marksOf(p *Peer) (out []string) {
	for _, m := range p.marks {
		out = append(out, fmt.Sprintf("%s number %d mark %q skipped %v fork %v used %d", sequence(m.sequence), m.number, m.mark, m.skipped, m.fork, m.used))
	}
	return out
}

func memoryOf(p *Peer) (out []string) {
	for _, e := range p.memory.slots {
		where := "nowhere"
		if e.mark != nil {
			where = sequence(e.mark.sequence)
		}
		out = append(out, fmt.Sprintf("%s %s %d %d %v", name(e.id), where, e.number, e.rank, e.skipped))
	}
	return out
}

// mail builds the batch that begins with number first and has count items.
func (n *node) mail(first uint64, count int) *wire.Mail {
	q := n.peer.Pending()
	m := &wire.Mail{Sequence: q.Sequence, Bond: 1, Base: q.Base, First: first, Prior: q.PriorOf(first)}
	for _, it := range q.Items[first-q.Base:][:count] {
		m.Items = append(m.Items, n.item(it))
	}
	return m
}

func (n *node) item(it Item) wire.Item {
	if it.Skip {
		return wire.Item{Skip: true, ID: it.ID}
	}
	return wire.Item{ID: it.ID, Time: it.Time, Body: []byte(n.rows[TableBody+"\x00"+string(BodyKey(it.ID))])}
}

// parts cuts the message with that number into count parts.
func (n *node) parts(number uint64, count int, set uint64) []*wire.Mail {
	q := n.peer.Pending()
	it := n.item(q.Items[number-q.Base])
	b := wire.AppendItem(nil, &it)
	var out []*wire.Mail
	for i := range count {
		piece := b[len(b)*i/count : len(b)*(i+1)/count]
		part := &wire.Part{Set: set, Index: uint8(i), Count: uint8(count), Bytes: piece}
		out = append(out, &wire.Mail{Sequence: q.Sequence, Bond: 1, Base: q.Base, First: number, Prior: q.PriorOf(number), Part: part})
	}
	return out
}

// overWire encodes and decodes a batch, as a courier would.
func overWire(m *wire.Mail) *wire.Mail {
	out, err := wire.ParseMail(wire.AppendMail(nil, m))
	if err != nil {
		panic(err)
	}
	return out
}

func receiptOverWire(r *wire.Receipt) *wire.Receipt {
	out, err := wire.ParseReceipt(wire.AppendReceipt(nil, r))
	if err != nil {
		panic(err)
	}
	return out
}

// id makes an ID of a name of at most 8 bytes, so that the mark shows it.
func id(name string) (out wire.MessageID) {
	if copy(out[:], name) < len(name) || len(name) > 8 {
		panic("name too long: " + name)
	}
	return out
}

func name(id wire.MessageID) string { return string(bytes.TrimRight(id[:], "\x00")) }

func sequence(s wire.Sequence) string {
	return fmt.Sprintf("%d/%d", s.Incarnation.Created, s.Counter)
}

func describeReceipt(r *wire.Receipt) string {
	if r == nil {
		return "none"
	}
	s := fmt.Sprintf("%s up to %d", sequence(r.Sequence), r.Number)
	if mark := bytes.TrimRight(r.Mark[:], "\x00"); len(mark) > 0 {
		s += fmt.Sprintf(" (%s)", mark)
	}
	if uint64(r.Known) < min(r.Number, wire.InFlight) {
		s += fmt.Sprintf(" of the last %d", r.Known)
	}
	for _, x := range r.Skipped {
		s += fmt.Sprintf(" skipped %d-%d", x.From, x.To)
	}
	if r.Fork {
		s += " FORK"
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

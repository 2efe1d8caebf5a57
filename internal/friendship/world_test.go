package friendship

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// world is a few machines and what stands between them. Requests that were
// ever put may be seen at any time; of states only the newest, as couriers do
// not hand on older ones.
type world struct {
	start    time.Time
	now      time.Time
	names    []string
	nodes    map[string]*node
	byID     map[crypto.ID]string
	requests map[[2]string][]*wire.Request
	states   map[[2]string][]wire.State // versions published
	read     map[[2]string]int          // versions of states[writer, reader] up to which the reader has read
	log      *strings.Builder           // what the machines have put out; nil: nobody reads it
	restarts bool                       // every machine restarts after every step
}

// node is one machine with its durable rows and what it has published.
type node struct {
	name string
	id   crypto.ID
	skew time.Duration
	m    *Machine
	rows map[crypto.ID][]byte
	puts map[crypto.ID]Publish // requests that are put now
}

func newWorld(names ...string) *world {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &world{
		start:    start,
		now:      start,
		names:    names,
		nodes:    make(map[string]*node),
		byID:     make(map[crypto.ID]string),
		requests: make(map[[2]string][]*wire.Request),
		states:   make(map[[2]string][]wire.State),
		read:     make(map[[2]string]int),
	}
	for _, name := range names {
		n := &node{name: name, id: named()[name[0]]}
		n.lose()
		w.nodes[name] = n
		w.byID[n.id] = name
	}
	return w
}

// named gives the ID of each first letter of a name.
var named = sync.OnceValue(func() map[byte]crypto.ID {
	ids := make(map[byte]crypto.ID)
	for letter := byte('A'); letter <= 'z'; letter++ {
		identity, err := crypto.IdentityFromSeed(bytes.Repeat([]byte{letter}, crypto.SeedSize))
		if err != nil {
			panic(err)
		}
		ids[letter] = identity.ID()
	}
	return ids
})

// lose gives the node an empty store.
func (n *node) lose() {
	n.m = New(n.id)
	n.rows = make(map[crypto.ID][]byte)
	n.puts = make(map[crypto.ID]Publish)
}

// restart gives the node a new machine from its rows.
func (w *world) restart(n *node) error {
	n.m = New(n.id)
	for _, id := range slices.SortedFunc(maps.Keys(n.rows), crypto.ID.Compare) {
		if err := n.m.Restore(id, n.rows[id]); err != nil {
			return err
		}
	}
	n.m.Advance(w.clock(n))
	n.puts = make(map[crypto.ID]Publish)
	w.take(n)
	return nil
}

func (w *world) clock(n *node) time.Time { return w.now.Add(n.skew) }

func (n *node) address() crypto.Address {
	return crypto.Address{ID: n.id, Nospam: crypto.Nospam{1, n.id[0]}}
}

// take carries out what the node's machine wants done.
func (w *world) take(n *node) {
	o := n.m.Take()
	for _, r := range o.Rows {
		if r.Value == nil {
			delete(n.rows, r.Owner)
		} else {
			n.rows[r.Owner] = r.Value
		}
	}
	for _, e := range o.Events {
		text := fmt.Sprintf("%s: %v %s", n.name, e.Kind, w.byID[e.ID])
		if e.Bond != 0 {
			text += " bond " + w.number(e.Bond)
		}
		if e.Kind == RequestReceived {
			text += fmt.Sprintf(" %q from %q", e.Request.Hello, e.Request.Name)
		}
		w.print("%s", text)
	}
	for _, p := range o.Requests {
		w.put(n, p)
		w.print("%s: puts request %s to %s until %v", n.name, w.number(p.Number), w.byID[p.To.ID], p.Expiry.Sub(w.start))
	}
	for _, id := range o.Withdrawn {
		delete(n.puts, id)
		w.print("%s: withdraws request to %s", n.name, w.byID[id])
	}
	for _, id := range o.Standings {
		w.print("%s: tells %s %s", n.name, w.byID[id], w.standing(n, id))
		if relation, bond, publish := n.m.Standing(id); publish {
			k := [2]string{n.name, w.byID[id]}
			w.states[k] = append(w.states[k], wire.State{Relation: relation, Bond: bond})
		}
	}
}

// put makes the record that the courier would make of a request.
func (w *world) put(n *node, p Publish) {
	n.puts[p.To.ID] = p
	k := [2]string{n.name, w.byID[p.To.ID]}
	if list := w.requests[k]; len(list) > 0 && list[len(list)-1].Number == p.Number {
		return // put again
	}
	w.requests[k] = append(w.requests[k], &wire.Request{
		From:   n.id,
		Nospam: p.To.Nospam,
		Number: p.Number,
		Time:   p.Time.UnixMilli(),
		Expiry: p.Expiry.UnixMilli(),
		Format: 1,
		Name:   strings.ToUpper(n.name),
		Hello:  p.Hello,
		Prekey: wire.Prekey{Number: 1},
	})
}

func (w *world) standing(n *node, id crypto.ID) string {
	relation, bond, publish := n.m.Standing(id)
	if !publish {
		return "nothing"
	}
	return map[wire.Relation]string{
		wire.RelationFriend:  "friend",
		wire.RelationRefused: "refused",
		wire.RelationRemoved: "removed",
	}[relation] + " " + w.number(bond)
}

// number shows a number by its distance from the beginning.
func (w *world) number(n uint64) string {
	return fmt.Sprintf("#%d", int64(n)-w.start.UnixMilli())
}

func (w *world) print(format string, args ...any) {
	if w.log != nil {
		fmt.Fprintf(w.log, format+"\n", args...)
	}
}

// seeRequest has b find the i-th request that a ever put; i < 0: the one that is
// put now. It reports whether there was one.
func (w *world) seeRequest(a, b *node, i int) bool {
	list := w.requests[[2]string{a.name, b.name}]
	if i < 0 {
		p, ok := a.puts[b.id]
		if !ok {
			return false
		}
		i = slices.IndexFunc(list, func(r *wire.Request) bool { return r.Number == p.Number })
	}
	if i < 0 || i >= len(list) {
		return false
	}
	b.m.Request(w.clock(b), list[i])
	w.take(b)
	return true
}

// seeState has b read the state that a publishes now. It reports whether there
// was one.
func (w *world) seeState(a, b *node) bool {
	relation, bond, publish := a.m.Standing(b.id)
	if !publish {
		return false
	}
	k := [2]string{a.name, b.name}
	w.read[k] = len(w.states[k])
	b.m.State(w.clock(b), a.id, &wire.State{Relation: relation, Bond: bond})
	w.take(b)
	return true
}

// seeSome has b read the version i, counted from the first that it does not
// know yet.
func (w *world) seeSome(a, b *node, i int) {
	k := [2]string{a.name, b.name}
	if i += w.read[k]; i < len(w.states[k]) {
		w.read[k] = i + 1
		b.m.State(w.clock(b), a.id, &w.states[k][i])
		w.take(b)
	}
}

// settle has everybody see everything until nothing changes any more. It
// returns false if that does not come to an end.
func (w *world) settle() bool {
	for range 20 {
		before := w.picture()
		for _, x := range w.names {
			for _, y := range w.names {
				if x != y {
					w.seeRequest(w.nodes[x], w.nodes[y], -1)
					w.seeState(w.nodes[x], w.nodes[y])
				}
			}
		}
		w.pass(2 * againEvery)
		if w.picture() == before {
			return true
		}
	}
	return false
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for _, name := range w.names {
		n := w.nodes[name]
		n.m.Advance(w.clock(n))
		w.take(n)
	}
}

// picture shows what everybody is to everybody.
func (w *world) picture() string {
	var b strings.Builder
	for _, x := range w.names {
		for p := range w.nodes[x].m.People() {
			fmt.Fprintf(&b, "%s: %s is %v", x, w.byID[p.ID], p.State)
			if p.Bond != 0 {
				fmt.Fprintf(&b, " bond %s", w.number(p.Bond))
			}
			if p.Blocked {
				b.WriteString(" blocked")
			}
			if p.Label != "" {
				fmt.Fprintf(&b, " label %q", p.Label)
			}
			if p.Hello != "" {
				fmt.Fprintf(&b, " hello %q", p.Hello)
			}
			if p.Asked != nil {
				fmt.Fprintf(&b, " asked %s", w.number(p.Asked.Number))
				if p.Stored {
					b.WriteString(" stored")
				}
			}
			if p.Theirs != nil {
				fmt.Fprintf(&b, " asks %s", w.number(p.Theirs.Number))
			}
			fmt.Fprintf(&b, "; told %s\n", w.standing(w.nodes[x], p.ID))
		}
	}
	return b.String()
}

// check holds all machines against what must be true at any time.
func (w *world) check(t *testing.T) {
	t.Helper()
	for _, name := range w.names {
		n := w.nodes[name]
		incoming, next := 0, int64(0)
		for _, p := range n.m.people {
			if err := p.check(); err != nil {
				t.Fatalf("%s holds %s: %v", name, w.byID[p.id], err)
			}
			if p.blank() && p.state != Incoming {
				t.Fatalf("%s keeps %s, of whom nothing is known", name, w.byID[p.id])
			}
			if p.theirRequest != nil && p.stranger() {
				incoming++
			}
			if _, ok := n.puts[p.id]; ok != p.puts() {
				t.Fatalf("%s puts a request to %s: got %t, want %t", name, w.byID[p.id], ok, p.puts())
			}
			if d := p.deadline(); d != 0 && (next == 0 || d < next) {
				next = d
			}
			again, err := parseRow(p.id, n.rows[p.id])
			if err != nil {
				t.Fatalf("row of %s at %s: %v", w.byID[p.id], name, err)
			}
			if got, want := encodeRow(again), encodeRow(p); !bytes.Equal(got, want) {
				t.Fatalf("row of %s at %s:\n got %x\nwant %x", w.byID[p.id], name, got, want)
			}
		}
		if len(n.rows) != len(n.m.people) {
			t.Fatalf("%s: %d rows of %d people", name, len(n.rows), len(n.m.people))
		}
		if n.m.incoming != incoming {
			t.Fatalf("%s counts %d pending requests, has %d", name, n.m.incoming, incoming)
		}
		want := time.Time{}
		if next != 0 {
			want = time.UnixMilli(next)
		}
		if got := n.m.Next(); !got.Equal(want) {
			t.Fatalf("%s: next got %v, want %v", name, got, want)
		}
	}
}

package courier

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// Whoever is removed and there learns it from us, before any put is read.
func TestTheEndIsToldAtOnce(t *testing.T) {
	for name, meet := range map[string]func(testing.TB) (*world, *node, *node){
		"by the link":        func(t testing.TB) (*world, *node, *node) { w, a, b, _ := onlyLinked(t); return w, a, b },
		"straight":           both,
		"by a suspect link":  func(t testing.TB) (*world, *node, *node) { return suspected(onlyLinked(t)) },
		"beside a dead link": func(t testing.TB) (*world, *node, *node) { return still(together(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := meet(t)
			puts := len(w.dht.puts)
			a.add(b.id, wire.RelationRemoved, a.friends[b.id].bond)
			w.run(10 * time.Millisecond)
			s := b.states[a.id]
			if last := s[len(s)-1]; last.Relation != wire.RelationRemoved || last.Offer != nil || len(last.Endpoints) > 0 {
				t.Errorf("after the way of a datagram b reads %+v, want the relation removed and no more", last)
			}
			if a.online[b.id] {
				t.Error("a still shows b online")
			}
			w.wait("a put for one who may not have heard", time.Minute, func() bool { return len(w.dht.puts) > puts })
		})
	}
}

func suspected(w *world, a, b *node, _ *cable) (*world, *node, *node) {
	a.do(func() { a.c.LinkSuspect(b.id, true) })
	return w, a, b
}

func still(w *world, a, b *node, c *cable) (*world, *node, *node) {
	c.still = true
	return suspected(w, a, b, c)
}

// Whoever is blocked is told nothing.
func TestABlockIsNotTold(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	heard := len(b.states[a.id])
	a.do(func() {
		if err := a.c.SetPeer(b.id, Mode{}); err != nil {
			t.Fatal(err)
		}
	})
	w.run(10 * time.Millisecond)
	if n, _ := c.of(a, wire.KindState); n > heard || len(b.states[a.id]) > heard {
		t.Errorf("%d states over the link and %d heard, want none more than %d", n, len(b.states[a.id]), heard)
	}
}

package courier

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

// A node that has just joined may know few nodes near a slot or a bell, and not
// those where others put and look. It must not rely on them for long.

func TestAWalkThatFewAnsweredIsRepeated(t *testing.T) {
	w, a, b := alone(t)
	for _, h := range w.dht.holders[3:] {
		h.dead = true
	}
	from := len(w.dht.gets)
	a.do(func() { a.c.NetworkChanged() })
	a.do(func() { a.c.peers[b.id].soon(taskWalk) })
	w.run(time.Minute) // 1 s each, and 2, 4, 8, 16 s between
	if _, walks := w.dht.lookups(from); walks < 4 || walks > 6 {
		t.Errorf("%d walks in a minute with 3 nodes, want 5", walks)
	}
	from = len(w.dht.gets)
	w.run(time.Hour)
	if _, walks := w.dht.lookups(from); walks < 4 || walks > 5+8 {
		t.Errorf("%d walks in an hour with 3 nodes, want no more than soon one in 10 minutes", walks)
	}
	for _, h := range w.dht.holders {
		h.dead = false
	}
	w.run(time.Hour)
	if poor := a.c.peers[b.id].looking.poor; poor != 0 {
		t.Errorf("%d walks count as poor with 8 nodes", poor)
	}
}

func TestBellOfABarelyKnownNetwork(t *testing.T) {
	w := newRequesters(t)
	w.bells.few = 6 // two walks of each for the bell of the day, one for yesterday's
	a, b := w.node("alice"), w.begun("bob")
	for n := 0; crypto.FixedBucket(a.id) < crypto.FirstFixedBucket+12; n++ { // which is read late
		a = w.node(fmt.Sprint("alice ", n))
	}
	w.begin(a)
	w.run(time.Second)
	a.ask(b.address(1), "hi")
	if took := w.sees(b, "hi", time.Minute); took > 15*time.Second {
		t.Errorf("seen after %v, want soon after the third walk", took)
	}
}

// A request of which too few copies were made is put again, though it counts as
// stored, and though none of the nodes that answered lacks it.
func TestRequestWithFewCopiesIsPutAgain(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	for _, h := range w.dht.holders[4:] {
		h.dead = true
	}
	a.ask(b.address(1), "hi")
	w.run(5 * time.Second)
	if !slices.Contains(a.requestsStored, b.id) {
		t.Error("a request with 4 copies does not count as stored")
	}
	for _, h := range w.dht.holders {
		h.dead = false
	}
	copies := func() (n int) {
		o := a.c.requests.out[b.id]
		key := b.address(1).RequestSlot(o.day, o.bucket)
		return len(w.dht.find([32]byte(key[32:]), ""))
	}
	if n := copies(); n != 4 {
		t.Fatalf("%d copies at first, want 4", n)
	}
	w.wait("8 copies", 15*time.Second, func() bool { return copies() == 8 })
}

// A bucket whose bell rings before its request has been put is read again, soon
// at first.
func TestBucketIsReadAgain(t *testing.T) {
	w := newRequesters(t)
	b := w.begun("bob")
	in, s := b.c.requests.in, &bucketState{}
	for want := bucketRetry; want < bucketEvery; want *= 2 {
		b.do(func() { in.settle(s, false) })
		if got := s.next.Sub(w.now); got < want*4/5 || got > want*6/5 {
			t.Errorf("after look %d the next one is in %v, want %v", s.tries, got, want)
		}
	}
	for _, held := range []bool{false, true} {
		b.do(func() { in.settle(s, held) })
		if got := s.next.Sub(w.now); got < bucketEvery*4/5 || got > bucketEvery*6/5 {
			t.Errorf("held %t: the next look is in %v, want %v", held, got, bucketEvery)
		}
	}
}

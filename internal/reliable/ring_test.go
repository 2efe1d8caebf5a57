package reliable

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRing moves a window over a long stream, as lanes do, and compares with a plain slice.
func TestRing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	stream := make([]byte, 1<<20)
	for i := range stream {
		stream[i] = byte(rnd.Uint32())
	}
	var p pool
	var r ring
	from, to := uint64(0), uint64(0)
	for to < uint64(len(stream)) {
		n := min(1+uint64(rnd.IntN(1<<rnd.IntN(15))), uint64(len(stream))-to)
		r.reserve(&p, from, to, to+n)
		r.put(to, stream[to:to+n])
		to += n
		if held := to - from; len(r.buf) > 0 && uint64(len(r.buf)) < held {
			t.Fatalf("%d bytes held in %d", held, len(r.buf))
		}
		take := min(uint64(rnd.IntN(1<<rnd.IntN(16))), to-from)
		got := make([]byte, take)
		if take > 0 {
			r.get(from, got)
		}
		if !bytes.Equal(got, stream[from:from+take]) || take > 0 && !r.equal(from, got) {
			t.Fatalf("bytes %d to %d differ", from, from+take)
		}
		if take > 0 {
			got[take-1]++
			if r.equal(from, got) {
				t.Fatalf("bytes %d to %d equal to others", from, from+take)
			}
		}
		if from += take; from == to {
			r.release(&p)
		}
	}
}

// TestRingMemory: a ring that holds nothing has no memory, takes as much as it needed last, and less when it needs less.
func TestRingMemory(t *testing.T) {
	var p pool
	var r ring
	r.reserve(&p, 0, 0, 10_000)
	if len(r.buf) != 16<<10 {
		t.Fatalf("%d bytes for 10,000", len(r.buf))
	}
	at := uint64(10_000)
	for _, want := range []int{16 << 10, 8 << 10, 4 << 10, 2 << 10, 1 << 10, 512, 512} {
		r.release(&p)
		if r.buf != nil {
			t.Fatal("an empty ring has memory")
		}
		r.reserve(&p, at, at, at+1)
		if len(r.buf) != want {
			t.Errorf("%d bytes for one, want %d", len(r.buf), want)
		}
		at++
	}
	if p.held != 5 { // all classes but the one in use
		t.Errorf("pool holds %d, want 5", p.held)
	}
}

// TestPool: what was given is taken again, and what nobody took between two trims is freed.
func TestPool(t *testing.T) {
	var p pool
	a, b := p.take(10), p.take(10)
	p.give(a)
	p.give(b)
	if got := p.take(10); &got[0] != &b[0] {
		t.Error("take does not give back what was given last")
	} else {
		p.give(got)
	}
	p.trim() // one of the two was unused since the beginning, where none was
	for range 3 {
		p.give(p.take(10))
	}
	p.trim()
	if p.held != 1 {
		t.Errorf("%d pieces held, want the one in use", p.held)
	}
	p.trim()
	if p.held != 0 || p.classes != nil {
		t.Errorf("%d pieces held after a period without use, want none", p.held)
	}
}

package reliable

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRanges compares random operations with a table of all numbers.
func TestRanges(t *testing.T) {
	const size = 300
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var r ranges
		var table [size + 1]bool
		for op := range 300 {
			lo := uint64(rnd.IntN(size))
			hi := lo + uint64(rnd.IntN(1<<rnd.IntN(7)))
			hi = min(hi, size)
			switch k := rnd.IntN(10); {
			case k < 5:
				r.add(lo, hi)
				for i := lo; i < hi; i++ {
					table[i] = true
				}
			case k < 9:
				r.remove(lo, hi)
				for i := lo; i < hi; i++ {
					table[i] = false
				}
			case !r.empty():
				for i := r.first().lo; i < r.first().hi; i++ {
					table[i] = false
				}
				r.dropFirst()
			}
			if rnd.IntN(50) == 0 {
				r.trim()
			}
			var want []span
			for i := range uint64(size) {
				if table[i] && (i == 0 || !table[i-1]) {
					want = append(want, span{i, i})
				}
				if table[i] {
					want[len(want)-1].hi = i + 1
				}
			}
			if got := r.spans(); !slices.Equal(got, want) {
				t.Fatalf("seed %d, operation %d: %v, want %v", seed, op, got, want)
			}
			if n := uint64(rnd.IntN(size)); r.contains(n) != table[n] {
				t.Fatalf("seed %d, operation %d: contains(%d) is %v", seed, op, n, r.contains(n))
			}
			if r.len() != len(want) || r.empty() != (len(want) == 0) {
				t.Fatalf("seed %d: length %d of %v", seed, r.len(), want)
			}
		}
	}
}

// TestRangesQueue: a set from whose front as much is taken as is added behind does not grow, nor move all at each step.
func TestRangesQueue(t *testing.T) {
	var r ranges
	at := uint64(0)
	push := func() { r.add(at, at+1); at += 2 }
	for range 50 {
		push()
	}
	allocs := testing.AllocsPerRun(10_000, func() { push(); r.dropFirst() })
	if allocs != 0 || r.len() != 50 || cap(r.s) > 200 {
		t.Errorf("%v allocations a step, %d spans in room for %d", allocs, r.len(), cap(r.s))
	}
}

package reliable

import "slices"

// A span is the numbers from lo up to but not including hi.
type span struct{ lo, hi uint64 }

// ranges is a set of numbers (offsets of a lane, or packet numbers) as spans in rising order that neither touch nor
// overlap. Adding at the end and taking from the front, which is what happens nearly always, cost no search and move
// nothing. The zero value is empty.
type ranges struct {
	s    []span
	head int // spans before it are gone
}

// spans returns all spans, valid until the set changes.
func (r *ranges) spans() []span { return r.s[r.head:] }

func (r *ranges) len() int { return len(r.s) - r.head }

func (r *ranges) empty() bool { return r.head == len(r.s) }

// first returns the lowest span of a set that is not empty.
func (r *ranges) first() span { return r.s[r.head] }

// last returns the highest span of a set that is not empty.
func (r *ranges) last() span { return r.s[len(r.s)-1] }

// keptSpans is how much memory an empty set keeps.
const keptSpans = 64

// clear empties the set.
func (r *ranges) clear() {
	r.s, r.head = r.s[:0], 0
	if cap(r.s) > keptSpans {
		r.s = nil
	}
}

// trim gives the set no more memory than it needs.
func (r *ranges) trim() {
	r.s, r.head = slices.Clone(r.spans()), 0
}

// dropFirst removes the lowest span.
func (r *ranges) dropFirst() {
	r.head++
	if r.head == len(r.s) {
		r.clear()
	}
}

// search returns the index in s of the first span that ends at or after n.
func (r *ranges) search(n uint64) int {
	lo, hi := r.head, len(r.s)
	for lo < hi {
		if mid := int(uint(lo+hi) / 2); r.s[mid].hi < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// contains reports whether n is in the set.
func (r *ranges) contains(n uint64) bool {
	i := r.search(n + 1)
	return i < len(r.s) && r.s[i].lo <= n
}

// add puts the numbers from lo up to hi into the set.
func (r *ranges) add(lo, hi uint64) {
	if lo >= hi {
		return
	}
	if n := len(r.s); n > r.head {
		switch last := &r.s[n-1]; {
		case lo > last.hi:
			r.push(span{lo, hi})
			return
		case lo >= last.lo:
			last.hi = max(last.hi, hi)
			return
		}
	} else {
		r.push(span{lo, hi})
		return
	}
	i := r.search(lo) // the first that the new one touches, or the one behind it
	j := i
	for j < len(r.s) && r.s[j].lo <= hi {
		j++
	}
	if i == j {
		r.insert(i, span{lo, hi})
		return
	}
	r.s[i] = span{min(lo, r.s[i].lo), max(hi, r.s[j-1].hi)}
	r.s = slices.Delete(r.s, i+1, j)
}

// push appends a span; much room at the front is used before memory grows.
func (r *ranges) push(x span) {
	if len(r.s) == cap(r.s) && r.head > len(r.s)/4 {
		r.s = r.s[:copy(r.s, r.s[r.head:])]
		r.head = 0
	}
	r.s = append(r.s, x)
}

// insert puts a span before index i.
func (r *ranges) insert(i int, x span) {
	if i == r.head && r.head > 0 {
		r.head--
		r.s[r.head] = x
		return
	}
	r.s = slices.Insert(r.s, i, x)
}

// remove takes the numbers from lo up to hi out of the set.
func (r *ranges) remove(lo, hi uint64) {
	if lo >= hi || r.empty() {
		return
	}
	i := r.search(lo + 1)
	if i == len(r.s) || r.s[i].lo >= hi {
		return
	}
	if x := r.s[i]; x.lo < lo {
		if x.hi > hi { // a hole inside one span
			r.s[i].hi = lo
			r.insert(i+1, span{hi, x.hi})
			return
		}
		r.s[i].hi = lo
		i++
	}
	j := i
	for j < len(r.s) && r.s[j].hi <= hi {
		j++
	}
	if j < len(r.s) && r.s[j].lo < hi {
		r.s[j].lo = hi
	}
	if i == r.head {
		r.head = j
		if r.head == len(r.s) {
			r.clear()
		}
		return
	}
	r.s = slices.Delete(r.s, i, j)
}

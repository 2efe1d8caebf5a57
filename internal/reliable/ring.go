package reliable

import (
	"bytes"
	"math/bits"
)

// A ring holds the bytes of a lane between two offsets, byte o at o modulo its size, a power of two. Its owner knows
// which offsets are held, at most as many as reserve made room for; what is outside them is garbage. A ring that holds
// nothing has no memory: release gives it to the pool, from which any ring takes it, so that what is in use is what the
// cache holds, and a thousand lanes that are active by turns need the memory of one.
type ring struct {
	buf  []byte
	hint uint8 // class of the next memory: what this ring needed lately
	most uint8 // class of the most that was held since the ring had memory
}

const (
	minClass = 9  // 512 bytes
	maxClass = 32 // above any window
)

// class returns the class of memory that holds n bytes.
func class(n int) uint8 {
	if n <= 1<<minClass {
		return minClass
	}
	return uint8(bits.Len(uint(n - 1)))
}

// reserve makes room for the bytes from the offset from up to to, and keeps those from from up to held.
func (r *ring) reserve(p *pool, from, held, to uint64) {
	need := class(int(to - from))
	r.most = max(r.most, need)
	if int(to-from) <= len(r.buf) {
		return
	}
	if r.buf == nil {
		need = max(need, r.hint)
	}
	old := *r
	r.buf = p.take(need)
	if old.buf == nil {
		return
	}
	for from < held {
		b := old.contiguous(from, held)
		r.put(from, b)
		from += uint64(len(b))
	}
	p.give(old.buf)
}

// release gives the memory away; the ring holds nothing any more.
func (r *ring) release(p *pool) {
	if r.buf == nil {
		return
	}
	r.hint = max(r.most, class(len(r.buf))-1)
	r.most = 0
	p.give(r.buf)
	r.buf = nil
}

// contiguous returns the bytes from one offset towards another up to where the ring's memory ends.
func (r *ring) contiguous(from, to uint64) []byte {
	i := int(from) & (len(r.buf) - 1)
	return r.buf[i:min(len(r.buf), i+int(to-from))]
}

// put writes b at an offset.
func (r *ring) put(at uint64, b []byte) {
	n := copy(r.buf[int(at)&(len(r.buf)-1):], b)
	copy(r.buf, b[n:])
}

// get reads the bytes at an offset into b.
func (r *ring) get(at uint64, b []byte) {
	n := copy(b, r.buf[int(at)&(len(r.buf)-1):])
	copy(b[n:], r.buf)
}

// equal reports whether the bytes at an offset are those of b.
func (r *ring) equal(at uint64, b []byte) bool {
	first := r.contiguous(at, at+uint64(len(b)))
	return bytes.Equal(first, b[:len(first)]) && bytes.Equal(r.buf[:len(b)-len(first)], b[len(first):])
}

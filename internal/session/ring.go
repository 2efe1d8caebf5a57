package session

// A ring is a queue of bytes whose buffer grows to what it holds, to a power of
// two, and goes back when it is empty.
type ring struct {
	buf     *[]byte // nil: empty
	head, n int
	last    int // size of the buffer before, which tells how much may come
}

// size is how much memory it takes.
func (r *ring) size() int {
	if r.buf == nil {
		return 0
	}
	return len(*r.buf)
}

// write appends p.
func (r *ring) write(b *Budget, p []byte) {
	if len(p) == 0 {
		return
	}
	if r.n+len(p) > r.size() {
		r.grow(b, r.n+len(p))
	}
	buf := *r.buf
	at := (r.head + r.n) & (len(buf) - 1)
	copy(buf, p[copy(buf[at:], p):])
	r.n += len(p)
}

// grow moves all into a buffer of at least n bytes.
func (r *ring) grow(b *Budget, n int) {
	buf, held := b.take(max(n, r.last/2)), r.n
	r.read(b, (*buf)[:held])
	r.buf, r.head, r.n = buf, 0, held
}

// read takes bytes off the front.
func (r *ring) read(b *Budget, p []byte) int {
	if r.n == 0 {
		return 0
	}
	buf := *r.buf
	p = p[:min(len(p), r.n)]
	copy(p[copy(p, buf[r.head:]):], buf)
	r.head = (r.head + len(p)) & (len(buf) - 1)
	r.n -= len(p)
	if r.n == 0 {
		r.drop(b)
	}
	return len(p)
}

// drop empties it.
func (r *ring) drop(b *Budget) {
	if r.buf != nil {
		r.last = len(*r.buf)
		b.give(r.buf)
	}
	r.buf, r.head, r.n = nil, 0, 0
}

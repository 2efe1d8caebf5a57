package session

import (
	"math/bits"
	"sync"
)

// DefaultBudget is what a node gives to all its sessions together, in bytes.
const DefaultBudget = 512 << 20

// Budget bounds the memory of all sessions that share it. When they hold more,
// the one that holds most is closed with [ErrOverBudget], until the rest fits.
type Budget struct {
	limit int64
	pools [maxClass - minClass + 1]sync.Pool // of *[]byte

	relieving sync.Mutex // before Session.mu

	mu   sync.Mutex
	used int64
	held map[*Session]int64
}

// NewBudget returns a budget of that many bytes; 0 or less is [DefaultBudget].
func NewBudget(limit int64) *Budget {
	if limit <= 0 {
		limit = DefaultBudget
	}
	return &Budget{limit: limit, held: map[*Session]int64{}}
}

// Used returns how many bytes the sessions hold.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// charge adds n bytes, which may be negative, to what s holds, and reports
// whether all hold too much: relieve is then to be called, without locks.
func (b *Budget) charge(s *Session, n int64) (over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	b.held[s] += n
	if b.held[s] == 0 {
		delete(b.held, s)
	}
	return n > 0 && b.used > b.limit
}

// relieve closes the largest sessions until the rest fits.
func (b *Budget) relieve() {
	b.relieving.Lock() // or two would close two where one is enough
	defer b.relieving.Unlock()
	for {
		s := b.largest()
		if s == nil {
			return
		}
		s.overBudget()
	}
}

// largest returns the session to close, nil if none needs to be.
func (b *Budget) largest() (largest *Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used <= b.limit {
		return nil
	}
	var most int64
	for s, n := range b.held {
		if n > most {
			largest, most = s, n
		}
	}
	return largest
}

// Buffers are powers of two; those of up to 1 MiB are used again.
const (
	minClass = 9
	maxClass = 20
)

// class returns the size of the buffer that holds n bytes, as a power of two.
func class(n int) int { return max(bits.Len(uint(n-1)), minClass) }

// take returns a buffer of at least n bytes, n above 0.
func (b *Budget) take(n int) *[]byte {
	c := class(n)
	if c <= maxClass {
		if p, ok := b.pools[c-minClass].Get().(*[]byte); ok {
			return p
		}
	}
	buf := make([]byte, 1<<c)
	return &buf
}

// give takes a buffer back.
func (b *Budget) give(p *[]byte) {
	if c := class(cap(*p)); c <= maxClass {
		*p = (*p)[:cap(*p)]
		b.pools[c-minClass].Put(p)
	}
}

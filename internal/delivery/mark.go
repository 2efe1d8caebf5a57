package delivery

import (
	"cmp"
	"slices"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// received is what has been received of one sequence of the friend's.
type received struct {
	sequence wire.Sequence
	number   uint64       // all up to here are final
	mark     Mark         // of number; zero if not known, or number is 0
	skipped  []wire.Range // the last ones skipped; rising, apart
	told     uint64       // up to here nothing is known: the base was raised
	base     uint64       // highest base that came, in memory only
	fork     bool         // numbers came back with other IDs: nothing more is taken
	used     uint64       // rank of its incarnation, the highest was used last
	dirty    bool

	held map[uint64]held // out of order, in memory only
}

// held is a message that came too early.
type held struct {
	item    wire.Item
	prior   Mark
	courier uint8
}

// compare orders sequences by incarnation, then counter.
func compare(a, b wire.Sequence) int {
	return cmp.Or(a.Incarnation.Compare(b.Incarnation), cmp.Compare(a.Counter, b.Counter))
}

// skip notes that number n, above all before, is skipped. It reports false if
// a receipt could not say so: then n has to wait until the base has risen. A
// full list may have lost ranges below its first one, for which a receipt does
// not speak, and that first one is below the base: a sender that has earlier
// numbers in flight is another copy.
func (m *received) skip(n uint64) bool {
	last := len(m.skipped) - 1
	if last >= 0 && m.skipped[last].To+1 == n {
		m.skipped[last].To = n
		return true
	}
	drop := len(m.skipped) - (wire.MaxSkipped - 1) // 0: the list becomes full, 1: it is
	if drop >= 0 && m.skipped[drop].To >= m.base {
		return false
	}
	if drop > 0 {
		m.skipped = slices.Delete(m.skipped, 0, 1)
	}
	m.skipped = append(m.skipped, wire.Range{From: n, To: n})
	return true
}

// receipt tells what was received, as far down as that is known. What is 1,024
// below number has no place in it, and nobody who has it in flight can have
// drawn number.
func (m *received) receipt(own crypto.Incarnation) *wire.Receipt {
	unknown := m.told
	if len(m.skipped) == wire.MaxSkipped {
		unknown = max(unknown, m.skipped[0].From-1)
	}
	known := min(m.number-unknown, wire.InFlight)
	r := &wire.Receipt{Sequence: m.sequence, Incarnation: own, Number: m.number, Mark: m.mark, Known: uint16(known), Fork: m.fork}
	for _, s := range m.skipped {
		if s.From = max(s.From, m.number-known+1); s.From <= s.To {
			r.Skipped = append(r.Skipped, s)
		}
	}
	return r
}

const receivedFormat = 1

func receivedKey(s wire.Sequence) []byte {
	return wire.AppendSequence(append(make([]byte, 0, 21), keyReceived), s)
}

func (m *received) row() []byte {
	b := append(make([]byte, 0, 64), receivedFormat)
	b = wire.AppendUint64(b, m.number)
	b = append(b, m.mark[:]...)
	b = wire.AppendBool(b, m.fork)
	b = wire.AppendUint64(b, m.told)
	b = wire.AppendUint64(b, m.used)
	b = wire.AppendUint8(b, uint8(len(m.skipped)))
	for _, r := range m.skipped {
		b = wire.AppendRange(b, r)
	}
	return b
}

func parseReceived(key *wire.Reader, value []byte) (*received, error) {
	m := &received{sequence: key.Sequence()}
	if err := key.Done(); err != nil {
		return nil, err
	}
	v := wire.NewReader(value)
	if v.Uint8() != receivedFormat {
		v.Fail(errDamaged)
	}
	m.number = v.Uint64()
	v.Fill(m.mark[:])
	m.fork = v.Bool()
	m.told = v.Uint64()
	m.used = v.Uint64()
	after := uint64(0)
	for range v.Count(wire.MaxSkipped) {
		r := v.Range()
		if r.From <= after || r.To > m.number {
			v.Fail(errDamaged)
		}
		after = r.To + 1
		m.skipped = append(m.skipped, r)
	}
	if m.number > maxNumber || m.told > m.number {
		v.Fail(errDamaged)
	}
	return m, v.Done()
}

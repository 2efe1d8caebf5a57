package delivery

import (
	"fmt"
	"slices"

	"github.com/gocarrier/carrier/internal/wire"
)

// pageSlots is how many messages one row of TableSeen remembers: all of a
// friend's stand in 32 rows, and one message more writes a kilobyte.
const pageSlots = 32

const pageFormat = 1

func pageKey(page uint16) []byte { return wire.AppendUint16(make([]byte, 0, 2), page) }

// seenRows gathers the pages that have changed.
func (p *Peer) seenRows() {
	for _, page := range p.memory.dirty {
		p.out.Rows = append(p.out.Rows, Row{TableSeen, pageKey(page), p.memory.page(page)})
	}
	p.memory.dirty = nil
}

// page is the row of one page: the sequences in it, then the messages, each
// with the place of its sequence among them, from 1; 0 is one that is not
// known any more.
func (s *memory) page(page uint16) []byte {
	slots := s.slots[int(page)*pageSlots:]
	slots = slots[:min(len(slots), pageSlots)]
	var marks []*received
	for i := range slots {
		if m := slots[i].mark; m != nil && !slices.Contains(marks, m) {
			marks = append(marks, m)
		}
	}
	b := append(make([]byte, 0, 3+20*len(marks)+34*len(slots)), pageFormat, uint8(len(marks)))
	for _, m := range marks {
		b = wire.AppendSequence(b, m.sequence)
	}
	b = wire.AppendUint8(b, uint8(len(slots)))
	for i := range slots {
		e := &slots[i]
		b = append(b, e.id[:]...)
		b = wire.AppendUint64(b, e.number)
		b = wire.AppendUint64(b, e.rank)
		b = wire.AppendUint8(b, uint8(slices.Index(marks, e.mark)+1))
		b = wire.AppendBool(b, e.skipped)
	}
	return b
}

// parsePage adds the messages of a page to the memory.
func (p *Peer) parsePage(row []byte) error {
	v := wire.NewReader(row)
	if v.Uint8() != pageFormat {
		v.Fail(errDamaged)
	}
	var marks [pageSlots]*received
	sequences := v.Count(pageSlots)
	for i := range sequences {
		marks[i] = p.known(v.Sequence())
	}
	for range v.Count(pageSlots) {
		var e seen
		v.Fill(e.id[:])
		e.number, e.rank = v.Uint64(), v.Uint64()
		place := int(v.Uint8())
		e.skipped = v.Bool()
		if place > sequences {
			v.Fail(errDamaged)
			break
		}
		if place > 0 {
			e.mark = marks[place-1]
		}
		p.memory.slots = append(p.memory.slots, e)
		p.memory.rank = max(p.memory.rank, e.rank)
	}
	return v.Done()
}

// known is what was received of a sequence, nil if it is not known any more.
func (p *Peer) known(seq wire.Sequence) *received {
	i, ok := slices.BinarySearchFunc(p.marks, seq, func(m *received, s wire.Sequence) int { return compare(m.sequence, s) })
	if !ok {
		return nil
	}
	return p.marks[i]
}

// keySeen begins the keys of the rows in which each message stood alone, in
// TableState. They are still read, and replaced by pages.
const (
	keySeen    = 's'
	seenFormat = 1
)

// single is the row of one message, as it was read.
type single struct {
	slot     uint16
	sequence wire.Sequence
	seen
}

func parseSingle(key *wire.Reader, value []byte) (s single, err error) {
	s.slot = key.Uint16()
	if err := key.Done(); err != nil {
		return s, err
	}
	v := wire.NewReader(value)
	if v.Uint8() != seenFormat {
		v.Fail(errDamaged)
	}
	v.Fill(s.id[:])
	s.sequence = v.Sequence()
	s.number, s.rank = v.Uint64(), v.Uint64()
	s.skipped = v.Bool()
	return s, v.Done()
}

// restoredSingles makes pages of what stood in rows of its own.
func (p *Peer) restoredSingles() error {
	if len(p.singles) == 0 {
		return nil
	}
	slices.SortFunc(p.singles, func(a, b single) int { return int(a.slot) - int(b.slot) })
	s := &p.memory
	s.loaded = true
	for i, e := range p.singles {
		if int(e.slot) != i {
			return fmt.Errorf("%w: slot %d is missing", errDamaged, i)
		}
		e.mark = p.known(e.sequence)
		s.slots = append(s.slots, e.seen)
		s.rank = max(s.rank, e.rank)
		s.touch(uint16(i / pageSlots))
		key := wire.AppendUint16([]byte{keySeen}, e.slot)
		p.out.Rows = append(p.out.Rows, Row{TableState, key, nil})
	}
	p.singles = nil
	return nil
}

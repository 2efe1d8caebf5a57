package delivery

import (
	"github.com/gocarrier/carrier/internal/wire"
)

// seen is the fate of a message that was received.
type seen struct {
	id      wire.MessageID
	number  uint64
	rank    uint64 // rising: the lowest is forgotten first
	mark    *received
	skipped bool
}

// memory is the fate of the last messages received, in whatever sequence. It
// is searched from end to end: a microsecond for 1,024, where an index would
// cost each friend tens of kilobytes.
type memory struct {
	slots []seen // by the slot of their row
	rank  uint64
}

// byID finds a message by its ID; -1 if it is not among the last.
func (s *memory) byID(id wire.MessageID) int {
	for i := range s.slots {
		if s.slots[i].id == id {
			return i
		}
	}
	return -1
}

// byNumber finds a message by its number.
func (s *memory) byNumber(m *received, n uint64) int {
	for i := range s.slots {
		if s.slots[i].number == n && s.slots[i].mark == m {
			return i
		}
	}
	return -1
}

// put remembers a message in slot i, or if that is -1 in place of the one
// remembered longest, and returns the slot.
func (s *memory) put(i int, e seen, limit int) int {
	switch {
	case i >= 0:
	case len(s.slots) < limit:
		i = len(s.slots)
		s.slots = append(s.slots, seen{})
	default:
		i = 0
		for j := range s.slots {
			if s.slots[j].rank < s.slots[i].rank {
				i = j
			}
		}
	}
	s.rank++
	e.rank = s.rank
	s.slots[i] = e
	return i
}

// forget unties what is remembered from a sequence that is dropped.
func (s *memory) forget(m *received) {
	for i := range s.slots {
		if s.slots[i].mark == m {
			s.slots[i].mark = nil
		}
	}
}

const seenFormat = 1

func seenKey(slot int) []byte {
	return wire.AppendUint16(append(make([]byte, 0, 3), keySeen), uint16(slot))
}

func (e *seen) row() []byte {
	b := append(make([]byte, 0, 54), seenFormat)
	b = append(b, e.id[:]...)
	b = wire.AppendSequence(b, e.mark.sequence)
	b = wire.AppendUint64(b, e.number)
	b = wire.AppendUint64(b, e.rank)
	return wire.AppendBool(b, e.skipped)
}

func parseSeen(value []byte) (e seen, seq wire.Sequence, err error) {
	v := wire.NewReader(value)
	if v.Uint8() != seenFormat {
		v.Fail(errDamaged)
	}
	v.Fill(e.id[:])
	seq = v.Sequence()
	e.number, e.rank = v.Uint64(), v.Uint64()
	e.skipped = v.Bool()
	return e, seq, v.Done()
}

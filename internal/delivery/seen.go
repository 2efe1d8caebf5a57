package delivery

import (
	"fmt"
	"time"

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
// cost each friend tens of kilobytes. As even the fates take 48 KiB, they are
// read from their rows when mail comes, and dropped when none has come for
// memoryFor.
type memory struct {
	slots  []seen // pageSlots of them to a row
	rank   uint64
	loaded bool // the rows were read, or there are none
	used   int64
	dirty  []uint16 // pages that are to be written
}

// memoryFor is how long a friend's memory stays after the last mail.
const memoryFor = time.Minute

// remember has the memory at hand. It reports false if the rows could not be
// read: then nothing may be decided, and the next Take says why.
func (p *Peer) remember(now time.Time) bool {
	p.memory.used = millis(now)
	if p.memory.loaded {
		return true
	}
	if p.out.Err != nil {
		return false
	}
	if err := p.load(); err != nil {
		p.memory = memory{}
		p.out.Err = fmt.Errorf("remember messages: %w", err)
		return false
	}
	return true
}

// load reads the rows. All pages but the last are full.
func (p *Peer) load() error {
	s := &p.memory
	s.loaded = true
	if p.rows == nil {
		return nil
	}
	for page := uint16(0); len(s.slots) == int(page)*pageSlots; page++ {
		row := p.rows.Get(TableSeen, pageKey(page))
		if row == nil {
			return nil
		}
		if err := p.parsePage(row); err != nil {
			return fmt.Errorf("row %d of table %s: %w", page, TableSeen, err)
		}
	}
	return nil
}

// nextDrop is when the memory may go, 0 for never.
func (p *Peer) nextDrop() int64 {
	if p.rows == nil || !p.memory.loaded {
		return 0
	}
	return max(p.memory.used+memoryFor.Milliseconds(), 1)
}

// drop lets go of a memory that was not used for long, and all of which stands
// in rows.
func (p *Peer) drop(now time.Time) {
	if at := p.nextDrop(); at != 0 && at <= millis(now) && len(p.memory.dirty) == 0 {
		p.memory = memory{}
	}
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
// remembered longest.
func (s *memory) put(i int, e seen, limit int) {
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
	s.touch(uint16(i / pageSlots))
}

// touch has a page written by the next Take.
func (s *memory) touch(page uint16) {
	for _, d := range s.dirty {
		if d == page {
			return
		}
	}
	s.dirty = append(s.dirty, page)
}

// forget unties what is remembered from a sequence that is dropped. Rows that
// still name it do no harm: it does not come back.
func (s *memory) forget(m *received) {
	for i := range s.slots {
		if s.slots[i].mark == m {
			s.slots[i].mark = nil
		}
	}
}

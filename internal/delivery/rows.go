package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/gocarrier/carrier/internal/wire"
)

// errDamaged: the rows of a friend do not fit together.
var errDamaged = errors.New("rows are damaged")

// First bytes of the keys in TableState.
const (
	keyHead     = 'h'
	keyReceived = 'm'
)

const headFormat = 1

// outboxRows gathers the rows of the sending half.
func (p *Peer) outboxRows() {
	if p.headDirty {
		p.headDirty = false
		b := append(make([]byte, 0, 45), headFormat)
		b = wire.AppendSequence(b, p.sequence)
		b = wire.AppendUint64(b, p.next)
		b = append(b, p.prior[:]...)
		b = wire.AppendTime(b, p.began)
		p.out.Rows = append(p.out.Rows, Row{TableState, []byte{keyHead}, b})
	}
	for _, e := range p.dirty {
		e.dirty = false
		row := Row{Table: TableOutbox, Key: e.key()}
		if !e.gone {
			row.Value = e.row()
		}
		p.out.Rows = append(p.out.Rows, row)
	}
	p.dirty = nil
}

// inboxRows gathers the rows of the receiving half.
func (p *Peer) inboxRows() {
	p.seenRows()
	for _, m := range p.marks {
		if m.dirty {
			m.dirty = false
			p.out.Rows = append(p.out.Rows, Row{TableState, receivedKey(m.sequence), m.row()})
		}
	}
}

// Restore takes one row as it was saved, in any order. When all rows of the
// friend in TableState and TableOutbox have been given, call Restored. Rows of
// other tables are ignored.
func (p *Peer) Restore(table string, key, value []byte) error {
	var err error
	switch {
	case table == TableOutbox:
		err = p.restoreEntry(key, value)
	case table == TableState && len(key) > 0:
		k := wire.NewReader(key)
		switch k.Uint8() {
		case keyHead:
			err = p.restoreHead(value)
		case keyReceived:
			var m *received
			if m, err = parseReceived(k, value); err == nil {
				p.marks = append(p.marks, m)
			}
		case keySeen:
			var one single
			if one, err = parseSingle(k, value); err == nil {
				p.singles = append(p.singles, one)
			}
		default:
			err = errDamaged
		}
	case table == TableState:
		err = errDamaged
	}
	if err != nil {
		return fmt.Errorf("restore row %x of table %s: %w", key, table, err)
	}
	return nil
}

func (p *Peer) restoreHead(value []byte) error {
	v := wire.NewReader(value)
	if v.Uint8() != headFormat {
		v.Fail(errDamaged)
	}
	p.sequence = v.Sequence()
	p.next = v.Uint64()
	v.Fill(p.prior[:])
	p.began = v.Time()
	if p.next < 1 || p.next > maxNumber {
		v.Fail(errDamaged)
	}
	return v.Done()
}

// restoreEntry keeps the messages in flight and ended in the order of their
// rows, until Restored.
func (p *Peer) restoreEntry(key, value []byte) error {
	e, err := parseEntry(key, value)
	if err != nil {
		return err
	}
	if p.index[e.id] != nil {
		return errDamaged
	}
	if e.state.Ended() {
		p.ended = append(p.ended, e)
	} else {
		p.flight = append(p.flight, e)
	}
	p.enter(e)
	return nil
}

// Restored ends the restoring. Its error says that the rows do not fit
// together; the Peer cannot be used then.
func (p *Peer) Restored() error {
	if err := errors.Join(p.restoredOutbox(), p.restoredInbox()); err != nil {
		return fmt.Errorf("restore messages: %w", err)
	}
	return nil
}

func (p *Peer) restoredOutbox() error {
	all := p.flight
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.position, b.position) })
	slices.SortFunc(p.ended, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.position, b.position))
	})
	p.flight = nil
	for _, e := range all {
		p.last = max(p.last, e.position)
		switch {
		case !e.numbered:
			p.queue.push(e)
		case p.queue.len > 0:
			return fmt.Errorf("%w: message %s has a number before those ahead of it", errDamaged, e.id)
		default:
			p.flight = append(p.flight, e)
		}
	}
	for _, e := range p.ended {
		p.last = max(p.last, e.position)
	}
	if uint64(len(p.flight)) >= p.next || len(p.flight) > p.limits.Window {
		return fmt.Errorf("%w: %d messages in flight, %d numbers drawn", errDamaged, len(p.flight), p.next-1)
	}
	if p.sequence.Incarnation != p.own {
		p.sequence, p.next, p.prior = wire.Sequence{Incarnation: p.own, Counter: 1}, uint64(len(p.flight))+1, Mark{}
		p.headDirty = true
	}
	return nil
}

func (p *Peer) restoredInbox() error {
	slices.SortFunc(p.marks, func(a, b *received) int { return compare(a.sequence, b.sequence) })
	if len(p.marks) > 0 {
		p.choose()
		p.out.ReceiptChanged = false
	}
	return p.restoredSingles()
}

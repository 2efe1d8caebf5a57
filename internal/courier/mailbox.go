package courier

import (
	"fmt"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// boxDebounce gathers what is sent in quick succession.
const boxDebounce = 50 * time.Millisecond

// maxBody is the longest message body that the mailbox holds.
const maxBody = wire.MaxMailboxBody

// box is our mailbox to one peer: which of its slots hold what. A slot stands
// alone, with whole messages from first to last, or with one part of a message
// too long for a slot. New mail is appended to the last slot or takes a free
// one; a slot is free again once receipts cover it.
type box struct {
	sequence wire.Sequence
	slots    [wire.MaxSlots]slot
}

// slot is one mail slot; last 0: free.
type slot struct {
	first, last uint64
	part, parts uint8 // parts 0: whole messages
	set         uint64

	generation uint64 // of the content that is put, durable before the put
	standing   uint64 // the generation that holders are known to have; announced
	body       []byte // sealed to the prekey; sealed anew by the pair's key in each put
	prekey     uint64 // number that it is sealed to
	skips      int
	changed    bool // the content is to be made anew

	putting bool
	seq     int64 // of the last put
	week    crypto.Epoch
	next    time.Time // when it is put again
	tries   int
	copies  int
	safe    bool // enough copies of this generation stand
	shown   int  // copies of a stored state that names this generation; 0: none
	told    bool // OnStored was called for what it holds
}

// fillBox brings the mailbox in line with what is pending, and puts what is due.
func (p *peer) fillBox() {
	if !p.present() || !p.c.isReady || p.c.twins.yield.on || p.c.closed || p.c.closing && p.own.finish == nil {
		return
	}
	now := p.c.loop.Now()
	o := p.outbox()
	if len(o.items) == 0 {
		if b := p.box; b != nil {
			p.box = nil
			p.c.rows.Delete(table, p.id, []byte(keyBox))
			p.released(b.release(o.sequence, o.base, 0))
		}
		return
	}
	if o.to.Number == 0 {
		return // no mail before a prekey; takeState comes back here
	}
	if !p.own.put {
		// Mail is put only when our own record has been read: another copy of
		// this store may have gone further. statePut comes back here.
		if !p.own.putting {
			p.stateChanged(0, hurried)
		}
		return
	}
	due, wait := p.boxDue(o.items, now)
	if !wait.IsZero() {
		p.at(taskBox, wait)
	}
	if len(due) == 0 && p.box == nil {
		return
	}
	if p.box == nil {
		p.box = new(box)
	}
	b := p.box
	p.released(b.release(o.sequence, o.base, len(o.items)))
	b.layout(p.c, o.items, len(due), p.resealFor(o.to.Number, now))
	p.putSlots(o, now)
}

// resealFor gives the prekey that the slots are to be sealed to: the one given,
// or 0 for those that they are sealed to, while the peer changes it faster than
// its effort pays for.
func (p *peer) resealFor(prekey uint64, now time.Time) uint64 {
	n := 0
	for i := range p.box.slots {
		if s := &p.box.slots[i]; s.last != 0 && s.body != nil && s.prekey != prekey {
			n++
		}
	}
	if n == 0 {
		return prekey
	}
	wait, ok := p.effort.takeAll(effortLimit(), now, n)
	if !ok {
		p.c.count("effort.held")
		p.at(taskBox, now.Add(wait))
		return 0
	}
	return prekey
}

// boxDue gives the items that the mailbox should hold, and when to look again
// whether it should hold more.
func (p *peer) boxDue(items []Outgoing, now time.Time) ([]Outgoing, time.Time) {
	switch {
	case p.c.closing:
	case p.online && !p.linked():
		return p.overdue(items, now)
	case p.link != nil:
		if from := p.link.mailboxFrom(); from.After(now) || from.IsZero() {
			return nil, from
		}
	}
	return items, time.Time{}
}

// overdue gives the items that an online peer should have had directly by now,
// and when to look again.
func (p *peer) overdue(items []Outgoing, now time.Time) ([]Outgoing, time.Time) {
	d := p.direct
	if d == nil {
		return nil, time.Time{}
	}
	if d.blocked {
		return items, time.Time{}
	}
	upTo := d.overdue(now)
	for _, b := range d.batches {
		if t := b.first.Add(mailboxAfter); t.After(now) {
			return span(items, items[0].Number, upTo), t
		}
	}
	return span(items, items[0].Number, upTo), time.Time{}
}

// released has our state say no more that slots hold what is done with: a friend
// who puts a backup back would read it again.
func (p *peer) released(announced bool) {
	if announced {
		p.stateChanged(stateDebounce, inLine)
	}
}

// release frees the slots that receipts cover, or all if another sequence has
// begun, and reports whether any was announced. (A layout beyond what is pending is
// of a row that was not ours.)
func (b *box) release(seq wire.Sequence, base uint64, pending int) (announced bool) {
	for i := range b.slots {
		s := &b.slots[i]
		if s.last != 0 && (b.sequence != seq || s.last < base || s.last-base >= uint64(pending)) {
			announced = announced || s.standing != 0
			*s = slot{seq: s.seq, putting: s.putting}
		}
	}
	b.sequence = seq
	return announced
}

// layout marks the slots whose content has changed, or that are sealed to another
// prekey (0: any will do), and finds places for as many of the first n items as
// have none: they stay in order, whatever waits.
func (b *box) layout(c *Courier, items []Outgoing, n int, prekey uint64) {
	if len(items) == 0 {
		return
	}
	next := items[0].Number
	for i := range b.slots {
		s := &b.slots[i]
		if s.last == 0 {
			continue
		}
		next = max(next, s.last+1)
		content := span(items, s.first, s.last)
		if s.parts != 0 && content[0].Skip {
			b.skipSet(s.set)
		}
		if s.last != 0 && (s.body == nil || prekey != 0 && s.prekey != prekey || s.skips != skips(content)) {
			s.changed = true
		}
	}
	end := items[0].Number + uint64(n)
	for _, o := range span(items, next, end-1) {
		if !b.place(c, items, o) {
			c.count("mailbox.full")
			return
		}
	}
}

// skipSet gives the slots of a message that has expired to its SKIP, which
// needs only one.
func (b *box) skipSet(set uint64) {
	for i := range b.slots {
		s := &b.slots[i]
		switch {
		case s.set != set || s.parts == 0:
		case s.part == 0:
			s.parts, s.set, s.changed = 0, 0, true
		default:
			*s = slot{seq: s.seq, putting: s.putting}
		}
	}
}

// place finds room for one more item behind all others.
func (b *box) place(c *Courier, items []Outgoing, o Outgoing) bool {
	tail := -1
	var free []int
	for i := range b.slots {
		switch s := &b.slots[i]; {
		case s.last == 0:
			free = append(free, i)
		case tail < 0 || s.last > b.slots[tail].last:
			tail = i
		}
	}
	size := o.size()
	if tail >= 0 && b.slots[tail].parts == 0 {
		s := &b.slots[tail]
		content := span(items, s.first, s.last)
		used := size
		for _, x := range content {
			used += x.size()
		}
		if used <= wire.MaxSlotItems && len(content) < wire.MaxItems {
			s.last, s.changed, s.told = o.Number, true, false
			return true
		}
	}
	if size <= wire.MaxSlotItems {
		if len(free) == 0 {
			return false
		}
		b.take(free[0], o.Number)
		return true
	}
	parts := (size + wire.MaxPartBytes - 1) / wire.MaxPartBytes
	if parts > len(free) {
		return false
	}
	set := c.rising.next(c)
	for i := range parts {
		s := b.take(free[i], o.Number)
		s.part, s.parts, s.set = uint8(i), uint8(parts), set
	}
	return true
}

func (b *box) take(i int, number uint64) *slot {
	s := &b.slots[i]
	*s = slot{first: number, last: number, changed: true, seq: s.seq, putting: s.putting}
	return s
}

// putSlots makes changed contents, has the layout durable, and puts.
func (p *peer) putSlots(o outbox, now time.Time) {
	b := p.box
	week := crypto.Week(now)
	save := false
	var puts []int
	for i := range b.slots {
		s := &b.slots[i]
		if s.last == 0 || s.putting {
			continue // what has changed meanwhile goes with the next put
		}
		if s.changed {
			if !p.fillSlot(s, o) {
				continue
			}
			save = true
		} else if s.week == week && s.next.After(now) {
			p.at(taskBox, s.next)
			continue
		}
		puts = append(puts, i)
	}
	if save {
		b.save(p)
	}
	for _, i := range puts {
		p.putSlot(i, week)
	}
}

// fillSlot makes a slot's content of what is pending, under a new generation.
func (p *peer) fillSlot(s *slot, o outbox) bool {
	s.first = max(s.first, o.base) // what receipts cover need not stand there
	content := span(o.items, s.first, s.last)
	m := &wire.Mail{
		Sequence:   o.sequence,
		Generation: p.c.rising.next(p.c),
		Bond:       p.c.handler.Bond(p.id),
		Base:       o.base,
		First:      s.first,
		Prior:      content[0].Prior,
		Items:      p.items(content),
	}
	if s.parts != 0 {
		whole := wire.AppendItem(nil, &m.Items[0])
		from := min(int(s.part)*wire.MaxPartBytes, len(whole))
		piece := whole[from:min(from+wire.MaxPartBytes, len(whole))]
		m.Items, m.Part = nil, &wire.Part{Set: s.set, Index: s.part, Count: s.parts, Bytes: piece}
	}
	body, err := p.sealMail(m, o.to)
	if err != nil {
		p.c.count("fault.prekey")
		return false
	}
	s.body, s.prekey, s.skips, s.generation = body, o.to.Number, skips(content), m.Generation
	s.changed, s.safe, s.shown, s.copies, s.tries = false, false, 0, 0, 0
	return true
}

// putSlot puts a slot as it is.
func (p *peer) putSlot(i int, week crypto.Epoch) {
	b := p.box
	s := &b.slots[i]
	key, value := p.sealSlot(week, saltMail(i), wire.KindMail, s.body)
	s.seq = p.c.seq(s.generation, s.seq)
	direct := s.tries == 0 && s.copies == 0 // new content, to the holders of the last
	s.week, s.putting, s.next = week, true, time.Time{}
	generation, seq := s.generation, s.seq
	put := Put{Key: key, Salt: saltMail(i), Value: value, Seq: seq, Direct: direct, Not: p.notCopies()}
	p.c.budget.spend(costPut)
	p.c.count("put.mail")
	p.c.then(func() {
		p.c.slots.Put(put, func(r PutResult) {
			if p.stopped || p.c.closed {
				return
			}
			s.putting = false
			if p.box == b && s.generation == generation && s.last != 0 {
				p.slotPut(s, r, p.c.loop.Now())
			}
			if p.own.finish != nil {
				p.fillBox()
			} else {
				p.soon(taskBox)
			}
			p.boxSettled()
		})
	})
}

// slotPut takes the result of a put of what the slot still holds.
func (p *peer) slotPut(s *slot, r PutResult, now time.Time) {
	if r.Newer >= s.seq && r.Newer != 0 && uint64(r.Newer) <= tooFar(now) {
		p.c.count("mailbox.conflict")
		s.seq = r.Newer
	} else if r.Newer >= s.seq && r.Newer != 0 {
		p.c.count("fault.ahead")
	}
	copies, complete := r.complete()
	if r.Stored > 0 {
		s.standing = s.generation
	}
	if !complete {
		s.tries++
		s.next = now.Add(p.c.jitter(backoff(s.tries, 2*time.Second, 10*time.Minute)))
		return
	}
	s.tries = 0
	s.copies, s.safe = copies, true
	s.next = now.Add(p.c.republish())
	p.tellStored()
}

// boxSettled announces what stands once nothing more is being put.
func (p *peer) boxSettled() {
	unannounced := false
	for i := range wire.MaxSlots {
		if p.box == nil {
			break
		}
		s := &p.box.slots[i]
		if s.last != 0 && s.putting || s.last != 0 && s.changed && !p.c.closing {
			return
		}
		unannounced = unannounced || s.last != 0 && s.standing != 0 && s.shown == 0
	}
	switch {
	case p.own.finish != nil:
		p.own.finish()
	case unannounced && p.own.putting:
		p.own.dirty, p.own.haste = true, hurried
	case unannounced:
		p.stateChanged(0, hurried)
	}
}

// window is what our state says of the mailbox.
func (b *box) window() *wire.Window {
	if b == nil {
		return nil
	}
	w := &wire.Window{Sequence: b.sequence}
	for i := range b.slots {
		if s := &b.slots[i]; s.last != 0 && s.standing != 0 {
			w.Slots = append(w.Slots, wire.WindowSlot{Slot: uint8(i), Generation: s.standing})
		}
	}
	if len(w.Slots) == 0 {
		return nil
	}
	return w
}

// announced notes that a state with this window stands in that many copies.
func (p *peer) announced(w *wire.Window, copies int) {
	if p.box == nil || w == nil {
		return
	}
	for _, ws := range w.Slots {
		if s := &p.box.slots[ws.Slot]; s.last != 0 && s.generation == ws.Generation {
			s.shown = copies
		}
	}
	p.tellStored()
}

// tellStored tells of messages that are stored: their slots, and a state that
// announces them.
func (p *peer) tellStored() {
	for i := range p.box.slots {
		s := &p.box.slots[i]
		if s.last == 0 || s.told || s.part != 0 {
			continue
		}
		copies := s.storedIn()
		if s.parts != 0 {
			for j := range p.box.slots {
				if o := &p.box.slots[j]; o.set == s.set && o.last == s.last {
					copies = min(copies, o.storedIn())
				}
			}
		}
		if copies == 0 {
			continue
		}
		s.told = true
		var numbers []uint64
		for n := s.first; n <= s.last; n++ {
			numbers = append(numbers, n)
		}
		p.c.handler.OnStored(p.id, p.box.sequence, numbers, copies)
		if p.box == nil {
			return
		}
	}
}

// storedIn is in how many copies the slot's content counts as stored; 0: not yet.
func (s *slot) storedIn() int {
	if !s.safe || s.changed {
		return 0
	}
	return min(s.copies, s.shown)
}

// save writes the layout's row: format ‖ sequence ‖ count ‖ each slot in use.
func (b *box) save(p *peer) {
	row := wire.AppendSequence(wire.AppendUint8(nil, 1), b.sequence)
	n := 0
	var slots []byte
	for i := range b.slots {
		s := &b.slots[i]
		if s.last == 0 {
			continue
		}
		n++
		slots = wire.AppendUint8(slots, uint8(i))
		for _, v := range []uint64{s.first, s.last, s.generation, s.standing, s.set} {
			slots = wire.AppendUint64(slots, v)
		}
		slots = wire.AppendUint8(wire.AppendUint8(slots, s.part), s.parts)
	}
	row = append(wire.AppendUint8(row, uint8(n)), slots...)
	p.c.rows.Put(table, p.id, []byte(keyBox), row)
}

// restoreBox reads the layout back. What stands there is announced as it was,
// and made anew once our own record has been read.
func (p *peer) restoreBox() error {
	row := p.c.rows.Get(table, p.id, []byte(keyBox))
	if row == nil {
		return nil
	}
	r := wire.NewReader(row)
	if v := r.Uint8(); v != 1 && r.Err() == nil {
		return fmt.Errorf("courier: mailbox row of %v has format %d: written by a newer version?", p.id, v)
	}
	b := &box{sequence: r.Sequence()}
	for range r.Count(wire.MaxSlots) {
		i := r.Uint8()
		s := slot{first: r.Uint64(), last: r.Uint64(), generation: r.Uint64(), standing: r.Uint64(), set: r.Uint64()}
		s.part, s.parts = r.Uint8(), r.Uint8()
		if i < wire.MaxSlots {
			b.slots[i] = s
		}
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("courier: mailbox row of %v: %w", p.id, err)
	}
	p.box = b
	return nil
}

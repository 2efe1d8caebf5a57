package courier

import (
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// inbox is the reading of a peer's mail slots: those whose generation the peer's
// state names and that have not been taken. It ends when all have been.
type inbox struct {
	window  *wire.Window
	weekAll bool // look under the keys of all weeks that may be meant
	reading int  // lookups under way
	tries   int  // rounds that left something unread
	held    [wire.MaxSlots]*held
	end     uint64 // number after the last that was taken; 0: none yet
}

// held is what a slot holds and has not been taken: mail that waits for what
// comes before it, or a part that waits for the others.
type held struct {
	mail *wire.Mail
	item Item
}

// noteWindow takes what a state record says of the peer's mailbox.
func (p *peer) noteWindow(w *wire.Window) {
	if !p.unread(w) || !p.present() {
		p.inbox = nil
		return
	}
	if p.inbox == nil {
		p.inbox = new(inbox)
	}
	in := p.inbox
	in.window, in.tries, in.weekAll = w, 0, false
	for i, h := range in.held {
		if h != nil && !in.announces(uint8(i), h.mail) {
			in.held[i] = nil
		}
	}
	p.clear(taskInbox)
	p.soon(taskInbox)
}

func (p *peer) unread(w *wire.Window) bool {
	return w != nil && slices.ContainsFunc(w.Slots, p.slotUnread)
}

func (p *peer) slotUnread(w wire.WindowSlot) bool { return w.Generation > p.read[w.Slot] }

// readInbox reads every slot that is unread and not held already.
func (p *peer) readInbox() {
	in := p.inbox
	if in == nil || in.reading > 0 || !p.c.isReady || p.c.closing || !p.present() || p.linked() {
		return // a link brings all that stands there; when it fails, this goes on
	}
	now := p.c.loop.Now()
	if wait, ok := p.effort.take(effortLimit(), now); !ok {
		p.c.count("effort.held")
		p.after(taskInbox, wait)
		return
	}
	weeks := p.readWeeks(in.weekAll)
	var slots []wire.WindowSlot
	for _, w := range in.window.Slots {
		if p.slotUnread(w) && in.held[w.Slot] == nil {
			slots = append(slots, w)
		}
	}
	if wait, ok := p.c.reading.takeAll(readingLimit(), now, len(slots)*len(weeks)*costWalk); !ok {
		p.c.count("reading.held")
		p.after(taskInbox, p.c.jitter(wait))
		return
	}
	for _, w := range slots {
		for _, week := range weeks {
			p.readSlot(in, week, w)
		}
	}
	if in.reading == 0 {
		p.inboxRead(in)
	}
}

func (p *peer) readSlot(in *inbox, week crypto.Epoch, w wire.WindowSlot) {
	key := p.theirSlots(week)
	salt := saltMail(int(w.Slot))
	in.reading++
	p.c.budget.spend(costWalk)
	p.c.then(func() {
		// It is there, the state says so: what was missed may stand farther off.
		p.c.slots.Get(Query{Key: key, Salt: salt, Wide: in.tries > 0}, func(i Item) {
			if !p.stopped && !p.c.closed && p.inbox == in && p.slotUnread(w) {
				p.foundMail(in, week, w, i)
			}
		}, func(Health) {
			if in.reading--; in.reading == 0 && !p.stopped && !p.c.closed && p.inbox == in {
				p.inboxRead(in)
			}
		})
	})
}

// announces reports whether the peer's state says that this mail stands in that
// slot, or something older does, which this has taken the place of.
func (in *inbox) announces(slot uint8, m *wire.Mail) bool {
	return slices.ContainsFunc(in.window.Slots, func(w wire.WindowSlot) bool {
		return w.Slot == slot && m.Generation >= w.Generation
	})
}

// foundMail takes the value of a mail slot.
func (p *peer) foundMail(in *inbox, week crypto.Epoch, w wire.WindowSlot, i Item) {
	if h := in.held[w.Slot]; h != nil && h.item.Seq >= i.Seq {
		return
	}
	body := p.openSlot(crypto.In, week, saltMail(int(w.Slot)), wire.KindMail, i)
	if body == nil {
		return
	}
	m := p.openMail(body, func(m *wire.Mail) bool {
		if !in.announces(w.Slot, m) {
			p.c.count("slot.stale") // a miss, to be tried again
			return false
		}
		return true
	})
	if m == nil {
		return
	}
	in.held[w.Slot] = &held{m, i}
	p.offerHeld(in, false)
}

// offerHeld hands over what follows what was taken before; all, in order of
// number, when nothing more is coming. It waits for the first walk, which says
// whether the window is the newest.
func (p *peer) offerHeld(in *inbox, all bool) {
	if !p.looking.known {
		return
	}
	for p.inbox == in {
		slot := -1
		for i, h := range in.held {
			if h != nil && h.mail.Part == nil && (slot < 0 || h.mail.First < in.held[slot].mail.First) {
				slot = i
			}
		}
		parts, whole := p.joined(in)
		if whole != nil && (slot < 0 || whole.First < in.held[slot].mail.First) {
			if !all && !in.follows(whole) || !p.takeHeld(in, parts, whole) {
				return
			}
			continue
		}
		if slot < 0 || !all && !in.follows(in.held[slot].mail) || !p.takeHeld(in, []int{slot}, in.held[slot].mail) {
			return
		}
	}
}

// follows reports whether nothing is missing before the batch, as far as the
// sender and this inbox can tell.
func (in *inbox) follows(m *wire.Mail) bool { return m.First <= max(m.Base, in.end) }

// takeHeld hands a batch that stood in those slots to the handler and reports
// whether it was taken.
func (p *peer) takeHeld(in *inbox, slots []int, m *wire.Mail) bool {
	if !p.c.handler.OnMail(p.id, m, ViaDHT) {
		p.c.count("mail.untaken")
		return false
	}
	if p.stopped {
		return false // the handler has forgotten the peer
	}
	in.end = max(in.end, m.First+uint64(len(m.Items)))
	for _, i := range slots {
		h := in.held[i]
		in.held[i] = nil
		p.read[i] = max(p.read[i], h.mail.Generation)
		if _, online := p.whereabouts(); !online {
			p.reput(h.item) // while its writer is away, its reader keeps it alive
		}
	}
	p.save()
	return true
}

// joined gives the message whose parts have all been read, of the lowest number,
// and the slots that they stood in.
func (p *peer) joined(in *inbox) (slots []int, whole *wire.Mail) {
	for _, h := range in.held {
		if h == nil || h.mail.Part == nil || whole != nil && h.mail.First >= whole.First {
			continue
		}
		if s, m := p.join(in, h.mail); m != nil {
			slots, whole = s, m
		}
	}
	return slots, whole
}

func (p *peer) join(in *inbox, like *wire.Mail) ([]int, *wire.Mail) {
	var pieces [wire.MaxSlots][]byte
	var slots []int
	n := 0
	for i, h := range in.held {
		if h == nil || h.mail.Part == nil || h.mail.Sequence != like.Sequence || h.mail.First != like.First ||
			h.mail.Part.Set != like.Part.Set || h.mail.Part.Count != like.Part.Count {
			continue
		}
		slots = append(slots, i)
		if pieces[h.mail.Part.Index] == nil {
			n++
		}
		pieces[h.mail.Part.Index] = h.mail.Part.Bytes
	}
	if n < int(like.Part.Count) {
		return nil, nil
	}
	item, err := wire.ParseItem(slices.Concat(pieces[:like.Part.Count]...))
	if err != nil {
		p.c.countParse(err)
		for _, i := range slots { // never again: the friend has signed nonsense
			p.read[i] = max(p.read[i], in.held[i].mail.Generation)
			in.held[i] = nil
		}
		return nil, nil
	}
	m := *like
	m.Part, m.Items = nil, []wire.Item{*item}
	return slots, &m
}

// inboxRead ends a round.
func (p *peer) inboxRead(in *inbox) {
	if !p.looking.known {
		return
	}
	p.offerHeld(in, true)
	if p.inbox != in {
		return
	}
	if !p.unread(in.window) {
		p.inbox = nil
		return
	}
	in.tries++
	in.weekAll = true
	p.c.count("slot.miss")
	p.after(taskInbox, p.c.jitter(backoff(in.tries, time.Second, 10*time.Minute)))
}

// reportPrekey has the peer told that mail came for a prekey that we lack.
func (p *peer) reportPrekey(number uint64) {
	if p.cannotOpen == number {
		return
	}
	p.cannotOpen = number
	p.stateChanged(0, asked)
}

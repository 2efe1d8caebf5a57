package courier

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// Mail to an endpoint that has proven itself goes in batches, each a datagram.
// A batch is sent again after 0.25, 0.5, 1 and 2 s; from 1 s on its messages go
// to the mailbox too. How much is under way at once is bounded by a window that
// grows with each batch that a receipt ends and halves when one is lost; the
// window is clocked by receipts, and a bucket of 400 datagrams a second on top
// keeps the first windows from arriving as one burst (at most 4.5 Mbit/s: these
// are messages; bulk belongs on a link). That bucket is the destination's own,
// apart from the node's budget for polling: it only ever serves an address that
// has shown that it wants the mail.
const (
	windowFirst = 16
	windowMax   = 64
	mailRate    = 400.0 // datagrams/s
	mailBurst   = 32.0

	// mailboxAfter is when mail that was sent directly, and has no receipt, is
	// put into the mailbox too.
	mailboxAfter = time.Second
	// receiptEvery is the least time between two receipts; those in between are
	// one.
	receiptEvery = 5 * time.Millisecond

	// mailLife is how old a mail datagram may be, against the newest that the
	// peer is known to have signed: all share one line of rising numbers, in ms.
	mailLife = uint64(time.Minute / time.Millisecond)
)

func mailLimit() rate { return rate{mailRate, mailBurst} }

// resendAfter is how long a batch that was sent n+1 times waits for its receipt.
func resendAfter(n int) time.Duration { return 250 * time.Millisecond << n }

const resends = 4

// direct is what is under way to an endpoint that has proven itself.
type direct struct {
	sequence wire.Sequence
	batches  []*batch // by rising number
	window   float64
	halved   time.Time
	paced    bucket
	blocked  bool // the next message is too long for a datagram

	receiptDue  bool
	receiptSent time.Time

	seen nonces
}

// outbox is what is pending for the peer, and the prekey to seal it to.
type outbox struct {
	sequence wire.Sequence
	base     uint64
	items    []Outgoing
	to       wire.Prekey
}

func (p *peer) outbox() outbox {
	o := outbox{to: p.prekey()}
	o.sequence, o.base, o.items = p.c.handler.Pending(p.id)
	return o
}

// batch is a datagram of mail that waits for its receipt.
type batch struct {
	from, to uint64 // message numbers
	skips    int    // how many of them are SKIPs
	first    time.Time
	due      time.Time // when it is sent again; zero: no more
	sent     int
}

func (p *peer) directState() *direct {
	if p.direct == nil {
		p.direct = &direct{window: windowFirst}
	}
	return p.direct
}

// stalled reports whether the oldest batch has been sent for the last time.
func (d *direct) stalled() bool { return len(d.batches) > 0 && d.batches[0].due.IsZero() }

// revive has the oldest batch sent once more: the peer has just shown itself.
func (d *direct) revive(now time.Time) { d.batches[0].due = now }

// mailChanged sends new mail by whatever is at hand.
func (p *peer) mailChanged() {
	if !p.present() || p.c.closing || p.tellSoon() {
		return
	}
	p.after(taskBox, boxDebounce)
}

// tellSoon has what waits for the peer sent by link or directly, and reports
// whether it can be.
func (p *peer) tellSoon() bool {
	switch {
	case p.linked():
		p.soon(taskLink)
	case p.online:
		p.soon(taskDirect)
	default:
		return false
	}
	return true
}

// receiptChanged sends a receipt back by the courier that the mail came by. All
// go over a link that carries, and then nothing is put for them.
func (p *peer) receiptChanged(via Via) {
	switch {
	case p.c.closing:
	case p.linked():
		p.link.receiptDue = true
		p.soon(taskLink)
	case via != ViaDHT && p.online:
		d := p.directState()
		d.receiptDue = true
		p.at(taskDirect, later(p.c.loop.Now(), d.receiptSent.Add(receiptEvery)))
	default:
		p.stateChanged(0, asked)
	}
}

// sendDirect sends what waits for the peer while it is online.
func (p *peer) sendDirect() {
	if !p.online || p.linked() || p.c.closing {
		return
	}
	now := p.c.loop.Now()
	if d := p.direct; d != nil && d.receiptDue {
		if wait := d.receiptSent.Add(receiptEvery); wait.After(now) {
			p.at(taskDirect, wait)
		} else {
			d.receiptDue, d.receiptSent = false, now
			p.sendReceipt()
		}
	}
	if !p.own.sent {
		p.own.sent = true
		record := p.signAssembled()
		p.sendTo(p.best(), wire.KindState, record)
		p.offerSent(record, now)
	}
	p.sendOffer(now)
	if p.profileDue() {
		p.profile.sent = p.c.profile.Version
		p.sendTo(p.best(), wire.KindProfile, p.signProfile())
	}
	p.sendMail(now)
}

func (p *peer) sendReceipt() {
	if body, _ := p.receiptNote(); body != nil {
		p.sendTo(p.best(), wire.KindReceipt, body)
	}
}

// receiptNote makes a receipt on its own, signed, and what it says, by which two
// can be compared. nil: there is nothing to say.
func (p *peer) receiptNote() (body, says []byte) {
	s := p.c.handler.Assemble(p.id)
	if s.Receipt == nil {
		return nil, nil
	}
	n := &wire.ReceiptNote{Version: p.c.rising.next(p.c), Bond: s.Bond, Receipt: *s.Receipt}
	body = p.sign(signReceipt, n.Receipt.Incarnation, n.Version, wire.AppendReceiptNote(nil, n))
	return body, said(n)
}

func said(n *wire.ReceiptNote) []byte {
	return wire.AppendReceipt(wire.AppendUint64(nil, n.Bond), &n.Receipt)
}

// acceptReceipt takes a receipt note of the peer.
func (p *peer) acceptReceipt(body []byte, via Via) {
	c := p.c
	sig, record, err := wire.ParseSigned(body)
	if err != nil {
		c.count("drop.malformed")
		return
	}
	n, err := wire.ParseReceiptNote(record)
	switch {
	case err != nil:
		c.countParse(err)
		return
	case n.Version <= p.receiptVersion:
		c.count("drop.replay.receipt")
		return
	case !p.admit(via), !p.verify(signReceipt, n.Receipt.Incarnation, n.Version, sig, record):
		return
	}
	p.receiptVersion = n.Version
	if p.fresh(n.Version, via) {
		p.seenNow()
	}
	c.handler.OnReceipt(p.id, n.Bond, &n.Receipt)
	if l := p.link; l != nil && via == ViaLink && l.heardReceipt(said(n)) {
		p.again(l)
	}
}

// sendMail sends again what is due, and new mail while the window is open.
func (p *peer) sendMail(now time.Time) {
	o := p.outbox()
	if o.to.Number == 0 || len(o.items) == 0 && p.direct == nil {
		return
	}
	d := p.directState()
	if d.sequence != o.sequence {
		d.sequence, d.batches = o.sequence, nil
	}
	d.final(o.base)
	var wait time.Time
	sooner := func(t time.Time) {
		if wait.IsZero() || t.Before(wait) {
			wait = t
		}
	}
	inFlight, resent := 0, 0
	for _, b := range d.batches {
		part := span(o.items, max(b.from, o.base), b.to)
		if n := skips(part); n != b.skips {
			b.skips, b.sent, b.due = n, 0, now // what is asked has changed
		}
		if !b.due.IsZero() && !b.due.After(now) {
			if b.sent > 0 && resent >= max(int(d.window)/2, 1) {
				// Receipts are cumulative: what follows the lost may well be there.
				sooner(now.Add(resendAfter(0) / 2))
				inFlight++
				continue
			}
			if wait, ok := d.paced.take(mailLimit(), now); !ok {
				sooner(now.Add(wait))
				continue
			}
			if b.sent > 0 {
				resent++
				p.c.count("mail.resent")
				d.lost(now)
			}
			p.sendBatch(b, o, part, now)
		}
		if !b.due.IsZero() {
			inFlight++
			sooner(b.due)
		}
	}
	next := o.base
	if n := len(d.batches); n > 0 {
		next = max(next, d.batches[n-1].to+1)
	}
	d.blocked = false
	for !d.stalled() {
		part := pack(span(o.items, next, next+wire.InFlight), wire.MaxDatagramItems, wire.MaxDirect)
		if len(part) == 0 {
			d.blocked = next < o.base+uint64(len(o.items)) // too long for a datagram
			break
		}
		if inFlight >= int(d.window) {
			break // a receipt opens it
		}
		if wait, ok := d.paced.take(mailLimit(), now); !ok {
			sooner(now.Add(wait))
			break
		}
		b := &batch{from: next, to: next + uint64(len(part)) - 1, skips: skips(part), first: now}
		d.batches = append(d.batches, b)
		p.sendBatch(b, o, part, now)
		sooner(b.due)
		inFlight++
		next = b.to + 1
	}
	if !wait.IsZero() {
		p.at(taskDirect, wait)
	}
	switch {
	case d.blocked:
		p.after(taskBox, boxDebounce)
	case len(d.batches) > 0:
		p.at(taskBox, later(now, d.batches[0].first.Add(mailboxAfter)))
	}
}

// sendBatch seals and sends those items of the outbox.
func (p *peer) sendBatch(b *batch, o outbox, part []Outgoing, now time.Time) {
	if b.sent < resends {
		b.due = now.Add(resendAfter(b.sent))
	} else {
		b.due = time.Time{}
	}
	b.sent++
	body, err := p.sealMail(p.batchOf(o, part), o.to)
	if err != nil {
		p.c.count("fault.prekey") // a prekey that is no key: only its owner loses by it
		return
	}
	p.sendTo(p.best(), wire.KindMail, body)
}

// final drops the batches that receipts have ended.
func (d *direct) final(base uint64) {
	n := 0
	for n < len(d.batches) && d.batches[n].to < base {
		d.window = min(d.window+1, windowMax)
		n++
	}
	d.batches = d.batches[n:]
	if len(d.batches) == 0 {
		d.batches = nil
	}
}

// lost halves the window, once for all that was lost together.
func (d *direct) lost(now time.Time) {
	if now.Sub(d.halved) >= resendAfter(0) {
		d.halved = now
		d.window = max(d.window/2, 1)
	}
}

// overdue gives the highest number that the mailbox should hold although the
// peer is online.
func (d *direct) overdue(now time.Time) (upTo uint64) {
	for _, b := range d.batches {
		if now.Sub(b.first) >= mailboxAfter {
			upTo = b.to
		}
	}
	return upTo
}

// batchOf makes the record of some items of the outbox.
func (p *peer) batchOf(o outbox, part []Outgoing) *wire.Mail {
	return &wire.Mail{
		Sequence:   o.sequence,
		Generation: p.c.rising.next(p.c),
		Bond:       p.c.handler.Bond(p.id),
		Base:       o.base,
		First:      part[0].Number,
		Prior:      part[0].Prior,
		Items:      p.items(part),
	}
}

// items gathers what is to be sent, with the bodies.
func (p *peer) items(part []Outgoing) []wire.Item {
	list := make([]wire.Item, len(part))
	for i, o := range part {
		list[i] = wire.Item{Skip: o.Skip, ID: o.ID}
		if !o.Skip {
			list[i].Time, list[i].Body = o.Time, p.c.handler.Body(p.id, o.ID)
		}
	}
	return list
}

// span gives the pending items numbered from to to, as far as there are any.
func span(items []Outgoing, from, to uint64) []Outgoing {
	if len(items) == 0 || from > to {
		return nil
	}
	base := items[0].Number
	if from < base {
		from = base
	}
	end := base + uint64(len(items))
	if from >= end {
		return nil
	}
	return items[from-base : min(to-base+1, end-base)]
}

func skips(items []Outgoing) (n int) {
	for _, o := range items {
		if o.Skip {
			n++
		}
	}
	return n
}

func (o Outgoing) size() int {
	if o.Skip {
		return wire.SkipSize
	}
	return wire.ItemOverhead + o.Size
}

// size is that of the items as they are encoded.
func size(items []Outgoing) (n int) {
	for _, o := range items {
		n += o.size()
	}
	return n
}

// pack gives as many of the first items as there is room for, none with a body
// above the largest.
func pack(items []Outgoing, room, largest int) []Outgoing {
	for i, o := range items {
		room -= o.size()
		if room < 0 || i == wire.MaxItems || !o.Skip && o.Size > largest {
			return items[:i]
		}
	}
	return items
}

// newestVersion is the highest rising number that the peer is known to have
// signed, but for mail.
func (p *peer) newestVersion() uint64 {
	n := max(p.helloVersion, p.receiptVersion)
	if p.theirs != nil {
		n = max(n, p.theirs.Version)
	}
	return n
}

// fresh reports whether what the peer has signed under that rising number has
// been signed since it last came online, which a nonce of this run has shown. What
// is older may have been recorded, and this store may be a backup that knows
// nothing of it. What comes over a link is fresh.
func (p *peer) fresh(version uint64, via Via) bool {
	return via == ViaLink || via == ViaDirect && p.online && version > p.since
}

// acceptMail takes a batch that came in a datagram, if it is fresh. The sender
// sends again what came too early.
func (p *peer) acceptMail(body []byte, nonce [8]byte) {
	c := p.c
	if !p.online {
		c.count("drop.unproven")
		return
	}
	if p.directState().seen.seen(nonce) {
		c.count("drop.replay.mail")
		return
	}
	if !p.admit(ViaDirect) {
		return
	}
	m := p.openMail(body, func(m *wire.Mail) bool {
		if !p.isWhole(m) {
			return false
		}
		newest := p.newestVersion()
		if !p.fresh(m.Generation, ViaDirect) || newest > m.Generation && newest-m.Generation > mailLife {
			c.count("drop.replay.mail")
			return false
		}
		return true
	})
	if m == nil {
		return
	}
	p.seenNow()
	if !c.handler.OnMail(p.id, m, ViaDirect) {
		c.count("mail.untaken")
	}
}

// isWhole refuses a part of a message, which only slots hold.
func (p *peer) isWhole(m *wire.Mail) bool {
	if m.Part != nil {
		p.c.count("drop.malformed")
	}
	return m.Part == nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

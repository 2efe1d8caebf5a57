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

	replayKept = 128
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

	seen [replayKept][8]byte // nonces of the newest mail datagrams
	next int
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

// replayed reports whether a mail datagram has been seen, by its nonce, and
// notes it: a copy costs no more than the pair's AEAD.
func (d *direct) replayed(nonce [8]byte) bool {
	for _, n := range d.seen {
		if n == nonce {
			return true
		}
	}
	d.seen[d.next] = nonce
	d.next = (d.next + 1) % replayKept
	return false
}

// mailChanged sends new mail by whatever is at hand.
func (p *peer) mailChanged() {
	if !p.present() || p.c.closing {
		return
	}
	if p.online {
		p.soon(taskDirect)
		return
	}
	p.after(taskBox, boxDebounce)
}

// receiptChanged sends a receipt back by the courier that the mail came by.
func (p *peer) receiptChanged(via Via) {
	switch {
	case p.c.closing, via == ViaLink:
	case via == ViaDirect && p.online:
		d := p.directState()
		d.receiptDue = true
		p.at(taskDirect, later(p.c.loop.Now(), d.receiptSent.Add(receiptEvery)))
	default:
		p.stateChanged(0, true)
	}
}

// sendDirect sends what waits for the peer while it is online.
func (p *peer) sendDirect() {
	if !p.online || p.c.closing {
		return
	}
	now := p.c.loop.Now()
	to := p.best()
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
		s := p.assemble()
		p.sendTo(to, wire.KindState, p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s)))
	}
	p.sendProfile()
	p.sendMail(now)
}

func (p *peer) sendReceipt() {
	s := p.c.handler.Assemble(p.id)
	if s.Receipt == nil {
		return
	}
	n := &wire.ReceiptNote{Version: p.c.rising.next(p.c), Bond: s.Bond, Receipt: *s.Receipt}
	body := p.sign(signReceipt, n.Receipt.Incarnation, n.Version, wire.AppendReceiptNote(nil, n))
	p.sendTo(p.best(), wire.KindReceipt, body)
}

// acceptReceipt takes a receipt note of the peer.
func (p *peer) acceptReceipt(body []byte) {
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
	case !p.verify(signReceipt, n.Receipt.Incarnation, n.Version, sig, record):
		return
	}
	p.receiptVersion = n.Version
	p.seenNow()
	c.handler.OnReceipt(p.id, n.Bond, &n.Receipt)
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
		part := pack(span(o.items, next, next+wire.InFlight))
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
	m := &wire.Mail{
		Sequence:   o.sequence,
		Generation: p.c.rising.next(p.c),
		Bond:       p.c.handler.Bond(p.id),
		Base:       o.base,
		First:      part[0].Number,
		Prior:      part[0].Prior,
		Items:      p.items(part),
	}
	if b.sent < resends {
		b.due = now.Add(resendAfter(b.sent))
	} else {
		b.due = time.Time{}
	}
	b.sent++
	body, err := p.sealMail(m, o.to)
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

// pack gives as many of the first items as one datagram takes.
func pack(items []Outgoing) []Outgoing {
	room := wire.MaxDatagramItems
	for i, o := range items {
		room -= o.size()
		if room < 0 || i == wire.MaxItems || !o.Skip && o.Size > wire.MaxDirect {
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

// acceptMail takes a batch that came in a datagram.
func (p *peer) acceptMail(body []byte, nonce [8]byte) {
	c := p.c
	if p.directState().replayed(nonce) {
		c.count("drop.replay.mail")
		return
	}
	m := p.openMail(body, func(m *wire.Mail) bool {
		if m.Part != nil {
			c.count("drop.malformed")
			return false
		}
		if newest := p.newestVersion(); newest > m.Generation && newest-m.Generation > mailLife {
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

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

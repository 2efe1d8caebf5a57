package delivery

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

var (
	schedules = flag.Int("schedules", 2000, "how many random schedules to run")
	seed      = flag.Uint64("seed", 0, "the one schedule to run, with a log; 0: -schedules of them")
)

// TestSchedules runs two nodes through random schedules of everything that can
// happen to them, and holds the invariants at every commit.
func TestSchedules(t *testing.T) {
	if *seed != 0 {
		w := newWorld(*seed)
		w.log = t.Logf
		must(t, w.run())
		return
	}
	var total tally
	for s := uint64(1); s <= uint64(*schedules); s++ {
		w := newWorld(s)
		if err := w.run(); err != nil {
			t.Fatalf("%v\nreplay with: go test -run TestSchedules ./internal/delivery -seed %d -v", err, s)
		}
		total.add(w.tally)
	}
	t.Logf("%+v", total)
	// A schedule that exercises nothing proves nothing.
	if *schedules < 500 {
		return
	}
	for what, n := range map[string]int{
		"delivered": total.Delivered, "expired by answer": total.Skipped, "expired alone": total.Alone,
		"delivered while expiring": total.Late, "crashes": total.Crashes, "rollbacks": total.Rollbacks,
		"forks": total.Forks, "parts joined": total.Parts, "inbox full": total.Full, "held back": total.Held,
		"raised": total.Raised, "calm": total.Calm, "wiped": total.Wiped, "cancelled": total.Cancelled,
	} {
		if n < *schedules/50 {
			t.Errorf("%s: only %d times in %d schedules", what, n, *schedules)
		}
	}
}

// tally counts what schedules have exercised.
type tally struct {
	Sent, Delivered, Skipped, Alone, Late, Cancelled    int
	Crashes, Rollbacks, Wiped, Forks, Parts, Full, Held int
	Raised, Calm, Twice, Turns                          int
}

func (t *tally) add(o tally) {
	t.Sent += o.Sent
	t.Delivered += o.Delivered
	t.Skipped += o.Skipped
	t.Alone += o.Alone
	t.Late += o.Late
	t.Cancelled += o.Cancelled
	t.Crashes += o.Crashes
	t.Rollbacks += o.Rollbacks
	t.Wiped += o.Wiped
	t.Forks += o.Forks
	t.Parts += o.Parts
	t.Full += o.Full
	t.Held += o.Held
	t.Raised += o.Raised
	t.Calm += o.Calm
	t.Twice += o.Twice
	t.Turns += o.Turns
}

// packet is something on its way.
type packet struct {
	to      int
	mail    *wire.Mail
	receipt *wire.Receipt
}

// end is what a schedule knows of one node.
type end struct {
	*node
	saved   []saved
	rolled  bool // was put back, or wiped: what it had received may be lost
	stopped bool // the program does not read

	fates  []fate                   // of the friend's messages, as committed in this branch
	ever   map[wire.MessageID]bool  // stored, in any branch
	finals map[wire.MessageID]State // of own messages, in any branch
}

// fate is what the receiver has decided.
type fate struct {
	id      wire.MessageID
	stored  bool
	order   int
	seq     wire.Sequence
	skipped bool
}

type saved struct {
	store
	fates []fate
}

// world is one schedule.
type world struct {
	rng     *rand.Rand
	now     time.Time
	ends    [2]*end
	air     []packet
	order   map[wire.MessageID]int // in which messages were sent
	sets    uint64
	putBack bool // stores are put back in this schedule
	tally   tally
	log     func(format string, args ...any)
}

func newWorld(seed uint64) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), now: time.UnixMilli(1_000_000_000),
		order: make(map[wire.MessageID]int), log: func(string, ...any) {},
	}
	limits := &Limits{
		Outbox: 40, OutboxBytes: 4000, Ended: 60, Inbox: 6 + w.rng.IntN(10), InboxBytes: 600,
		Window: 8, Seen: 8, Sequences: 3, Held: 3, HeldBytes: 200,
	}
	w.putBack = w.rng.IntN(3) == 0
	for i := range w.ends {
		n := newNode([]string{"a", "b"}[i], int64(i+1)*100, limits)
		n.open, n.capacity = w.rng.IntN(4) > 0, []int{0, 50, 1000}[w.rng.IntN(3)]
		w.ends[i] = &end{
			node: n, ever: make(map[wire.MessageID]bool),
			finals: make(map[wire.MessageID]State),
		}
		if err := n.restart(w.now); err != nil {
			panic(err) // an empty store
		}
	}
	return w
}

func (w *world) run() error {
	for range 50 + w.rng.IntN(250) {
		if err := w.step(); err != nil {
			return err
		}
	}
	return w.settle()
}

// step does one random thing.
func (w *world) step() error {
	i := w.rng.IntN(2)
	e := w.ends[i]
	switch r := w.rng.IntN(100); {
	case r < 14:
		return w.turn(i, func(p *Peer) { w.send(p) })
	case r < 34:
		return w.turn(i, func(*Peer) {}) // effects only
	case r < 66:
		return w.arrive()
	case r < 72:
		if len(w.air) > 0 {
			w.lose(w.rng.IntN(len(w.air)))
		}
	case r < 77:
		w.now = w.now.Add(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)
		return w.turn(i, func(p *Peer) { p.Advance(w.now) })
	case r < 84:
		if e.stopped = w.rng.IntN(3) == 0; !e.stopped {
			return w.consume(i)
		}
	case r < 88:
		e.capacity = []int{0, 50, 1000}[w.rng.IntN(3)]
		return w.turn(i, func(p *Peer) { p.SetCapacity(e.capacity) })
	case r < 91:
		e.open = true
		return w.turn(i, func(p *Peer) { p.Open(w.now, 1) })
	case r < 94:
		return w.turn(i, func(p *Peer) {
			q := p.Pending()
			if len(q.Items) > 0 {
				p.Stored(w.now, q.Sequence, []uint64{q.Base, q.Base + uint64(w.rng.IntN(10))}, 8)
			}
		})
	case r < 96:
		return w.crash(i)
	case r < 97:
		e.saved = append(e.saved, saved{e.clone(), slices.Clone(e.fates)})
	case r < 98:
		if w.putBack {
			return w.rollback(i)
		}
	case r < 99 && w.rng.IntN(3) == 0:
		e.open = false
		return w.turn(i, func(p *Peer) { p.Close(w.now, []State{Refused, Cancelled}[w.rng.IntN(2)]) })
	}
	return nil
}

func (w *world) send(p *Peer) {
	m := Message{Time: w.now.UnixMilli(), Body: make([]byte, []int{0, 5, 40, 90}[w.rng.IntN(4)])}
	for i := range m.ID[:] {
		m.ID[i] = byte('a' + w.rng.IntN(26))
	}
	copy(m.ID[:8], fmt.Sprintf("m%07d", len(w.order)))
	if w.rng.IntN(2) == 0 {
		m.Expiry = w.now.Add(time.Duration(w.rng.IntN(40_000)) * time.Millisecond).UnixMilli()
	}
	if p.Send(w.now, m) == nil {
		w.order[m.ID] = len(w.order)
		w.tally.Sent++
	}
}

// turn steps a node, commits and lets effects out; or it crashes on the way.
func (w *world) turn(i int, f func(p *Peer)) error {
	e := w.ends[i]
	if w.tally.Turns%5 == 0 { // as after a time without mail
		e.peer.drop(time.UnixMilli(e.peer.nextDrop()))
	}
	f(e.peer)
	w.tally.Turns++
	if w.rng.IntN(40) == 0 { // before the commit
		w.log("%s crashes before its commit", e.name)
		return w.crash(i)
	}
	before := maps.Clone(e.rows)
	out := e.take()
	e.commit(out)
	if err := w.check(i, out, before); err != nil {
		return err
	}
	if w.rng.IntN(40) == 0 { // after the commit, before effects
		w.log("%s crashes after its commit", e.name)
		return w.crash(i)
	}
	w.effects(i, out)
	return nil
}

// effects puts mail and receipts into the air.
func (w *world) effects(i int, out Output) {
	e := w.ends[i]
	q := e.peer.Pending()
	if n := len(q.Items); n > 0 {
		from := w.rng.IntN(n)
		first := q.Base + uint64(from)
		if w.rng.IntN(4) == 0 {
			for _, m := range e.parts(first, 1+w.rng.IntN(3), w.set()) {
				w.air = append(w.air, packet{to: 1 - i, mail: overWire(m)})
			}
		} else {
			m := e.mail(first, 1+w.rng.IntN(n-from))
			w.air = append(w.air, packet{to: 1 - i, mail: overWire(m)})
		}
	}
	if r := e.peer.CurrentReceipt(); r != nil && (out.Answer || out.ReceiptChanged || w.rng.IntN(4) == 0) {
		w.air = append(w.air, packet{to: 1 - i, receipt: receiptOverWire(r)})
	}
	for len(w.air) > 60 {
		w.lose(w.rng.IntN(len(w.air)))
	}
}

// set draws the generation of a set of parts. As a generation follows the
// clock, two copies of a store do not draw the same.
func (w *world) set() uint64 {
	w.sets++
	return w.sets
}

func (w *world) lose(i int) { w.air = slices.Delete(w.air, i, i+1) }

// arrive lets anything in the air arrive, and sometimes leaves a duplicate.
func (w *world) arrive() error {
	if len(w.air) == 0 {
		return nil
	}
	i := w.rng.IntN(len(w.air))
	p := w.air[i]
	if w.rng.IntN(5) > 0 {
		w.lose(i)
	}
	return w.turn(p.to, func(peer *Peer) { w.put(peer, p) })
}

func (w *world) put(peer *Peer, p packet) {
	if p.receipt != nil {
		w.log("%s gets receipt %s", w.ends[p.to].name, describeReceipt(p.receipt))
		peer.Receipt(w.now, p.receipt)
		return
	}
	before := peer.stats
	partial := p.mail.Part != nil && p.mail.Part.Count > 1 && peer.partial != nil
	w.log("%s gets mail %s", w.ends[p.to].name, describeMail(p.mail))
	done := peer.Receive(w.now, overWire(p.mail), 2)
	after := peer.stats
	w.tally.Full += int(after.InboxFull - before.InboxFull)
	w.tally.Held += int(after.Held - before.Held)
	w.tally.Raised += int(after.Raised - before.Raised)
	w.tally.Forks += int(after.ForksSeen - before.ForksSeen)
	if partial && done && peer.partial == nil {
		w.tally.Parts++
	}
}

func (w *world) consume(i int) error {
	e := w.ends[i]
	n := 0
	if e.unread > 0 {
		n = 1 + w.rng.IntN(e.unread)
	}
	bytes := 0
	for _, in := range e.inbox[len(e.inbox)-e.unread:][:n] {
		bytes += len(in.Body)
	}
	e.unread -= n // the program's own row, in the same commit or an earlier one
	return w.turn(i, func(p *Peer) { p.Consumed(w.now, n, bytes) })
}

func (w *world) crash(i int) error {
	w.tally.Crashes++
	return w.ends[i].restart(w.now)
}

// rollback puts a store back to an older or parallel state, or wipes what it
// has received and sent.
func (w *world) rollback(i int) error {
	e := w.ends[i]
	if w.rng.IntN(4) == 0 {
		w.log("%s is wiped", e.name)
		w.tally.Wiped++
		e.rolled = true
		e.own.Created += 1000 + int64(w.tally.Wiped)
		e.store, e.fates, e.saved = store{rows: make(map[string]string)}, nil, nil
		return e.restart(w.now)
	}
	if len(e.saved) == 0 {
		return nil
	}
	w.log("%s is put back", e.name)
	w.tally.Rollbacks++
	e.rolled = true
	s := e.saved[w.rng.IntN(len(e.saved))]
	e.store, e.fates = s.clone(), slices.Clone(s.fates)
	return e.restart(w.now)
}

// check holds the invariants after a commit.
func (w *world) check(i int, out Output, before map[string]string) error {
	e, friend := w.ends[i], w.ends[1-i]
	if err := w.checkReceived(e, friend, out, before); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	for _, c := range out.Changes {
		w.log("%s: %s is %s", e.name, name(c.ID)[:8], c.State)
		if !c.State.Ended() {
			continue
		}
		numbered := false
		for key, value := range before {
			if !strings.HasPrefix(key, TableOutbox+"\x00") {
				continue
			}
			if en, err := parseEntry([]byte(key[len(key)-8:]), []byte(value)); err == nil && en.id == c.ID {
				numbered = en.numbered
				if en.state == Expiring && c.State == Delivered {
					w.tally.Late++
				}
			}
		}
		switch {
		case c.State == Delivered && !friend.ever[c.ID]:
			return fmt.Errorf("%s: %s is delivered, but %s never stored it", e.name, name(c.ID), friend.name)
		case c.State == Delivered && !friend.rolled && !friend.has(c.ID):
			return fmt.Errorf("%s: %s is delivered, but %s does not have it", e.name, name(c.ID), friend.name)
		case c.State == Expired && !friend.rolled && !e.rolled && friend.ever[c.ID]:
			return fmt.Errorf("%s: %s is expired, but %s stored it", e.name, name(c.ID), friend.name)
		}
		e.finals[c.ID] = c.State
		switch {
		case c.State == Delivered:
			w.tally.Delivered++
		case c.State == Expired && numbered:
			w.tally.Skipped++
		case c.State == Expired:
			w.tally.Alone++
		default:
			w.tally.Cancelled++
		}
	}
	if w.rng.IntN(8) == 0 {
		return e.same()
	}
	return nil
}

func (e *end) has(id wire.MessageID) bool {
	return slices.ContainsFunc(e.inbox, func(in Inbound) bool { return in.ID == id })
}

// checkReceived holds what must be true of messages that e has just decided.
func (w *world) checkReceived(e, friend *end, out Output, before map[string]string) error {
	if out.Err != nil {
		return out.Err
	}
	stored := make(map[wire.MessageID]bool)
	for _, in := range out.Delivered {
		if stored[in.ID] {
			return fmt.Errorf("%s stored twice in one turn", name(in.ID))
		}
		stored[in.ID] = true
	}
	var fresh []single
	for _, r := range out.Rows {
		if r.Table != TableSeen {
			continue
		}
		had := make(map[uint64]bool)
		for _, s := range pageOf([]byte(before[r.Table+"\x00"+string(r.Key)])) {
			had[s.rank] = true
		}
		for _, s := range pageOf(r.Value) {
			if !had[s.rank] {
				fresh = append(fresh, s)
			}
		}
	}
	slices.SortFunc(fresh, func(a, b single) int { return int(a.rank) - int(b.rank) })
	next := 0
	for _, s := range fresh {
		f := fate{s.id, stored[s.id], w.order[s.id], s.sequence, s.skipped}
		for _, old := range e.recent(e.limits.Seen) {
			if old.id == s.id && (f.stored || f.skipped != old.skipped) {
				return fmt.Errorf("%s decided again: %+v, was %+v", name(s.id), f, old)
			}
		}
		if f.stored {
			if out.Delivered[next].ID != s.id {
				return fmt.Errorf("%s handed out of order", name(s.id))
			}
			next++
			if e.ever[s.id] {
				w.tally.Twice++
			}
			if friend.finals[s.id] == Expired && !friend.rolled && !e.rolled {
				return fmt.Errorf("%s stored though it is expired", name(s.id))
			}
			e.ever[s.id] = true
			for j := len(e.fates) - 1; j >= 0; j-- {
				old := e.fates[j]
				if old.stored && (old.seq == f.seq || !e.rolled && !friend.rolled) && old.order >= f.order {
					return fmt.Errorf("%s stored after %s, which was sent later", name(s.id), name(old.id))
				}
			}
		}
		e.fates = append(e.fates, f)
	}
	if next != len(out.Delivered) {
		return fmt.Errorf("%d messages handed out without being remembered", len(out.Delivered)-next)
	}
	return nil
}

// pageOf reads a row of TableSeen by itself.
func pageOf(row []byte) (out []single) {
	if len(row) == 0 {
		return nil
	}
	v := wire.NewReader(row)
	v.Uint8()
	var sequences []wire.Sequence
	for range v.Count(pageSlots) {
		sequences = append(sequences, v.Sequence())
	}
	for range v.Count(pageSlots) {
		var s single
		v.Fill(s.id[:])
		s.number, s.rank = v.Uint64(), v.Uint64()
		if place := v.Uint8(); place > 0 {
			s.sequence = sequences[place-1]
		}
		s.skipped = v.Bool()
		out = append(out, s)
	}
	if err := v.Done(); err != nil {
		panic(err)
	}
	return out
}

// recent is the last n different messages decided.
func (e *end) recent(n int) (out []fate) {
	have := make(map[wire.MessageID]bool)
	for i := len(e.fates) - 1; i >= 0 && len(out) < n; i-- {
		if f := e.fates[i]; !have[f.id] {
			have[f.id] = true
			out = append(out, f)
		}
	}
	return out
}

// settle makes the network good, after which nothing may stay pending.
func (w *world) settle() error {
	w.log("settle")
	for i, e := range w.ends {
		e.open, e.capacity = true, 1000
		e.peer.SetCapacity(e.capacity)
		e.peer.Open(w.now, 1)
		if err := w.quietTurn(i); err != nil {
			return err
		}
	}
	for range 200 {
		busy := false
		for i, e := range w.ends {
			w.air = nil // old packets are gone
			w.now = w.now.Add(20 * time.Second)
			e.peer.Advance(w.now)
			if err := w.quietTurn(i); err != nil {
				return err
			}
			if q := e.peer.Pending(); len(q.Items) > 0 {
				busy = true
				mail := e.mail(q.Base, len(q.Items))
				w.put(w.ends[1-i].peer, packet{to: 1 - i, mail: overWire(mail)})
				if err := w.quietTurn(1 - i); err != nil {
					return err
				}
			}
			if r := w.ends[1-i].peer.CurrentReceipt(); r != nil {
				w.put(e.peer, packet{to: i, receipt: receiptOverWire(r)})
			}
			if err := w.quietTurn(i); err != nil {
				return err
			}
			e.peer.Consumed(w.now, e.unread, e.unreadBytes())
			e.unread = 0
			if err := w.quietTurn(i); err != nil {
				return err
			}
		}
		if !busy {
			break
		}
	}
	for i, e := range w.ends {
		if n := len(e.peer.Pending().Items) + e.peer.queue.len; n > 0 {
			return fmt.Errorf("%s: %d messages are stuck: %+v, %s has %v", e.name, n, e.peer.Pending(), w.ends[1-i].name, marksOf(w.ends[1-i].peer))
		}
		if err := e.same(); err != nil {
			return err
		}
	}
	if !w.ends[0].rolled && !w.ends[1].rolled {
		w.tally.Calm++
		return w.complete()
	}
	return nil
}

// complete checks, where no store was put back, that both ends tell the same.
func (w *world) complete() error {
	for i, e := range w.ends {
		friend := w.ends[1-i]
		for id, s := range e.finals {
			if s == Delivered != friend.ever[id] && s != Refused && s != Cancelled {
				return fmt.Errorf("%s: %s ended %s, stored by %s: %v", e.name, name(id), s, friend.name, friend.ever[id])
			}
		}
		for id := range friend.ever {
			if _, ok := e.finals[id]; !ok {
				return fmt.Errorf("%s: %s was stored by %s, but has not ended", e.name, name(id), friend.name)
			}
		}
	}
	return nil
}

func (w *world) quietTurn(i int) error {
	before := maps.Clone(w.ends[i].rows)
	out := w.ends[i].take()
	w.ends[i].commit(out)
	return w.check(i, out, before)
}

func describeMail(m *wire.Mail) string {
	s := fmt.Sprintf("%s base %d, %d:", sequence(m.Sequence), m.Base, m.First)
	if prior := bytes.TrimRight(m.Prior[:], "\x00"); len(prior) > 0 {
		s = fmt.Sprintf("%s base %d, after %s, %d:", sequence(m.Sequence), m.Base, prior, m.First)
	}
	if p := m.Part; p != nil {
		return s + fmt.Sprintf(" part %d of %d, set %d", p.Index+1, p.Count, p.Set)
	}
	for _, it := range m.Items {
		switch {
		case it.Skip:
			s += " SKIP(" + name(it.ID) + ")"
		default:
			s += " " + name(it.ID)
		}
	}
	return s
}

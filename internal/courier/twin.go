package courier

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// twins watches for other living nodes with our identity: every put of our
// state reads what stands there, and one slot is looked at each minute. A record
// with a nonce that is of no run of this store, signed in the last hour, is a
// suspicion. We then put our own above it; one with that nonce that stands above
// ours, and was signed since, is proof. What a run that has ended left behind,
// stale copies too, stands below, whatever its clock was; and a friend, who can
// put all that we ever signed to it above ours, has nothing that was signed
// since. Who yields is dealt with in yield.go.
type twins struct {
	known  []uint64          // nonces of this store's newest runs, this one included
	others map[uint64]*other // by nonce: runs that are none of this store's
	hot    time.Time         // until then we look often: there is news
	timer  Timer
	ticks  int
	walked time.Time // when we last looked all the way
	yield  yield
}

// other is a run with our identity, and of another store or forgotten by ours.
type other struct {
	incarnation crypto.Incarnation
	start       uint64
	peer        *peer // in whose slot it was seen first,
	since       time.Time
	first       uint64            // with that version
	ours        map[*peer]*placed // what we have put since, by slot; nil: it is on its way
	proven      bool              // it lives, or has lived in our time

	version uint64        // of the newest that was seen,
	signed  time.Time     // when that was signed, by our clock,
	ended   bool          // and whether it says goodbye
	skew    time.Duration // how far its clock is ahead, once it is proven
}

// placed is a state of ours that stands in a slot.
type placed struct {
	version uint64
	seq     int64
}

const (
	knownStarts = 16
	maxOthers   = 16
	twinWindow  = time.Hour

	// twinEvery is how often we look, twinOften while there is news, that is for
	// twinNews after it. A suspicion is looked after for twinWatch, in which a
	// living twin puts its state whatever it knows.
	twinEvery = time.Minute
	twinOften = 10 * time.Second
	twinNews  = 2 * time.Minute
	twinWatch = republishMax * 5 / 4
	// twinAgain is when we put our state again while there is news. That goes all
	// the way, as every third look does: a node that has just joined may know other
	// holders than its twin.
	twinAgain = 30 * time.Second
	twinAsk   = 2
	// twinWalk is how often we look all the way because no holders are known.
	twinWalk = 10 * time.Minute
)

func (t *twins) restore(c *Courier) error {
	t.others = make(map[uint64]*other)
	if row := c.rows.Get(table, c.self, []byte(keyStarts)); row != nil {
		r := wire.NewReader(row)
		for range r.Count(knownStarts) {
			t.known = append(t.known, r.Uint64())
		}
		if err := r.Done(); err != nil {
			return fmt.Errorf("courier: row of earlier starts: %w", err)
		}
	}
	if len(t.known) == knownStarts {
		t.known = t.known[1:]
	}
	t.known = append(t.known, c.start)
	row := wire.AppendUint8(nil, uint8(len(t.known)))
	for _, n := range t.known {
		row = wire.AppendUint64(row, n)
	}
	c.rows.Put(table, c.self, []byte(keyStarts), row)
	return nil
}

// ready begins to look.
func (t *twins) ready(c *Courier) {
	if p := c.meeting(); p != nil {
		p.own.haste = hurried // a twin finds us there
	}
	t.arm(c)
}

// meeting is the friend in whose slot twins look for each other: both put their
// state there, unless their friends differ. nil: we have none.
func (c *Courier) meeting() (first *peer) {
	for _, p := range c.peers {
		if p.asked.Publish && p.asked.Poll != PollNone && (first == nil || p.id.Compare(first.id) < 0) {
			first = p
		}
	}
	return first
}

// sawOwn looks at an item that stood in our own state slot.
func (p *peer) sawOwn(week crypto.Epoch, i Item) {
	if p.stopped || p.c.closed {
		return
	}
	c := p.c
	body := p.openSlot(crypto.Out, week, saltState, wire.KindState, i)
	if body == nil {
		return
	}
	sig, record, err := wire.ParseSigned(body)
	if err != nil {
		c.count("drop.malformed")
		return
	}
	s, err := wire.ParseState(record)
	if err != nil {
		c.countParse(err)
		return
	}
	if s.Start == c.start {
		return
	}
	t := crypto.Transcript{
		Type: signState, From: c.self, To: p.id,
		Incarnation: s.Incarnation, Version: s.Version, Body: record,
	}
	if !t.Verify(sig) {
		c.count("drop.signature." + signState)
		return
	}
	c.rising.raise(c, s.Version)
	if !slices.Contains(c.twins.known, s.Start) {
		c.twins.see(p, s, i.Seq)
	}
}

// see judges a record of ours that no run of this store has signed.
func (t *twins) see(p *peer, s *wire.State, seq int64) {
	c, now := p.c, p.c.loop.Now()
	signed, goodbye := time.UnixMilli(s.Time), s.Presence == wire.PresenceOffline
	if now.Sub(signed).Abs() > twinWindow {
		return // a copy of this store ran there, once
	}
	o := t.others[s.Start]
	if o == nil {
		if goodbye || !t.room(c, now) {
			return
		}
		o = &other{incarnation: s.Incarnation, start: s.Start, peer: p, since: now, first: s.Version, ours: make(map[*peer]*placed)}
		t.others[s.Start] = o
		t.stir(c)
	}
	if _, known := o.ours[p]; !o.proven && !known && (p == o.peer || p == c.meeting()) {
		o.ours[p] = nil
		p.putAbove(hurried) // which shows ourselves to a twin
	}
	news := s.Version > o.version
	if news {
		o.version, o.signed, o.ended = s.Version, earlier(signed.Add(-o.skew), now), goodbye
	}
	switch {
	case !o.proven && t.proof(p, o, s, seq):
		o.proven, o.ours = true, nil
		o.skew, o.signed = signed.Sub(now), now // it was signed just now
		t.stir(c)
		t.met(p, o)
	case !o.proven || !news:
	case t.yield.on:
		t.answer(p, o)
	case !o.outranks(c): // friends must not go by what it says
		t.stir(c)
		p.putAbove(asked)
	}
}

// proof reports whether the record shows that the other one lives.
func (t *twins) proof(p *peer, o *other, s *wire.State, seq int64) bool {
	if t.yield.on { // we put nothing that it could stand above
		return o.outranks(p.c) && s.Time > t.yield.since.UnixMilli()
	}
	ours := o.ours[p]
	return ours != nil && seq > ours.seq && s.Version > max(o.first, ours.version) && s.Time > o.since.UnixMilli()
}

// outranks reports whether it is for us to yield to the other one.
func (o *other) outranks(c *Courier) bool {
	return cmp.Or(o.incarnation.Compare(c.incarnation), cmp.Compare(o.start, c.start)) > 0
}

// room reports whether one more can be remembered, and forgets what has come to
// nothing.
func (t *twins) room(c *Courier, now time.Time) bool {
	maps.DeleteFunc(t.others, func(_ uint64, o *other) bool {
		return now.Sub(o.since).Abs() > twinWatch && (!o.proven || o.ended)
	})
	if len(t.others) >= maxOthers {
		c.count("fault.starts")
		return false
	}
	return true
}

// written notes a put of our state to p that went well.
func (t *twins) written(p *peer, version uint64, seq int64) {
	for _, o := range t.others {
		if !o.proven && o.ours[p] == nil {
			o.ours[p] = &placed{version, seq}
		}
	}
}

// putAbove has our state put above another one's. (Who has yielded puts none.)
func (p *peer) putAbove(h haste) {
	p.own.dirty, p.own.haste = true, max(p.own.haste, h)
	p.putSoon(stateDebounce)
}

// stir has us look often for a while.
func (t *twins) stir(c *Courier) {
	t.hot = c.loop.Now().Add(twinNews)
	t.arm(c)
}

func (t *twins) arm(c *Courier) {
	if t.timer != nil {
		t.timer.Stop()
	}
	every := twinEvery
	switch {
	case c.loop.Now().Before(t.hot):
		every = twinOften
	case c.quiet:
		every *= quietFactor
	}
	t.timer = c.loop.After(every, func() {
		t.timer = nil
		if !c.closing && !c.closed {
			t.arm(c)
			t.tick(c)
		}
	})
}

// tick looks where twins meet, and wherever one is suspected.
func (t *twins) tick(c *Courier) {
	now := c.loop.Now()
	var at []*peer
	if p := c.meeting(); p != nil {
		at = append(at, p)
		if t.beats() && now.Sub(p.own.last) >= twinBeat {
			p.putAbove(asked)
		}
	}
	for _, o := range t.others {
		if !o.proven && !o.peer.stopped && now.Sub(o.since) < twinWatch && !slices.Contains(at, o.peer) {
			at = append(at, o.peer)
		}
	}
	t.ticks++
	for _, p := range at {
		ask := twinAsk
		if now.Before(t.hot) {
			if t.ticks%3 == 0 {
				ask = 0
			}
			if t.doubts() && now.Sub(p.own.last) >= twinAgain {
				p.own.last = time.Time{} // all the way
				p.putAbove(asked)
			}
		}
		t.look(p, ask)
	}
}

// doubts reports whether somebody is suspected and not proven.
func (t *twins) doubts() bool {
	for _, o := range t.others {
		if !o.proven {
			return true
		}
	}
	return false
}

// look reads our own record, from that many known holders; 0: all the way.
func (t *twins) look(p *peer, ask int) {
	c := p.c
	week := crypto.Week(c.loop.Now())
	_, key := p.slotKey(crypto.Out, week)
	if ask == 0 {
		t.walked = c.loop.Now()
		c.budget.spend(costWalk)
	} else {
		c.budget.spend(ask)
	}
	c.then(func() {
		c.slots.Get(Query{Key: key, Salt: saltState, Ask: ask}, func(i Item) {
			p.sawOwn(week, i)
		}, func(h Health) {
			if p.stopped || c.closing || c.closed {
				return
			}
			if t.yield.on {
				t.looked(p, ask, h)
			}
			if ask > 0 && h.Asked == 0 && c.loop.Now().Sub(t.walked) >= twinWalk {
				t.look(p, 0)
			}
		})
	})
}

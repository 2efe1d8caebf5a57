package courier

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// twins watches for another living node with our identity: every put of our
// state reads what stands there. A record with a nonce that is of no run of this
// store, signed in the last hour, is a suspicion. We then put our own above it;
// one with that nonce that stands above ours, and was signed since, is proof.
// What a run that has ended left behind, stale copies too, stands below, whatever
// its clock was; and a friend, who can put all that we ever signed to it above
// ours, has nothing that was signed since.
type twins struct {
	known    []uint64 // nonces of this store's newest runs, this one included
	suspects map[uint64]suspect
	told     bool
	yielded  bool   // we have stopped writing, but for
	answers  int    // what proves us to the twin,
	answered uint64 // whose newest record had this version then
}

type suspect struct {
	peer    *peer // in whose slot it was seen
	version uint64
	since   time.Time
	above   int64 // seq of what we have put there since; the highest: nothing yet
}

const (
	knownStarts = 16
	maxSuspects = 16
	twinWindow  = time.Hour

	twinEvery = 20 * time.Second
	twinAsk   = 2
	twinWatch = republishMax * 5 / 4
	// twinAnswers is how often one that has yielded still puts its state above
	// the twin's: the twin takes two records of ours for proof.
	twinAnswers = 4
)

func (t *twins) restore(c *Courier) error {
	t.suspects = make(map[uint64]suspect)
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

// mute reports whether nothing may be written to the DHT (any more).
func (c *Courier) mute() bool { return c.twins.yielded || c.closing || c.closed }

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
	c := p.c
	now := c.loop.Now()
	if now.Sub(time.UnixMilli(s.Time)).Abs() > twinWindow {
		return // a copy of this store ran there, once
	}
	if t.told {
		t.answer(p, s)
		return
	}
	first, ok := t.suspects[s.Start]
	switch {
	case !ok && len(t.suspects) >= maxSuspects:
		c.count("fault.starts")
	case !ok:
		t.suspects[s.Start] = suspect{peer: p, version: s.Version, since: now, above: math.MaxInt64}
		// Put once more, which shows ourselves to a twin, and go on looking for
		// as long as a living one may take to put again.
		p.after(taskState, time.Second)
		p.own.dirty, p.own.haste = true, hurried
		t.watch(p, now.Add(twinWatch))
	case p == first.peer && s.Version > first.version && s.Time > first.since.UnixMilli() && seq > first.above:
		t.told = true
		c.count("twin")
		yield := cmp.Or(c.incarnation.Compare(s.Incarnation), cmp.Compare(c.start, s.Start)) < 0
		if p.mode.Publish && c.isReady && !c.closing {
			p.putStateNow(nil) // the last one, if we yield: it proves us to the twin
		}
		t.yielded, t.answered = yield, s.Version
		if yield {
			t.watch(p, now.Add(twinWatch))
		}
		c.handler.OnTwin(Twin{Incarnation: s.Incarnation, Start: s.Start, Yield: yield})
	}
}

// answer puts our state above a twin's to which we have yielded, so that it
// learns of us too.
func (t *twins) answer(p *peer, s *wire.State) {
	c := p.c
	if !t.yielded || t.answers == twinAnswers || s.Version <= t.answered || !p.mode.Publish || !c.isReady || c.closing || p.own.putting {
		return
	}
	t.answers++
	t.answered = s.Version
	p.putStateNow(nil)
}

// written notes a put of our state to p that went well.
func (t *twins) written(p *peer, seq int64) {
	for start, s := range t.suspects {
		if s.peer == p && s.above == math.MaxInt64 {
			s.above = seq
			t.suspects[start] = s
		}
	}
}

// watch asks holders for our own record until it is told of a twin, or the time
// is over.
func (t *twins) watch(p *peer, until time.Time) {
	c := p.c
	c.loop.After(c.jitter(twinEvery), func() {
		over := t.told && (!t.yielded || t.answers == twinAnswers)
		if p.stopped || over || c.closing || c.closed || c.loop.Now().After(until) {
			return
		}
		week := crypto.Week(c.loop.Now())
		_, key := p.slotKey(crypto.Out, week)
		c.budget.spend(twinAsk)
		c.then(func() {
			c.slots.Get(Query{Key: key, Salt: saltState, Ask: twinAsk}, func(i Item) {
				p.sawOwn(week, i)
			}, func(Health) { t.watch(p, until) })
		})
	})
}

package courier

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// pace is how a peer's state is looked for: every so often that many known
// holders are asked, and every so often all the way is walked. Zero: never.
type pace struct {
	every time.Duration
	ask   int
	walk  time.Duration
}

// The polling table. A person is recent, absent or silent by the last sign of
// life.
const (
	recent = 10 * time.Minute
	absent = 24 * time.Hour

	// answerSoon is for how long after the beginning of a dial, or of a link's
	// silence, the friend's offer is expected at any moment.
	answerSoon = 5 * time.Second

	// eagerFor is for how long friends are asked more often who may come back in
	// the moment in which we do: after our own start, and our own return. What they
	// put is there a second or two after we have looked.
	eagerFor = time.Minute

	// quietFactor stretches every interval on a metered line.
	quietFactor = 6

	// minWalk is the least time between walks for lack of holders to ask.
	minWalk = 30 * time.Second

	// knownNear is how many nodes must have answered a walk for them to be those
	// where others put and look, too. One that fewer answered is repeated after
	// poorWalk, then twice that, and so on: a node that has just joined may know
	// nobody there but the dead.
	knownNear = 8
	poorWalk  = 2 * time.Second

	// An item that was found by a walk is put again to where it lacks, at most
	// that often.
	reputEvery = 30 * time.Minute
)

func (p *peer) pace(now time.Time) pace {
	var r pace
	switch p.mode.Poll {
	case PollNone, PollLinked:
		return pace{}
	case PollSuspect:
		r = pace{1500 * time.Millisecond, 3, 30 * time.Second}
		if now.Sub(p.looking.since) < answerSoon {
			r.every = 500 * time.Millisecond
		}
	case PollPending:
		switch age := now.Sub(p.looking.since); {
		case age < time.Minute:
			r = pace{2 * time.Second, 2, 10 * time.Minute}
		case age < 11*time.Minute:
			r = pace{10 * time.Second, 2, 10 * time.Minute}
		default:
			r = pace{time.Minute, 2, time.Hour}
		}
	case PollFriend:
		seen := p.seen
		if seen.IsZero() {
			seen = p.looking.since // a new friend
		}
		back := now.Sub(p.looking.eager)
		if p.online {
			back = eagerFor
		}
		switch age := now.Sub(seen); {
		case back < 3*time.Second:
			r = pace{500 * time.Millisecond, 2, 10 * time.Minute}
		case back < 6*time.Second:
			r = pace{time.Second, 2, 10 * time.Minute}
		case back < 20*time.Second:
			r = pace{2500 * time.Millisecond, 2, 10 * time.Minute}
		case back < eagerFor:
			r = pace{5 * time.Second, 2, 10 * time.Minute}
		case age < recent:
			r = pace{10 * time.Second, 2, 10 * time.Minute}
		case age < absent:
			r = pace{time.Minute, 1, 30 * time.Minute}
		default:
			r = pace{5 * time.Minute, 1, time.Hour}
		}
	}
	if p.c.quiet {
		r.every *= quietFactor
		r.walk *= quietFactor
	}
	return r
}

// looking is where the search for a peer's state stands.
type looking struct {
	since   time.Time // when this kind of polling began
	walked  time.Time // when the last walk was begun; zero: none in this run
	eager   time.Time // when we last came back
	asking  bool      // queued or under way
	walking bool
	poor    int         // walks in a row that few nodes answered
	known   bool        // what was walked for has been found: the newest state is known,
	ending  *wire.State // and until then this one, which ends the friendship, waits
	reput   time.Time

	week  crypto.Epoch // where the newest item was found,
	seq   int64        // and its seq: no older one is of interest
	fresh time.Time    // when a look last went well
}

// pollChanged begins a new kind of polling.
func (p *peer) pollChanged(now time.Time) {
	p.looking.since = now
	p.clear(taskAsk)
	p.clear(taskWalk)
	if p.pace(now).every == 0 || !p.c.isReady {
		return
	}
	switch {
	case p.mode.Poll == PollSuspect:
		p.soon(taskWalk)
		if !p.looking.fresh.IsZero() { // holders are known, and a walk takes seconds where nodes are dead
			p.after(taskAsk, p.c.jitter(p.pace(now).every))
		}
	case p.looking.walked.IsZero():
		p.soon(taskWalk)
	default:
		p.soon(taskAsk)
		p.at(taskWalk, p.looking.walked.Add(p.c.jitter(p.pace(now).walk)))
	}
}

// ask asks known holders.
func (p *peer) ask() {
	r := p.pace(p.c.loop.Now())
	if r.every == 0 || p.looking.asking || !p.c.isReady || p.c.closing {
		return
	}
	weeks := p.readWeeks(false)
	p.looking.asking = true
	p.c.budget.run(classAsk, r.ask*len(weeks), func() {
		if p.stopped {
			return
		}
		p.look(weeks, r.ask, func(h Health) {
			p.looking.asking = false
			now := p.c.loop.Now()
			r := p.pace(now)
			if r.every == 0 {
				return
			}
			p.after(taskAsk, p.c.jitter(r.every))
			if h.Asked == 0 && !p.looking.walking {
				// Nobody to ask: walk, but silent friends no more often for it.
				wait := min(minWalk, r.walk)
				switch {
				case r.walk >= time.Hour:
					wait = r.walk
				case p.looking.walked.Before(p.looking.eager): // whoever was known may have failed in an outage of ours
					wait = 0
				}
				p.at(taskWalk, p.looking.walked.Add(p.c.jitter(wait)))
			}
		})
	})
}

// walk looks all the way.
func (p *peer) walk() {
	r := p.pace(p.c.loop.Now())
	if r.every == 0 || p.looking.walking || !p.c.isReady || p.c.closing {
		return
	}
	now := p.c.loop.Now()
	suspect := p.mode.Poll == PollSuspect // which links that come and go make of themselves
	if suspect {
		if wait, ok := p.effort.take(effortLimit(), now); !ok {
			p.c.count("effort.held")
			p.after(taskWalk, wait)
			return
		}
	}
	p.tidy(now)
	first := p.looking.walked.IsZero()
	weeks := p.readWeeks(first)
	p.looking.walking = true
	begin := func() {
		if p.stopped {
			return
		}
		p.looking.walked = p.c.loop.Now()
		p.look(weeks, 0, func(h Health) {
			p.looking.walking = false
			if first {
				p.eager()
			}
			well := h.Answered >= knownNear*len(weeks)
			if p.present() && (well || h.Answered > 0 && p.looking.poor > 0) {
				p.newestKnown()
			}
			r := p.pace(p.c.loop.Now())
			if r.every == 0 {
				return
			}
			p.after(taskAsk, p.c.jitter(r.every))
			p.after(taskWalk, p.c.jitter(p.walkAgain(r, well)))
		})
	}
	cost := costWalk * len(weeks)
	if suspect && p.c.hurry(cost) || p.mode.Poll == PollPending && p.looking.walked.IsZero() {
		p.c.budget.spend(cost) // somebody waits for it
		begin()
		return
	}
	p.c.budget.run(classWalk, cost, begin)
}

// eager has the peer asked more often for a while, unless it has not been about
// for long, or there are too many.
func (p *peer) eager() {
	now := p.c.loop.Now()
	if !p.seen.IsZero() && now.Sub(p.seen) >= absent {
		return
	}
	if _, ok := p.c.eagerness.take(eagerLimit(), now); !ok {
		p.c.count("eager.held")
		return
	}
	p.looking.eager = now
}

// newestKnown follows the first walk of a run that enough nodes have answered, or
// the second that some have. Until then all that was found may be what some holder
// has kept for long, and this store may be a backup that has forgotten what became
// of it: mail in slots waits, and so does the end of a friendship, which may have
// begun anew.
func (p *peer) newestKnown() {
	if p.looking.known {
		return
	}
	p.looking.known = true
	if s := p.looking.ending; s != nil {
		p.looking.ending = nil
		if p.theirs == nil || s.Version > p.theirs.Version {
			p.takeState(s, ViaDHT)
		}
	}
	switch in := p.inbox; {
	case in == nil || p.stopped:
	case in.reading == 0:
		p.inboxRead(in)
	default:
		p.offerHeld(in, false)
	}
}

// walkAgain is how long after a walk the next one is due.
func (p *peer) walkAgain(r pace, well bool) time.Duration {
	if well || r.walk >= time.Hour && p.looking.known { // silent friends no more often for it
		p.looking.poor = 0
		return r.walk
	}
	p.looking.poor++
	first := poorWalk
	if p.c.quiet {
		first *= quietFactor
	}
	return backoff(p.looking.poor, first, r.walk)
}

// readWeeks are the weeks under whose keys the peer's slots may stand: this one,
// the last one during its first two days or where all is wanted, and the next
// one in its last day, for a peer whose clock is ahead.
func (p *peer) readWeeks(all bool) []crypto.Epoch {
	now := p.c.loop.Now()
	w := crypto.Week(now)
	weeks := []crypto.Epoch{w}
	if w > 0 && (all || now.Sub(w.WeekStart()) < 2*24*time.Hour) {
		weeks = append(weeks, w-1)
	}
	if (w + 1).WeekStart().Sub(now) < 24*time.Hour {
		weeks = append(weeks, w+1)
	}
	return weeks
}

// look reads the peer's state under the keys of those weeks.
func (p *peer) look(weeks []crypto.Epoch, ask int, done func(Health)) {
	var sum Health
	var newest Item
	open := len(weeks)
	for _, w := range weeks {
		key := p.theirSlots(w)
		q := Query{Key: key, Salt: saltState, Ask: ask}
		if ask > 0 && w == p.looking.week {
			q.Newer = p.looking.seq
		}
		each := func(i Item) {
			if p.stopped || p.c.closed {
				return
			}
			if p.foundState(w, i) {
				newest = i
			}
		}
		p.c.then(func() {
			p.c.slots.Get(q, each, func(h Health) {
				sum.Asked += h.Asked
				sum.Answered += h.Answered
				open--
				if open > 0 || p.stopped || p.c.closed {
					return
				}
				if sum.Answered > 0 {
					p.looking.fresh = p.c.loop.Now()
				}
				if ask == 0 {
					p.keepAlive(newest)
				}
				done(sum)
			})
		})
	}
}

// foundState takes a state record from the DHT. It reports whether it is the
// newest that the peer is known to have signed.
func (p *peer) foundState(week crypto.Epoch, i Item) bool {
	body := p.openSlot(crypto.In, week, saltState, wire.KindState, i)
	if body == nil {
		return false
	}
	newest := p.acceptState(body, ViaDHT)
	if newest && (i.Seq > p.looking.seq || week != p.looking.week) {
		// A friend who puts an absurd seq hides his own next records: his loss.
		p.looking.week, p.looking.seq = week, i.Seq
	}
	return newest
}

// keepAlive puts an item that a walk has read again, for holders come and go
// while its writer is away.
func (p *peer) keepAlive(i Item) {
	now := p.c.loop.Now()
	if _, online := p.whereabouts(); i.Value == nil || online || p.c.closing || now.Sub(p.looking.reput) < reputEvery {
		return
	}
	p.looking.reput = now
	p.reput(i)
}

func (p *peer) reput(i Item) {
	p.c.budget.run(classWalk, costWrite, func() {
		if p.stopped {
			return
		}
		p.c.then(func() { p.c.slots.Reput(i, func(PutResult) {}) })
	})
}

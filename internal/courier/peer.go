package courier

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// task is something that a peer has to do at some time. All tasks of a peer
// share one timer.
type task int

const (
	taskAsk     task = iota // ask known holders for the peer's state
	taskWalk                // walk for it
	taskState               // put our state
	taskProfile             // put our profile
	taskBox                 // bring our mail slots up to date
	taskInbox               // read the peer's mail slots
	taskHello               // exchange, or probe endpoints
	taskDirect              // send state, profile, receipt or mail directly
	taskLink                // send them over the link
	tasks
)

// peer is all that the courier knows of one person. What only some people need
// hangs on pointers, so that an idle friend stays small.
type peer struct {
	c       *Courier
	id      crypto.ID
	pair    *crypto.Pair
	mode    Mode
	asked   Mode // by the engine: the mode, unless we yield to a twin
	stopped bool

	due   [tasks]time.Time // zero: not waiting
	timer Timer
	armed time.Time // when the timer runs

	// What the peer has said; durable.
	theirs      *wire.State // of the highest version; 0: from a request; nil: nothing
	seen        time.Time   // last sign of life
	savedSeen   time.Time
	read        [wire.MaxSlots]uint64 // generations of the peer's mail slots that were taken
	profileRead uint64                // version of the peer's profile that was taken

	looking   looking    // poll.go
	own       own        // state.go
	profile   ownProfile // profile.go
	slots     slotsRead  // seal.go
	presence             // hello.go
	link      *link      // link.go; nil: there is none
	offer     *offer     // offer.go; nil: none is open
	direct    *direct    // direct.go; nil: nothing under way
	box       *box       // mailbox.go; nil: no mail of ours waits
	inbox     *inbox     // inbox.go; nil: all was read
	skew      time.Duration
	newerTold uint8 // highest format that OnPeerNewer was told

	cannotOpen     uint64 // prekey number that mail came for and that we lack
	receiptVersion uint64 // highest seen of a receipt note
	answered       time.Time
	effort         bucket // what the peer has made us do
	inbound        bucket // envelopes of the peer
	records        bucket // what comes over its link
}

func newPeer(c *Courier, id crypto.ID) (*peer, error) {
	pair, err := c.identity.Pair(id)
	if err != nil {
		return nil, err
	}
	p := &peer{c: c, id: id, pair: pair}
	if err := p.restore(); err != nil {
		return nil, err
	}
	return p, nil
}

// stop ends all work for the peer. What is under way in the DHT comes back to
// find stopped set.
func (p *peer) stop() {
	p.stopped = true
	p.due = [tasks]time.Time{}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// wanted reports whether envelopes of the peer are of any interest.
func (p *peer) wanted() bool { return p.mode.Poll != PollNone || p.mode.Publish }

// present reports whether the peer is somebody we talk to, directly too.
func (p *peer) present() bool { return p.mode.Poll != PollNone }

func (p *peer) setMode(m Mode) {
	was := p.mode
	p.mode = m
	if was == m {
		return
	}
	now := p.c.loop.Now()
	if m.Poll != was.Poll {
		p.pollChanged(now)
	}
	if !p.present() {
		if m.Publish {
			p.tellEnd()
			p.forgetProfile()
		}
		p.looking.known, p.looking.walked = false, time.Time{} // when they are of interest again, as at a start
		p.offline()
		p.unlink()
		p.clear(taskHello)
	}
	if m.Publish && !was.Publish {
		h := hurried
		if !p.c.isReady {
			h = asked // everybody of earlier runs comes at once then
		}
		p.stateChanged(stateGather, h)
	}
	if p.present() && was.Poll == PollNone {
		p.probe()
		p.mailChanged()
		p.profileChanged()
	}
	if !m.Publish {
		p.clear(taskState)
	}
}

// tellEnd tells somebody who is there, and whom we no longer talk to, what the
// put of our state will say: once, by the link or straight.
func (p *peer) tellEnd() {
	if _, there := p.whereabouts(); !there {
		return
	}
	body := p.signAssembled()
	if p.online && !p.linked() {
		p.sendTo(p.best(), wire.KindState, body)
	}
	if p.link != nil {
		record := wire.AppendLinkRecord(make([]byte, 0, 1+len(body)), wire.KindState, body)
		p.c.then(func() {
			if !p.c.links.Send(p.id, record) {
				p.c.count("link.full")
			}
		})
	}
}

// introduce takes what a request tells of its sender.
func (p *peer) introduce(r *wire.Request) {
	if p.theirs != nil && p.theirs.Time >= r.Time {
		return // what we have is newer
	}
	s := &wire.State{
		Incarnation: r.Incarnation,
		Time:        r.Time,
		Format:      max(r.Format, wire.Format),
		Start:       r.Start,
		Bond:        r.Number,
		Prekey:      r.Prekey,
		Endpoints:   slices.Clone(r.Endpoints),
	}
	if p.theirs != nil {
		s.Version = p.theirs.Version
	}
	p.theirs = s
	p.signOfLife(min(r.Time, p.c.loop.Now().UnixMilli()))
	p.save()
	p.probe()
	p.mailChanged()
}

// prekey is the newest prekey of the peer; Number 0: none yet.
func (p *peer) prekey() wire.Prekey {
	if p.theirs == nil {
		return wire.Prekey{}
	}
	return p.theirs.Prekey
}

// signOfLife notes when the peer last was alive, by signed time or by what has
// just come.
func (p *peer) signOfLife(ms int64) {
	if t := time.UnixMilli(ms); t.After(p.seen) {
		p.seen = t
	}
}

// seenNow is a sign of life that has just come. The row follows only now and
// then: it serves the order of the next start.
func (p *peer) seenNow() {
	p.seen = p.c.loop.Now()
	if p.seen.Sub(p.savedSeen) > 5*time.Minute {
		p.save()
	}
}

// save writes the peer's row: format ‖ seen ‖ profile read ‖ slots read ‖ state.
func (p *peer) save() {
	p.savedSeen = p.seen
	ms := int64(0)
	if !p.seen.IsZero() {
		ms = max(p.seen.UnixMilli(), 0)
	}
	b := wire.AppendUint8(nil, 1)
	b = wire.AppendTime(b, ms)
	b = wire.AppendUint64(b, p.profileRead)
	for _, g := range p.read {
		b = wire.AppendUint64(b, g)
	}
	if p.theirs != nil {
		b = wire.AppendState(b, p.theirs)
	}
	p.c.rows.Put(table, p.id, []byte(keyPeer), b)
}

func (p *peer) restore() error {
	if row := p.c.rows.Get(table, p.id, []byte(keyPeer)); row != nil {
		r := wire.NewReader(row)
		if v := r.Uint8(); v != 1 && r.Err() == nil {
			return fmt.Errorf("courier: row of %v has format %d: written by a newer version?", p.id, v)
		}
		if ms := r.Time(); ms != 0 {
			p.seen = time.UnixMilli(ms)
			p.savedSeen = p.seen
		}
		p.profileRead = r.Uint64()
		for i := range p.read {
			p.read[i] = r.Uint64()
		}
		if err := r.Err(); err != nil {
			return fmt.Errorf("courier: row of %v: %w", p.id, err)
		}
		if r.Len() > 0 {
			s, err := wire.ParseState(r.Rest())
			if err != nil {
				return fmt.Errorf("courier: row of %v: %w", p.id, err)
			}
			p.theirs = s
			// Of one rising line with the state, and not kept by themselves.
			p.helloVersion, p.receiptVersion = s.Version, s.Version
		}
	}
	return p.restoreBox()
}

// at has the task done at t, or earlier if it already waits for that.
func (p *peer) at(k task, t time.Time) {
	if p.stopped || p.c.closed {
		return
	}
	if d := p.due[k]; d.IsZero() || t.Before(d) {
		p.due[k] = t
		p.arm()
	}
}

func (p *peer) soon(k task) { p.at(k, p.c.loop.Now()) }

func (p *peer) after(k task, d time.Duration) { p.at(k, p.c.loop.Now().Add(d)) }

func (p *peer) clear(k task) { p.due[k] = time.Time{} }

// arm sets the timer to the earliest task. A timer that runs too early because
// its task was cleared costs less than one that is set anew each time.
func (p *peer) arm() {
	var first time.Time
	for _, t := range p.due {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if first.IsZero() || p.timer != nil && !first.Before(p.armed) {
		return
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.armed = first
	p.timer = p.c.loop.After(max(first.Sub(p.c.loop.Now()), 0), p.run)
}

func (p *peer) run() {
	p.timer = nil
	now := p.c.loop.Now()
	for k := range tasks {
		if t := p.due[k]; t.IsZero() || t.After(now) || p.stopped || p.c.closed {
			continue
		}
		p.clear(k)
		switch k {
		case taskAsk:
			p.ask()
		case taskWalk:
			p.walk()
		case taskState:
			p.putState()
		case taskProfile:
			p.putProfile()
		case taskBox:
			p.fillBox()
		case taskInbox:
			p.readInbox()
		case taskHello:
			p.greet()
		case taskDirect:
			p.sendDirect()
		case taskLink:
			p.sendLink()
		case tasks: // their number
		}
	}
	if !p.stopped && !p.c.closed {
		p.arm()
	}
}

// bySeen gives everybody, last seen first.
func (c *Courier) bySeen() []*peer {
	list := make([]*peer, 0, len(c.peers))
	for _, p := range c.peers {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *peer) int {
		return cmp.Or(b.seen.Compare(a.seen), a.id.Compare(b.id))
	})
	return list
}

// published is to how many people we put our state.
func (c *Courier) published() (n int) {
	for _, p := range c.peers {
		if p.mode.Publish {
			n++
		}
	}
	return n
}

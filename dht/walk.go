package dht

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	walkK       = 8  // a walk ends when the 8 closest nodes that live have answered
	walkAlpha   = 5  // queries under way, overdue ones aside
	walkMost    = 96 // queries in one walk
	walkSeeds   = 16 // nodes of the routing table that a walk begins with
	maxNamed    = 16 // nodes taken from one answer; honest ones hold 8
	maxListed   = 256
	closestMost = 16 // nodes that a lookup ends with, in one family
)

// lookup is a question to the nodes closest to a target.
type lookup struct {
	target nodeID
	method string // find_node, get or get_peers
	writes bool   // it is the first part of a put or an announce
	args   krpc.MsgArgs
	only   []holder // ask just these, in one round trip; nil = walk
	width  int      // how many of the closest must answer; 0 = walkK
	near   int      // only so many of the nodes known to be near are asked, all alike; 0 = any
}

// found is how a lookup went in one family or, merged, in all.
type found struct {
	asked, answered int
	closest         []holder // those that answered with a token, nearest first
	missed          bool     // some candidate was not reached, so that another walk may find more
}

// candidate is a node in a walk.
type candidate struct {
	contact
	state   candidateState
	overdue bool // its first try is
	token   string
}

type candidateState uint8

const (
	fresh candidateState = iota
	asked
	replied
	failed
)

// look runs a lookup in every family at once. visit gets the answers as they
// come, on the caller's goroutine. It returns when all families are done, or ctx is.
func (n *Node) look(ctx context.Context, l lookup, visit func(*reply)) found {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan *reply)
	var mu sync.Mutex
	var total found
	var families sync.WaitGroup
	for _, f := range n.families {
		n.wait.Add(1)
		families.Go(func() {
			defer n.wait.Done()
			w := walker{family: f, lookup: l, replies: replies, seen: make(map[netip.AddrPort]*candidate)}
			result := w.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			total.asked += result.asked
			total.answered += result.answered
			total.closest = append(total.closest, result.closest...)
			total.missed = total.missed || result.missed
		})
	}
	go func() {
		families.Wait()
		close(replies)
	}()
	for r := range replies {
		visit(r)
	}
	slices.SortStableFunc(total.closest, func(a, b holder) int { return closer(l.target, a.id, b.id) })
	return total
}

// walker is one lookup in one family, run by one goroutine.
type walker struct {
	family *family
	lookup
	replies chan<- *reply
	list    []*candidate // nearest first
	seen    map[netip.AddrPort]*candidate
	result  found

	desperate bool // nodes that did not answer a moment ago are asked, too
}

// event is what a query of a walk reports: that it is overdue, or its end.
type event struct {
	candidate *candidate
	reply     *reply // nil: no answer
	overdue   bool
}

// most is how many nodes may be asked: few while nobody answers at all, for then
// it is our line that is gone. The first answer makes it a whole walk again.
func (w *walker) most() int {
	f := w.family
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost(time.Now()) {
		return knockAt
	}
	return walkMost
}

func (w *walker) run(ctx context.Context) found {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.begin()
	events := make(chan event, 2*walkMost) // room for all: no sender ever blocks
	active, running := 0, 0
	for {
		for active < walkAlpha && w.result.asked < w.most() {
			c := w.next()
			if c == nil {
				break
			}
			c.state = asked
			w.result.asked++
			active++
			running++
			w.ask(ctx, c, events)
		}
		if running == 0 || w.settled() {
			break
		}
		select {
		case e := <-events:
			if e.overdue {
				active-- // its end must not free a place again
				e.candidate.overdue = true
				continue
			}
			running--
			if !e.candidate.overdue {
				active--
			}
			if !w.take(ctx, e) {
				return w.finish()
			}
		case <-ctx.Done():
			return w.finish()
		}
	}
	return w.finish()
}

// begin lists the nodes that the walk starts from.
func (w *walker) begin() {
	for _, h := range w.only {
		if w.family.takes(h.addr) {
			w.add(h.contact)
		}
	}
	if w.only != nil {
		w.width = len(w.list)
		return
	}
	if w.width == 0 {
		w.width = walkK
	}
	for _, h := range w.family.node.holders.of(w.target) {
		if w.family.takes(h.addr) {
			w.add(h.contact)
		}
	}
	seeds := w.family.closest(w.target, walkSeeds)
	for _, c := range seeds {
		w.add(c)
	}
	if len(w.list) == 0 { // better to ask those that were dead a moment ago than nobody
		w.desperate = true
		for _, c := range seeds {
			w.add(c)
		}
	}
}

// add lists a node, unless it is known or was dead a moment ago.
func (w *walker) add(c contact) {
	if w.seen[c.addr] != nil || len(w.list) >= maxListed {
		return
	}
	if w.only == nil && !w.desperate && w.family.isDead(c.addr) {
		return
	}
	added := &candidate{contact: c}
	w.seen[c.addr] = added
	i, _ := slices.BinarySearchFunc(w.list, c.id, func(have *candidate, id nodeID) int {
		return closer(w.target, have.id, id)
	})
	w.list = slices.Insert(w.list, i, added)
}

// next returns the nearest node not asked yet among the nearest that live.
func (w *walker) next() *candidate {
	living := 0
	for _, c := range w.list {
		if c.state == fresh {
			return c
		}
		if c.state != failed {
			if living++; living == w.width {
				return nil
			}
		}
	}
	return nil
}

// settled says whether the nearest nodes that live have all answered.
func (w *walker) settled() bool {
	living := 0
	for _, c := range w.list {
		switch c.state {
		case fresh, asked:
			return false
		case replied:
			if living++; living == w.width {
				return true
			}
		case failed:
		}
	}
	return true
}

func (w *walker) ask(ctx context.Context, c *candidate, events chan<- event) {
	args := w.args
	args.Want = w.family.want()
	w.family.node.wait.Go(func() {
		query := w.family.query
		if w.writes {
			query = w.family.queryAhead
		}
		r, err := query(ctx, c.addr, w.method, args, queryTries, func() {
			events <- event{candidate: c, overdue: true}
		})
		if err != nil {
			r = nil
		}
		events <- event{candidate: c, reply: r}
	})
}

// take takes in the end of a query; false when ctx is done.
func (w *walker) take(ctx context.Context, e event) bool {
	c := e.candidate
	if e.reply == nil {
		c.state = failed
		if !w.family.isDead(c.addr) { // else another walk would pass it by
			w.result.missed = true
		}
		return true
	}
	w.result.answered++
	c.state = replied
	if e.reply.fault == nil {
		if c.id != e.reply.id { // another node lives there now, or its ID was unknown
			c.id = e.reply.id
			slices.SortStableFunc(w.list, func(a, b *candidate) int { return closer(w.target, a.id, b.id) })
		}
		if e.reply.values.Token != nil {
			c.token = *e.reply.values.Token
		}
		if w.only == nil {
			for _, named := range e.reply.nodes() {
				w.add(named)
			}
		}
	} else {
		c.state = failed
	}
	select {
	case w.replies <- e.reply:
		return true
	case <-ctx.Done():
		return false
	}
}

// finish returns the result, with the nodes that may be written to.
func (w *walker) finish() found {
	for _, c := range w.list {
		if c.state == replied && c.token != "" && len(w.result.closest) < closestMost {
			w.result.closest = append(w.result.closest, holder{contact: c.contact, token: c.token})
		}
	}
	return w.result
}

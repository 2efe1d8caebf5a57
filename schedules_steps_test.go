package carrier_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/store"
)

// A plan is everything that happens in a schedule. It is drawn from the seed
// alone and does not look at what nodes do, so that the same seed gives the same
// plan; what only keys, the runtime's scheduler and its maps decide differs.
type plan struct {
	seed   uint64
	people int
	link   lab.Link
	skew   []time.Duration // of each person's clock
	steps  []step
}

// step is one thing that happens, after a pause.
type step struct {
	pause time.Duration
	kind  stepKind
	a, b  int // people, different ones
	n     int // 1 to 5: how many, or which
	size  int // of a message
	d     time.Duration
	yes   bool
	wake  bool // first a starts, if it is down
}

// stepKind is what can happen to a, and b.
type stepKind struct {
	name   string
	weight int  // how often it is drawn
	up     bool // only while a's node runs
	do     func(w *system, a, b *actor, s step)
}

// stepKinds are all of them.
func stepKinds() []stepKind {
	return []stepKind{
		{"send", 34, true, func(w *system, a, b *actor, s step) {
			for range s.n {
				w.send(a, b, s)
			}
		}},
		{"miss", 4, true, (*system).miss},
		{"read", 5, true, func(_ *system, a, _ *actor, s step) { a.setReading(s.yes) }},

		{"add", 4, true, func(w *system, a, b *actor, _ step) { w.add(a, b, "again") }},
		{"accept", 5, true, func(w *system, a, b *actor, _ step) {
			_, err := a.node.Accept(b.id)
			w.acted(err)
		}},
		{"refuse", 1, true, func(w *system, a, b *actor, _ step) { w.acted(a.node.Refuse(b.id)) }},
		{"remove", 2, true, func(w *system, a, b *actor, _ step) {
			if f := a.friend(b); f != nil {
				w.acted(f.Remove())
			}
		}},
		{"block", 1, true, func(w *system, a, b *actor, _ step) { w.acted(a.node.Block(b.id)) }},
		{"unblock", 1, true, func(w *system, a, b *actor, _ step) { w.acted(a.node.Unblock(b.id)) }},
		{"profile", 1, true, (*system).profile},
		{"address", 1, true, func(w *system, a, _ *actor, _ step) {
			_, err := a.node.NewAddress()
			w.acted(err)
		}},

		{"crash", 8, true, func(_ *system, a, _ *actor, s step) { a.store.crashAt(s.n*(1+s.size%3*2), s.yes) }},
		{"kill", 4, true, func(_ *system, a, _ *actor, _ step) { a.kill() }},
		{"shutdown", 4, true, func(_ *system, a, _ *actor, _ step) { a.shutdown() }},
		{"start", 7, false, func(_ *system, a, _ *actor, _ step) { a.start() }},
		{"start and crash", 3, false, func(_ *system, a, _ *actor, s step) {
			a.kill()
			a.startUntil(s.n, s.yes)
		}},
		{"back up", 2, false, func(w *system, a, _ *actor, _ step) { w.must(w.save(a)) }},
		{"put back", 3, false, func(w *system, a, _ *actor, _ step) {
			if a.saved != nil {
				a.kill()
				w.must(w.putBack(a))
				a.start()
			}
		}},

		{"move", 3, false, func(_ *system, a, _ *actor, _ step) { a.move() }},
		{"part", 4, false, (*system).part},
		{"mend", 4, false, func(w *system, _, _ *actor, _ step) { w.mend() }},
		{"hole", 3, false, func(_ *system, a, _ *actor, s step) { a.host.Blackhole(s.yes, !s.yes || s.n > 3) }},
		{"storm", 2, false, func(w *system, a, _ *actor, s step) {
			w.setLinks(a, lab.Link{Delay: w.plan.link.Delay, Loss: 0.2 + 0.1*float64(s.n)})
		}},
		{"DHT", 3, false, (*system).spoil},
		{"clock", 3, false, (*system).setClock},
		{"notice", 1, true, func(_ *system, a, _ *actor, _ step) { a.node.NetworkChanged() }},
		{"unlink", 1, true, func(_ *system, a, _ *actor, _ step) {
			a.node.Unlink()
			a.linkless = true
		}},
	}
}

func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 2))
	p := plan{seed: seed, people: []int{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 4, 5}[r.IntN(18)]}
	if r.IntN(4) > 0 {
		p.link = lab.Link{Delay: time.Duration(1+r.IntN(100)) * time.Millisecond, Jitter: time.Duration(r.IntN(40)) * time.Millisecond}
		if r.IntN(2) == 0 {
			p.link.Loss, p.link.Duplicate, p.link.Reorder = r.Float64()*0.1, r.Float64()*0.05, r.Float64()*0.05
		}
	}
	for range p.people {
		var skew time.Duration
		if r.IntN(3) == 0 {
			skew = time.Duration(r.IntN(3600)-1800) * time.Second
		}
		p.skew = append(p.skew, skew)
	}
	kinds := stepKinds()
	total := 0
	for _, kind := range kinds {
		total += kind.weight
	}
	steps := 5 + r.IntN(5)
	if r.IntN(7) == 0 {
		steps *= 3
	}
	for range steps {
		draw, kind := r.IntN(total), 0
		for ; draw >= kinds[kind].weight; kind++ {
			draw -= kinds[kind].weight
		}
		a := r.IntN(p.people)
		s := step{
			kind: kinds[kind], a: a, b: (a + 1 + r.IntN(p.people-1)) % p.people, pause: drawPause(r), n: 1 + r.IntN(5), yes: r.IntN(2) == 0,
			wake: r.IntN(3) > 0, d: drawPause(r),
		}
		switch r.IntN(12) {
		case 0, 1:
			s.size = 1 + r.IntN(5<<10)
		case 2:
			s.size = 1 + r.IntN(carrier.MaxMessage)
		default:
			s.size = r.IntN(200)
		}
		p.steps = append(p.steps, s)
	}
	return p
}

// drawPause draws from milliseconds to hours.
func drawPause(r *rand.Rand) time.Duration {
	switch n := r.IntN(1000); {
	case n < 450:
		return time.Duration(r.IntN(1000)) * time.Millisecond
	case n < 880:
		return time.Duration(r.IntN(20_000)) * time.Millisecond
	case n < 980:
		return time.Duration(r.IntN(180)) * time.Second
	case n < 999:
		return time.Duration(r.IntN(900)) * time.Second
	}
	return time.Duration(r.IntN(6*3600)) * time.Second
}

// play makes a step happen.
func (w *system) play(s step) {
	w.sleep(s.pause)
	a, b := w.people[s.a], w.people[s.b]
	if s.wake {
		a.start()
	}
	if w.broken() {
		return
	}
	w.note("%s %s (%s, n=%d, size=%d, d=%v, %t), up %t", a.name, s.kind.name, b.name, s.n, s.size, s.d, s.yes, a.node != nil)
	if s.kind.up && a.node == nil {
		return
	}
	w.tally.Steps[s.kind.name]++
	s.kind.do(w, a, b, s)
}

func (w *system) send(a, b *actor, s step) {
	f := a.friend(b)
	if f == nil {
		return
	}
	var opts *carrier.SendOptions
	if s.n == 5 {
		opts = &carrier.SendOptions{Expiry: a.clock.now().Add(s.d)}
	}
	l, body := w.write(a.index, b.index, s.size)
	msg, err := f.Send(context.Background(), body, opts)
	if err != nil {
		w.acted(err)
		return
	}
	w.sent(l, msg)
}

// miss has a and b miss each other: what a sends while b is down comes to b while
// a is down.
func (w *system) miss(a, b *actor, s step) {
	b.kill()
	for range s.n {
		w.send(a, b, s)
	}
	w.sleep(20*time.Second + s.d)
	if s.yes {
		a.shutdown()
	} else {
		a.kill()
	}
	b.start()
	w.sleep(20 * time.Second)
}

func (w *system) add(a, b *actor, hello string) {
	if b.node == nil || a.node == nil {
		return // nobody gives b's address
	}
	to := b.node.Address()
	_, err := a.node.AddFriend(context.Background(), to, hello)
	if err == nil {
		a.asked[b.index] = to
	}
	w.acted(err)
}

// profile changes what a shows to friends, and what it calls b.
func (w *system) profile(a, b *actor, s step) {
	w.acted(a.node.SetProfile(carrier.Profile{Name: fmt.Sprint(a.name, s.n), Description: "of a schedule"}))
	w.acted(a.node.SetPresence([]carrier.Presence{carrier.PresenceOnline, carrier.PresenceAway, carrier.PresenceBusy}[s.n%3]))
	if f := a.friend(b); f != nil {
		w.acted(f.SetLabel(fmt.Sprint("label ", s.n)))
	}
}

// setClock sets a's clock wrong: by up to a day, or a few minutes.
func (w *system) setClock(a, _ *actor, s step) {
	r := rand.New(rand.NewPCG(uint64(s.d), uint64(s.size)))
	off := time.Duration(r.IntN(48*3600)-25*3600) * time.Second
	if s.yes {
		off /= 100
	}
	a.clock.set(off)
}

// acted checks the error of what a program did: one that it may well have is
// fine.
func (w *system) acted(err error) {
	for _, may := range []error{carrier.ErrNotFriend, carrier.ErrNoRequest, carrier.ErrBlocked, carrier.ErrOutboxFull, net.ErrClosed, carrier.ErrFailed, store.ErrFailed} {
		if errors.Is(err, may) {
			return
		}
	}
	w.must(err)
}

func (w *system) must(err error) {
	if err != nil {
		w.fail("%v", err)
	}
}

// everyAddr are all addresses that a person's host may ever have.
func (p *actor) everyAddr() []netip.Addr {
	var all []netip.Addr
	for i := range 64 {
		all = append(all, netip.AddrFrom4([4]byte{198, 18, byte(1 + p.index), byte(1 + i)}))
	}
	return all
}

// part cuts people and DHT nodes into two sides.
func (w *system) part(a, _ *actor, s step) {
	r := rand.New(rand.NewPCG(uint64(s.d), uint64(s.n)))
	var sides [2][]netip.Addr
	for _, p := range w.people {
		side := r.IntN(2)
		if p == a {
			side = 0
		}
		sides[side] = append(sides[side], p.everyAddr()...)
	}
	most := 1 + r.IntN(4) // so that the DHT's records are parted unevenly, too
	for _, router := range w.routers {
		side := min(r.IntN(most+1), 1)
		sides[side] = append(sides[side], router.at.Addr())
	}
	if len(sides[0]) > 0 && len(sides[1]) > 0 {
		w.net.Partition(sides[0], sides[1])
	}
}

// mend mends the network.
func (w *system) mend() {
	w.net.Heal()
	for _, p := range w.people {
		p.host.Blackhole(false, false)
		w.setLinks(p, w.plan.link)
	}
}

// setLinks has all links of a person's machine behave as l.
func (w *system) setLinks(p *actor, l lab.Link) {
	at := p.addr()
	others := []netip.Addr{}
	for _, o := range w.people {
		if o != p {
			others = append(others, o.addr())
		}
	}
	for _, r := range w.routers {
		others = append(others, r.at.Addr())
	}
	for _, other := range others {
		w.net.SetLink(at, other, l)
		w.net.SetLink(other, at, l)
	}
}

// spoil has DHT nodes fail: they go, come back with nothing, answer late or lose
// much. Those that were cut off from people have stale records afterwards.
func (w *system) spoil(_, _ *actor, s step) {
	for i := range s.n {
		r := w.routers[(s.a+s.b*3+i*i)%len(w.routers)]
		switch {
		case s.size%3 == 0 && r.node != nil:
			w.stopRouter(r)
		case s.size%3 == 0, r.node == nil:
			w.startRouter(r)
		case s.size%3 == 1:
			w.stopRouter(r)
			w.startRouter(r)
		default:
			l := lab.Link{Delay: 50 * time.Millisecond * time.Duration(s.n*s.n), Loss: 0.1 * float64(s.n)}
			for _, p := range w.people {
				w.net.SetLink(p.addr(), r.at.Addr(), l)
				w.net.SetLink(r.at.Addr(), p.addr(), l)
			}
		}
	}
}

// calm mends everything and has everybody there, so that all must come to its
// end.
func (w *system) calm() {
	w.mend()
	for _, r := range w.routers {
		w.startRouter(r)
	}
	for _, p := range w.people {
		p.clock.set(0)
		if p.linkless {
			p.shutdown()
		}
		p.start()
		p.setReading(true)
	}
}

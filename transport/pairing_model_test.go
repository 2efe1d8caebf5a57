package transport

import (
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

var (
	pairingSchedules = flag.Int("pairing-schedules", 2000, "how many random schedules two pairings run through")
	pairingSeed      = flag.Uint64("pairing-seed", 0, "the one schedule to run, with a log; 0: -pairing-schedules of them")
)

// TestPairingSchedules runs two pairings through random schedules: a signal
// that loses, delays, reorders and repeats, a network that does not work, runs
// that end without notice and keep nothing but their rows. Then the signal
// delivers: both must come to one link, and stay with it whatever is replayed.
func TestPairingSchedules(t *testing.T) {
	if *pairingSeed != 0 {
		m := newPairingModel(*pairingSeed)
		m.log = t.Logf
		if err := m.run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	var total modelTally
	var took [len(modelDelays)][]time.Duration
	n := *pairingSchedules
	if testing.Short() {
		n = min(n, 500)
	}
	for s := uint64(1); s <= uint64(n); s++ {
		m := newPairingModel(s)
		if err := m.run(); err != nil {
			t.Fatalf("%v\nreplay with: go test -run TestPairingSchedules ./transport -pairing-seed %d -v", err, s)
		}
		total.add(m.tally)
		if m.converged > 0 {
			took[m.class] = append(took[m.class], m.converged)
		}
	}
	t.Logf("%+v", total)
	for i, list := range took {
		if slices.Sort(list); len(list) > 0 {
			t.Logf("signal of %v: %d links, half after %v, 99 %% after %v, last after %v", modelDelays[i], len(list),
				list[len(list)/2].Round(time.Second), list[len(list)*99/100].Round(time.Second), list[len(list)-1].Round(time.Second))
		}
	}
	if n < 500 {
		return
	}
	for what, got := range map[string]int{ // a schedule that exercises nothing proves nothing
		"crashes": total.Crashes, "replays": total.Replays, "links": total.Links, "replaced": total.Replaced,
		"one-sided": total.OneSided, "suspect": total.Suspect, "restarts": total.Restarts, "two at once": total.Two,
		"quiet": total.Quiet, "refused": total.Refused, "moved": total.Moved,
	} {
		if got < n/50 {
			t.Errorf("%s: only %d times in %d schedules", what, got, n)
		}
	}
}

// modelDelays are the longest times that a signal takes, one of them in each schedule.
var modelDelays = [...]time.Duration{300 * time.Millisecond, 3 * time.Second, 30 * time.Second, 4 * time.Minute}

type modelTally struct {
	Crashes, Replays, Links, Replaced, OneSided, Suspect, Restarts, Two, Quiet, Refused, Moved, Offers, Attempts int
}

func (t *modelTally) add(o modelTally) {
	t.Crashes += o.Crashes
	t.Replays += o.Replays
	t.Links += o.Links
	t.Replaced += o.Replaced
	t.OneSided += o.OneSided
	t.Suspect += o.Suspect
	t.Restarts += o.Restarts
	t.Two += o.Two
	t.Quiet += o.Quiet
	t.Refused += o.Refused
	t.Moved += o.Moved
	t.Offers += o.Offers
	t.Attempts += o.Attempts
}

// modelNode is one side: what is durable, and its present run.
type modelNode struct {
	name      string
	self      crypto.ID
	inc       crypto.Incarnation
	own, seen uint64 // rows

	p        *pairing
	clock    time.Duration // how wrong its clock is in this run
	begun    time.Duration
	offers   int // of this run
	wanted   bool
	attempts map[attemptID]*modelAttempt
	link     attemptID
	shown    []byte   // what the signal holds; survives the run
	history  [][]byte // all that it ever held
	newest   uint64   // generation shown
}

type modelAttempt struct {
	spec attemptSpec
	keys bool // DTLS is done
}

// pairingModel is the world of two nodes.
type pairingModel struct {
	rand   *rand.Rand
	log    func(string, ...any)
	now    time.Duration
	events modelEvents
	count  int
	nodes  [2]*modelNode
	class  int // of the signal's delay
	works  bool
	calm   bool
	tally  modelTally
	err    error

	converged time.Duration
}

type modelEvent struct {
	at  time.Duration
	seq int
	do  func()
}

// modelEvents are what will happen, what is next at the end. They are few.
type modelEvents []modelEvent

func (q modelEvents) next() modelEvent { return q[len(q)-1] }

func (q *modelEvents) push(e modelEvent) {
	i, _ := slices.BinarySearchFunc(*q, e, func(a, b modelEvent) int { return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(b.seq, a.seq)) })
	*q = slices.Insert(*q, i, e)
}

func (q *modelEvents) pop() modelEvent {
	e := q.next()
	(*q)[len(*q)-1] = modelEvent{}
	*q = (*q)[:len(*q)-1]
	return e
}

func newPairingModel(seed uint64) *pairingModel {
	m := &pairingModel{rand: rand.New(rand.NewPCG(seed, 1)), log: func(string, ...any) {}}
	m.class = m.rand.IntN(len(modelDelays))
	ids := []crypto.ID{{1}, {2}}
	if m.rand.IntN(2) == 0 {
		ids[0], ids[1] = ids[1], ids[0]
	}
	for i := range m.nodes {
		m.nodes[i] = &modelNode{name: string(rune('A' + i)), self: ids[i], inc: crypto.Incarnation{Created: 1, Random: uint64(i)}}
	}
	for i := range m.nodes {
		m.boot(i)
	}
	return m
}

func (m *pairingModel) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf("at %v: %s", m.now, fmt.Sprintf(format, args...))
	}
}

func (m *pairingModel) after(d time.Duration, do func()) {
	m.count++
	m.events.push(modelEvent{m.now + d, m.count, do})
}

func (m *pairingModel) upTo(d time.Duration) time.Duration {
	return time.Duration(m.rand.Int64N(int64(d) + 1))
}
func (m *pairingModel) chance(percent int) bool { return m.rand.IntN(100) < percent }

// until runs the world up to a time.
func (m *pairingModel) until(end time.Duration) {
	for m.err == nil {
		next, who := end, -1
		for i, n := range m.nodes {
			if w := n.p.next(); !w.IsZero() {
				if at := max(m.now, w.Sub(n.time(0))); at < next {
					next, who = at, i
				}
			}
		}
		if len(m.events) > 0 && m.events.next().at <= next {
			e := m.events.pop()
			m.now = e.at
			e.do()
			continue
		}
		if m.now = next; who < 0 {
			return
		}
		n := m.nodes[who]
		n.p.advance(n.time(m.now))
		if w := n.p.next(); !w.IsZero() && !w.After(n.time(m.now)) {
			m.fail("%s: advance wants to be called at once", n.name)
		}
		m.do(who)
	}
}

func (n *modelNode) time(t time.Duration) time.Time {
	return time.Unix(1700000000, 0).Add(t + n.clock)
}

// boot begins a run with what the rows hold.
func (m *pairingModel) boot(i int) {
	n := m.nodes[i]
	n.clock = m.upTo(48*time.Hour) - 24*time.Hour
	n.begun, n.offers, n.link, n.attempts = m.now, 0, attemptID{}, map[attemptID]*modelAttempt{}
	n.p = newPairing(pairingConfig{
		Self: n.self, Peer: m.nodes[1-i].self, Incarnation: n.inc, Start: m.rand.Uint64(), Own: n.own, Seen: n.seen,
		Certificate: func() tls.Certificate { return tls.Certificate{Certificate: [][]byte{{byte(i)}}} }, Random: m.rand,
	})
	n.p.setCandidates(n.time(m.now), modelCandidates(m.rand))
	if n.wanted {
		n.p.want(n.time(m.now))
	}
	m.do(i)
	shown := n.shown
	m.after(m.upTo(time.Minute), func() { // the first state without an offer
		if len(shown) > 0 && len(n.shown) > 0 && &shown[0] == &n.shown[0] {
			n.shown = nil
		}
	})
}

// do carries out what a pairing wants, and holds it against the rules.
func (m *pairingModel) do(i int) {
	n, peer := m.nodes[i], m.nodes[1-i]
	out := n.p.take()
	if out.Save {
		if out.Own < n.own || out.Seen < n.seen {
			m.fail("%s: rows fall from %d, %d to %d, %d", n.name, n.own, n.seen, out.Own, out.Seen)
		}
		n.own, n.seen = out.Own, out.Seen
	}
	if o := out.Publish; o != nil {
		m.log("%v %s offers %d %x re %x", m.now, n.name, o.Offer.Kind, o.Offer.ID[:2], o.Offer.Re[:2])
		if o.Offer.Generation <= n.newest || o.Offer.Generation != n.own {
			m.fail("%s: offer of generation %d after %d, in the rows %d", n.name, o.Offer.Generation, n.newest, n.own)
		}
		n.newest, n.shown = o.Offer.Generation, o.Bytes
		n.history = append(n.history, o.Bytes)
		n.offers++
		m.tally.Offers++
		if limit := 4 + int((m.now-n.begun)/(15*time.Second)); n.offers > limit {
			m.fail("%s: %d offers in a run of %v", n.name, n.offers, m.now-n.begun)
		}
		m.send(i, n.shown)
	}
	if out.Withdraw {
		m.log("%v %s withdraws", m.now, n.name)
		n.shown = nil
	}
	for _, id := range out.End {
		m.log("%v %s ends %x", m.now, n.name, id[:2])
		if n.attempts[id] == nil {
			m.fail("%s: end of attempt %x, which does not run", n.name, id)
		}
		delete(n.attempts, id)
	}
	for _, s := range out.Start {
		m.log("%v %s starts %d %x", m.now, n.name, s.Kind, s.ID[:2])
		if n.attempts[s.ID] != nil {
			m.fail("%s: attempt %x runs already", n.name, s.ID)
		}
		for _, a := range n.attempts {
			if a.spec.LocalICE.Ufrag == s.LocalICE.Ufrag {
				m.fail("%s: two attempts with one user name", n.name)
			}
		}
		a := &modelAttempt{spec: s}
		n.attempts[s.ID] = a
		m.tally.Attempts++
		if !m.works && m.chance(50) { // fails early
			m.after(m.upTo(attemptLife), func() { m.failAttempt(i, a) })
		}
		if b := peer.attempts[s.ID]; b != nil {
			m.meet(s.ID)
		}
	}
	if len(n.attempts) > maxAttempts {
		m.fail("%s: %d attempts", n.name, len(n.attempts))
	}
	if len(n.attempts) == maxAttempts {
		m.tally.Two++
	}
	if out.Suspect {
		m.tally.Suspect++
	}
	if n.p.wake.IsZero() && (len(n.attempts) > 0 || n.shown != nil && n.p.standing != nil) {
		m.fail("%s: something goes on and no time is asked for", n.name)
	}
	m.watch(0)
	m.watch(1)
}

func (m *pairingModel) failAttempt(i int, a *modelAttempt) {
	if n := m.nodes[i]; n.attempts[a.spec.ID] == a {
		delete(n.attempts, a.spec.ID)
		n.p.attemptFailed(n.time(m.now), a.spec.ID)
		m.do(i)
	}
}

// meet: both sides run an attempt.
func (m *pairingModel) meet(id attemptID) {
	a, b := m.nodes[0].attempts[id], m.nodes[1].attempts[id]
	if a.spec.LocalICE != b.spec.RemoteICE || b.spec.LocalICE != a.spec.RemoteICE || a.spec.Lower == b.spec.Lower || a.spec.Kind != b.spec.Kind ||
		a.spec.Order != b.spec.Order {
		m.fail("attempt %x differs at the two sides:\n%+v\n%+v", id, a.spec, b.spec)
	}
	if !m.works && m.chance(70) {
		return
	}
	m.after(time.Second+m.upTo(2*time.Second), func() {
		if m.nodes[0].attempts[id] != a || m.nodes[1].attempts[id] != b {
			return
		}
		if a.spec.Kind == wire.OfferRestart {
			m.tally.Restarts++
			for i, n := range m.nodes {
				if n.attempts[id] != nil {
					n.p.restarted(n.time(m.now))
					m.do(i)
				}
			}
			return
		}
		a.keys, b.keys = true, true
		for i, x := range []*modelAttempt{a, b} {
			m.after(m.upTo(3*time.Second), func() { m.confirm(i, x) })
		}
	})
}

// confirm: a side has heard the peer's answer under the keys.
func (m *pairingModel) confirm(i int, a *modelAttempt) {
	n := m.nodes[i]
	if n.attempts[a.spec.ID] != a {
		m.tally.OneSided++
		return
	}
	delete(n.attempts, a.spec.ID)
	m.log("%v %s link %x", m.now, n.name, a.spec.ID[:2])
	if !n.p.linkUp(n.time(m.now), a.spec.ID, a.spec.ID[:]) {
		m.fail("%s: refuses the link of an attempt under way", n.name)
	}
	if old := n.link; old != (attemptID{}) {
		m.tally.Replaced++
		m.after(m.upTo(500*time.Millisecond), func() { // the peer is told that it is closed
			if m.nodes[1-i].link == old {
				m.dropLink(1-i, false)
			}
		})
	}
	m.tally.Links++
	n.link = a.spec.ID
	m.do(i)
}

// watch ends a link whose other side has gone, after a while.
func (m *pairingModel) watch(i int) {
	n := m.nodes[i]
	if n.link == (attemptID{}) || m.has(1-i, n.link) {
		return
	}
	id := n.link
	m.after(12*time.Second+m.upTo(5*time.Second), func() {
		if n.link == id && !m.has(1-i, id) {
			m.dropLink(i, true)
		}
	})
}

func (m *pairingModel) has(i int, id attemptID) bool {
	n := m.nodes[i]
	return n.link == id || n.attempts[id] != nil && n.attempts[id].keys
}

func (m *pairingModel) dropLink(i int, lost bool) {
	n := m.nodes[i]
	id := n.link
	m.log("%v %s link %x down", m.now, n.name, id[:2])
	n.link = attemptID{}
	n.p.linkDown(n.time(m.now), id, lost)
	m.do(i)
}

// send brings an offer to the other side, or not.
func (m *pairingModel) send(i int, b []byte) {
	if m.chance(30) {
		return
	}
	for range 1 + m.rand.IntN(2) {
		m.after(m.upTo(modelDelays[m.class]), func() { m.deliver(1-i, b) })
	}
}

func (m *pairingModel) deliver(i int, b []byte) {
	n := m.nodes[i]
	if err := n.p.received(n.time(m.now), m.nodes[1-i].inc, b); err != nil && !errors.Is(err, errOldOffer) {
		m.fail("%s: %v", n.name, err)
	} else if err != nil {
		m.tally.Refused++
	}
	m.do(i)
}

// poll looks again and again at what the signal holds.
func (m *pairingModel) poll(i int) {
	if n := m.nodes[i]; n.shown != nil {
		m.send(i, n.shown)
	}
	if n := m.nodes[i]; !m.calm && m.chance(20) && len(n.history) > 0 {
		m.tally.Replays++
		m.deliver(1-i, n.history[m.rand.IntN(len(n.history))])
	}
	every := max(2*time.Second, modelDelays[m.class]/8)
	m.after(every/2+m.upTo(every), func() { m.poll(i) })
}

// chaos is whatever can happen.
func (m *pairingModel) chaos() {
	if m.calm {
		return
	}
	i := m.rand.IntN(2)
	n := m.nodes[i]
	now := n.time(m.now)
	switch m.rand.IntN(10) {
	case 0:
		m.log("%v %s crashes", m.now, n.name)
		m.tally.Crashes++
		m.boot(i)
	case 1, 2, 3:
		n.wanted = true
		n.p.want(now)
	case 4:
		n.wanted = false
		n.p.dontWant(now)
	case 5, 6:
		n.p.wantRestart(now)
	case 7:
		m.tally.Moved++
		n.p.setCandidates(now, modelCandidates(m.rand))
	case 8:
		if n.link != (attemptID{}) {
			m.dropLink(i, m.chance(50))
		}
	case 9:
		m.works = m.chance(50)
	}
	m.do(i)
	m.after(m.upTo(40*time.Second), m.chaos)
}

func modelCandidates(r *rand.Rand) (list []wire.Candidate) {
	for i := range r.IntN(3) {
		list = append(list, wire.Candidate{Type: wire.CandidateHost, Addr: testAddr(i + r.IntN(2))})
	}
	return list
}

// run is one schedule.
func (m *pairingModel) run() error {
	m.poll(0)
	m.poll(1)
	m.chaos()
	m.until(m.upTo(15 * time.Minute))
	m.calm, m.works = true, true
	mode := m.rand.IntN(8) // bit 0: A wants a link, bit 1: B
	var offers [2]int
	m.log("%v calm, mode %d", m.now, mode&3)
	for i, n := range m.nodes {
		offers[i] = len(n.history)
		if n.wanted = mode&(1<<i) != 0; n.wanted {
			n.p.want(n.time(m.now))
		} else {
			n.p.dontWant(n.time(m.now))
		}
		m.do(i)
	}
	calm := m.now
	if mode&3 != 0 {
		m.converge(offers)
	}
	if m.err != nil {
		return m.err
	}
	m.until(m.now + 2*answerFor) // all that was under way has ended, the better link has replaced the first
	if mode&3 == 0 {
		m.until(calm + 2*time.Hour)
		m.tally.Quiet++
	}
	m.settled()
	return m.err
}

// converge runs until both have the same link.
func (m *pairingModel) converge(offers [2]int) {
	const patience = 4 * time.Hour
	for begun := m.now; m.err == nil; {
		if a, b := m.nodes[0].link, m.nodes[1].link; a == b && a != (attemptID{}) {
			m.converged = max(m.now-begun, 1)
			break
		}
		if m.now > begun+patience {
			m.fail("no common link in %v", patience)
		}
		m.until(m.now + time.Second)
	}
	for i, n := range m.nodes {
		// Two for offers that cross, twice if both are behind, and one for each
		// renewal; a signal of minutes may see two rounds.
		if got := len(n.history) - offers[i]; got > 8 {
			m.fail("%s: %d offers for one link, in %v", n.name, got, m.converged)
		}
	}
}

// settled: nothing goes on, and nothing that is late or replayed undoes the
// link. A restart that was not heard of before may be tried, and no more.
func (m *pairingModel) settled() {
	link, offers := m.nodes[0].link, [2]int{len(m.nodes[0].history), len(m.nodes[1].history)}
	m.idle()
	if link == (attemptID{}) || m.err != nil {
		return
	}
	for i := range m.nodes {
		for _, k := range m.rand.Perm(offers[1-i]) {
			m.deliver(i, m.nodes[1-i].history[k])
		}
	}
	m.until(m.now + 2*answerFor)
	m.idle()
	for i, n := range m.nodes {
		if n.link != link || len(n.history) != offers[i] {
			m.fail("%s: link %x became %x, with %d offers, by what came late", n.name, link, n.link, len(n.history)-offers[i])
		}
		for range 3 {
			for _, k := range m.rand.Perm(offers[1-i]) {
				err := n.p.received(n.time(m.now), m.nodes[1-i].inc, m.nodes[1-i].history[k])
				if out := n.p.take(); !errors.Is(err, errOldOffer) || out.Publish != nil || len(out.Start)+len(out.End) > 0 || out.Suspect {
					m.fail("%s: %v, a replay of %x brings about %+v", n.name, err, m.nodes[1-i].history[k][9:11], out)
				}
			}
		}
	}
}

// idle: no attempts, no offers, the same link or none at both.
func (m *pairingModel) idle() {
	if a, b := m.nodes[0].link, m.nodes[1].link; a != b {
		m.fail("links differ: %x and %x", a, b)
	}
	for _, n := range m.nodes {
		if len(n.attempts) > 0 || n.shown != nil {
			m.fail("%s: %d attempts, offer shown: %t, when all is settled", n.name, len(n.attempts), n.shown != nil)
		}
	}
}

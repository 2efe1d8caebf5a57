package courier

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// world is a network in virtual time: nodes, a switch for datagrams, a DHT.
type world struct {
	t      testing.TB
	now    time.Time
	events events
	seq    int
	random *rand.Rand
	nodes  map[netip.AddrPort]*node
	dht    *dht
	delay  time.Duration
	loss   float64
	// filter, if set, sees each datagram; false drops it.
	filter func(from, to netip.AddrPort, b []byte) bool
	wire   []datagram // all that was sent, if kept
	keep   bool
}

type datagram struct {
	at       time.Time
	from, to netip.AddrPort
	b        []byte
}

type event struct {
	at  time.Time
	seq int
	run func()
}

type events []*event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(*event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// midweek is far from any boundary of weeks.
var midweek = crypto.Epoch(2900).WeekStart().Add(3*24*time.Hour + 10*time.Hour)

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, now: midweek, random: rand.New(rand.NewPCG(1, 2)),
		nodes: make(map[netip.AddrPort]*node), delay: 2 * time.Millisecond,
	}
	w.dht = newDHT(w, 20)
	return w
}

func (w *world) after(d time.Duration, f func()) *event {
	w.seq++
	e := &event{at: w.now.Add(max(d, 0)), seq: w.seq, run: f}
	heap.Push(&w.events, e)
	return e
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	w.until(func() bool { return false }, d)
	w.now = end
}

// until lets time pass until cond holds, or at most d, and gives what passed.
func (w *world) until(cond func() bool, d time.Duration) (time.Duration, bool) {
	start, end := w.now, w.now.Add(d)
	for !cond() {
		if len(w.events) == 0 || w.events[0].at.After(end) {
			return d, false
		}
		e := heap.Pop(&w.events).(*event)
		w.now = e.at
		if e.run != nil {
			e.run()
		}
	}
	return w.now.Sub(start), true
}

// wait is until, which must come.
func (w *world) wait(what string, d time.Duration, cond func() bool) time.Duration {
	w.t.Helper()
	took, ok := w.until(cond, d)
	if !ok {
		w.t.Fatalf("%s: not within %v", what, d)
	}
	return took
}

// node is one courier with all that it needs: engine, rows, prekeys, socket.
type node struct {
	w        *world
	name     string
	identity *crypto.Identity
	id       crypto.ID
	inc      crypto.Incarnation
	addr     netip.AddrPort
	local    []netip.AddrPort
	external netip.AddrPort
	rows     map[string][]byte
	prekey   map[uint64]*crypto.Prekey
	newest   uint64
	c        *Courier
	life     int // counts restarts: what belongs to an earlier one is void
	offset   time.Duration
	quiet    bool

	inTurn, inThen bool
	thens          []func()
	packets        int // that its DHT operations are reckoned to have sent
	datagrams      int
	puts           int
	writes         map[[32]byte]bool // keys that it has put under

	friends        map[crypto.ID]*friendship
	states         map[crypto.ID][]*wire.State
	profiles       map[crypto.ID]*wire.Profile
	online         map[crypto.ID]bool
	presence       wire.Presence
	profile        uint64
	twins          []Twin
	skew           []time.Duration
	newer          []uint8
	cables         map[crypto.ID]*cable
	refill         func() // gives numbers to more mail
	requests       []*wire.Request
	requestsStored []crypto.ID
	full           bool // takes no mail
}

// friendship is the node's record of another one: relation, mail both ways.
type friendship struct {
	relation wire.Relation
	bond     uint64
	counter  uint32

	out    []Outgoing
	bodies map[wire.MessageID][]byte
	next   uint64
	stored map[uint64]int

	theirs   wire.Sequence
	early    map[uint64]*wire.Mail
	mark     uint64
	id       wire.MessageID
	skipped  []wire.Range
	got      []got
	receipts int
}

type got struct {
	body string
	via  Via
	at   time.Time
}

func seedIdentity(n uint64) *crypto.Identity {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], n+1)
	i, err := crypto.IdentityFromSeed(seed[:])
	if err != nil {
		panic(err)
	}
	return i
}

func (w *world) node(name string) *node {
	n := uint64(len(w.nodes))
	return w.nodeAt(name, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 4000), seedIdentity(n))
}

func (w *world) nodeAt(name string, addr netip.AddrPort, id *crypto.Identity) *node {
	n := &node{
		w: w, name: name, identity: id, id: id.ID(), addr: addr, local: []netip.AddrPort{addr},
		inc:      crypto.Incarnation{Created: w.now.UnixMilli(), Random: w.random.Uint64()},
		rows:     make(map[string][]byte),
		prekey:   make(map[uint64]*crypto.Prekey),
		friends:  make(map[crypto.ID]*friendship),
		states:   make(map[crypto.ID][]*wire.State),
		profiles: make(map[crypto.ID]*wire.Profile),
		online:   make(map[crypto.ID]bool),
		cables:   make(map[crypto.ID]*cable),
		writes:   make(map[[32]byte]bool),
		presence: wire.PresenceOnline,
	}
	n.rotate()
	w.nodes[addr] = n
	return n
}

// rotate draws a new prekey.
func (n *node) rotate() {
	n.newest++
	n.prekey[n.newest] = crypto.NewPrekey()
}

// start begins a run: a new courier over the node's rows.
func (n *node) start() {
	n.w.t.Helper()
	n.life++
	n.online = make(map[crypto.ID]bool)
	n.do(func() {
		c, err := New(Config{
			Identity: n.identity, Incarnation: n.inc, Loop: n, Rows: n, Slots: slotsOf{n}, Datagrams: n, Prekeys: n, Handler: n,
			Links: linksOf{n}, Quiet: n.quiet, Random: rand.New(rand.NewPCG(n.w.random.Uint64(), 7)),
		})
		if err != nil {
			n.w.t.Fatalf("%s: New: %v", n.name, err)
		}
		n.c = c
		for id, f := range n.friends {
			if err := c.SetPeer(id, f.mode()); err != nil {
				n.w.t.Fatalf("%s: SetPeer: %v", n.name, err)
			}
		}
	})
}

func (f *friendship) mode() Mode {
	switch f.relation {
	case wire.RelationFriend:
		return Mode{Poll: PollFriend, Publish: true}
	case wire.RelationNone:
		return Mode{Poll: PollPending}
	case wire.RelationRefused, wire.RelationRemoved:
	}
	return Mode{Publish: true}
}

func (n *node) ready() { n.do(func() { n.c.Ready() }) }

// stop ends the run as a crash does.
func (n *node) stop() {
	n.do(func() { n.c.Close() })
	n.life++
	n.c = nil
}

// do runs f as one turn.
func (n *node) do(f func()) {
	if n.inTurn {
		n.w.t.Fatalf("%s: a turn within a turn", n.name)
	}
	n.inTurn = true
	f()
	n.inTurn = false
	thens := n.thens
	n.thens = nil
	n.inThen = true
	for _, g := range thens {
		g()
	}
	n.inThen = false
	if len(n.thens) > 0 {
		n.later(0, func() {})
	}
}

// later runs f as a turn of this run.
func (n *node) later(d time.Duration, f func()) *event {
	life := n.life
	return n.w.after(d, func() {
		if n.life == life {
			n.do(f)
		}
	})
}

// befriend makes two nodes friends on both sides, as a request would.
func befriend(a, b *node) {
	bond := uint64(a.w.now.UnixMilli())
	a.add(b.id, wire.RelationFriend, bond)
	b.add(a.id, wire.RelationFriend, bond)
}

func (n *node) add(id crypto.ID, r wire.Relation, bond uint64) {
	f := n.friends[id]
	if f == nil {
		f = &friendship{bodies: make(map[wire.MessageID][]byte), next: 1, stored: make(map[uint64]int)}
		n.friends[id] = f
	}
	f.relation, f.bond = r, bond
	if n.c != nil {
		n.do(func() {
			if err := n.c.SetPeer(id, f.mode()); err != nil {
				n.w.t.Fatalf("SetPeer: %v", err)
			}
			n.c.StateChanged(id)
		})
	}
}

// request is what n would have asked with.
func (n *node) request(number uint64) *wire.Request {
	return &wire.Request{
		From: n.id, Incarnation: n.inc, Number: number, Time: n.w.now.UnixMilli(), Format: wire.Format,
		Start: 1, Prekey: n.Current(), Endpoints: n.local,
	}
}

// send queues one message.
func (n *node) send(to *node, body string) {
	n.do(func() {
		n.queue(to, body)
		n.c.MailChanged(to.id)
	})
}

func (n *node) queue(to *node, body string) {
	f := n.friends[to.id]
	var id wire.MessageID
	binary.BigEndian.PutUint64(id[:], n.w.random.Uint64())
	binary.BigEndian.PutUint64(id[8:], f.next)
	f.bodies[id] = []byte(body)
	f.out = append(f.out, Outgoing{Number: f.next, ID: id, Time: n.w.now.UnixMilli(), Size: len(body)})
	f.next++
}

func (n *node) got(from *node) []string {
	var list []string
	for _, g := range n.friends[from.id].got {
		list = append(list, g.body)
	}
	return list
}

func (n *node) pending(to *node) int { return len(n.friends[to.id].out) }

func (n *node) stat(name string) uint64 { return n.c.Stats()[name] }

// Loop.

type timer struct{ e *event }

func (t timer) Stop() { t.e.run = nil }

func (n *node) Now() time.Time { return n.w.now.Add(n.offset) }

func (n *node) After(d time.Duration, f func()) Timer { return timer{n.later(d, f)} }

func (n *node) Then(f func()) { n.thens = append(n.thens, f) }

// Rows.

func rowKey(table string, owner crypto.ID, key []byte) string {
	return table + "\x00" + string(owner[:]) + string(key)
}

func (n *node) Get(table string, owner crypto.ID, key []byte) []byte {
	return n.rows[rowKey(table, owner, key)]
}

func (n *node) Put(table string, owner crypto.ID, key, value []byte) {
	if !n.inTurn {
		n.w.t.Errorf("%s: row written outside a turn", n.name)
	}
	n.rows[rowKey(table, owner, key)] = slices.Clone(value)
}

func (n *node) Delete(table string, owner crypto.ID, key []byte) {
	delete(n.rows, rowKey(table, owner, key))
}

func (n *node) Range(table string, owner crypto.ID, f func(key, value []byte) bool) {
	prefix := rowKey(table, owner, nil)
	for k, v := range n.rows {
		if strings.HasPrefix(k, prefix) && !f([]byte(k[len(prefix):]), v) {
			return
		}
	}
}

func (n *node) All(table string, f func(owner crypto.ID, key, value []byte) bool) {
	prefix := table + "\x00"
	for k, v := range n.rows {
		if strings.HasPrefix(k, prefix) && !f(crypto.ID([]byte(k[len(prefix):len(prefix)+32])), []byte(k[len(prefix)+32:]), v) {
			return
		}
	}
}

// effect checks that nothing leaves the node before its rows are durable.
func (n *node) effect() {
	if !n.inThen {
		n.w.t.Errorf("%s: an effect before the commit", n.name)
	}
}

// Datagrams.

func (n *node) Send(b []byte, to netip.AddrPort) {
	n.effect()
	n.datagrams++
	w := n.w
	if w.keep {
		w.wire = append(w.wire, datagram{w.now, n.addr, to, slices.Clone(b)})
	}
	if w.random.Float64() < w.loss || w.filter != nil && !w.filter(n.addr, to, b) {
		return
	}
	w.after(w.delay, func() {
		if r := w.nodes[to]; r != nil && r.c != nil {
			r.do(func() { r.c.Datagram(b, n.addr) })
		}
	})
}

func (n *node) Local() []netip.AddrPort { return n.local }

func (n *node) External() []netip.AddrPort {
	if !n.external.IsValid() {
		return nil
	}
	return []netip.AddrPort{n.external}
}

// Prekeys.

func (n *node) Current() wire.Prekey {
	return wire.Prekey{Number: n.newest, Public: n.prekey[n.newest].Public()}
}

func (n *node) Open(number uint64, info, ad, sealed []byte) ([]byte, error) {
	k := n.prekey[number]
	if k == nil {
		return nil, fmt.Errorf("number %d: %w", number, ErrPrekeyGone)
	}
	return k.Open(info, ad, sealed)
}

// Handler.

func (n *node) Assemble(to crypto.ID) wire.State {
	f := n.friends[to]
	return wire.State{Relation: f.relation, Bond: f.bond, Presence: n.presence, Profile: n.profile, Receipt: n.receipt(f)}
}

func (n *node) receipt(f *friendship) *wire.Receipt {
	if f.theirs.Counter == 0 {
		return nil
	}
	r := &wire.Receipt{Sequence: f.theirs, Incarnation: n.inc, Number: f.mark, Known: uint16(min(f.mark, wire.InFlight)), Skipped: f.skipped}
	copy(r.Mark[:], f.id[:])
	return r
}

func (n *node) Pending(to crypto.ID) (wire.Sequence, uint64, []Outgoing) {
	f := n.friends[to]
	base := f.next
	if len(f.out) > 0 {
		base = f.out[0].Number
	}
	return wire.Sequence{Incarnation: n.inc, Counter: f.counter + 1}, base, f.out
}

func (n *node) Body(to crypto.ID, id wire.MessageID) []byte { return n.friends[to].bodies[id] }

func (n *node) Bond(to crypto.ID) uint64 { return n.friends[to].bond }

func (n *node) OnState(from crypto.ID, s *wire.State) {
	n.states[from] = append(n.states[from], s)
	f := n.friends[from]
	if f.relation == wire.RelationNone && s.Relation == wire.RelationFriend {
		f.relation = wire.RelationFriend
		if err := n.c.SetPeer(from, f.mode()); err != nil {
			n.w.t.Error(err)
		}
	}
	if s.Receipt != nil {
		n.OnReceipt(from, s.Bond, s.Receipt)
	}
}

func (n *node) OnProfile(from crypto.ID, p *wire.Profile) { n.profiles[from] = p }

func (n *node) OnMail(from crypto.ID, m *wire.Mail, via Via) bool {
	f := n.friends[from]
	if f.early == nil || f.theirs != m.Sequence {
		f.theirs, f.mark, f.skipped, f.early = m.Sequence, 0, nil, make(map[uint64]*wire.Mail)
	}
	if n.full {
		n.c.ReceiptChanged(from, via) // as the delivery does: what was not taken is answered too
		return false
	}
	if m.Base > f.mark+1 {
		f.mark, f.skipped = m.Base-1, nil
	}
	n.c.ReceiptChanged(from, via)
	if m.First > f.mark+1 && len(f.early) < 1000 {
		f.early[m.First] = m // as the delivery does: kept, not acknowledged
		return false
	}
	n.take(f, m, via)
	for {
		m := f.early[f.mark+1]
		if m == nil {
			return true
		}
		n.take(f, m, via)
	}
}

func (n *node) take(f *friendship, m *wire.Mail, via Via) {
	for i, it := range m.Items {
		if number := m.First + uint64(i); number == f.mark+1 {
			f.mark, f.id = number, it.ID
			if it.Skip {
				f.skipped = []wire.Range{{From: number, To: number}}
				continue
			}
			f.got = append(f.got, got{string(it.Body), via, n.w.now})
		}
	}
}

func (n *node) OnReceipt(from crypto.ID, bond uint64, r *wire.Receipt) {
	f := n.friends[from]
	if seq, _, _ := n.Pending(from); r.Sequence != seq || bond != f.bond {
		return
	}
	f.receipts++
	cut := 0
	for cut < len(f.out) && f.out[cut].Number <= r.Number {
		delete(f.bodies, f.out[cut].ID)
		cut++
	}
	f.out = f.out[cut:]
	if n.refill != nil {
		n.refill()
	}
	if cut > 0 {
		n.c.MailChanged(from)
	}
}

func (n *node) OnRequest(r *wire.Request) { n.requests = append(n.requests, r) }

func (n *node) OnRequestStored(to crypto.ID) { n.requestsStored = append(n.requestsStored, to) }

func (n *node) OnStored(to crypto.ID, _ wire.Sequence, numbers []uint64, copies int) {
	for _, x := range numbers {
		n.friends[to].stored[x] = copies
	}
}

func (n *node) OnPresence(id crypto.ID, online bool, _ netip.AddrPort) { n.online[id] = online }

func (n *node) OnTwin(t Twin) { n.twins = append(n.twins, t) }

func (n *node) OnClockSkew(d time.Duration) { n.skew = append(n.skew, d) }

func (n *node) OnPeerNewer(_ crypto.ID, format uint8) { n.newer = append(n.newer, format) }

// both starts two friends whose DHT is there and waits until they see each other.
func both(t testing.TB) (*world, *node, *node) {
	t.Helper()
	w := newWorld(t)
	a, b := w.node("alice"), w.node("bob")
	befriend(a, b)
	a.start()
	b.start()
	a.ready()
	b.ready()
	w.wait("online", time.Minute, func() bool { return a.online[b.id] && b.online[a.id] })
	return w, a, b
}

// apart starts two friends who cannot reach each other directly.
func apart(t testing.TB) (*world, *node, *node) {
	t.Helper()
	w := newWorld(t)
	w.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
	a, b := w.node("alice"), w.node("bob")
	befriend(a, b)
	a.start()
	b.start()
	a.ready()
	b.ready()
	w.wait("state", time.Minute, func() bool { return len(a.states[b.id]) > 0 && len(b.states[a.id]) > 0 })
	return w, a, b
}

// waiting has alice's "x" wait in the mailbox for bob, who is gone.
func waiting(t testing.TB) (*world, *node, *node) {
	t.Helper()
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	a.send(b, "x")
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	return w, a, b
}

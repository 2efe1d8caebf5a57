// Package courier gets one sealed envelope to a friend: over a live link,
// straight by UDP to an endpoint that has proven itself, or through the slots
// that both friends of a pair can find in the DHT.
//
// A Courier is stepped by one goroutine, the engine's loop: its methods, its
// timers and the callbacks it gives away all run there, nothing in it blocks,
// locks or reads a clock other than [Loop.Now]. Rows are written in the turn;
// whatever leaves the node leaves by [Loop.Then], after the turn's rows are
// durable.
//
// # Layers of an envelope
//
//	datagram:   0xC8 ‖ tag (8) ‖ nonce (24) ‖ sealed plaintext
//	slot value: nonce (24) ‖ sealed plaintext
//	over a link: kind (1) ‖ body
//	plaintext:  kind (1) ‖ length (2) ‖ body ‖ zeros up to a fixed size
//	body:       signature (64) ‖ record,
//	            or for mail: prekey number (8) ‖ HPKE(signature ‖ record)
//
// What is cheap is checked first: tag, pair key, replay, then HPKE, then the
// signature. Everything that is dropped is counted under a name (see
// [Courier.Stats]).
package courier

import (
	"crypto/ed25519"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// ErrPrekeyGone is returned by [Prekeys.Open] for a number that the node does
// not hold: never drawn here, or erased. The friend is then asked to seal anew.
var ErrPrekeyGone = errors.New("no prekey of that number is held")

// Loop is the engine's loop. All of it is called on the loop's goroutine, and
// f runs there too.
type Loop interface {
	// Now is the time of the present turn.
	Now() time.Time
	// After runs f in the first turn that begins d or more from now, and never
	// within the call.
	After(d time.Duration, f func()) Timer
	// Then runs f once the rows of this turn are durable. Called from within
	// such an f, it runs the new one with the next turn's.
	Then(f func())
}

// Timer is a call that has not happened yet. Stop prevents it; on one that has
// run or was stopped it does nothing.
type Timer interface{ Stop() }

// Rows is the node's durable table of bytes. What a turn writes is durable
// before what the turn gave to [Loop.Then] runs; reads see the turn's writes.
type Rows interface {
	Get(table string, owner crypto.ID, key []byte) []byte // nil: none
	Put(table string, owner crypto.ID, key, value []byte)
	Delete(table string, owner crypto.ID, key []byte)
	Range(table string, owner crypto.ID, f func(key, value []byte) bool)
	All(table string, f func(owner crypto.ID, key, value []byte) bool)
}

// Query asks for the mutable item (BEP 44) under Key and Salt.
type Query struct {
	Key   [32]byte
	Salt  string
	Newer int64 // only items with a higher seq are of interest
	Ask   int   // that many known holders are asked directly; 0: a full walk
	Wide  bool  // a walk goes to twice as many nodes
}

// Item is a mutable item as read, its signature verified.
type Item struct {
	Key       [32]byte
	Salt      string
	Value     []byte
	Seq       int64
	Signature [64]byte
}

// Put writes a mutable item.
type Put struct {
	Key   ed25519.PrivateKey
	Salt  string
	Value []byte
	Seq   int64
	// Direct writes to the holders of the last walk where they are known well
	// enough, and walks only below 8 copies.
	Direct bool
	// Not are addresses whose copies do not count, because the reader itself
	// may sit there.
	Not []netip.AddrPort
	// Seen is called with every valid item found under the key, before the
	// result; nil: not wanted.
	Seen func(Item)
}

// Health says how an operation went.
type Health struct{ Asked, Answered int }

// PutResult says how a [Put] went. Our own node and the addresses in Put.Not
// are left out of all numbers.
type PutResult struct {
	Asked    int   // nodes asked
	Answered int   // nodes that answered
	Stored   int   // nodes that took the item, or had it
	Newer    int64 // highest seq that stood in the way; 0: none
	// Err is nil if the item counts as stored: 8 nodes have it, or after two full
	// walks every node that answered, at least 3 (fewer only where fewer exist).
	Err error
}

// Slots is the DHT. No call blocks; each and done are called on the loop, never
// within the call, and each never after done. After a failure done comes with
// zeros.
type Slots interface {
	// Get delivers each newer valid item at once, by rising seq. With Ask > 0
	// and no holder known nobody is asked, and Health.Asked is 0.
	Get(q Query, each func(Item), done func(Health))
	Put(p Put, done func(PutResult))
	// Reput writes an item that was read to where it is missing; anybody may.
	Reput(i Item, done func(PutResult))
	// Announce and Peers are BEP 5. Ask is as in Query; each is called for a peer
	// as often as there are holders that name it.
	Announce(infohash [20]byte, port uint16, done func(Health))
	Peers(infohash [20]byte, ask int, each func(netip.AddrPort), done func(Health))
}

// Datagrams is the node's UDP socket.
type Datagrams interface {
	// Send sends one envelope and never blocks; b belongs to it from then on.
	Send(b []byte, to netip.AddrPort)
	// Local are the addresses that our sockets can be reached by on this
	// machine's networks.
	Local() []netip.AddrPort
	// External are our addresses as at least 3 DHT nodes agree on them.
	External() []netip.AddrPort
}

// Prekeys are the keys that mail to us is sealed to.
type Prekeys interface {
	Current() wire.Prekey
	// Open opens an HPKE sealing to the prekey of that number. The error is
	// [ErrPrekeyGone] when we hold none.
	Open(number uint64, info, ad, sealed []byte) ([]byte, error)
}

// Via is the courier that something came by.
type Via uint8

// The couriers.
const (
	ViaLink   Via = 1
	ViaDirect Via = 2 // a datagram
	ViaDHT    Via = 3 // a slot
)

func (v Via) String() string {
	switch v {
	case ViaLink:
		return "link"
	case ViaDirect:
		return "direct"
	case ViaDHT:
		return "dht"
	}
	return "unknown"
}

// Outgoing is a message, or the SKIP of one, that has its number and waits for
// a receipt.
type Outgoing struct {
	Number uint64
	ID     wire.MessageID
	Time   int64 // unix ms
	Skip   bool
	Size   int     // of the body
	Prior  [8]byte // first bytes of the ID of the message numbered before it; zero if none
}

// Twin is another living node with our identity, or one that no longer lives.
type Twin struct {
	Incarnation crypto.Incarnation
	Start       uint64
	Yield       bool // it is for us to yield, and the courier deals with nobody
	Gone        bool // it has gone, after we had yielded: the courier has come back
}

// Handler is the engine. Its methods run on the loop, within the turn in which
// the courier learned what it tells; records come opened, verified, and newer
// than any of their kind before. They belong to the handler.
type Handler interface {
	// Assemble gives what our state record to that person says: relation, bond,
	// presence, profile version and receipt. The courier fills the rest.
	Assemble(to crypto.ID) wire.State
	// Pending gives the numbered messages that are not final, by rising number
	// without gaps, and base, the number of the first (or the next to be drawn).
	Pending(to crypto.ID) (seq wire.Sequence, base uint64, items []Outgoing)
	// Body gives the body of a pending message.
	Body(to crypto.ID, id wire.MessageID) []byte
	// Bond gives the bond that envelopes to that person rest on; 0: none.
	Bond(to crypto.ID) uint64

	OnState(from crypto.ID, s *wire.State)
	OnProfile(from crypto.ID, p *wire.Profile)
	// OnMail reports whether the batch was taken (delivered, or had before).
	// One that was not, because there is no room for it, is asked for again.
	OnMail(from crypto.ID, m *wire.Mail, via Via) bool
	OnReceipt(from crypto.ID, bond uint64, r *wire.Receipt)
	OnRequest(r *wire.Request)
	// OnRequestStored tells, once in a run, that our request to that person lies
	// where its target finds it.
	OnRequestStored(to crypto.ID)
	// OnStored tells that the messages of those numbers stand in slots that a
	// stored state announces, each in at least that many copies.
	OnStored(to crypto.ID, seq wire.Sequence, numbers []uint64, copies int)
	// OnPresence tells that a friend has become reachable at that endpoint, by a
	// link or directly, or no longer is.
	OnPresence(id crypto.ID, online bool, endpoint netip.AddrPort)
	OnTwin(t Twin)
	// OnClockSkew tells how far our clock is behind (or, negative, ahead) of
	// what two friends have signed: more than an hour; or, with 0, that it no
	// longer is.
	OnClockSkew(behind time.Duration)
	// OnPeerNewer tells that a friend speaks a higher format than we do.
	OnPeerNewer(id crypto.ID, format uint8)
}

// Poll says how a person's state is looked for.
type Poll uint8

// The ways to look for a state.
const (
	PollNone    Poll = iota // not at all
	PollPending             // a request of ours waits for its answer
	PollFriend              // by when the friend was last seen
	PollLinked              // not at all: a live link brings everything
	PollSuspect             // being dialled, or the link is suspect
)

// Mode is how the courier deals with one person.
type Mode struct {
	Poll    Poll
	Publish bool // our state to them is put
}

// Config is what a Courier needs. All but Links, Logger, Quiet and Random are
// required.
type Config struct {
	Identity    *crypto.Identity
	Incarnation crypto.Incarnation
	Start       uint64 // nonce of this run; 0: one is drawn
	Loop        Loop
	Rows        Rows
	Slots       Slots
	Datagrams   Datagrams
	Prekeys     Prekeys
	Handler     Handler
	Links       Links        // nil: there are none
	Logger      *slog.Logger // nil discards
	Quiet       bool         // metered line: intervals × 6
	Random      *rand.Rand   // jitter and choice, nothing secret; nil: seeded at random
}

// Courier carries envelopes between one node and its friends. It is not safe
// for concurrent use: all calls come from the loop.
type Courier struct {
	identity    *crypto.Identity
	self        crypto.ID
	incarnation crypto.Incarnation
	start       uint64
	loop        Loop
	rows        Rows
	slots       Slots
	datagrams   Datagrams
	prekeys     Prekeys
	handler     Handler
	links       Links
	log         *slog.Logger
	quiet       bool
	random      *rand.Rand

	peers     map[crypto.ID]*peer
	tags      tags
	rising    rising
	budget    *budget
	reading   bucket   // of mail slots, over all friends
	eagerness bucket   // friends who are asked more often after our return
	hurrying  bucket   // what friends have done ahead of the line, over all of them
	sources   *limiter // datagrams that open to nothing, by source
	targets   *limiter // datagrams to endpoints without proof, by destination
	twins     twins
	skews     skews
	requests  *requests
	stats     map[string]uint64

	profile   *wire.Profile // ours; nil: none
	announced []netip.AddrPort
	isReady   bool
	closing   bool
	closed    bool
}

// New returns a Courier that knows nobody yet and does nothing until it is
// told of people and, by [Courier.Ready], of the DHT.
func New(cfg Config) (*Courier, error) {
	switch {
	case cfg.Identity == nil:
		return nil, errors.New("courier needs an identity")
	case cfg.Loop == nil || cfg.Rows == nil || cfg.Slots == nil || cfg.Datagrams == nil || cfg.Prekeys == nil || cfg.Handler == nil:
		return nil, errors.New("courier needs loop, rows, slots, datagrams, prekeys and handler")
	}
	c := &Courier{
		identity:    cfg.Identity,
		self:        cfg.Identity.ID(),
		incarnation: cfg.Incarnation,
		start:       cfg.Start,
		loop:        cfg.Loop,
		rows:        cfg.Rows,
		slots:       cfg.Slots,
		datagrams:   cfg.Datagrams,
		prekeys:     cfg.Prekeys,
		handler:     cfg.Handler,
		links:       cfg.Links,
		log:         cfg.Logger,
		quiet:       cfg.Quiet,
		random:      cfg.Random,
		peers:       make(map[crypto.ID]*peer),
		sources:     newLimiter(sourceLimit()),
		targets:     newLimiter(targetLimit()),
		stats:       make(map[string]uint64),
	}
	if c.links == nil {
		c.links = noLinks{}
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.random == nil {
		c.random = rand.New(rand.NewPCG(nonce(), nonce()))
	}
	if c.start == 0 {
		c.start = nonce()
	}
	c.budget = newBudget(c.loop)
	if err := c.rising.restore(c); err != nil {
		return nil, err
	}
	if err := c.twins.restore(c); err != nil {
		return nil, err
	}
	c.tags.init(c)
	c.requests = newRequests(c)
	return c, nil
}

// SetPeer begins or changes how a person is dealt with. The error is that of a
// pair that cannot be: an ID that is no key, or our own.
func (c *Courier) SetPeer(id crypto.ID, m Mode) error {
	if c.closed || c.closing {
		return nil
	}
	p := c.peers[id]
	if p == nil {
		var err error
		if p, err = newPeer(c, id); err != nil {
			return fmt.Errorf("pair with %v: %w", id, err)
		}
		c.peers[id] = p
		c.tags.add(p)
	}
	p.asked = m
	if !c.twins.yield.on {
		p.setMode(m)
	}
	return nil
}

// Forget ends all dealings with a person and deletes what was kept of them.
func (c *Courier) Forget(id crypto.ID) {
	p := c.peers[id]
	if p == nil {
		return
	}
	p.setMode(Mode{}) // so that nobody stays online who is forgotten
	p.stop()
	c.tags.remove(p)
	delete(c.peers, id)
	c.rows.Delete(table, id, []byte(keyPeer))
	c.rows.Delete(table, id, []byte(keyBox))
}

// Introduce takes prekey and endpoints from a verified request of a person that
// SetPeer has named, until a state record of theirs says more.
func (c *Courier) Introduce(r *wire.Request) {
	if p := c.peers[r.From]; p != nil && !c.closing {
		p.introduce(r)
	}
}

// StateChanged tells that Assemble now says something else to that person. It
// goes out at once over a live link or to an endpoint that has proven itself, and
// is put within about a second.
func (c *Courier) StateChanged(id crypto.ID) {
	if p := c.peers[id]; p != nil {
		p.stateChanged(stateDebounce, asked)
	}
}

// StateNow is StateChanged without delay.
func (c *Courier) StateNow(id crypto.ID) {
	if p := c.peers[id]; p != nil {
		p.stateChanged(0, asked)
	}
}

// PresenceChanged tells that Assemble now says something else to everybody.
func (c *Courier) PresenceChanged() { c.allChanged() }

// MailChanged tells that Pending has changed.
func (c *Courier) MailChanged(id crypto.ID) {
	if p := c.peers[id]; p != nil {
		p.mailChanged()
	}
}

// ProfileChanged tells of our profile; nil: there is none. At start it is called
// with what there is.
func (c *Courier) ProfileChanged(p *wire.Profile) {
	c.profile = p
	for _, q := range c.bySeen() {
		q.profileChanged()
	}
}

// ReceiptChanged tells that what Assemble gives as receipt has changed, because
// of mail that came by via. The receipt goes back the same way.
func (c *Courier) ReceiptChanged(id crypto.ID, via Via) {
	if p := c.peers[id]; p != nil {
		p.receiptChanged(via)
	}
}

// InboxRoom tells that OnMail, which refused a batch of that person, would take
// it now: what was read or is unread is offered again, and what came over a link
// is asked for.
func (c *Courier) InboxRoom(id crypto.ID) {
	p := c.peers[id]
	if p == nil || c.closing {
		return
	}
	if p.inbox != nil {
		p.inbox.tries = 0
		p.clear(taskInbox)
		p.soon(taskInbox)
	}
	if l := p.link; l != nil && l.refused {
		l.refused, l.receiptDue, l.said = false, true, nil
		p.soon(taskLink)
	}
}

// Capacity is the largest message body that can be carried to that person now:
// any, while a link lives and is not suspect; else what 8 mail slots hold; 0
// while no prekey of theirs is known. It changes with links and with the
// person's state.
func (c *Courier) Capacity(id crypto.ID) int {
	p := c.peers[id]
	switch {
	case p == nil || p.prekey().Number == 0:
		return 0
	case p.linked():
		return wire.MaxMessage
	}
	return maxBody
}

// Online reports whether a person is reachable by a link or directly, and where.
func (c *Courier) Online(id crypto.ID) (netip.AddrPort, bool) {
	if p := c.peers[id]; p != nil {
		return p.whereabouts()
	}
	return netip.AddrPort{}, false
}

// LastSeen is the last time that a person gave a sign of life; zero: never.
func (c *Courier) LastSeen(id crypto.ID) time.Time {
	p := c.peers[id]
	switch {
	case p == nil:
		return time.Time{}
	case p.linked():
		return c.loop.Now()
	}
	return p.seen
}

// Known is the newest state record of a person that is known, from this run or
// an earlier one; nil: none. It must not be changed.
func (c *Courier) Known(id crypto.ID) *wire.State {
	if p := c.peers[id]; p != nil {
		return p.theirs
	}
	return nil
}

// Start is the nonce of this run.
func (c *Courier) Start() uint64 { return c.start }

// Rise draws the next rising number: above every earlier one and not below the
// present time in unix ms. It is durable that it was drawn once this turn's rows
// are.
func (c *Courier) Rise() uint64 { return c.rising.next(c) }

// NetworkChanged tells that addresses or networks have changed, or that the
// line is back: friends are probed and told again, and looked for, and what had
// failed is tried again at once.
func (c *Courier) NetworkChanged() {
	if c.closing {
		return
	}
	c.EndpointsChanged()
	for _, p := range c.bySeen() {
		p.networkChanged()
	}
	c.requests.networkChanged()
}

// EndpointsChanged tells that Datagrams may know other addresses of ours. When
// they differ from what was put last, state is put again.
func (c *Courier) EndpointsChanged() {
	if !c.closing && !equalEndpoints(c.endpoints(), c.announced) {
		c.allChanged()
	}
}

// Stats gives every counter by name. The map is the caller's.
func (c *Courier) Stats() map[string]uint64 {
	m := make(map[string]uint64, len(c.stats))
	for k, v := range c.stats {
		m[k] = v
	}
	return m
}

func (c *Courier) count(name string) { c.stats[name]++ }

// then runs f after this turn's commit, unless the courier has been closed.
func (c *Courier) then(f func()) {
	c.loop.Then(func() {
		if !c.closed {
			f()
		}
	})
}

// jitter spreads a duration by ± 20 %.
func (c *Courier) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*c.random.Float64()))
}

func nonce() uint64 {
	var b [8]byte
	for {
		crand.Read(b[:]) // never fails: crypto/rand ends the program instead
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

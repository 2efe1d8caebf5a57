package transport

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/udpio"
)

// tripTime is the round trip of the tests' network.
const tripTime = 50 * time.Millisecond

// post carries offers between nodes, as state records do: it shows what stands
// again and again, and may lose, delay, reorder and repeat.
type post struct {
	delay, jitter time.Duration
	loss, repeat  float64
	every         time.Duration // what stands is shown again; 0: never

	mu     sync.Mutex
	random *rand.Rand
	nodes  map[crypto.ID]*peerNode
	open   map[[2]crypto.ID][]byte
	sent   []postedOffer
	last   time.Time // an offer was delivered and taken
	closed bool
}

type postedOffer struct {
	from, to crypto.ID
	inc      crypto.Incarnation
	offer    []byte
}

func newPost(seed uint64) *post {
	return &post{
		delay: tripTime / 2, random: rand.New(rand.NewPCG(seed, 1)),
		nodes: map[crypto.ID]*peerNode{}, open: map[[2]crypto.ID][]byte{},
	}
}

// put shows an offer; nil takes it back.
func (s *post) put(o postedOffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	way := [2]crypto.ID{o.from, o.to}
	if o.offer == nil {
		delete(s.open, way)
		return
	}
	o.offer = bytes.Clone(o.offer)
	s.open[way] = o.offer
	s.sent = append(s.sent, o)
	s.show(o)
}

// show delivers an offer, perhaps, and again while it stands. Under mu.
func (s *post) show(o postedOffer) {
	if s.closed || !bytes.Equal(s.open[[2]crypto.ID{o.from, o.to}], o.offer) {
		return
	}
	if s.random.Float64() >= s.loss {
		wait := s.delay
		if s.jitter > 0 {
			wait += time.Duration(s.random.Int64N(int64(s.jitter)))
		}
		time.AfterFunc(wait, func() { s.deliver(o) })
	}
	if len(s.sent) > 1 && s.random.Float64() < s.repeat {
		old := s.sent[s.random.IntN(len(s.sent))]
		time.AfterFunc(s.delay, func() { s.deliver(old) })
	}
	if s.every > 0 {
		time.AfterFunc(s.every, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.show(o)
		})
	}
}

func (s *post) deliver(o postedOffer) {
	s.mu.Lock()
	n := s.nodes[o.to]
	if n == nil || s.closed {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	if n.Offer(o.from, o.inc, o.offer) == nil {
		s.mu.Lock()
		s.last = time.Now()
		s.mu.Unlock()
	}
}

// taken returns when the last offer was taken by whom it was for.
func (s *post) taken() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *post) offers(from, to crypto.ID) (list []postedOffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.sent {
		if o.from == from && o.to == to {
			list = append(list, o)
		}
	}
	return list
}

// peerNode is a node with a whole Transport. Lanes that peers open echo.
type peerNode struct {
	*Transport
	t       *testing.T
	post    *post
	host    *lab.Host
	sockets []*udpio.Socket
	who     *crypto.Identity
	id      crypto.ID
	inc     crypto.Incarnation
	own     map[crypto.ID]uint64 // generations

	mu        sync.Mutex
	seen      map[crypto.ID]uint64
	ups       []*Link
	downs     []error
	changes   int
	messages  []message
	reflexive []netip.AddrPort
}

// peerOptions are what nodes differ in.
type peerOptions struct {
	who  *crypto.Identity // nil: a new one
	six  bool             // a socket for IPv6 too
	stun []string
	turn []TURNServer
}

// newPeerNode makes a node on a host.
func newPeerNode(t *testing.T, s *post, host *lab.Host, o peerOptions) *peerNode {
	t.Helper()
	n := &peerNode{t: t, post: s, host: host, who: o.who, own: map[crypto.ID]uint64{}, seen: map[crypto.ID]uint64{}}
	if n.who == nil {
		n.who = crypto.NewIdentity()
	}
	n.id = n.who.ID()
	n.inc = crypto.NewIncarnation(time.Now(), crypto.Incarnation{})
	n.start(o)
	return n
}

func (n *peerNode) start(o peerOptions) {
	n.t.Helper()
	config := Config{
		Identity: n.who, Incarnation: n.inc, Start: rand.Uint64(), Net: n.host,
		Addresses: n.addresses, STUN: o.stun, TURN: o.turn, Signal: peerSignal{n}, Rows: n, Handler: n,
	}
	networks := map[string]string{"udp4": "0.0.0.0:4000"}
	if o.six {
		networks["udp6"] = "[::]:4000"
	}
	for network, address := range networks {
		socket, err := udpio.Listen(n.t.Context(), n.host, network, address)
		if err != nil {
			n.t.Fatal(err)
		}
		n.sockets, config.Sockets = append(n.sockets, socket), append(config.Sockets, socket)
	}
	var err error
	if n.Transport, err = New(config); err != nil {
		n.t.Fatal(err)
	}
	for _, socket := range n.sockets {
		socket.Handle(udpio.STUN, n.HandleSTUN)
		socket.Handle(udpio.Handshake, n.HandleHandshake)
		socket.Handle(udpio.Data, n.HandleData)
	}
	n.post.mu.Lock()
	n.post.nodes[n.id] = n
	n.post.mu.Unlock()
}

func (n *peerNode) addresses() (local, reflexive []netip.AddrPort) {
	prefixes, _ := n.host.LocalAddrs() // never fails in the lab
	for _, p := range prefixes {
		if p.Addr().Is4() || len(n.sockets) > 1 {
			local = append(local, netip.AddrPortFrom(p.Addr(), 4000))
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return local, slices.Clone(n.reflexive)
}

// stop ends the node as if its program had closed it.
func (n *peerNode) stop() {
	if err := n.Close(); err != nil {
		n.t.Error(err)
	}
	n.vanish()
}

// kill ends it without a word.
func (n *peerNode) kill() {
	n.host.Blackhole(true, true)
	n.stop()
	n.host.Blackhole(false, false)
}

func (n *peerNode) vanish() {
	n.post.mu.Lock()
	if n.post.nodes[n.id] == n {
		delete(n.post.nodes, n.id)
	}
	n.post.mu.Unlock()
	for _, socket := range n.sockets {
		_ = socket.Close() // of no more use
	}
}

// Offer of Signal and of Transport differ in their arguments, so that the first
// is a type of its own.
type peerSignal struct{ *peerNode }

func (n peerSignal) Offer(to crypto.ID, offer []byte) {
	n.post.put(postedOffer{n.id, to, n.inc, offer})
}

func (n *peerNode) Generations(peer crypto.ID) (own, seen uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.own[peer], n.seen[peer]
}

func (n *peerNode) SetGenerations(peer crypto.ID, own, seen uint64, then func()) {
	n.mu.Lock()
	n.own[peer], n.seen[peer] = own, seen
	n.mu.Unlock()
	time.AfterFunc(time.Millisecond, then)
}

func (n *peerNode) LinkUp(l *Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ups = append(n.ups, l)
}

func (n *peerNode) LinkChanged(*Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes++
}

func (n *peerNode) LinkDown(_ *Link, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.downs = append(n.downs, err)
}

func (n *peerNode) Control(_ *Link, kind uint8, body []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.messages = append(n.messages, message{kind, body})
}

func (n *peerNode) Lane(_ *Link, a *Lane) {
	go func() {
		_, err := io.Copy(a, a)
		if err == nil {
			err = a.CloseWrite()
		}
		_ = err // the other end judges
	}()
}

func (n *peerNode) Datagram(*Link, uint64, uint64, []byte) {}

// counts returns how many links came up and went down.
func (n *peerNode) counts() (ups, downs int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.ups), len(n.downs)
}

// linked waits for the two to have one and the same link.
func linked(a, b *peerNode, patience time.Duration) (*Link, *Link) {
	a.t.Helper()
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		la, lb := a.Link(b.id), b.Link(a.id)
		if la != nil && lb != nil && la.id == lb.id && la.Err() == nil && lb.Err() == nil {
			return la, lb
		}
	}
	a.t.Fatalf("no link after %v; %v and %v", patience, a.Stats(), b.Stats())
	return nil, nil
}

// echo sends data by a lane and wants it back.
func echo(t *testing.T, l *Link, size int) {
	t.Helper()
	a, err := l.OpenLane()
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	data := noise(uint64(size), size)
	sent := make(chan error, 1)
	go func() {
		_, err := a.Write(data)
		if err == nil {
			err = a.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(a)
	if err := <-sent; err != nil {
		t.Errorf("write: %v", err)
	}
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came back, %v", len(got), size, err)
	}
}

// peerLab runs a test on a network of round trips of tripTime.
func peerLab(t *testing.T, test func(t *testing.T, n *lab.Network, s *post)) {
	t.Helper()
	peerLabOver(t, lab.Link{Delay: tripTime / 2}, test)
}

// peerLabOver is peerLab with another way between any two.
func peerLabOver(t *testing.T, way lab.Link, test func(t *testing.T, n *lab.Network, s *post)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := lab.New(lab.Options{Seed: 1, Default: way})
		defer n.Close()
		s := newPost(1)
		test(t, n, s)
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		time.Sleep(time.Minute) // for what waits
	})
}

// peerHost is a host of the internet.
func peerHost(n *lab.Network, i int) *lab.Host {
	return n.Host(netip.AddrFrom4([4]byte{198, 51, byte(100 + i/200), byte(1 + i%200)}))
}

var (
	_ Handler = (*peerNode)(nil)
	_ Rows    = (*peerNode)(nil)
	_ Signal  = peerSignal{}
)

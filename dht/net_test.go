package dht

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// memNet is an in-process packet network: constant delay, loss, dead addresses.
type memNet struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*memConn
	delay time.Duration
	loss  float64
	// tap, if set, sees every datagram; false drops it.
	tap func(from, to netip.AddrPort, b []byte) bool
}

type datagram struct {
	b    []byte
	from netip.AddrPort
}

type memConn struct {
	net   *memNet
	addr  netip.AddrPort
	in    chan datagram
	fail  chan error
	done  chan struct{}
	close sync.Once
}

func newMemNet(delay time.Duration) *memNet {
	return &memNet{conns: make(map[netip.AddrPort]*memConn), delay: delay}
}

func (m *memNet) setTap(tap func(from, to netip.AddrPort, b []byte) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tap = tap
}

// at returns the connection bound to addr.
func (m *memNet) at(addr netip.AddrPort) *memConn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conns[addr]
}

func (m *memNet) listen(addr string) *memConn {
	c := &memConn{net: m, addr: netip.MustParseAddrPort(addr), in: make(chan datagram, 4096), fail: make(chan error), done: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns[c.addr] = c
	return c
}

// memAddr is the address of the i-th host: a public one, so that the rules for
// public addresses hold.
func memAddr(i int) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x50000000+uint32(i)*257+1)
	return netip.AddrPortFrom(netip.AddrFrom4(b), 6881).String()
}

func (c *memConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-c.done:
		return 0, nil, net.ErrClosed
	default:
	}
	select {
	case d := <-c.in:
		return copy(p, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case err := <-c.fail:
		return 0, nil, err
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c *memConn) WriteTo(p []byte, to net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	ap := to.(*net.UDPAddr).AddrPort()
	c.net.send(c.addr, ap, p)
	return len(p), nil
}

// send delivers a datagram, from whatever address.
func (m *memNet) send(from, to netip.AddrPort, p []byte) {
	d := datagram{append([]byte(nil), p...), from}
	m.mu.Lock()
	target, tap := m.conns[to], m.tap
	lost := m.loss > 0 && rand.Float64() < m.loss
	m.mu.Unlock()
	if target == nil || lost || tap != nil && !tap(from, to, p) {
		return
	}
	deliver := func() {
		select {
		case target.in <- d:
		default:
		}
	}
	if m.delay == 0 {
		deliver()
		return
	}
	time.AfterFunc(m.delay, deliver)
}

func (c *memConn) Close() error {
	c.close.Do(func() {
		close(c.done)
		c.net.mu.Lock()
		if c.net.conns[c.addr] == c {
			delete(c.net.conns, c.addr)
		}
		c.net.mu.Unlock()
	})
	return nil
}

func (c *memConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.addr) }
func (c *memConn) SetDeadline(time.Time) error      { return nil }
func (c *memConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

// starter makes nodes that bootstrap from the first.
type starter struct {
	t     testing.TB
	mem   *memNet
	nodes []*Node
}

func (s *starter) node(cfg Config) *Node {
	s.t.Helper()
	if cfg.Conns == nil {
		cfg.Conns = []net.PacketConn{s.mem.listen(memAddr(len(s.nodes)))}
	}
	if cfg.QueryRate == 0 {
		cfg.QueryRate = -1
	}
	if cfg.ServeRate == 0 {
		cfg.ServeRate = -1
	}
	if len(s.nodes) > 0 && cfg.Bootstrap == nil {
		first := s.nodes[0].LocalAddrs()
		cfg.Bootstrap = func(context.Context) ([]netip.AddrPort, error) { return first, nil }
	}
	n, err := New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.nodes = append(s.nodes, n)
	return n
}

// network makes count nodes and joins all but the first.
func (s *starter) network(count int) {
	s.t.Helper()
	first := s.node(Config{})
	go func() { _ = first.Join(context.Background()) }() // fails: nobody to ask
	var joining sync.WaitGroup
	for range count - 1 {
		n := s.node(Config{})
		joining.Go(func() {
			if err := n.Join(context.Background()); err != nil {
				s.t.Errorf("Join: %v", err)
			}
		})
	}
	joining.Wait()
	time.Sleep(time.Second)
}

func (s *starter) closeAll() {
	var closing sync.WaitGroup
	for _, n := range s.nodes {
		closing.Go(func() { _ = n.Close() })
	}
	closing.Wait()
}

func testKey(seed byte) ed25519.PrivateKey {
	b := make([]byte, ed25519.SeedSize)
	b[0] = seed
	return ed25519.NewKeyFromSeed(b)
}

func public(key ed25519.PrivateKey) (k [32]byte) {
	copy(k[:], key.Public().(ed25519.PublicKey))
	return k
}

// read gets an item and returns the last value reported.
func read(t testing.TB, n *Node, q Query) (value string, h Health) {
	t.Helper()
	h, err := n.Get(context.Background(), q, func(item Item) { value = string(item.Value) })
	if err != nil {
		t.Errorf("Get: %v", err)
	}
	return value, h
}

// fake is a node that answers as a test wants.
type fake struct {
	conn *memConn
	id   nodeID
	// answer returns what is behind the ID in r, or a fault; nil, errSilent = nothing.
	answer func(m *message, from netip.AddrPort) ([]byte, *krpcError)

	mu      sync.Mutex
	queries map[string]int // by method
}

// errSilent makes a fake not answer.
var errSilent = &krpcError{}

// fake starts a fake node at the i-th address; answer nil = an empty answer with a token.
func (s *starter) fake(i int, id nodeID, answer func(m *message, from netip.AddrPort) ([]byte, *krpcError)) *fake {
	f := &fake{conn: s.mem.listen(memAddr(i)), id: id, answer: answer, queries: make(map[string]int)}
	if answer == nil {
		f.answer = func(*message, netip.AddrPort) ([]byte, *krpcError) { return tokenOnly, nil }
	}
	s.t.Cleanup(func() { _ = f.conn.Close() })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := f.conn.ReadFrom(b)
			if err != nil {
				return
			}
			m, err := parseMessage(append([]byte(nil), b[:n]...))
			if err != nil || m.kind != 'q' {
				continue
			}
			f.mu.Lock()
			f.queries[m.method]++
			f.mu.Unlock()
			addr, _ := addrPort(from)
			body, fault := f.answer(m, addr)
			if fault != errSilent {
				_, _ = f.conn.WriteTo(encodeAnswer(f.id, addr, m.t, body, fault), from)
			}
		}
	}()
	return f
}

var tokenOnly = []byte("5:token5:token")

func (f *fake) asked(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queries[method]
}

// know makes a node know fakes.
func know(n *Node, fakes ...*fake) {
	for _, f := range fakes {
		n.AddNode(f.conn.addr)
	}
	for range 1000 {
		if n.NumNodes() >= len(fakes) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// itemBody is the body of an answer that holds an item.
func itemBody(i Item) []byte {
	b := appendString([]byte("1:k"), i.Key[:])
	b = appendInt(append(b, "3:seq"...), i.Seq)
	b = appendString(append(b, "3:sig"...), i.Sig[:])
	b = append(b, tokenOnly...)
	return appendString(append(b, "1:v"...), i.Value)
}

// signItem returns a signed item.
func signItem(key ed25519.PrivateKey, salt, value string, seq int64) Item {
	i := Item{Key: public(key), Salt: []byte(salt), Value: []byte(value), Seq: seq}
	copy(i.Sig[:], ed25519.Sign(key, signed(i.Salt, seq, appendString(nil, value))))
	return i
}

// near returns an ID that shares all but the last bits with target.
func near(target nodeID, i byte) nodeID {
	target[19] ^= i
	return target
}

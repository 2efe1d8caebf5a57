package carrier_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/wire"
)

// stranger is a person whom the test plays by hand, with real keys and real
// records, so that it can say what no node would: it has a socket for envelopes
// and a DHT node beside it.
type stranger struct {
	identity    *crypto.Identity
	prekey      *crypto.Prekey
	incarnation crypto.Incarnation
	version     uint64
	host        netip.Addr
	conn        net.PacketConn
	dht         *dht.Node
	pairs       *sync.Map // of pairKey to *crypto.Pair: an attack derives each once
}

// pairKey is who talks with whom.
type pairKey struct {
	identity *crypto.Identity
	with     carrier.ID
}

// newStranger makes one on a host of its own. It must be closed in the bubble.
func newStranger(t *testing.T, network *carriertest.Network) *stranger {
	t.Helper()
	return newStrangerOn(t, network, network.Host())
}

// newStrangerOn makes one on a host.
func newStrangerOn(t *testing.T, network *carriertest.Network, host carrier.Net) *stranger {
	t.Helper()
	var conns [2]net.PacketConn
	for i := range conns {
		var err error
		if conns[i], err = host.ListenPacket(t.Context(), "udp4", ":0"); err != nil {
			t.Fatal(err)
		}
	}
	local, err := host.LocalAddrs()
	if err != nil || len(local) == 0 {
		t.Fatalf("a host with the addresses %v: %v", local, err)
	}
	node, err := dht.New(dht.Config{Conns: conns[1:], Bootstrap: func(context.Context) ([]netip.AddrPort, error) {
		var addrs []netip.AddrPort
		for _, s := range network.Bootstrap() {
			addrs = append(addrs, netip.MustParseAddrPort(s))
		}
		return addrs, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{
		identity:    crypto.NewIdentity(),
		prekey:      crypto.NewPrekey(),
		incarnation: crypto.NewIncarnation(time.Now(), crypto.Incarnation{}),
		host:        local[0].Addr(),
		conn:        conns[0],
		dht:         node,
		pairs:       &sync.Map{},
	}
	if err := node.Join(t.Context()); err != nil {
		<-node.Ready() // the first answers may be lost; it goes on trying
	}
	return s
}

func (s *stranger) close(t *testing.T) {
	t.Helper()
	if err := s.dht.Close(); err != nil {
		t.Error(err)
	}
	if err := s.conn.Close(); err != nil {
		t.Error(err)
	}
}

func (s *stranger) id() carrier.ID { return s.identity.ID() }

// rise gives a number above all before.
func (s *stranger) rise() uint64 {
	s.version = max(s.version+1, uint64(time.Now().UnixMilli()))
	return s.version
}

func (s *stranger) pair(t *testing.T, with carrier.ID) *crypto.Pair {
	t.Helper()
	key := pairKey{s.identity, with}
	if pair, ok := s.pairs.Load(key); ok {
		return pair.(*crypto.Pair)
	}
	pair, err := s.identity.Pair(with)
	if err != nil {
		t.Fatal(err)
	}
	s.pairs.Store(key, pair)
	return pair
}

// sign gives signature ‖ record.
func (s *stranger) sign(kind string, to carrier.ID, i crypto.Incarnation, version uint64, record []byte) []byte {
	sig := s.identity.Sign(crypto.Transcript{
		Type: kind, From: s.id(), To: to, Incarnation: i, Version: version, Body: record,
	})
	return wire.AppendSigned(nil, sig, record)
}

// request asks for friendship, in the fixed bucket and in a random one that is
// rung on the bell.
func (s *stranger) request(t *testing.T, to carrier.Address, hello string, endpoints ...netip.AddrPort) {
	t.Helper()
	now := time.Now()
	number := s.rise()
	record := wire.AppendRequest(nil, &wire.Request{
		From: s.id(), Incarnation: s.incarnation, Nospam: to.Nospam, Number: number,
		Time: now.UnixMilli(), Expiry: now.Add(time.Hour).UnixMilli(), Format: wire.Format, Start: 7,
		Name: "stranger", Hello: hello, Prekey: wire.Prekey{Number: 1, Public: s.prekey.Public()}, Endpoints: endpoints,
	})
	body := s.sign("request", to.ID, s.incarnation, number, record)
	size, ok := wire.PadRequest(len(body))
	if !ok {
		t.Fatal("the request is too long")
	}
	info := append([]byte("carrier/1 request"), to.ID[:]...)
	value, err := to.ID.Seal(info, nil, wire.AppendPlain(nil, wire.KindRequest, body, size))
	if err != nil {
		t.Fatal(err)
	}
	// Its own, for a bucket that is known is read again only after minutes.
	bucket := binary.BigEndian.Uint16(s.identity.ID().Bytes()[1:3]) | 1
	s.put(t, to.RequestSlot(crypto.Day(now), crypto.FixedBucket(s.id())), value, int64(s.rise()))
	s.put(t, to.RequestSlot(crypto.Day(now), uint32(bucket)), value, int64(s.rise()))
	if _, err := s.dht.Announce(t.Context(), to.RequestBell(crypto.Day(now)), bucket); err != nil {
		t.Fatal(err)
	}
}

// put writes an item without a salt into the DHT.
func (s *stranger) put(t *testing.T, key ed25519.PrivateKey, value []byte, seq int64) {
	t.Helper()
	if _, err := s.dht.Put(t.Context(), dht.Put{Key: key, Value: value, Seq: seq}); err != nil {
		t.Fatalf("put of %d bytes at seq %d: %v", len(value), seq, err)
	}
}

// state is a state record that names those endpoints.
func (s *stranger) state(to carrier.ID, change func(*wire.State)) []byte {
	x := &wire.State{
		Incarnation: s.incarnation, Version: s.rise(), Time: time.Now().UnixMilli(), Format: wire.Format, Start: 7,
		Relation: wire.RelationFriend, Presence: wire.PresenceOnline,
		Prekey: wire.Prekey{Number: 1, Public: s.prekey.Public()},
	}
	if change != nil {
		change(x)
	}
	return s.sign("state", to, x.Incarnation, x.Version, wire.AppendState(nil, x))
}

// envelope seals a body as a datagram of an hour, now or another.
func (s *stranger) envelope(t *testing.T, to carrier.ID, kind wire.Kind, body []byte) []byte {
	t.Helper()
	size, ok := wire.PadDatagram(len(body))
	if !ok {
		t.Fatal("the body is too long for a datagram")
	}
	return s.envelopeOf(t, to, wire.AppendPlain(nil, kind, body, size))
}

// envelopeOf seals a plaintext, whatever it is.
func (s *stranger) envelopeOf(t *testing.T, to carrier.ID, plain []byte) []byte {
	t.Helper()
	pair, hour := s.pair(t, to), crypto.Hour(time.Now())
	head := wire.AppendEnvelope(nil, pair.Tag(crypto.Out, hour), nil)
	return pair.Key(crypto.Out, crypto.HourWeek(hour)).Seal(head, head, plain)
}

// send sends a datagram to a node.
func (s *stranger) send(t *testing.T, to *carrier.Node, b []byte) {
	t.Helper()
	if _, err := s.conn.WriteTo(b, net.UDPAddrFromAddrPort(to.LocalAddrs()[0])); err != nil {
		t.Fatal(err)
	}
}

// prove shows a friend that the stranger is at its address, by the echo of its
// nonce: for 30 seconds mail from there is taken.
func (s *stranger) prove(t *testing.T, to *carrier.Node, bond uint64) {
	t.Helper()
	hello := func(echo uint64) {
		x := &wire.Hello{
			Incarnation: s.incarnation, Version: s.rise(), Time: time.Now().UnixMilli(), Start: 7, Bond: bond,
			Nonce: 42, Echo: echo, Presence: wire.PresenceOnline, Answer: echo != 0, Observed: to.LocalAddrs()[0],
		}
		s.send(t, to, s.envelope(t, to.ID(), wire.KindHello, s.sign("hello", to.ID(), x.Incarnation, x.Version, wire.AppendHello(nil, x))))
	}
	hello(0)
	defer func() { _ = s.conn.SetReadDeadline(time.Time{}) }() // fails only after Close
	if err := s.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	pair, hour := s.pair(t, to.ID()), crypto.Hour(time.Now())
	b := make([]byte, 2048)
	for {
		n, _, err := s.conn.ReadFrom(b)
		if err != nil {
			t.Fatalf("no answer to a hello: %v", err)
		}
		tag, sealed, err := wire.ParseEnvelope(b[:n])
		if err != nil || tag != pair.Tag(crypto.In, hour) {
			continue
		}
		plain, err := pair.Key(crypto.In, crypto.HourWeek(hour)).Open(nil, b[:wire.EnvelopeOverhead], sealed)
		if err != nil {
			t.Fatal(err)
		}
		kind, body, err := wire.ParsePlain(plain)
		if err != nil || kind != wire.KindHello {
			continue
		}
		_, record, err := wire.ParseSigned(body)
		if err != nil {
			t.Fatal(err)
		}
		x, err := wire.ParseHello(record)
		if err != nil {
			t.Fatal(err)
		}
		hello(x.Nonce)
		time.Sleep(20 * time.Millisecond)
		return
	}
}

// theirState reads the state record that a node has put for the stranger.
func (s *stranger) theirState(t *testing.T, from carrier.ID) *wire.State {
	t.Helper()
	pair, week := s.pair(t, from), crypto.Week(time.Now())
	key := [32]byte(pair.Slot(crypto.In, week)[32:])
	var newest *wire.State
	_, err := s.dht.Get(t.Context(), dht.Query{Key: key, Salt: []byte("s")}, func(i dht.Item) {
		plain, err := pair.Key(crypto.In, week).Open(nil, append(key[:], 's'), i.Value)
		if err != nil {
			return
		}
		_, body, err := wire.ParsePlain(plain)
		if err != nil {
			return
		}
		_, record, err := wire.ParseSigned(body)
		if err != nil {
			return
		}
		if x, err := wire.ParseState(record); err == nil {
			newest = x
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return newest
}

// befriend has a node accept the stranger, and waits for its state.
func (s *stranger) befriend(t *testing.T, node *carrier.Node, endpoints ...netip.AddrPort) *wire.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	events := node.Events(ctx)
	s.request(t, node.Address(), "hello", endpoints...)
	if _, err := requestOf(events, s.id()); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Accept(s.id()); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if x := s.theirState(t, node.ID()); x != nil && x.Relation == wire.RelationFriend {
			return x
		}
		time.Sleep(time.Second)
	}
	t.Fatal("no state of the node in the DHT")
	return nil
}

// addr is where the stranger's envelopes come from.
func (s *stranger) addr() netip.AddrPort {
	return netip.AddrPortFrom(s.host, s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

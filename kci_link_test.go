package carrier_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v4"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/vectors/decoder"
	"github.com/gocarrier/carrier/internal/wire"
)

// certificate makes one as offers name it.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// linkHand makes a link with Alice by hand, out of docs/SPEC.md: whoever knows the
// two offers can answer ICE for either end.
type linkHand struct {
	conn   net.PacketConn // at the address that the offer names
	inner  net.PacketConn // beside it: DTLS without the head of handshake datagrams
	alice  netip.AddrPort
	id     []byte // of the attempt
	salt   []byte
	own    *wire.Offer // in Bob's name
	theirs *wire.Offer
	lower  bool // Bob's ID is the lower one

	reader sync.WaitGroup
	mu     sync.Mutex
	keys   *decoder.Schedule // once DTLS is done
	opened *decoder.Receiver
	number uint64
}

const linkSuite = 0xC02B // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256

// newLinkHand begins an attempt for two offers; both incarnations are signed with them.
func newLinkHand(t *testing.T, x *theft, theirs *wire.State, own *wire.Offer) *linkHand {
	t.Helper()
	h := &linkHand{conn: x.bob.conn, alice: x.alice.LocalAddrs()[0], own: own, lower: x.bob.id().Compare(x.alice.ID()) < 0}
	var err error
	if h.theirs, err = wire.ParseOffer(theirs.Offer); err != nil {
		t.Fatal(err)
	}
	if h.inner, err = x.bobs.ListenPacket(t.Context(), "udp4", ":0"); err != nil {
		t.Fatal(err)
	}
	ids := [2]decoder.ID{decoder.ID(x.bob.id()), decoder.ID(x.alice.ID())}
	offers := [2][]byte{
		wire.AppendOffer(wire.AppendIncarnation(nil, x.bob.incarnation), own),
		append(wire.AppendIncarnation(nil, theirs.Incarnation), theirs.Offer...),
	}
	if !h.lower {
		slices.Reverse(ids[:])
		slices.Reverse(offers[:])
	}
	h.id = decoder.AttemptID(ids[0], ids[1], offers[0], offers[1])
	h.salt = decoder.LinkSalt(linkSuite, ids[0], ids[1], offers[0], offers[1])
	if err := h.conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	h.reader.Go(h.read)
	return h
}

// close ends it; the conn stays.
func (h *linkHand) close(t *testing.T) {
	t.Helper()
	if err := h.conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	h.reader.Wait()
	if err := h.inner.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // DTLS has closed it
		t.Fatal(err)
	}
}

// read takes what comes until the deadline.
func (h *linkHand) read() {
	b := make([]byte, 2048)
	for {
		n, from, err := h.conn.ReadFrom(b)
		if err != nil {
			return
		}
		switch d := b[:n]; {
		case from.(*net.UDPAddr).AddrPort().Port() == udpPort(h.inner):
			h.send(slices.Concat([]byte{0xCC}, h.id, d))
		case n > 9 && d[0] == 0xCC && bytes.Equal(d[1:9], h.id):
			_, _ = h.conn.WriteTo(d[9:], h.beside(h.inner)) // lost if it is closed
		case n > 0 && d[0] <= 3:
			h.check(slices.Clone(d))
		case n > 0 && d[0]&0xF8 == 0xC0:
			h.data(d)
		}
	}
}

func udpPort(c net.PacketConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// beside is another conn of the same host.
func (h *linkHand) beside(c net.PacketConn) net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.own.Candidates[0].Addr.Addr(), udpPort(c)))
}

func (h *linkHand) send(b []byte) {
	_, _ = h.conn.WriteTo(b, net.UDPAddrFromAddrPort(h.alice)) // lost if it is closed
}

// ask sends an ICE check in Bob's name.
func (h *linkHand) ask() error {
	role := stun.AttrICEControlled
	if h.lower {
		role = stun.AttrICEControlling
	}
	attributes := []stun.Setter{
		stun.BindingRequest, stun.TransactionID, stun.NewUsername(h.theirs.ICEUfrag() + ":" + h.own.ICEUfrag()),
		stun.RawAttribute{Type: stun.AttrPriority, Value: binary.BigEndian.AppendUint32(nil, 110<<24|0xFFFF00|0xFF)},
		stun.RawAttribute{Type: role, Value: make([]byte, 8)},
	}
	if h.lower {
		attributes = append(attributes, stun.RawAttribute{Type: stun.AttrUseCandidate})
	}
	m, err := stun.Build(append(attributes, stun.NewShortTermIntegrity(h.theirs.ICEPassword()), stun.Fingerprint)...)
	if err == nil {
		h.send(m.Raw)
	}
	return err
}

// check answers an ICE check of Alice's.
func (h *linkHand) check(b []byte) {
	m := &stun.Message{Raw: b}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return
	}
	r, err := stun.Build(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: h.alice.Addr().AsSlice(), Port: int(h.alice.Port())},
		stun.NewShortTermIntegrity(h.own.ICEPassword()), stun.Fingerprint)
	if err == nil {
		h.send(r.Raw)
	}
}

// handshake runs ICE and DTLS with a certificate, and tells Alice that it has
// the keys. It returns when both have shown it.
func (h *linkHand) handshake(ctx context.Context, cert tls.Certificate) error {
	asking, stop := context.WithCancel(ctx)
	var asker sync.WaitGroup
	asker.Go(func() {
		for asking.Err() == nil && h.ask() == nil {
			select {
			case <-asking.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	defer asker.Wait()
	defer stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second): // by then the checks have been answered
	}
	shared := []dtls.Option{
		dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true), dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), dtls.WithMTU(1200),
	}
	var c *dtls.Conn
	var err error
	if h.lower {
		var options []dtls.ClientOption
		for _, o := range shared {
			options = append(options, o)
		}
		c, err = dtls.ClientWithOptions(h.inner, h.beside(h.conn), options...)
	} else {
		options := []dtls.ServerOption{dtls.WithInsecureSkipVerifyHello(true), dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range shared {
			options = append(options, o)
		}
		c, err = dtls.ServerWithOptions(h.inner, h.beside(h.conn), options...)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	state, ok := c.ConnectionState()
	if !ok {
		return errors.New("dtls has no state")
	}
	exported, err := state.ExportKeyingMaterial("EXPORTER-carrier-link", nil, 32)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.keys = decoder.NewSchedule(linkSuite, h.salt, exported)
	h.opened = decoder.NewReceiver(h.keys, h.direction(false), 0)
	h.mu.Unlock()
	for ctx.Err() == nil {
		h.seal(wire.AppendAsk(nil, [16]byte{1}))
		time.Sleep(200 * time.Millisecond)
	}
	return ctx.Err()
}

// direction is that of what Bob sends, or Alice.
func (h *linkHand) direction(bobs bool) byte {
	if bobs == h.lower {
		return 0
	}
	return 1
}

// seal sends frames.
func (h *linkHand) seal(plain []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := h.keys.Seal(h.direction(true), 0, 0, h.number, plain)
	if err == nil {
		h.number++
		h.send(b)
	}
}

// data answers what asks for the keys.
func (h *linkHand) data(b []byte) {
	h.mu.Lock()
	keys, opened := h.keys, h.opened
	h.mu.Unlock()
	if keys == nil {
		return
	}
	if _, plain, err := opened.Open(b); err == nil {
		if token, _, err := wire.ParseAsk(plain); err == nil {
			h.seal(wire.AppendAnswer(nil, token))
		}
	}
}

// TestStolenKeyLink has the thief make a link with Alice on a true offer of Bob's,
// at his very address, when he is not there: Alice's key opens both offers, and
// with them anybody passes ICE as Bob. But the certificate of his offer has a key
// that the thief has not. With it the same hand makes the link.
func TestStolenKeyLink(t *testing.T) {
	for _, role := range []string{"client", "server"} {
		t.Run("Bob is "+role, func(t *testing.T) {
			t.Parallel()
			bubbleWith(t, &carriertest.Options{Routers: 8}, func(t *testing.T, network *carriertest.Network) {
				x := newTheft(t, network, role)
				defer x.close()
				own := certificate(t)
				offer := &wire.Offer{
					Kind: wire.OfferNew, Generation: uint64(x.rise()), ID: wire.OfferID{1}, Start: 7, Ufrag: [6]byte{2},
					Fingerprint: sha256.Sum256(own.Certificate[0]),
					Candidates:  []wire.Candidate{{Type: wire.CandidateHost, Addr: x.bob.addr()}},
				}
				rand.Read(offer.Password[:]) // never fails
				w := x.state(x.bob, func(s *wire.State) {
					s.Presence, s.Offer = wire.PresenceOnline, wire.AppendOffer(nil, offer)
				})
				x.datagram(w, x.genuine(w), true)
				var theirs *wire.State
				eventually(t, "Alice answers the offer", func() bool {
					theirs = x.bob.theirState(t, x.alice.ID())
					if theirs == nil || len(theirs.Offer) == 0 {
						return false
					}
					o, err := wire.ParseOffer(theirs.Offer)
					return err == nil && o.Re == offer.ID
				})
				try := func(cert tls.Certificate, d time.Duration) error {
					h := newLinkHand(t, x, theirs, offer)
					defer h.close(t)
					ctx, cancel := context.WithTimeout(t.Context(), d)
					defer cancel()
					done := make(chan error, 1)
					go func() { done <- h.handshake(ctx, cert) }()
					for ctx.Err() == nil && x.toBob.Path().Kind == carrier.PathNone {
						time.Sleep(100 * time.Millisecond)
					}
					cancel()
					return <-done
				}
				stolen := certificate(t)
				stolen.Certificate = own.Certificate // which crosses the wire in clear
				for i, cert := range []tls.Certificate{certificate(t), stolen} {
					err := try(cert, 20*time.Second)
					if path := x.toBob.Path(); path.Kind != carrier.PathNone || x.toBob.Online() {
						t.Fatalf("thief %d has a link: %+v", i, path)
					}
					if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
						t.Errorf("thief %d did not come as far as Alice's refusal: %v", i, err)
					}
				}
				var err error
				for range 5 { // Alice tries again after pauses
					err = try(own, 20*time.Second)
					if x.toBob.Path().Kind != carrier.PathNone {
						return
					}
				}
				t.Errorf("with the true certificate there is no link either: %v", err)
			})
		})
	}
}

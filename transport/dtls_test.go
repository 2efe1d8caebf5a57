package transport

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/wire"
)

// strange is a peer whose ICE is right and whose DTLS is as the options say.
type strange struct {
	certificate *tls.Certificate // nil: none
	options     []dtls.Option
}

func (s strange) run(ctx context.Context, spec attemptSpec, env attemptEnv) error {
	conn := env.mux.handshakeConn(spec.ID, nil)
	defer conn.Close()
	agent, err := newICEAgent(ctx, &spec, &env)
	if err != nil {
		return err
	}
	defer agent.close()
	options := []dtls.Option{
		dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(flightInterval), dtls.WithLoggerFactory(pionLogs{env.log}),
	}
	if s.certificate != nil {
		options = append(options, dtls.WithCertificates(*s.certificate))
	}
	options = append(options, s.options...)
	var c *dtls.Conn
	if spec.Lower {
		var best *icePath
		for best == nil {
			if best, _, err = agent.wait(ctx); err != nil {
				return err
			}
		}
		conn.setRemote(best.base, best.remote)
		var client []dtls.ClientOption
		for _, o := range options {
			client = append(client, o)
		}
		c, err = dtls.ClientWithOptions(conn, &net.UDPAddr{}, client...)
	} else {
		server := []dtls.ServerOption{dtls.WithInsecureSkipVerifyHello(true), dtls.WithClientAuth(dtls.RequestClientCert)}
		for _, o := range options {
			server = append(server, o)
		}
		c, err = dtls.ServerWithOptions(conn, &net.UDPAddr{}, server...)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if spec.Lower { // the server may still refuse the last flight
		b := make([]byte, 1)
		_, err = c.Read(b)
	}
	return err
}

func rsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
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

// TestHandshakeRefuses puts peers at either end whose handshake is not what it must be: ours fails, soon, and says why to
// the peer.
func TestHandshakeRefuses(t *testing.T) {
	good := newCertificate()
	other := newCertificate()
	rsaCert := rsaCertificate(t)
	withoutEMS := dtls.WithExtendedMasterSecret(dtls.DisableExtendedMasterSecret)
	aes := dtls.WithCipherSuites(dtls.CipherSuiteID(suiteAES128GCM))
	for _, c := range []struct {
		name    string
		offered tls.Certificate // the one whose fingerprint is in the peer's offer
		peer    strange
		onlyAs  string // "client" or "server"; both if empty
		taken   bool
		want    error // nil: any
	}{
		{name: "as it should be", offered: good, peer: strange{&good, nil}, taken: true},
		{name: "the other suite", offered: good, peer: strange{&good, []dtls.Option{dtls.WithCipherSuites(dtls.CipherSuiteID(suiteChaCha20Poly1305))}}, taken: true},
		{name: "another certificate", offered: good, peer: strange{&other, nil}, want: errFingerprint},
		{name: "no certificate", offered: good, peer: strange{nil, []dtls.Option{aes}}, onlyAs: "client"},
		{name: "no extended master secret", offered: good, peer: strange{&good, []dtls.Option{withoutEMS}}},
		{name: "AES-256-GCM alone", offered: good, peer: strange{&good, []dtls.Option{dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)}}},
		{name: "CBC alone", offered: good, peer: strange{&good, []dtls.Option{dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA)}}},
		{name: "CCM-8 alone", offered: good, peer: strange{&good, []dtls.Option{dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8)}}},
		{name: "RSA", offered: rsaCert, peer: strange{&rsaCert, []dtls.Option{dtls.WithCipherSuites(dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)}}},
		{name: "a pre-shared key", offered: good, onlyAs: "client", peer: strange{nil, []dtls.Option{
			dtls.WithPSK(func([]byte) ([]byte, error) { return []byte("key"), nil }), dtls.WithPSKIdentityHint([]byte("id")),
			dtls.WithCipherSuites(dtls.TLS_PSK_WITH_AES_128_GCM_SHA256),
		}}},
	} {
		for _, as := range []string{"client", "server"} {
			if c.onlyAs != "" && c.onlyAs != as {
				continue
			}
			t.Run(c.name+" as "+as, func(t *testing.T) {
				attemptBubble(t, attemptLink, func(t *testing.T, _ *lab.Network, a, b *attemptNode) {
					peer := newAttemptEnd(b)
					peer.offer.Offer.Fingerprint = fingerprint(c.offered)
					ends := [2]attemptEnd{newAttemptEnd(a), peer}
					ours, theirs := 0, 1
					if as == "client" {
						ends[0], ends[1] = ends[1], ends[0]
						ours, theirs = 1, 0
					}
					specs := crossed(wire.OfferNew, ends[0], ends[1])
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					peerErr := make(chan error, 1)
					go func() { peerErr <- c.peer.run(ctx, specs[theirs], ends[theirs].node.env()) }()
					start := time.Now()
					e, err := runAttempt(ctx, specs[ours], ends[ours].node.env())
					took := time.Since(start)
					switch {
					case c.taken && err != nil:
						t.Errorf("refused: %v", err)
					case !c.taken && err == nil:
						t.Error("accepted")
					case !c.taken && (!errors.Is(err, c.want) && c.want != nil || took > 2*time.Second):
						t.Errorf("refused after %v because %v, want because %v", took, err, c.want)
					}
					t.Logf("%v: %v", took, err)
					if e != nil {
						e.close()
					}
					if !c.taken {
						time.Sleep(time.Second)
						select {
						case err := <-peerErr:
							t.Logf("the peer was told: %v", err)
							peerErr <- err
						default:
							t.Error("the peer does not know a second later")
						}
					}
					cancel()
					<-peerErr
				})
			})
		}
	}
}

// TestClientHello: nothing in it tells one client from another, but for the clock.
func TestClientHello(t *testing.T) {
	var hellos []*handshake.MessageClientHello
	for range 2 {
		attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
			var first []byte
			n.Tap(func(from, _ netip.AddrPort, d []byte) {
				if from == a.addr && d[0] == handshakeKind && first == nil {
					first = append(first, d[handshakeOverhead:]...)
				}
			})
			r := runBoth(t.Context(), crossed(wire.OfferNew, newAttemptEnd(a), newAttemptEnd(b)), [2]*attemptNode{a, b}, 0)
			agreed(t, r)
			closeBoth(r)
			h := new(handshake.Handshake)
			if err := h.Unmarshal(first[13:]); err != nil {
				t.Fatal(err)
			}
			hellos = append(hellos, h.Message.(*handshake.MessageClientHello))
		})
	}
	for _, h := range hellos {
		h.Random.RandomBytes = [28]byte{}
	}
	x, err := hellos[0].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	y, err := hellos[1].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(x) != sha256.Sum256(y) {
		t.Errorf("two hellos differ in more than their random bytes:\n%x\n%x", x, y)
	}
	if len(hellos[0].SessionID) != 0 || len(hellos[0].Cookie) != 0 {
		t.Errorf("the hello has a session or a cookie")
	}
	if got := len(hellos[0].CipherSuiteIDs); got != 2 {
		t.Errorf("the hello offers %d cipher suites: %x", got, hellos[0].CipherSuiteIDs)
	}
}

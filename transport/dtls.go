package transport

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"
)

const (
	exporterLabel = "EXPORTER-carrier-link"
	exporterSize  = 32
	// flightInterval is when an unanswered flight is sent again, without growing: handshakes are rare and small, and
	// at 30 % loss waiting longer each time makes them take a quarter of a minute.
	flightInterval = 250 * time.Millisecond
	handshakeMTU   = 1200
	// handshakeLimit is how long a client tries. Of 400 where every other datagram was lost none took more than 7 s.
	handshakeLimit = 10 * time.Second
)

// errHandshakeSlow ends a handshake that stands still.
var errHandshakeSlow = fmt.Errorf("not done within %v", handshakeLimit)

// errFingerprint ends a handshake with somebody who is not who made the offer.
var errFingerprint = errors.New("the peer's certificate is not the one of its offer")

// handshakeDTLS runs the handshake of an attempt: the lower ID is the client. The conn it returns goes on answering
// what the peer repeats, until it is closed. When it fails nothing is left running.
func handshakeDTLS(ctx context.Context, conn *handshakeConn, spec *attemptSpec, env *attemptEnv) (*dtls.Conn, error) {
	c, err := newDTLS(conn, spec, env)
	if err != nil {
		return nil, err
	}
	if err := c.HandshakeContext(ctx); err != nil {
		conn.mute()
		_ = c.Close() // it has failed already
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return c, nil
}

func newDTLS(conn *handshakeConn, spec *attemptSpec, env *attemptEnv) (*dtls.Conn, error) {
	// Chains and names mean nothing here, so that the verification of both is left out: the fingerprint is all.
	options := []dtls.Option{
		dtls.WithCertificates(spec.Certificate),
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(pinned(spec.Remote.Offer.Fingerprint)),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithCipherSuites(dtls.CipherSuiteID(suiteAES128GCM), dtls.CipherSuiteID(suiteChaCha20Poly1305)),
		dtls.WithSignatureSchemes(tls.ECDSAWithP256AndSHA256),
		dtls.WithEllipticCurves(elliptic.X25519, elliptic.P256),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithDisableRetransmitBackoff(true),
		dtls.WithMTU(handshakeMTU),
		dtls.WithLoggerFactory(pionLogs{env.log}),
	}
	if env.keyLog != nil {
		options = append(options, dtls.WithKeyLogWriter(env.keyLog))
	}
	nowhere := &net.UDPAddr{} // conn knows where to send
	if spec.Lower {
		client := make([]dtls.ClientOption, len(options))
		for i, o := range options {
			client[i] = o
		}
		return dtls.ClientWithOptions(conn, nowhere, client...)
	}
	server := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerifyHello(true), // ICE has verified the address
	}
	for _, o := range options {
		server = append(server, o)
	}
	return dtls.ServerWithOptions(&serverConn{handshakeConn: conn}, nowhere, server...)
}

// serverConn hears nothing before a ClientHello. What a client repeats of a handshake that broke off would spoil the
// next one: its records are numbered higher than those of a client that begins anew, which then look like replays.
type serverConn struct {
	*handshakeConn
	begun bool // used by the one reader
}

// ReadFrom is [handshakeConn.ReadFrom].
func (c *serverConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.handshakeConn.ReadFrom(b)
		if c.begun = c.begun || isClientHello(b[:n]); c.begun || err != nil {
			return n, from, err
		}
	}
}

// isClientHello reports whether DTLS records begin with one of a handshake (22) in clear (epoch 0) with the first part of
// a ClientHello (1).
func isClientHello(b []byte) bool {
	const recordHeader = 13
	return len(b) > recordHeader && b[0] == 22 && b[3] == 0 && b[4] == 0 && b[recordHeader] == 1
}

// pinned accepts one certificate alone.
func pinned(fingerprint [32]byte) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 || sha256.Sum256(raw[0]) != fingerprint {
			return errFingerprint
		}
		return nil
	}
}

// exportKeys returns what a link's keys are made of.
func exportKeys(c *dtls.Conn) (suite, []byte, error) {
	state, ok := c.ConnectionState()
	if !ok {
		return 0, nil, errors.New("dtls has no state")
	}
	s := suite(state.CipherSuiteID)
	if s != suiteAES128GCM && s != suiteChaCha20Poly1305 {
		return 0, nil, fmt.Errorf("dtls has settled on cipher suite %#04x, which was not offered", uint16(s))
	}
	secret, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return 0, nil, fmt.Errorf("export the keys of dtls: %w", err)
	}
	return s, secret, nil
}

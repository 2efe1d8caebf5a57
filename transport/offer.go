package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Labels of digests and of what restarts derive.
const (
	attemptLabel = "carrier/1 attempt"
	restartLabel = "carrier/1 restart"
	iceLabel     = "carrier/1 ice"
)

// signedOffer is an offer with all of it that its writer has signed: the
// envelope's signature covers both IDs, the incarnation, and the record that
// holds the bytes.
type signedOffer struct {
	Incarnation crypto.Incarnation
	Bytes       []byte      // as they were sent
	Offer       *wire.Offer // what they say; not to be changed
}

// localOffer is an offer of ours, with the key that answers for its fingerprint.
type localOffer struct {
	signedOffer
	Certificate tls.Certificate
}

// credentials are what one side of an attempt authenticates ICE checks by. They
// print and log as "[redacted]".
type credentials struct{ Ufrag, Password string }

// Format implements [fmt.Formatter].
func (credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// LogValue implements [slog.LogValuer].
func (credentials) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// offered returns the credentials that an offer carries.
func offered(o *wire.Offer) credentials { return credentials{o.ICEUfrag(), o.ICEPassword()} }

// attemptSpec is all that an attempt needs of the two offers it rests on.
//
// An attempt for a new link rests on one of each side. A restart rests on one
// alone: Local is zero if the peer offered it, and Remote, if we did, is the
// newest offer of the peer that is known and only good for its candidates
// (it may be zero). The credentials are set in every case.
type attemptSpec struct {
	ID            attemptID
	Kind          wire.OfferKind
	Lower         bool // our ID is the lower one: we control ICE and are the client of DTLS
	Local, Remote signedOffer
	LocalICE      credentials
	RemoteICE     credentials
	Certificate   tls.Certificate // of Local; none in a restart
	Order         linkOrder       // of the link that comes of it
}

// attemptDigest hashes what an attempt for a new link rests on. Its first
// bytes name the attempt. Both IDs are in it, so that offers which somebody
// passes on between two others come to different attempts at the two.
func attemptDigest(a, b linkEnd) [32]byte {
	if a.ID.Compare(b.ID) > 0 {
		a, b = b, a
	}
	return digest([]byte(attemptLabel), a.ID[:], b.ID[:], a.signed(), b.signed())
}

// restartDigest hashes what a restart rests on: the link, and the offer of one side.
func restartDigest(link attemptID, from, to crypto.ID, o signedOffer) [32]byte {
	return digest([]byte(restartLabel), link[:], from[:], to[:], linkEnd{Incarnation: o.Incarnation, Offer: o.Bytes}.signed())
}

// signed returns what the signature of the end's offer says of it.
func (e linkEnd) signed() []byte {
	b := make([]byte, 0, 16+len(e.Offer))
	return append(wire.AppendIncarnation(b, e.Incarnation), e.Offer...)
}

// digest hashes fields, each after its length.
func digest(fields ...[]byte) [32]byte {
	h := sha256.New()
	for _, f := range fields {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(f)))) // hashes never fail
		_, _ = h.Write(f)
	}
	return [32]byte(h.Sum(nil))
}

// restartSecret is what restarts derive from a link's master secret. It is kept
// as long as the link, and the master is not: traffic keys come from that.
func restartSecret(master []byte) []byte { return expandSecret(master, restartLabel, secretSize) }

// restartCredentials returns what one side of a restart authenticates by. Both
// sides can derive both, so that the one who hears of the restart begins
// without an answer: the offer travels one way only.
//
// secret is the link's restartSecret. offerer and side are the directions in which the two
// send: of whose offer it is, and of whose credentials are asked for.
func restartCredentials(secret []byte, generation uint64, offerer, side direction) (ufrag [6]byte, password [18]byte) {
	info := binary.BigEndian.AppendUint64([]byte(iceLabel), generation)
	b := expandSecret(secret, string(append(info, byte(offerer), byte(side))), 24)
	copy(ufrag[:], b)
	copy(password[:], b[len(ufrag):])
	return ufrag, password
}

// restartICE is restartCredentials as ICE writes them.
func restartICE(secret []byte, generation uint64, offerer, side direction) credentials {
	var o wire.Offer
	o.Ufrag, o.Password = restartCredentials(secret, generation, offerer, side)
	return offered(&o)
}

// newCertificate makes the certificate of one offer. It crosses the wire in
// clear, so that it says nothing of who or when: the peer knows it by its
// fingerprint alone.
func newCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("transport: certificate: " + err.Error()) // crypto/rand ends the program instead
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic("transport: certificate: " + err.Error()) // the template is a constant
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// fingerprint is what an offer says of a certificate.
func fingerprint(c tls.Certificate) [32]byte { return sha256.Sum256(c.Certificate[0]) }

package decoder

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Types of records and messages of DTLS 1.2 (RFC 6347) that a handshake has.
const (
	recordChange    = 20
	recordHandshake = 22

	dtlsClientHello = 1
	dtlsServerHello = 2
	dtlsCertificate = 11
	dtlsServerKey   = 12
	dtlsDemand      = 13
	dtlsServerDone  = 14
	dtlsVerify      = 15
	dtlsClientKey   = 16
	dtlsFinished    = 20

	dtlsVersion   = 0xFEFD
	extendedMS    = 23
	ecdsaP256     = 0x0403 // ecdsa_secp256r1_sha256
	recordHeader  = 13
	messageHeader = 12
)

// client and server are the two sides; the lower ID is the client.
const (
	client = 0
	server = 1
)

// Handshake follows the DTLS handshake of an attempt and checks all that can be
// checked with the master secret: certificates, both signatures, both Finished.
type Handshake struct {
	Suite    uint16
	Random   [2]Hex
	master   map[string]Hex // of CLIENT_RANDOM in the key log
	prints   [2]Hex         // fingerprints of the offers
	hashed   []byte         // the messages that have been
	keys     [2]*ecdsa.PublicKey
	sides    [2]dtlsSide
	ciphers  [2]recordCipher
	finished int
}

// dtlsSide is what one side sends.
type dtlsSide struct {
	messages [][]byte // whole ones, by their number
	partial  []byte   // of the next one
	epoch    uint16
}

// Done reports whether both Finished have been verified.
func (h *Handshake) Done() bool { return h.finished == 2 }

// Datagram reads the records of a handshake datagram, after the attempt's ID.
func (h *Handshake) Datagram(side int, b []byte) error {
	r := &reader{bytes: b}
	for first := true; first || r.err == nil && r.left() > 0; first = false {
		at := r.at
		kind, version, epoch := r.u8(), r.u16(), r.u16()
		r.must(version == dtlsVersion && epoch <= h.sides[side].epoch) // a flight again begins in epoch 0
		r.take(6)
		body := []byte(r.take(uint64(r.u16())))
		if r.err != nil {
			return r.err
		}
		var err error
		if epoch > 0 {
			if body, err = h.ciphers[side].open(b[at:at+recordHeader], body); err != nil {
				return fmt.Errorf("open a record: %w", err)
			}
		}
		switch kind {
		case recordHandshake:
			err = h.record(side, epoch, body)
		case recordChange:
			err = h.change(side, body)
		default:
			err = Kind
		}
		if err != nil {
			return fmt.Errorf("record of type %d: %w", kind, err)
		}
	}
	return r.err
}

// change takes a ChangeCipherSpec.
func (h *Handshake) change(side int, body []byte) error {
	master := h.master[string(h.Random[client])]
	if !bytes.Equal(body, []byte{1}) || master == nil || h.Random[server] == nil {
		return errors.New("ChangeCipherSpec that does not belong here, or no master secret for it")
	}
	var err error
	h.ciphers, err = newRecordCiphers(h.Suite, master, h.Random[client], h.Random[server])
	h.sides[side].epoch = 1
	return err
}

// record reads the fragments of messages in a record.
func (h *Handshake) record(side int, epoch uint16, body []byte) error {
	s := &h.sides[side]
	r := &reader{bytes: body}
	for r.err == nil && r.left() > 0 {
		head := r.take(messageHeader)
		if head == nil {
			break
		}
		f := &reader{bytes: head[1:]}
		size, number, offset, length := f.number(3), int(f.u16()), f.number(3), f.number(3)
		part := r.take(length)
		whole := slices.Concat(head[:6], make([]byte, 3), head[1:4]) // as if it were one fragment
		switch {
		case r.err != nil || offset+length > size:
			return Short
		case number < len(s.messages): // a flight again
			old := s.messages[number]
			if !bytes.Equal(old[:messageHeader], whole) || !bytes.Equal(old[messageHeader+offset:][:length], part) {
				return errors.New("message that differs from what was sent before")
			}
			continue
		case number > len(s.messages) || offset != uint64(len(s.partial)):
			return errors.New("message or fragment out of order")
		}
		s.partial = append(s.partial, part...)
		if uint64(len(s.partial)) < size {
			continue
		}
		message := append(whole, s.partial...)
		s.partial = nil
		if err := h.message(side, epoch, head[0], message); err != nil {
			return fmt.Errorf("message of type %d: %w", head[0], err)
		}
		s.messages = append(s.messages, message)
		h.hashed = append(h.hashed, message...)
	}
	return r.err
}

// message takes a whole message.
func (h *Handshake) message(side int, epoch uint16, kind byte, message []byte) error {
	order := [2][]byte{
		{dtlsClientHello, dtlsCertificate, dtlsClientKey, dtlsVerify, dtlsFinished},
		{dtlsServerHello, dtlsCertificate, dtlsServerKey, dtlsDemand, dtlsServerDone, dtlsFinished},
	}[side]
	n := len(h.sides[side].messages)
	if n >= len(order) || order[n] != kind || (kind == dtlsFinished) != (epoch == 1) {
		return errors.New("message out of order")
	}
	r := &reader{bytes: message[messageHeader:]}
	var err error
	switch kind {
	case dtlsClientHello, dtlsServerHello:
		h.hello(r, side)
	case dtlsCertificate:
		err = h.certificate(r, side)
	case dtlsServerKey:
		err = h.serverKey(r)
	case dtlsDemand:
		r.take(uint64(r.u8()))
		r.take(uint64(r.u16()))
		r.must(r.u16() == 0)
	case dtlsClientKey:
		r.take(uint64(r.u8()))
	case dtlsVerify:
		err = signedBy(r, h.keys[client], h.hashed)
	case dtlsFinished:
		label := [2]string{"client finished", "server finished"}[side]
		sum := sha256.Sum256(h.hashed)
		want := prf(h.master[string(h.Random[client])], label, 12, sum[:])
		r.must(bytes.Equal(r.take(12), want))
		h.finished++
	}
	if err != nil {
		return err
	}
	if r.err == nil && r.left() > 0 {
		r.fail(Trailing)
	}
	return r.err
}

// hello reads a ClientHello or ServerHello.
func (h *Handshake) hello(r *reader, side int) {
	r.must(r.u16() == dtlsVersion)
	h.Random[side] = r.take(32)
	r.take(uint64(r.u8())) // session
	if side == client {
		r.must(r.u8() == 0) // no cookie, as there is no HelloVerifyRequest
		for suites := (&reader{bytes: r.take(uint64(r.u16()))}); suites.left() > 0; {
			suite := suites.u16()
			r.must(suites.err == nil && (suite == suiteAES || suite == suiteChaCha))
			if suites.err != nil {
				return
			}
		}
		r.must(bytes.Equal(r.take(uint64(r.u8())), []byte{0}))
	} else {
		h.Suite = r.u16()
		r.must(h.Suite == suiteAES || h.Suite == suiteChaCha)
		r.must(r.u8() == 0)
	}
	extended := false
	for x := (&reader{bytes: r.take(uint64(r.u16()))}); x.err == nil && x.left() > 0; {
		extended = x.u16() == extendedMS || extended
		x.take(uint64(x.u16()))
		r.must(x.err == nil)
	}
	r.must(extended)
}

// certificate holds the one certificate of a side against its offer.
func (h *Handshake) certificate(r *reader, side int) error {
	list := &reader{bytes: r.take(r.number(3))}
	der := list.take(list.number(3))
	sum := sha256.Sum256(der)
	if list.err != nil || list.left() > 0 || !bytes.Equal(sum[:], h.prints[side]) {
		return errors.New("certificate that is not the offer's")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("certificate of the offer: %w", err)
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return errors.New("certificate whose key is not of P-256")
	}
	h.keys[side] = key
	return nil
}

// serverKey reads a ServerKeyExchange (RFC 8422).
func (h *Handshake) serverKey(r *reader) error {
	const namedCurve, x25519, secp256r1 = 3, 0x001D, 0x0017
	r.must(r.u8() == namedCurve)
	group := r.u16()
	r.must(group == x25519 || group == secp256r1)
	r.take(uint64(r.u8()))
	params := r.bytes[:r.at]
	return signedBy(r, h.keys[server], slices.Concat(h.Random[client], h.Random[server], params))
}

// signedBy reads a signature over something.
func signedBy(r *reader, key *ecdsa.PublicKey, what []byte) error {
	r.must(r.u16() == ecdsaP256)
	sig := r.take(uint64(r.u16()))
	sum := sha256.Sum256(what)
	if r.err == nil && (key == nil || !ecdsa.VerifyASN1(key, sum[:], sig)) {
		return errors.New("signature that does not verify")
	}
	return r.err
}

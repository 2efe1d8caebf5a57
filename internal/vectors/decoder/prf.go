package decoder

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
)

// prf is the pseudorandom function of TLS 1.2 with SHA-256 (RFC 5246, section 5).
func prf(secret []byte, label string, size int, seeds ...[]byte) []byte {
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	seed := slices.Concat([]byte(label), slices.Concat(seeds...))
	var out []byte
	for a := mac(seed); len(out) < size; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:size]
}

// Export is what DTLS exports for a link (RFC 5705, without a context).
func Export(master, clientRandom, serverRandom []byte) []byte {
	return prf(master, "EXPORTER-carrier-link", 32, clientRandom, serverRandom)
}

// recordCipher opens the records of one direction of DTLS after its ChangeCipherSpec.
type recordCipher struct {
	suite uint16
	aead  cipher.AEAD
	iv    []byte
}

// newRecordCiphers expands the key block: the client's and the server's.
func newRecordCiphers(suite uint16, master, clientRandom, serverRandom []byte) (c [2]recordCipher, err error) {
	key, iv := keySize(suite), 12
	if suite == suiteAES {
		iv = 4
	}
	block := prf(master, "key expansion", 2*(key+iv), serverRandom, clientRandom)
	for i := range c {
		c[i].suite = suite
		c[i].iv = block[2*key+i*iv:][:iv]
		if c[i].aead, err = newAEAD(suite, block[i*key:][:key]); err != nil {
			return c, err
		}
	}
	return c, nil
}

// open opens the body of a record behind its header of 13 bytes (RFC 5288, RFC 7905).
func (c *recordCipher) open(header, body []byte) ([]byte, error) {
	var n []byte
	if c.suite == suiteAES {
		if len(body) < 8 {
			return nil, errors.New("record without a nonce")
		}
		n, body = slices.Concat(c.iv, body[:8]), body[8:]
	} else {
		n = nonce(c.iv, binary.BigEndian.Uint64(header[3:11]))
	}
	if len(body) < c.aead.Overhead() {
		return nil, errors.New("record shorter than its tag")
	}
	ad := slices.Concat(header[3:11], header[:3], binary.BigEndian.AppendUint16(nil, uint16(len(body)-c.aead.Overhead())))
	return c.aead.Open(nil, n, body, ad)
}

package decoder

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"
)

// Drop is why an envelope, slot value or request is not taken, by the names of docs/vectors.
type Drop string

// Error makes a Drop an error; errors.Is finds it.
func (d Drop) Error() string { return "dropped by its " + string(d) }

// dropped names a fault of a layer.
func dropped(err error) error {
	switch {
	case errors.Is(err, Format):
		return Drop("format")
	case errors.Is(err, Kind):
		return Drop("kind")
	}
	return Drop("malformed")
}

// Party is one who reads what a friend writes.
type Party struct {
	Own     *Identity
	Friend  ID
	Pair    *Pair
	Prekeys map[uint64]*ecdh.PrivateKey
	Nospam  []byte // of the own address
}

// Record is a record whose signature was found good.
type Record struct {
	Kind    uint8
	Bytes   Hex
	Decoded signable
}

// signable is a record: it names the incarnation and version that are signed.
type signable interface {
	signed() (Incarnation, uint64)
}

func (s *State) signed() (Incarnation, uint64)   { return s.Incarnation, s.Version }
func (p *Profile) signed() (Incarnation, uint64) { return p.Incarnation, p.Version }
func (m *Mail) signed() (Incarnation, uint64)    { return m.Sequence.Incarnation, m.Generation }
func (n *Note) signed() (Incarnation, uint64)    { return n.Receipt.Incarnation, n.Version }
func (h *Hello) signed() (Incarnation, uint64)   { return h.Incarnation, h.Version }
func (q *Request) signed() (Incarnation, uint64) { return q.Incarnation, q.Number }

// decodeRecord reads a record of a kind, and tells the type of its signature.
func decodeRecord(kind uint8, b []byte) (rec signable, typ string, err error) {
	switch kind {
	case kindState:
		rec, err = whole(b, readState)
		return rec, "state", err
	case kindProfile:
		rec, err = whole(b, readProfile)
		return rec, "profile", err
	case kindMail:
		rec, err = whole(b, readMail)
		return rec, "mail", err
	case kindNote:
		rec, err = whole(b, readNote)
		return rec, "receipt", err
	case kindHello:
		rec, err = whole(b, readHello)
		return rec, "hello", err
	case kindRequest:
		rec, err = whole(b, readRequest)
		return rec, "request", err
	}
	return nil, "", Kind
}

// OpenEnvelope opens a datagram that came at a time in seconds since 1970.
func (p *Party) OpenEnvelope(seconds uint64, datagram []byte) (*Record, error) {
	e, err := whole(datagram, readEnvelope)
	if err != nil {
		return nil, dropped(err)
	}
	direction := p.Pair.Direction(p.Friend)
	now := uint32(seconds / hourSeconds)
	for _, hour := range []uint32{now, now - 1, now + 1} {
		if !bytes.Equal(e.Tag, p.Pair.Tag(direction, hour)) {
			continue
		}
		plain, err := openKey(p.Pair.Key(direction, hour/hoursPerWeek), datagram[:9], e.Sealed)
		if err != nil {
			return nil, Drop("open")
		}
		rec, err := p.openPlaintext(plain, kindState, kindProfile, kindMail, kindNote, kindHello)
		if err != nil {
			return nil, err
		}
		if m, ok := rec.Decoded.(*Mail); ok && m.Part != nil {
			return nil, Drop("malformed")
		}
		return rec, nil
	}
	return nil, Drop("tag")
}

// OpenSlot opens the value of a slot of a week.
func (p *Party) OpenSlot(week uint32, salt string, value []byte) (*Record, error) {
	var kind uint8
	switch {
	case salt == "s":
		kind = kindState
	case salt == "p":
		kind = kindProfile
	case len(salt) == 2 && salt[0] == 'm' && salt[1] >= '0' && salt[1] <= '7':
		kind = kindMail
	default:
		return nil, Drop("kind")
	}
	if len(value) != 512 && len(value) != 900 {
		return nil, Drop("malformed")
	}
	direction := p.Pair.Direction(p.Friend)
	ad := append(slices.Clone(p.Pair.Slot(direction, week)), salt...)
	plain, err := openKey(p.Pair.Key(direction, week), ad, value)
	if err != nil {
		return nil, Drop("slot.open")
	}
	return p.openPlaintext(plain, kind)
}

// OpenRequest opens the value of a request slot at a time in ms since 1970.
func (p *Party) OpenRequest(now uint64, value []byte) (*Record, error) {
	const day = 24 * 3600 * 1000
	if len(value) != 512 && len(value) != 900 {
		return nil, Drop("malformed")
	}
	info := append([]byte("carrier/1 request"), p.Own.ID[:]...)
	plain, err := openHPKE(p.Own.x25519, info, nil, value)
	if err != nil {
		return nil, Drop("request.open")
	}
	rec, err := p.openPlaintext(plain, kindRequest)
	if err != nil {
		return nil, err
	}
	q, ok := rec.Decoded.(*Request)
	switch {
	case !ok:
		return nil, Drop("kind")
	case !bytes.Equal(q.Nospam, p.Nospam):
		return nil, Drop("request.nospam")
	case q.Expiry <= now || q.Expiry-now > 32*day:
		return nil, Drop("request.expired")
	case q.Number > 1<<62:
		return nil, Drop("malformed")
	}
	return rec, nil
}

// openPlaintext reads a plaintext of one of some kinds.
func (p *Party) openPlaintext(b []byte, kinds ...uint8) (*Record, error) {
	plain, err := whole(b, readPlaintext)
	if err != nil {
		return nil, dropped(err)
	}
	if !slices.Contains(kinds, plain.Kind) {
		return nil, Drop("kind")
	}
	return p.openBody(plain.Kind, plain.Body)
}

// openBody takes the prekey's seal off mail, and verifies.
func (p *Party) openBody(kind uint8, body []byte) (*Record, error) {
	if kind == kindMail {
		m, err := whole(body, readMailBody)
		if err != nil {
			return nil, dropped(err)
		}
		key := p.Prekeys[m.Prekey]
		if key == nil {
			return nil, Drop("prekey")
		}
		info := slices.Concat([]byte("carrier/1 mail"), p.Friend[:], p.Own.ID[:], be64(m.Prekey))
		if body, err = openHPKE(key, info, nil, m.Sealed); err != nil {
			return nil, Drop("hpke")
		}
	}
	s, err := whole(body, readSigned)
	if err != nil {
		return nil, dropped(err)
	}
	rec, typ, err := decodeRecord(kind, s.Record)
	if err != nil {
		return nil, dropped(err)
	}
	writer := p.Friend
	if q, ok := rec.(*Request); ok {
		writer = ID(q.From)
		if writer == p.Own.ID {
			return nil, Drop("request.from")
		}
		if !writer.Counts() {
			return nil, Drop("signature.request")
		}
	}
	in, version := rec.signed()
	if !verified(writer, Transcript(typ, writer, p.Own.ID, in, version, s.Record), s.Signature) {
		return nil, Drop(fmt.Sprintf("signature.%s", typ))
	}
	return &Record{Kind: kind, Bytes: s.Record, Decoded: rec}, nil
}

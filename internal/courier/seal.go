package courier

import (
	"crypto/ed25519"
	"errors"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// The types of signed statements.
const (
	signState   = "state"
	signProfile = "profile"
	signMail    = "mail"
	signHello   = "hello"
	signReceipt = "receipt"
)

// sign gives signature ‖ record of a record of ours to the peer.
func (p *peer) sign(kind string, i crypto.Incarnation, version uint64, record []byte) []byte {
	s := p.c.identity.Sign(crypto.Transcript{
		Type: kind, From: p.c.self, To: p.id, Incarnation: i, Version: version, Body: record,
	})
	return wire.AppendSigned(nil, s, record)
}

// verify checks the signature of a record from the peer to us.
func (p *peer) verify(kind string, i crypto.Incarnation, version uint64, s crypto.Signature, record []byte) bool {
	t := crypto.Transcript{
		Type: kind, From: p.id, To: p.c.self, Incarnation: i, Version: version, Body: record,
	}
	if p.pair.Verify(t, s) {
		return true
	}
	p.c.count("drop.signature." + kind)
	return false
}

// mailInfo binds the HPKE layer of mail to its ends and to the prekey.
func mailInfo(from, to crypto.ID, prekey uint64) []byte {
	info := append([]byte("carrier/1 mail"), from[:]...)
	info = append(info, to[:]...)
	return wire.AppendUint64(info, prekey)
}

// sealMail signs a batch and seals it to the peer's prekey.
func (p *peer) sealMail(m *wire.Mail, to wire.Prekey) ([]byte, error) {
	signed := p.sign(signMail, m.Sequence.Incarnation, m.Generation, wire.AppendMail(nil, m))
	sealed, err := to.Public.Seal(mailInfo(p.c.self, p.id, to.Number), nil, signed)
	if err != nil {
		return nil, err
	}
	return wire.AppendMailBody(nil, to.Number, sealed), nil
}

// openMail undoes sealMail for mail of the peer; fresh may refuse a batch
// before the cost of its signature. nil: dropped, and counted.
func (p *peer) openMail(body []byte, fresh func(*wire.Mail) bool) *wire.Mail {
	number, sealed, err := wire.ParseMailBody(body)
	if err != nil {
		p.c.count("drop.malformed")
		return nil
	}
	signed, err := p.c.prekeys.Open(number, mailInfo(p.id, p.c.self, number), nil, sealed)
	switch {
	case errors.Is(err, ErrPrekeyGone):
		p.c.count("drop.prekey")
		p.reportPrekey(number)
		return nil
	case err != nil:
		p.c.count("drop.hpke")
		return nil
	}
	s, record, err := wire.ParseSigned(signed)
	if err != nil {
		p.c.count("drop.malformed")
		return nil
	}
	m, err := wire.ParseMail(record)
	if err != nil {
		p.c.countParse(err)
		return nil
	}
	if !fresh(m) || !p.verify(signMail, m.Sequence.Incarnation, m.Generation, s, record) {
		return nil
	}
	p.cannotOpen = 0 // the peer seals to what we hold
	return m
}

// The slots.
const (
	saltState   = "s"
	saltProfile = "p"
)

func saltMail(slot int) string { return string([]byte{'m', '0' + byte(slot)}) }

// slotKey is the BEP 44 key of a direction's slots in a week.
func (p *peer) slotKey(d crypto.Direction, week crypto.Epoch) (ed25519.PrivateKey, [32]byte) {
	k := p.pair.Slot(d, week)
	return k, [32]byte(k[32:]) // seed ‖ public key
}

// slotsRead is where the peer's slots were read last.
type slotsRead struct {
	week crypto.Epoch
	key  [32]byte
}

// theirSlots is the BEP 44 key under which the peer's slots are read in a week.
// The last one is kept: an idle peer is asked for every few minutes, all week.
func (p *peer) theirSlots(week crypto.Epoch) [32]byte {
	if k := &p.slots; k.week != week || k.key == [32]byte{} {
		k.week = week
		_, k.key = p.slotKey(crypto.In, week)
	}
	return p.slots.key
}

func slotData(key [32]byte, salt string) []byte { return append(key[:], salt...) }

// sealSlot makes the value of one of our slots. Every body that this package
// makes fits: the records are bounded by wire's limits, which a test holds.
func (p *peer) sealSlot(week crypto.Epoch, salt string, kind wire.Kind, body []byte) (ed25519.PrivateKey, []byte) {
	key, public := p.slotKey(crypto.Out, week)
	size, ok := wire.PadSlot(len(body))
	if !ok {
		panic("courier: a body too long for a slot")
	}
	plain := wire.AppendPlain(nil, kind, body, size)
	return key, p.pair.Key(crypto.Out, week).Seal(nil, slotData(public, salt), plain)
}

// openSlot opens the value of a slot and gives its body, if it is of that kind.
// nil: dropped, and counted.
func (p *peer) openSlot(d crypto.Direction, week crypto.Epoch, salt string, kind wire.Kind, i Item) []byte {
	if len(i.Value) > wire.MaxValue {
		p.c.count("drop.malformed")
		return nil
	}
	plain, err := p.pair.Key(d, week).Open(nil, slotData(i.Key, salt), i.Value)
	if err != nil {
		p.c.count("drop.slot.open")
		return nil
	}
	k, body, err := wire.ParsePlain(plain)
	switch {
	case err != nil:
		p.c.countParse(err)
		return nil
	case k != kind:
		p.c.count("drop.kind")
		return nil
	}
	return body
}

// sealDatagram makes an envelope to the peer.
func (p *peer) sealDatagram(kind wire.Kind, body []byte) []byte {
	hour := crypto.Hour(p.c.loop.Now())
	tag := p.pair.Tag(crypto.Out, hour)
	size, ok := wire.PadDatagram(len(body))
	if !ok {
		panic("courier: a body too long for a datagram")
	}
	plain := wire.AppendPlain(nil, kind, body, size)
	head := wire.AppendEnvelope(make([]byte, 0, wire.MaxDatagram), tag, nil)
	return p.pair.Key(crypto.Out, crypto.HourWeek(hour)).Seal(head, head, plain)
}

// openDatagram opens the pair layer of an envelope that may be from the peer.
func (p *peer) openDatagram(week crypto.Epoch, head, sealed []byte) ([]byte, bool) {
	plain, err := p.pair.Key(crypto.In, week).Open(nil, head, sealed)
	return plain, err == nil
}

// countParse counts bytes that opened and are no record of ours: of a later
// format, or malformed.
func (c *Courier) countParse(err error) {
	switch {
	case errors.Is(err, wire.ErrFormat):
		c.count("drop.format")
	case errors.Is(err, wire.ErrKind):
		c.count("drop.kind")
	default:
		c.count("drop.malformed")
	}
}

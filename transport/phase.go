package transport

import (
	"errors"

	"github.com/gocarrier/carrier/internal/wire"
)

// keyLimits bounds the use of keys. They are fields so that tests reach them.
type keyLimits struct {
	rekey  uint64 // packets sealed in a phase before the next one is begun
	seal   uint64 // packets that one key may seal
	number uint64 // the highest packet number
	failed uint64 // packets that may fail to open, in the link's life
	spare  uint64 // how far before seal and number the link must close
}

// defaultKeyLimits are those of RFC 9001 section 6.6 and appendix B. Of the
// two suites' limits the lower one holds for both.
func defaultKeyLimits() keyLimits {
	return keyLimits{
		rekey:  1 << 22,
		seal:   1 << 23, // confidentiality of AES-GCM
		number: wire.MaxVarint,
		failed: 1 << 36, // integrity of ChaCha20-Poly1305
		spare:  1 << 10, // for the packets that close the link
	}
}

// Why a link's keys are exhausted.
var (
	errSealLimit   = errors.New("transport: a key has sealed all packets that it may, and the peer acknowledged none; make a new link")
	errNumberLimit = errors.New("transport: no packet numbers are left; make a new link")
	errFailedLimit = errors.New("transport: too many packets failed to open; make a new link")
)

// sendPhase is the sending side of the key phases (RFC 9001 section 6).
type sendPhase struct {
	ratchet ratchet
	key     packetKey
	phase   uint64 // counts from 0; its lowest bit is in the packets
	sealed  uint64 // packets of this phase
	first   uint64 // number of its first packet
	next    uint64 // the last number sealed in any phase, plus one; 0: none was
	acked   bool   // the peer acknowledged a packet of this phase
}

func newSendPhase(s suite, master []byte, d direction) sendPhase {
	p := sendPhase{ratchet: newRatchet(s, master, d)}
	p.key = p.ratchet.next()
	return p
}

func (p *sendPhase) advance() {
	p.key = p.ratchet.next()
	p.phase++
	p.sealed, p.acked = 0, false
}

// receivePhase is the receiving side of the key phases.
type receivePhase struct {
	ratchet ratchet
	old     packetKey // of the phase before; no AEAD when it is given up
	key     packetKey
	next    packetKey // made ahead, so that the first packet of a phase costs as much as any other
	phase   uint64
	first   uint64 // number of the packet that began this phase here
}

func newReceivePhase(s suite, master []byte, d direction) receivePhase {
	p := receivePhase{ratchet: newRatchet(s, master, d)}
	p.key = p.ratchet.next()
	p.next = p.ratchet.next()
	return p
}

// choose returns the one key that can open the packet, and whether it is that
// of the next phase. Numbers rise with phases: what has the other bit is of the
// phase before if its number is below this phase's. If that key is given up the
// next one fails in its stead, at the same cost.
func (p *receivePhase) choose(bit byte, pn uint64) (key *packetKey, next bool) {
	switch {
	case uint64(bit) == p.phase&1:
		return &p.key, false
	case pn < p.first && p.old.aead != nil:
		return &p.old, false
	}
	return &p.next, true
}

// forget gives up the key of the phase before when the replay window, up to
// the highest number received, has left all its packets behind.
func (p *receivePhase) forget(highest uint64) {
	if highest-p.first >= replayWindowSize {
		p.old = packetKey{}
	}
}

func (p *receivePhase) advance(pn uint64) {
	p.old, p.key, p.next = p.key, p.next, p.ratchet.next()
	p.phase++
	p.first = pn
}

// rekeyIfDue begins the next phase when the present one has sealed enough, the
// peer has acknowledged a packet of it and has come to it itself. So the ends
// are never more than one phase apart.
func (k *linkKeys) rekeyIfDue() {
	if k.send.sealed >= k.limits.rekey && k.send.acked && k.send.phase == k.receive.phase {
		k.send.advance()
	}
}

// follow goes to the phase that the peer has begun with packet pn.
func (k *linkKeys) follow(pn uint64) {
	k.receive.advance(pn)
	if k.send.phase < k.receive.phase {
		k.send.advance()
	}
}

// mayFollow reports whether the peer could begin a phase with packet pn. An
// honest one does so above all its other numbers, and after an acknowledgement
// in the present phase, which we have then sealed a packet of. (A friend could
// otherwise have us make keys for every packet.)
func (k *linkKeys) mayFollow(pn uint64) bool {
	return pn >= k.window.next && (k.send.phase > k.receive.phase || k.send.sealed > 0)
}

// acked tells that the peer has acknowledged packet pn, which was sealed: after
// one of the present phase the next may be begun.
func (k *linkKeys) acked(pn uint64) {
	if k.send.sealed > 0 && pn >= k.send.first && pn < k.send.next {
		k.send.acked = true
	}
}

// exhausted returns why the link must close now, or nil. There is room left for
// the packets that close it.
func (k *linkKeys) exhausted() error {
	l := &k.limits
	switch {
	case k.failed >= l.failed:
		return errFailedLimit
	case k.send.sealed+l.spare >= l.seal:
		return errSealLimit
	case k.send.next+l.spare > l.number:
		return errNumberLimit
	}
	return nil
}

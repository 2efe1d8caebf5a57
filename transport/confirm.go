package transport

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// errUnconfirmed ends a link whose peer never showed that it has the keys.
var errUnconfirmed = errors.New("the peer has not confirmed the keys")

// confirmation is the key confirmation of one end. Each end sends ASK until
// the peer's ANSWER to it arrives; only that proves that the peer has the keys
// and that our packets reach it. Whoever is asked answers, as long as the link
// lives, since the peer may miss an answer.
type confirmation struct {
	done   bool
	tell   bool          // done, and the handler has not been told
	next   time.Duration // of the next ASK
	token  [16]byte
	answer *[16]byte // asked by the peer
}

func (c *confirmation) begin() { rand.Read(c.token[:]) } // never fails

// packet is what is to be sent now; nil if nothing.
func (c *confirmation) packet(now time.Duration) []byte {
	var b []byte
	if c.answer != nil {
		b = wire.AppendAnswer(b, *c.answer)
		c.answer = nil
	}
	if !c.done && now >= c.next {
		b = wire.AppendAsk(b, c.token)
		c.next = now + askEvery
	}
	return b
}

// received takes a packet of ASK and ANSWER. Others in it are a fault.
func (c *confirmation) received(b []byte) error {
	for len(b) > 0 {
		var token [16]byte
		var err error
		switch wire.FrameKind(b[0]) {
		case wire.FrameAsk:
			if token, b, err = wire.ParseAsk(b); err != nil {
				return err
			}
			c.answer = &token
			if !c.done {
				c.next = 0 // the peer has the keys now: ours may have come too early for it
			}
		case wire.FrameAnswer:
			if token, b, err = wire.ParseAnswer(b); err != nil {
				return err
			}
			if !c.done && subtle.ConstantTimeCompare(token[:], c.token[:]) == 1 {
				c.done, c.tell = true, true
			}
		default:
			return errors.New("a frame that does not belong to key confirmation")
		}
	}
	return nil
}

// confirmed takes a packet of key confirmation. Under mu.
func (l *Link) confirmed(plain []byte) {
	if err := l.confirm.received(plain); err != nil {
		l.drops["data.confirmation"]++
		return
	}
	l.rouse()
}

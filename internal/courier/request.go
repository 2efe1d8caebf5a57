package courier

import (
	"crypto/subtle"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

const signRequest = "request"

// requests is the part of the courier that puts and finds friend requests. A
// request stands in one of 65,535 buckets drawn at random, whose number is rung
// on a bell of the day (BEP 5, the port is the number), and in one of 16 fixed
// buckets chosen by the requester's ID, which outlive announces. Both are BEP 44
// items under keys that everybody derives who has the Address.
type requests struct {
	c   *Courier
	out map[crypto.ID]*outRequest
	in  *watch // of the buckets of our own Address
}

func newRequests(c *Courier) *requests {
	return &requests{c: c, out: make(map[crypto.ID]*outRequest), in: newWatch(c)}
}

// ready tells that the DHT has been joined.
func (r *requests) ready() {
	for _, o := range r.out {
		o.put()
	}
	r.in.ready()
}

// networkChanged tells that our addresses or networks have changed: requests
// name them.
func (r *requests) networkChanged() {
	for _, o := range r.out {
		o.putSoon(networkWait)
	}
	r.in.networkChanged()
}

// stop ends all; nothing is started afterwards.
func (r *requests) stop() {
	for _, o := range r.out {
		o.stop()
	}
	r.out = nil
	r.in.stop()
}

// Publish puts a request of ours where its target finds it, in place of an
// earlier one to the same person, until it is withdrawn or expires.
func (c *Courier) Publish(to crypto.Address, number uint64, asked, expiry time.Time, hello string) {
	if c.closing || c.closed {
		return
	}
	o := &outRequest{
		c: c, to: to, number: number, asked: asked, expiry: expiry, hello: hello,
		first: c.isReady || len(c.requests.out) < requestsAtOnce,
	}
	if last := c.requests.out[to.ID]; last != nil {
		if last.to == to && last.number == number {
			return // it is
		}
		if last.to == to {
			o.lastDay, o.last = last.day, last.bucket
		}
		last.stop()
	}
	c.requests.out[to.ID] = o
	if c.isReady {
		o.put()
	}
}

// Withdraw ends the putting of a request; what holders keep fades.
func (c *Courier) Withdraw(id crypto.ID) {
	if o := c.requests.out[id]; o != nil {
		o.stop()
		delete(c.requests.out, id)
	}
}

// SetAddress tells the Address whose requests are looked for, instead of any
// earlier one. Its ID must be our own.
func (c *Courier) SetAddress(a crypto.Address) { c.requests.in.set(a) }

// requestInfo binds a sealed request to its target.
func requestInfo(to crypto.ID) []byte { return append([]byte("carrier/1 request"), to[:]...) }

// sealRequest makes the value of a request bucket.
func (c *Courier) sealRequest(to crypto.ID, r *wire.Request) ([]byte, error) {
	record := wire.AppendRequest(nil, r)
	signature := c.identity.Sign(crypto.Transcript{
		Type: signRequest, From: c.self, To: to, Incarnation: r.Incarnation, Version: r.Number, Body: record,
	})
	body := wire.AppendSigned(nil, signature, record)
	size, ok := wire.PadRequest(len(body))
	if !ok {
		panic("courier: a request too long for a bucket")
	}
	return to.Seal(requestInfo(to), nil, wire.AppendPlain(nil, wire.KindRequest, body, size))
}

// openRequest opens the value of a bucket of our Address. nil: dropped, and
// counted.
func (c *Courier) openRequest(a crypto.Address, value []byte) *wire.Request {
	if len(value) > wire.MaxValue {
		c.count("drop.malformed")
		return nil
	}
	plain, err := c.identity.Open(requestInfo(c.self), nil, value)
	if err != nil {
		c.count("drop.request.open")
		return nil
	}
	kind, body, err := wire.ParsePlain(plain)
	if err != nil {
		c.countParse(err)
		return nil
	}
	if kind != wire.KindRequest {
		c.count("drop.kind")
		return nil
	}
	signature, record, err := wire.ParseSigned(body)
	if err != nil {
		c.count("drop.malformed")
		return nil
	}
	r, err := wire.ParseRequest(record)
	if err != nil {
		c.countParse(err)
		return nil
	}
	switch now := c.loop.Now(); {
	case subtle.ConstantTimeCompare(a.Nospam[:], r.Nospam[:]) == 0:
		c.count("drop.request.nospam")
	case r.From == c.self:
		c.count("drop.request.from")
	case r.Expiry <= now.UnixMilli():
		c.count("drop.request.expired")
	default:
		t := crypto.Transcript{
			Type: signRequest, From: r.From, To: c.self, Incarnation: r.Incarnation, Version: r.Number, Body: record,
		}
		if t.Verify(signature) {
			return r
		}
		c.count("drop.signature.request")
	}
	return nil
}

package courier

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	requestEvery  = time.Hour        // a pending request is put again
	announceEvery = 15 * time.Minute // and its bell rung again
	requestRetry  = 10 * time.Second // after a put that reached too few
	networkWait   = 2 * time.Second  // after a change of networks
)

// outRequest is one request of ours that is being put.
type outRequest struct {
	c             *Courier
	to            crypto.Address
	number        uint64
	asked, expiry time.Time
	hello         string

	day     crypto.Epoch // that bucket is of
	bucket  uint32       // the random one
	again   Timer        // of put
	bell    Timer        // of ring
	stopped bool
}

func (o *outRequest) stop() {
	o.stopped = true
	for _, t := range []Timer{o.again, o.bell} {
		if t != nil {
			t.Stop()
		}
	}
}

// putSoon puts the request after d instead of when it was due.
func (o *outRequest) putSoon(d time.Duration) {
	if o.again != nil {
		o.again.Stop()
	}
	o.again = o.c.loop.After(d, o.put)
}

// put seals the request as things stand now and puts it into both buckets.
func (o *outRequest) put() {
	c, now := o.c, o.c.loop.Now()
	if o.stopped || c.closing || c.closed {
		return
	}
	if !now.Before(o.expiry) {
		o.stop()
		return
	}
	name := ""
	if c.profile != nil {
		name = c.profile.Name
	}
	value, err := c.sealRequest(o.to.ID, &wire.Request{
		From: c.self, Incarnation: c.incarnation, Nospam: o.to.Nospam, Number: o.number,
		Time: o.asked.UnixMilli(), Expiry: o.expiry.UnixMilli(), Format: wire.Format, Start: c.start,
		Name: name, Hello: o.hello, Prekey: c.prekeys.Current(), Endpoints: c.endpoints(),
	})
	if err != nil { // an ID that is no key, which nobody hands us
		c.log.Error("friend request not sealed", "err", err)
		o.stop()
		return
	}
	if day := crypto.Day(now); o.bucket == 0 || day != o.day {
		o.day, o.bucket = day, 1+uint32(c.random.IntN(crypto.RandomBuckets))
	}
	day, bucket := o.day, o.bucket
	o.write(day, bucket, value, true, func(r PutResult) {
		if o.stopped || o.bucket != bucket {
			return
		}
		switch {
		case r.Newer != 0: // somebody has that bucket: take another
			o.bucket = 0
			o.putSoon(0)
		case r.Stored == 0:
			o.putSoon(c.jitter(requestRetry))
		default:
			if r.Stored < fewestCopies {
				o.putSoon(c.jitter(requestRetry))
			}
			o.ring()
		}
	})
	o.write(day, crypto.FixedBucket(c.self), value, false, func(r PutResult) {
		if !o.stopped && r.Newer != 0 && uint64(r.Newer) <= tooFar(c.loop.Now()) {
			// Requesters share this bucket: each stands there for a while.
			c.rising.raise(c, uint64(r.Newer))
		}
	})
	o.putSoon(min(c.jitter(requestEvery), untilDay(now)))
}

// write puts the value into a bucket, and done gets the result.
func (o *outRequest) write(day crypto.Epoch, bucket uint32, value []byte, urgent bool, done func(PutResult)) {
	c := o.c
	p := Put{Key: o.to.RequestSlot(day, bucket), Value: value, Seq: int64(c.rising.next(c))}
	start := func() {
		if o.stopped {
			return
		}
		c.count("request.put")
		c.then(func() { c.slots.Put(p, done) })
	}
	if urgent {
		c.budget.spend(costPut)
		start()
		return
	}
	c.budget.run(classWalk, costPut, start)
}

// ring announces the bucket's number on the bell of its day.
func (o *outRequest) ring() {
	c := o.c
	if o.bell != nil {
		o.bell.Stop()
	}
	c.budget.spend(costPut)
	bell, bucket := o.to.RequestBell(o.day), uint16(o.bucket)
	c.then(func() {
		c.slots.Announce(bell, bucket, func(h Health) {
			if o.stopped {
				return
			}
			every := announceEvery
			if h.Answered == 0 {
				every = requestRetry
			}
			o.bell = c.loop.After(c.jitter(every), o.ring)
		})
	})
}

// untilDay is the time to the first moment of the next day.
func untilDay(now time.Time) time.Duration {
	return (crypto.Day(now) + 1).DayStart().Sub(now) + time.Second
}

package courier

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	requestFirst  = time.Minute      // a pending request is put again: somebody may have put over it
	requestEvery  = time.Hour        // doubled each time up to this
	announceEvery = 15 * time.Minute // and its bell rung again
	requestRetry  = 10 * time.Second // after a put that reached too few; doubled each time
	retryMax      = 5 * time.Minute  // up to this
	networkWait   = 2 * time.Second  // after a change of networks

	requestsAtOnce = 16              // requests of an earlier run that are put at once at the start
	daySpread      = 5 * time.Minute // not everybody puts at midnight; yesterday's is still read
)

// outRequest is one request of ours that is being put.
type outRequest struct {
	c             *Courier
	to            crypto.Address
	number        uint64
	asked, expiry time.Time
	hello         string

	day     crypto.Epoch  // that bucket is of
	bucket  uint32        // the random one; 0: to be drawn
	lastDay crypto.Epoch  // the same of the request whose place this one takes,
	last    uint32        // which is put over; 0: none, or it is done
	every   time.Duration // until it is put again
	retry   time.Duration // the same if too few took it
	floor   int64         // highest seq known to stand in the fixed bucket
	raised  time.Time     // when that was last put once more
	first   bool          // not put yet: somebody waits for it
	again   Timer         // of put
	bell    Timer         // of ring
	ringing bool          // an announce is under way
	reach   time.Duration // until one that few nodes heard is repeated; 0: enough did
	told    bool          // the handler, that it is stored
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
	if c.mute() {
		o.putSoon(c.jitter(retryMax)) // a twin of ours writes
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
	fresh := false
	if day := crypto.Day(now); o.bucket == 0 || day != o.day {
		o.day, o.bucket, fresh = day, 1+uint32(c.random.IntN(crypto.RandomBuckets)), true
		o.every = 0
	}
	o.every = min(max(2*o.every, requestFirst), requestEvery)
	bucket := o.bucket
	o.write(o.day, bucket, 0, value, func(r PutResult) { o.placed(bucket, r) })
	if o.last != 0 { // else who looks there first is shown old words
		o.write(o.lastDay, o.last, 0, value, func(r PutResult) {
			if r.Stored >= fewestCopies {
				o.last = 0
			}
		})
	}
	o.write(o.day, crypto.FixedBucket(c.self), o.floor, value, func(r PutResult) {
		// Requesters share this bucket: each stands there for a while. Ours
		// goes above one whose clock is ahead.
		if now := c.loop.Now(); r.Newer > 0 && uint64(r.Newer) <= tooFar(now) && !o.stopped {
			o.floor = r.Newer
			if r.Stored < fewestCopies && now.Sub(o.raised) >= requestEvery {
				o.raised = now
				o.putSoon(c.jitter(requestRetry))
			}
		}
	})
	o.first = false
	if fresh || o.bell == nil {
		// At once, as both take a walk: the target looks again where it has
		// found nothing yet.
		o.ring()
	}
	spread := time.Duration(c.random.Int64N(int64(daySpread)))
	o.putSoon(min(c.jitter(o.every), untilDay(now)+spread))
}

// placed takes what came of a put into the random bucket.
func (o *outRequest) placed(bucket uint32, r PutResult) {
	if o.stopped || o.bucket != bucket {
		return
	}
	_, all := r.complete()
	if (all || r.Stored >= fewestCopies) && !o.told {
		o.told = true
		o.c.handler.OnRequestStored(o.to.ID)
	}
	if r.Stored >= knownNear || r.Stored >= fewestCopies && r.Newer != 0 {
		o.retry = 0
		return
	}
	if r.Newer != 0 {
		o.bucket = 0 // somebody has that one: draw another
	}
	// A copy at every node may be no more than at every node that was known at a
	// bad moment: the target may look elsewhere.
	most := retryMax
	if all {
		most = requestEvery
	}
	o.retry = min(max(2*o.retry, requestRetry), most)
	o.putSoon(o.c.jitter(o.retry))
}

// write puts the value into a bucket with a seq above floor, and done gets the
// result. What somebody waits for is put at once, else when the budget allows.
// Seqs of a bucket are nobody's alone, so they never move our rising numbers.
func (o *outRequest) write(day crypto.Epoch, bucket uint32, floor int64, value []byte, done func(PutResult)) {
	c := o.c
	p := Put{Key: o.to.RequestSlot(day, bucket), Value: value, Seq: c.seq(c.rising.next(c), floor)}
	start := func() {
		if o.stopped || c.mute() {
			return
		}
		c.count("request.put")
		c.then(func() { c.slots.Put(p, done) })
	}
	if o.first {
		c.budget.spend(costPut)
		start()
		return
	}
	c.budget.run(classWalk, costPut, start)
}

// ring announces the bucket's number on the bell of its day, now and every 15
// minutes.
func (o *outRequest) ring() {
	c := o.c
	if o.stopped || o.ringing || c.closing || c.closed {
		return
	}
	if !c.loop.Now().Before(o.expiry) {
		o.stop()
		return
	}
	if o.bell != nil {
		o.bell.Stop()
	}
	if c.mute() || o.bucket == 0 {
		o.bell = c.loop.After(c.jitter(retryMax), o.ring)
		return
	}
	o.ringing = true
	c.budget.spend(costPut)
	c.count("request.announce")
	day, bucket := o.day, o.bucket
	bell := o.to.RequestBell(day)
	c.then(func() {
		c.slots.Announce(bell, uint16(bucket), func(h Health) {
			o.ringing = false
			if o.stopped {
				return
			}
			every := announceEvery
			if h.Answered < knownNear { // a node that has just joined knows few
				o.reach = min(max(2*o.reach, requestRetry), announceEvery)
				every = o.reach
			} else {
				o.reach = 0
			}
			o.bell = c.loop.After(c.jitter(every), o.ring)
			if o.day != day || o.bucket != bucket {
				o.ring() // another was drawn meanwhile
			}
		})
	})
}

// untilDay is the time to the first moment of the next day.
func untilDay(now time.Time) time.Duration {
	return (crypto.Day(now) + 1).DayStart().Sub(now) + time.Second
}

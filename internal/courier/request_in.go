package courier

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

const (
	bellEvery     = 5 * time.Second // known holders of today's and yesterday's bells are asked
	bellEarly     = 2 * time.Second // at first, when an Address has just been given away
	bellEarlyFor  = time.Minute
	bellAsk       = 3                // that many of each
	bellWalkFirst = 30 * time.Second // and looked for anew, at first soon: the
	bellWalkEvery = 10 * time.Minute // network may still be forming
	fixedEvery    = 30 * time.Minute // the fixed buckets are read
	fixedDays     = 3                // of today and the days before
	fixedPace     = 2 * time.Second  // one after the other, older days slower: friends come first

	bucketsAtOnce = 4                // reads under way
	bucketsHeld   = 1024             // buckets remembered, of each day
	bucketSample  = 8                // new ones taken from one look at a bell
	bucketQueue   = 64               // that wait to be read
	bucketRetry   = 4 * time.Second  // until a bucket without a request is read again, then four times that, and so on
	bucketEvery   = 30 * time.Minute // until one with a request is, and at the latest
)

// bucketLimit is for reads of buckets that bells have named: what whoever
// knows our Address can make us do.
func bucketLimit() rate { return rate{1.0 / 4, 16} }

// watch looks for requests to our own Address.
type watch struct {
	c       *Courier
	address crypto.Address
	round   int // rises with the address, so that answers for an old one are dropped
	days    map[crypto.Epoch]*bellDay
	queue   []bucketRead
	reading int
	effort  bucket   // what bells have made us do
	timers  [2]Timer // of bells and fixed buckets
	running bool
	begun   time.Time // the looking for this address
}

// bellDay is what is known of one day's bell.
type bellDay struct {
	walk    time.Time     // the next walk, not before
	pause   time.Duration // between the last one and it
	asking  bool
	buckets map[uint16]*bucketState
}

// bucketState is a random bucket that a bell has named.
type bucketState struct {
	tries   int
	next    time.Time // not read before
	vouched bool      // several holders have named it
	queued  bool      // or being read
	held    bool      // a request to us when it was read last
}

// first reports whether the bucket is read before others: only if one holder
// alone could not have thought it up, and twice, as its bell may ring before the
// request is put.
func (s *bucketState) first() bool { return s.vouched && s.tries < 2 }

// bucketRead is a bucket that waits to be read.
type bucketRead struct {
	day    crypto.Epoch
	bucket uint16
	state  *bucketState
}

func newWatch(c *Courier) *watch { return &watch{c: c, days: make(map[crypto.Epoch]*bellDay)} }

func (w *watch) set(a crypto.Address) {
	if a == w.address {
		return
	}
	w.address = a
	w.round++
	w.days, w.queue, w.reading = make(map[crypto.Epoch]*bellDay), nil, 0
	if w.running {
		w.begin()
	}
}

func (w *watch) ready() {
	w.running = true
	w.begin()
}

func (w *watch) begin() {
	if w.address.IsZero() {
		return
	}
	w.begun = w.c.loop.Now()
	w.lookAtBells()
	w.lookAtFixed()
}

func (w *watch) networkChanged() {
	for _, d := range w.days {
		d.walk, d.pause = time.Time{}, 0
	}
}

func (w *watch) stop() {
	w.running = false
	w.round++
	for _, t := range w.timers {
		if t != nil {
			t.Stop()
		}
	}
}

// schedule arms one of the timers anew.
func (w *watch) schedule(i int, d time.Duration, f func()) {
	if w.timers[i] != nil {
		w.timers[i].Stop()
	}
	w.timers[i] = w.c.loop.After(d, f)
}

// every is an interval of this node, spread.
func (w *watch) every(d time.Duration) time.Duration {
	if w.c.quiet {
		d *= quietFactor
	}
	return w.c.jitter(d)
}

// lookAtBells asks the bells of today and yesterday, and queues the buckets
// whose time has come.
func (w *watch) lookAtBells() {
	if !w.running {
		return
	}
	now := w.c.loop.Now()
	today := crypto.Day(now)
	for day := range w.days {
		if day+1 < today || day > today {
			delete(w.days, day)
		}
	}
	for _, day := range []crypto.Epoch{today, today - 1} {
		d := w.days[day]
		if d == nil {
			d = &bellDay{buckets: make(map[uint16]*bucketState)}
			w.days[day] = d
		}
		w.ask(day, d, now)
		for bucket, s := range d.buckets {
			// The new ones that the bells are about to name come first.
			if !s.queued && !now.Before(s.next) && len(w.queue) < bucketQueue/4 {
				w.enqueue(bucketRead{day, bucket, s})
			}
		}
	}
	w.next()
	every := bellEvery
	if now.Sub(w.begun) < bellEarlyFor {
		every = bellEarly
	}
	w.schedule(0, w.every(every), w.lookAtBells)
}

// ask asks holders of a bell for the buckets in use.
func (w *watch) ask(day crypto.Epoch, d *bellDay, now time.Time) {
	if d.asking {
		return
	}
	d.asking = true
	ask := bellAsk
	if !now.Before(d.walk) {
		d.pause = min(max(2*d.pause, bellWalkFirst), bellWalkEvery)
		d.walk = now.Add(w.every(d.pause))
		ask = 0
	}
	round, bell := w.round, w.address.RequestBell(day)
	heard := make(map[uint16]int) // buckets not read yet, and how many holders name each
	each := func(at netip.AddrPort) {
		bucket := at.Port()
		if s := d.buckets[bucket]; bucket != 0 && (s == nil || s.tries == 0) {
			heard[bucket]++
		}
	}
	look := func() {
		if round != w.round {
			return
		}
		w.c.count("request.bell")
		w.c.then(func() {
			w.c.slots.Peers(bell, ask, each, func(h Health) {
				if round != w.round {
					return
				}
				d.asking = false
				if h.Answered == 0 && d.pause > bellWalkFirst {
					d.walk, d.pause = time.Time{}, 0 // those known are gone
				}
				w.hear(day, d, heard)
			})
		})
	}
	if ask == 0 { // rare, and not to stand in line behind a thousand friends
		w.c.budget.spend(costWalk)
		look()
		return
	}
	w.c.budget.run(classAsk, ask, look)
}

// hear takes a sample of new buckets from a bell: those that more holders name
// first, for an announce goes to several and one liar speaks for itself only;
// among equals each is as likely as another.
func (w *watch) hear(day crypto.Epoch, d *bellDay, heard map[uint16]int) {
	buckets := slices.Collect(maps.Keys(heard))
	w.c.random.Shuffle(len(buckets), func(i, j int) { buckets[i], buckets[j] = buckets[j], buckets[i] })
	slices.SortStableFunc(buckets, func(a, b uint16) int { return cmp.Compare(heard[b], heard[a]) })
	for _, bucket := range buckets[:min(len(buckets), bucketSample)] {
		vouched := heard[bucket] > 1
		if s := d.buckets[bucket]; s != nil {
			if vouched && !s.vouched {
				s.vouched = true
				w.forward(s)
			}
			continue
		}
		if len(w.queue) >= bucketQueue && !(vouched && w.giveWay()) || len(d.buckets) >= bucketsHeld && !d.forgetOne() {
			w.c.count("drop.request.bell")
			return
		}
		s := &bucketState{vouched: vouched}
		d.buckets[bucket] = s
		w.enqueue(bucketRead{day, bucket, s})
	}
}

// forward gives a waiting bucket the place that it would get now.
func (w *watch) forward(s *bucketState) {
	if i := slices.IndexFunc(w.queue, func(r bucketRead) bool { return r.state == s }); i >= 0 {
		r := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		w.enqueue(r)
	}
}

// giveWay drops the last of the waiting buckets that one holder alone has named.
func (w *watch) giveWay() bool {
	for i, r := range slices.Backward(w.queue) {
		if !r.state.vouched {
			if d := w.days[r.day]; d != nil {
				delete(d.buckets, r.bucket)
			}
			w.queue = slices.Delete(w.queue, i, i+1)
			return true
		}
	}
	return false
}

// forgetOne makes room by forgetting a bucket that held no request, any.
func (d *bellDay) forgetOne() bool {
	for bucket, s := range d.buckets {
		if !s.queued && s.tries > 0 && !s.held {
			delete(d.buckets, bucket)
			return true
		}
	}
	return false
}

// lookAtFixed reads the fixed buckets of the last days, today's first, one by
// one.
func (w *watch) lookAtFixed() {
	if !w.running {
		return
	}
	begun := w.c.loop.Now()
	today := crypto.Day(begun)
	n := uint32(0)
	var next func()
	next = func() {
		if n == fixedDays*crypto.FixedBuckets {
			w.schedule(1, max(w.every(fixedEvery)-w.c.loop.Now().Sub(begun), 0), w.lookAtFixed)
			return
		}
		day, bucket := today-crypto.Epoch(n/crypto.FixedBuckets), crypto.FirstFixedBucket+n%crypto.FixedBuckets
		pace := fixedPace * time.Duration(1+n/crypto.FixedBuckets)
		n++
		round := w.round
		w.c.budget.run(classWalk, costWalk, func() {
			if round == w.round {
				w.read(day, bucket, func(bool) { w.schedule(1, w.every(pace), next) })
			}
		})
	}
	w.schedule(1, w.every(fixedPace), next)
}

// enqueue has a bucket that a bell has named read when its turn comes.
func (w *watch) enqueue(r bucketRead) {
	r.state.queued = true
	at := len(w.queue)
	if r.state.first() {
		if i := slices.IndexFunc(w.queue, func(q bucketRead) bool { return !q.state.first() }); i >= 0 {
			at = i
		}
	}
	w.queue = slices.Insert(w.queue, at, r)
	w.next()
}

// next starts reads while there is room; each look at the bells comes here, so
// that nothing waits for long without reason.
func (w *watch) next() {
	limit := bucketLimit()
	if w.c.quiet {
		limit.perSecond /= quietFactor
	}
	for w.reading < bucketsAtOnce && len(w.queue) > 0 {
		if _, ok := w.effort.take(limit, w.c.loop.Now()); !ok {
			w.c.count("request.read.held")
			return
		}
		r := w.queue[0]
		w.queue = w.queue[1:]
		w.reading++
		w.c.budget.spend(costWalk)
		w.read(r.day, uint32(r.bucket), func(held bool) {
			w.reading--
			w.settle(r.state, held)
			w.next()
		})
	}
}

// read reads a bucket and hands on what it holds; done is told whether that was
// a request, unless the address has changed meanwhile.
func (w *watch) read(day crypto.Epoch, bucket uint32, done func(held bool)) {
	round, address := w.round, w.address
	key := address.RequestSlot(day, bucket)
	found, held := false, false
	w.c.count("request.read")
	w.c.then(func() {
		w.c.slots.Get(Query{Key: [32]byte(key[32:])}, func(i Item) {
			if round != w.round {
				return
			}
			found = true
			if request := w.c.openRequest(address, i.Value); request != nil {
				held = true
				w.c.count("request.found")
				w.c.handler.OnRequest(request)
			}
		}, func(Health) {
			if round != w.round {
				return
			}
			if found && !held {
				w.c.count("request.poisoned")
			}
			done(held)
		})
	})
}

// settle decides when a bucket is read again: soon, while what the bell has
// named may still be on its way to the holders, and then ever more rarely.
func (w *watch) settle(s *bucketState, held bool) {
	pause := bucketEvery
	if shift := 2 * s.tries; !held && shift < 16 {
		pause = min(bucketRetry<<shift, bucketEvery)
	}
	s.queued, s.held = false, held
	s.tries++
	s.next = w.c.loop.Now().Add(w.every(pause))
}

package courier

import (
	"net/netip"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

const (
	bellEvery     = 5 * time.Second  // known holders of today's and yesterday's bells are asked
	bellAsk       = 3                // that many of each
	bellWalkEvery = 10 * time.Minute // and looked for anew
	fixedEvery    = 30 * time.Minute // the fixed buckets are read
	fixedDays     = 3                // of today and the days before

	bucketsAtOnce = 4                // reads under way
	bucketsHeld   = 1024             // buckets remembered, of each day
	bucketSample  = 8                // new ones taken from one look at a bell
	bucketTries   = 3                // reads of a new bucket until something is there
	bucketEvery   = 10 * time.Minute // and then again
)

// watch looks for requests to our own Address.
type watch struct {
	c       *Courier
	address crypto.Address
	round   int // rises with the address, so that answers for an old one are dropped
	days    map[crypto.Epoch]*bellDay
	queue   []bucketRead
	reading int
	timers  [2]Timer // of bells and fixed buckets
	running bool
}

// bellDay is what is known of one day's bell.
type bellDay struct {
	walked  time.Time
	asking  bool
	buckets map[uint16]*bucketState
}

// bucketState is a random bucket that a bell has named.
type bucketState struct {
	tries  int
	next   time.Time // not read before
	queued bool
}

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
	w.lookAtBells()
	w.lookAtFixed()
}

func (w *watch) networkChanged() {
	for _, d := range w.days {
		d.walked = time.Time{}
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
			if !s.queued && !now.Before(s.next) {
				w.enqueue(bucketRead{day, bucket, s})
			}
		}
	}
	w.schedule(0, w.every(bellEvery), w.lookAtBells)
}

// ask asks holders of a bell for the buckets in use.
func (w *watch) ask(day crypto.Epoch, d *bellDay, now time.Time) {
	if d.asking {
		return
	}
	d.asking = true
	ask, kind, cost := bellAsk, classAsk, bellAsk
	if now.Sub(d.walked) >= bellWalkEvery {
		d.walked = now
		ask, kind, cost = 0, classWalk, costWalk
	}
	round, bell := w.round, w.address.RequestBell(day)
	var heard []uint16 // a sample of the new ones, each as likely as another
	seen := 0
	each := func(at netip.AddrPort) {
		bucket := at.Port()
		if bucket == 0 || d.buckets[bucket] != nil {
			return
		}
		seen++
		if len(heard) < bucketSample {
			heard = append(heard, bucket)
		} else if i := w.c.random.IntN(seen); i < bucketSample {
			heard[i] = bucket
		}
	}
	w.c.budget.run(kind, cost, func() {
		w.c.count("request.bell")
		w.c.then(func() {
			w.c.slots.Peers(bell, ask, each, func(Health) {
				if round != w.round {
					return
				}
				d.asking = false
				w.hear(day, d, heard)
			})
		})
	})
}

// hear takes a sample of new buckets from a bell.
func (w *watch) hear(day crypto.Epoch, d *bellDay, heard []uint16) {
	for _, bucket := range heard {
		if d.buckets[bucket] != nil {
			continue
		}
		if len(d.buckets) >= bucketsHeld && !d.forgetOne() {
			w.c.count("drop.request.bell")
			return
		}
		s := &bucketState{}
		d.buckets[bucket] = s
		w.enqueue(bucketRead{day, bucket, s})
	}
}

// forgetOne makes room by forgetting a bucket in which nothing stood, any.
func (d *bellDay) forgetOne() bool {
	for bucket, s := range d.buckets {
		if !s.queued && s.tries >= bucketTries {
			delete(d.buckets, bucket)
			return true
		}
	}
	return false
}

// lookAtFixed reads the fixed buckets of the last days.
func (w *watch) lookAtFixed() {
	if !w.running {
		return
	}
	today := crypto.Day(w.c.loop.Now())
	round := w.round
	for day := today; day > today-fixedDays; day-- {
		for i := range uint32(crypto.FixedBuckets) {
			w.c.budget.run(classWalk, costWalk, func() {
				if round == w.round {
					w.read(day, crypto.FirstFixedBucket+i, func(bool) {})
				}
			})
		}
	}
	w.schedule(1, w.every(fixedEvery), w.lookAtFixed)
}

// enqueue has a bucket that a bell has named read when its turn comes.
func (w *watch) enqueue(r bucketRead) {
	r.state.queued = true
	w.queue = append(w.queue, r)
	w.next()
}

// next starts reads while there is room.
func (w *watch) next() {
	for w.reading < bucketsAtOnce && len(w.queue) > 0 {
		r := w.queue[0]
		w.queue = w.queue[1:]
		w.reading++
		w.c.budget.spend(costWalk)
		w.read(r.day, uint32(r.bucket), func(found bool) {
			w.reading--
			w.settle(r.state, found)
			w.next()
		})
	}
}

// read reads a bucket and hands on what it holds; done is told whether anything
// stood there, unless the address has changed meanwhile.
func (w *watch) read(day crypto.Epoch, bucket uint32, done func(found bool)) {
	round, address := w.round, w.address
	key := address.RequestSlot(day, bucket)
	found := false
	w.c.count("request.read")
	w.c.then(func() {
		w.c.slots.Get(Query{Key: [32]byte(key[32:])}, func(i Item) {
			if round != w.round {
				return
			}
			found = true
			if request := w.c.openRequest(address, i.Value); request != nil {
				w.c.count("request.found")
				w.c.handler.OnRequest(request)
			}
		}, func(Health) {
			if round == w.round {
				done(found)
			}
		})
	})
}

// settle decides when a bucket is read again: soon, while what the bell has
// named may still be on its way to the holders, and then rarely.
func (w *watch) settle(s *bucketState, found bool) {
	s.queued = false
	s.tries++
	if found || s.tries >= bucketTries {
		s.tries = bucketTries
		s.next = w.c.loop.Now().Add(w.every(bucketEvery))
	}
}

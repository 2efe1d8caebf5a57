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
	bellEvery     = 5 * time.Second // known holders of today's bell are asked
	bellEarly     = 2 * time.Second // at first, when an Address has just been given away
	bellEarlyFor  = time.Minute
	bellBorder    = time.Hour        // and of the other day's so near its end: its announces live, and clocks differ
	bellOther     = 12               // looks for one at yesterday's and one at tomorrow's otherwise
	bellAsk       = 3                // that many of each
	bellWalkFirst = 30 * time.Second // and looked for anew, at first soon: the
	bellWalkEvery = 10 * time.Minute // network may still be forming
	fixedEvery    = 30 * time.Minute // the fixed buckets are read
	fixedDays     = 3                // of today and the days before
	fixedPace     = 2 * time.Second  // one after the other, older days slower: friends come first

	bucketsAtOnce = 4                // reads under way
	bucketsHeld   = 8192             // buckets remembered, of each day
	networksHeld  = 4096             // and networks whose announces were read, likewise
	bucketSample  = 8                // new ones taken from one look at a bell
	bucketQueue   = 64               // that wait to be read
	bucketRetry   = 4 * time.Second  // until a bucket without a request is read again, then twice that, and so on
	bucketEvery   = 30 * time.Minute // until one with a request is, and at the latest

	requestsOfRead = 4 // taken from one read of a bucket: one stands there, and holders may differ
)

// bucketLimit is for reads of buckets that bells have named: what whoever
// knows our Address can make us do.
func bucketLimit() rate { return rate{1.0 / 4, 16} }

// watch looks for requests to our own Address.
type watch struct {
	c       *Courier
	address crypto.Address
	round   int // rises with the address, so that answers for an old one are dropped
	looks   int // at the bells
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
	poor    time.Duration // the same after one that few nodes answered; 0: enough did
	asking  bool
	buckets map[uint16]*bucketState
	ranks   map[netip.Prefix]int // buckets taken of each network that announces
}

func newBellDay() *bellDay {
	return &bellDay{buckets: make(map[uint16]*bucketState), ranks: make(map[netip.Prefix]int)}
}

// network is what shares a rank: to come from many addresses of one network
// costs next to nothing, to come from many networks more.
func network(at netip.AddrPort) netip.Prefix {
	ip, bits := at.Addr().Unmap(), 24
	if ip.Is6() {
		bits = 48
	}
	return netip.PrefixFrom(ip, bits).Masked()
}

// rank counts one more bucket of the network and returns how many it had before.
func (d *bellDay) rank(at netip.AddrPort) int {
	n := network(at)
	if len(d.ranks) >= networksHeld {
		clear(d.ranks)
	}
	d.ranks[n]++
	return d.ranks[n] - 1
}

// announce is what a bell has named, the port being a bucket.
type announce struct {
	at      netip.AddrPort
	vouched bool // several holders have named it
	rank    int  // of its network; only if vouched
}

// bucketState is a random bucket that a bell has named.
type bucketState struct {
	tries   int
	next    time.Time // not read before
	rank    int       // as many of its network came before
	vouched bool      // several holders have named the same announce of it
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

// before reports whether r is read before q, though it came later. What one holder
// alone has named says nothing of networks: it may have thought them up, too.
func (r bucketRead) before(q bucketRead) bool {
	switch {
	case !r.state.first():
		return false
	case !q.state.first():
		return true
	}
	return r.state.rank < q.state.rank
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
		d.walk, d.pause, d.poor = time.Time{}, 0, 0
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

// lookAtBells asks the bell of today, now and then those of yesterday and
// tomorrow, and queues the buckets whose time has come.
func (w *watch) lookAtBells() {
	if !w.running {
		return
	}
	now := w.c.loop.Now()
	today := crypto.Day(now)
	for day := range w.days {
		if day+1 < today || day > today+1 {
			delete(w.days, day)
		}
	}
	days := []crypto.Epoch{today}
	w.looks++
	if w.looks%bellOther == 1 || crypto.Day(now.Add(-bellBorder)) < today {
		days = append(days, today-1)
	}
	if w.looks%bellOther == 0 || crypto.Day(now.Add(bellBorder)) > today {
		days = append(days, today+1)
	}
	for _, day := range days {
		d := w.days[day]
		if d == nil {
			d = newBellDay()
			w.days[day] = d
		}
		w.ask(day, d, now)
	}
	for day, d := range w.days {
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
	heard := make(map[netip.AddrPort]int) // announces of buckets not read yet, and how many holders name each
	each := func(at netip.AddrPort) {
		bucket := at.Port()
		if s := d.buckets[bucket]; bucket != 0 && (s == nil || s.tries == 0) {
			heard[at]++
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
				switch {
				case ask == 0 && h.Answered < knownNear: // nobody may know those but we
					d.poor = min(max(2*d.poor, poorWalk), bellWalkEvery)
					d.walk, d.pause = w.c.loop.Now().Add(w.every(d.poor)), 0
				case ask == 0:
					d.poor = 0
				case h.Answered == 0 && d.pause > bellWalkFirst:
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

// hear takes a sample of new buckets from a bell. What more than one holder names
// comes first, for an announce goes to several and one liar speaks for itself
// only; then what came from networks of which little was taken yet; and among
// equals each is as likely as another.
func (w *watch) hear(day crypto.Epoch, d *bellDay, heard map[netip.AddrPort]int) {
	maps.DeleteFunc(heard, func(at netip.AddrPort, named int) bool {
		s := d.buckets[at.Port()]
		return s != nil && (s.vouched || named < 2) // it waits already
	})
	var announces []announce
	for at, named := range heard {
		a := announce{at: at, vouched: named > 1}
		if a.vouched { // else its network may be thought up, too
			a.rank = d.ranks[network(at)]
		}
		announces = append(announces, a)
	}
	w.c.random.Shuffle(len(announces), func(i, j int) { announces[i], announces[j] = announces[j], announces[i] })
	slices.SortStableFunc(announces, func(a, b announce) int {
		if a.vouched != b.vouched {
			return cmp.Compare(heard[b.at], heard[a.at])
		}
		return cmp.Compare(a.rank, b.rank)
	})
	for _, a := range announces[:min(len(announces), bucketSample)] {
		w.hearOne(day, d, a)
	}
}

// hearOne has a bucket read that a bell has named, or read earlier than it would be.
func (w *watch) hearOne(day crypto.Epoch, d *bellDay, a announce) {
	bucket := a.at.Port()
	s := d.buckets[bucket]
	if s != nil {
		if a.vouched && !s.vouched {
			s.vouched, s.rank = true, d.rank(a.at)
			w.forward(s)
		}
		return
	}
	s = &bucketState{vouched: a.vouched, rank: d.ranks[network(a.at)]}
	r := bucketRead{day, bucket, s}
	if len(w.queue) >= bucketQueue && !w.giveWay(r) || len(d.buckets) >= bucketsHeld && !d.forgetOne() {
		w.c.count("drop.request.bell")
		return
	}
	if a.vouched {
		s.rank = d.rank(a.at)
	}
	d.buckets[bucket] = s
	w.enqueue(r)
}

// forward gives a waiting bucket the place that it would get now.
func (w *watch) forward(s *bucketState) {
	if i := slices.IndexFunc(w.queue, func(r bucketRead) bool { return r.state == s }); i >= 0 {
		r := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		w.enqueue(r)
	}
}

// giveWay drops the last of the waiting buckets if r is read before it.
func (w *watch) giveWay(r bucketRead) bool {
	last := w.queue[len(w.queue)-1]
	if !r.before(last) {
		return false
	}
	if d := w.days[last.day]; d != nil && last.state.tries == 0 {
		delete(d.buckets, last.bucket)
	}
	last.state.queued = false
	w.queue = w.queue[:len(w.queue)-1]
	return true
}

// forgetOne makes room by forgetting a bucket that was read, any; one that held a
// request only if all do.
func (d *bellDay) forgetOne() bool {
	var held uint16 // 0 is none
	for bucket, s := range d.buckets {
		switch {
		case s.queued || s.tries == 0:
		case !s.held:
			delete(d.buckets, bucket)
			return true
		default:
			held = bucket
		}
	}
	delete(d.buckets, held)
	return held != 0
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
	at := slices.IndexFunc(w.queue, r.before)
	if at < 0 {
		at = len(w.queue)
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
	found, requests := false, 0
	w.c.count("request.read")
	w.c.then(func() {
		w.c.slots.Get(Query{Key: [32]byte(key[32:])}, func(i Item) {
			if round != w.round {
				return
			}
			found = true
			if requests == requestsOfRead {
				w.c.count("drop.request.many")
				return
			}
			if request := w.c.openRequest(address, i.Value); request != nil {
				requests++
				w.c.count("request.found")
				w.c.handler.OnRequest(request)
			}
		}, func(Health) {
			if round != w.round {
				return
			}
			if found && requests == 0 {
				w.c.count("request.poisoned")
			}
			done(requests > 0)
		})
	})
}

// settle decides when a bucket is read again: soon, while what the bell has
// named may still be on its way to the holders, and then ever more rarely.
func (w *watch) settle(s *bucketState, held bool) {
	pause := bucketEvery
	if !held {
		pause = backoff(s.tries+1, bucketRetry, bucketEvery)
	}
	s.queued, s.held = false, held
	s.tries++
	s.next = w.c.loop.Now().Add(w.every(pause))
}

package courier

import (
	"net/netip"
	"time"
)

// What operations are reckoned to cost, in packets sent.
const (
	costWalk  = 35 // a full lookup
	costPut   = 43 // a full lookup, and 8 copies
	costWrite = 8  // copies to holders that are known
)

// The node-wide budget: what polling and republishing may send in the mean. The
// burst lets the walks of a few dozen friends start at once.
const (
	budgetRate  = 40.0 // packets/s
	budgetBurst = 30 * budgetRate
	budgetDebt  = -60 * budgetRate
)

// class keeps the frequent and cheap from waiting behind the rare and dear.
type class int

const (
	classAsk  class = iota // questions to known holders
	classWalk              // walks and puts that nobody waits for
	classes
)

// budget is the one bucket of the node. Work that somebody waits for is done at
// once and charged; all other work is done in order as the bucket allows, so
// that what is urgent stretches what is periodic. Both classes get half while
// both have work.
type budget struct {
	loop   Loop
	tokens float64
	last   time.Time
	queue  [classes]fifo
	spent  [classes]float64
	timer  Timer
	busy   bool
}

type job struct {
	cost int
	run  func()
}

func newBudget(l Loop) *budget {
	return &budget{loop: l, tokens: budgetBurst, last: l.Now()}
}

// spend charges for work that is done now.
func (b *budget) spend(cost int) {
	b.refill()
	b.tokens = max(b.tokens-float64(cost), budgetDebt)
}

// run does f when there is room for its cost: within the call, or later.
func (b *budget) run(k class, cost int, f func()) {
	if b.queue[k].empty() {
		b.spent[k] = max(b.spent[k], b.spent[1-k]) // no credit for idleness
	}
	b.queue[k].push(job{cost, f})
	b.drain()
}

// wait is how many jobs wait for room.
func (b *budget) wait() int { return b.queue[classAsk].len() + b.queue[classWalk].len() }

func (b *budget) refill() {
	now := b.loop.Now()
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(b.tokens+d.Seconds()*budgetRate, budgetBurst)
	}
	b.last = now
}

func (b *budget) drain() {
	if b.busy {
		return // a job has called run; the loop below goes on with it
	}
	b.busy = true
	b.refill()
	for b.tokens > 0 {
		k, ok := b.pick()
		if !ok {
			break
		}
		j := b.queue[k].pop()
		b.tokens -= float64(j.cost)
		b.spent[k] += float64(j.cost)
		j.run()
	}
	b.busy = false
	if b.timer == nil && b.wait() > 0 {
		d := time.Duration((1 - b.tokens) / budgetRate * float64(time.Second))
		b.timer = b.loop.After(d, func() {
			b.timer = nil
			b.drain()
		})
	}
}

func (b *budget) pick() (class, bool) {
	ask, walk := !b.queue[classAsk].empty(), !b.queue[classWalk].empty()
	switch {
	case ask && (!walk || b.spent[classAsk] <= b.spent[classWalk]):
		return classAsk, true
	case walk:
		return classWalk, true
	}
	return 0, false
}

func (b *budget) stop() {
	b.queue = [classes]fifo{}
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}

// fifo is a queue that gives its memory back when it runs empty.
type fifo struct {
	jobs []job
	head int
}

func (q *fifo) len() int    { return len(q.jobs) - q.head }
func (q *fifo) empty() bool { return q.len() == 0 }
func (q *fifo) push(j job)  { q.jobs = append(q.jobs, j) }

func (q *fifo) pop() job {
	j := q.jobs[q.head]
	q.jobs[q.head] = job{}
	q.head++
	switch {
	case q.empty():
		*q = fifo{}
	case q.head >= 64 && q.head*2 >= len(q.jobs):
		n := copy(q.jobs, q.jobs[q.head:])
		clear(q.jobs[n:])
		q.jobs, q.head = q.jobs[:n], 0
	}
	return j
}

// limiterKeys bounds how many hosts are remembered.
const limiterKeys = 4096

// sourceLimit is for datagrams that fail to open, by their source, over all
// friends of the node: beyond it a source is not worth a decryption until it
// has been quiet.
func sourceLimit() rate { return rate{20, 100} }

// targetLimit is for datagrams to endpoints that have proven nothing, by
// destination, over all friends of the node: several friends behind one address
// can still be met, a victim hardly notices.
func targetLimit() rate { return rate{30.0 / 60, 30} }

// effortLimit is for what one peer's records make us do at once: puts of our
// state, readings of mail slots and profiles. Beyond it they wait.
func effortLimit() rate { return rate{1.0 / 10, 12} }

// readingLimit is for the reading of mail slots, in packets, over all peers: what
// friends can make the node look up for nothing leaves half of the budget to the
// others.
func readingLimit() rate { return rate{budgetRate / 2, budgetBurst} }

// hurryLimit is for what peers make us do ahead of the line, in packets, over all
// of them: puts of our state, and walks for those whose link is suspect. Beyond
// it they stand in line, where each peer has one place.
func hurryLimit() rate { return rate{budgetRate / 4, budgetBurst} }

// eagerLimit is for how many friends we look for more often at a time after we
// have come back: each costs some 40 packets.
func eagerLimit() rate { return rate{1.0 / 6, 30} }

// hurry asks leave to do something of that cost ahead of the line.
func (c *Courier) hurry(cost int) bool {
	_, ok := c.hurrying.takeAll(hurryLimit(), c.loop.Now(), cost)
	if !ok {
		c.count("hurry.held")
	}
	return ok
}

// inboundLimit is for what one peer sends us that is new, in datagrams: twice
// what one of us sends.
func inboundLimit() rate { return rate{2 * mailRate, mailRate} }

// rate is a limit of so many a second in the mean and burst at once.
type rate struct{ perSecond, burst float64 }

// bucket is a token bucket; the zero one is full.
type bucket struct {
	spent float64
	last  time.Time
}

// take takes a token; if there is none, wait is how long the next one takes.
func (b *bucket) take(r rate, now time.Time) (wait time.Duration, ok bool) {
	return b.takeAll(r, now, 1)
}

// takeAll takes n tokens, at most the burst, or none.
func (b *bucket) takeAll(r rate, now time.Time, n int) (wait time.Duration, ok bool) {
	b.refill(r, now)
	after := b.spent + float64(n)
	if after > r.burst {
		wait = time.Duration((after - r.burst) / r.perSecond * float64(time.Second))
		return max(wait, time.Millisecond), false // never 0, for what arithmetic leaves over
	}
	b.spent = after
	return 0, true
}

func (b *bucket) refill(r rate, now time.Time) {
	b.spent = max(b.spent-max(now.Sub(b.last), 0).Seconds()*r.perSecond, 0)
	b.last = now
}

// limiter is a token bucket per remote host (IPv6: per /64), bounded in number.
type limiter struct {
	rate  rate
	hosts map[netip.Addr]*bucket
	swept time.Time
}

func newLimiter(r rate) *limiter {
	return &limiter{rate: r, hosts: make(map[netip.Addr]*bucket)}
}

// left reports whether the host has a token.
func (l *limiter) left(a netip.Addr, now time.Time) bool {
	h := l.hosts[hostKey(a)]
	if h == nil {
		return true
	}
	h.refill(l.rate, now)
	return h.spent+1 <= l.rate.burst
}

// take takes a token of the host and reports whether it had one. When more
// hosts than can be remembered are short of tokens, a new one has none.
func (l *limiter) take(a netip.Addr, now time.Time) bool {
	k := hostKey(a)
	h := l.hosts[k]
	if h == nil {
		if len(l.hosts) >= limiterKeys && now.Sub(l.swept) >= time.Second { // not for every stranger
			l.sweep(now)
		}
		if len(l.hosts) >= limiterKeys {
			return false
		}
		h = new(bucket)
		l.hosts[k] = h
	}
	_, ok := h.take(l.rate, now)
	return ok
}

// sweep forgets the hosts whose buckets are full again.
func (l *limiter) sweep(now time.Time) {
	l.swept = now
	for k, h := range l.hosts {
		if h.refill(l.rate, now); h.spent == 0 {
			delete(l.hosts, k)
		}
	}
}

func hostKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

package lab

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"
)

// Link is how datagrams travel from one address to another, in one direction. The zero value is perfect: no delay, no
// loss, no limit.
//
// A datagram waits in the queue and is sent at Rate, is then perhaps lost or duplicated, and arrives after Delay and
// Jitter.
type Link struct {
	// Delay is the time a datagram travels.
	Delay time.Duration
	// Jitter is the most that is added to Delay, drawn evenly for each datagram. It bunches datagrams and never
	// reorders them.
	Jitter time.Duration
	// Loss, Duplicate and Reorder are chances from 0 to 1, drawn for each datagram. A reordered one is held back, for
	// up to Delay + Jitter (10 ms where these are zero) longer, and later ones overtake it.
	Loss, Duplicate, Reorder float64
	// Rate is the capacity in bytes of UDP payload per second; zero is unlimited.
	Rate int64
	// Queue is how many bytes wait for their turn at Rate before what comes is dropped; zero is what Rate sends in
	// 100 ms, at least 64 KiB. A datagram that finds the link idle is taken whatever its size.
	Queue int
}

const (
	minHoldBack = 10 * time.Millisecond
	minQueue    = 64 << 10
)

// check panics on values that have no meaning, since a test with a mistyped link would prove nothing.
func (l Link) check() {
	chance := func(name string, p float64) {
		if !(p >= 0 && p <= 1) {
			panic("lab: Link." + name + " is " + strconv.FormatFloat(p, 'g', -1, 64) + ", want 0 to 1")
		}
	}
	chance("Loss", l.Loss)
	chance("Duplicate", l.Duplicate)
	chance("Reorder", l.Reorder)
	if l.Delay < 0 || l.Jitter < 0 || l.Rate < 0 || l.Queue < 0 {
		panic("lab: Link has a negative Delay, Jitter, Rate or Queue")
	}
}

// link is a Link in use. Times count from the network's epoch.
type link struct {
	Link
	rand *rand.Rand
	free time.Duration // when the last queued datagram will have been sent
	last time.Duration // when the last datagram that was not held back arrives
}

// newLink makes the link of p, whose chances depend on nothing but the seed and p.
func newLink(l Link, seed uint64, p pair) *link {
	h := fnv.New64a()
	from, to := p.from.As16(), p.to.As16()
	h.Write(from[:])
	h.Write(to[:])
	var s [8]byte
	binary.BigEndian.PutUint64(s[:], seed)
	h.Write(s[:])
	k := &link{rand: rand.New(rand.NewPCG(seed, h.Sum64()))}
	k.reset(l)
	return k
}

// reset makes k behave as l from now on; the stream of chances goes on.
func (k *link) reset(l Link) {
	k.Link, k.free, k.last = l, 0, 0
	if k.Rate > 0 && k.Queue == 0 {
		k.Queue = int(max(minQueue, k.Rate/10))
	}
}

// carry says when a datagram of size bytes sent now arrives: not at all, once or twice.
func (k *link) carry(now time.Duration, size int, stats *Stats) []time.Duration {
	sent := now
	if k.Rate > 0 {
		sent = max(now, k.free)
		if waiting := (sent - now).Seconds() * float64(k.Rate); waiting > 0 && waiting+float64(size) > float64(k.Queue) {
			stats.QueueFull++
			return nil
		}
		sent += time.Duration(float64(size) / float64(k.Rate) * float64(time.Second))
		k.free = sent
	}
	var dues [2]time.Duration
	copies := 1
	if k.hits(k.Duplicate) {
		stats.Duplicated++
		copies = 2
	}
	if k.hits(k.Loss) { // of the datagram; its copy came about before the lossy place
		stats.Lost++
		copies--
	}
	for i := range copies {
		dues[i] = k.arrival(sent, stats)
	}
	return dues[:copies]
}

// arrival draws when a datagram that left at sent arrives.
func (k *link) arrival(sent time.Duration, stats *Stats) time.Duration {
	due := sent + k.Delay
	if k.Jitter > 0 {
		due += k.upTo(k.Jitter)
	}
	due = max(due, k.last)
	if k.hits(k.Reorder) {
		stats.Reordered++
		hold := k.Delay + k.Jitter
		if hold == 0 {
			hold = minHoldBack
		}
		return due + k.upTo(hold)
	}
	k.last = due
	return due
}

// hits draws with chance p.
func (k *link) hits(p float64) bool { return p > 0 && k.rand.Float64() < p }

// upTo draws evenly from (0, d].
func (k *link) upTo(d time.Duration) time.Duration { return 1 + time.Duration(k.rand.Int64N(int64(d))) }

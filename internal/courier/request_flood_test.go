package courier

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

// announced is what holders have named: how many of them each bucket, all from
// one network.
func announced(buckets map[uint16]int) map[netip.AddrPort]int {
	heard := make(map[netip.AddrPort]int)
	for bucket, named := range buckets {
		heard[netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(bucket)}), bucket)] = named
	}
	return heard
}

// One bucket holds one request. Where holders differ, each with a higher seq than
// the last, it may give some more, but not as many as there are hostile holders.
func TestOneBucketGivesFewRequests(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.begun("bob")
	key := b.address(1).RequestSlot(crypto.Day(w.now), 7)
	for i, h := range w.dht.near() {
		r := a.request(uint64(1 + i))
		r.Nospam, r.Expiry, r.Hello = crypto.Nospam{1}, w.now.Add(24*time.Hour).UnixMilli(), "hi"
		value, err := a.c.sealRequest(b.id, r)
		if err != nil {
			t.Fatal(err)
		}
		h.items[slotName([32]byte(key[32:]), "")] = Item{Key: [32]byte(key[32:]), Value: value, Seq: w.now.UnixMilli() + int64(i)}
	}
	held := false
	b.do(func() { b.c.requests.in.read(crypto.Day(w.now), 7, func(h bool) { held = h }) })
	w.run(10 * time.Second)
	if got := b.saw("hi"); got != requestsOfRead || !held {
		t.Errorf("%d requests of one bucket were handed on, want %d", got, requestsOfRead)
	}
	if got := b.c.Stats()["drop.request.many"]; got != uint64(len(w.dht.near())-requestsOfRead) {
		t.Errorf("%d were counted as too many", got)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	w := newRequesters(t)
	b := w.begun("bob")
	in := b.c.requests.in
	day := crypto.Day(w.now)
	d := in.days[day]
	full := func(held int, waits bool) {
		clear(d.buckets)
		for i := range bucketsHeld {
			d.buckets[uint16(1+i)] = &bucketState{tries: 1, held: i < held, queued: waits, next: w.now.Add(time.Hour)}
		}
	}
	heldNow := func() (n int) {
		for _, s := range d.buckets {
			if s.held {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		name  string
		held  int // buckets with a request
		waits bool
		taken bool
		left  int // buckets with a request, afterwards
	}{
		{"all wait to be read", 0, true, false, 0},
		{"all hold a request", bucketsHeld, false, true, bucketsHeld - 1},
		{"one holds none", bucketsHeld - 1, false, true, bucketsHeld - 1},
		{"none holds one", 0, false, true, 0},
	} {
		full(tt.held, tt.waits)
		dropped := b.c.Stats()["drop.request.bell"]
		b.do(func() { in.hear(day, d, announced(map[uint16]int{60_000: 1})) })
		if len(d.buckets) != bucketsHeld || (d.buckets[60_000] != nil) != tt.taken || heldNow() != tt.left {
			t.Errorf("%s: %d buckets, the new one is taken: %t, %d hold a request; want %d, %t, %d",
				tt.name, len(d.buckets), d.buckets[60_000] != nil, heldNow(), bucketsHeld, tt.taken, tt.left)
		}
		if got := b.c.Stats()["drop.request.bell"] - dropped; (got == 0) != tt.taken {
			t.Errorf("%s: counted %d drops", tt.name, got)
		}
		b.do(func() { in.queue, in.reading = nil, bucketsAtOnce })
	}
	for i := range 2 * networksHeld {
		d.rank(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 1))
	}
	if len(d.ranks) > networksHeld {
		t.Errorf("%d networks are remembered, want at most %d", len(d.ranks), networksHeld)
	}
}

// A flood of bells and poisoned buckets costs little, fills nothing, and does
// not hide a request that stands in its fixed bucket.
func TestRequestFlood(t *testing.T) {
	w := newRequesters(t)
	b := w.node("bob")
	a := w.begun("alice")
	address, day := b.address(1), crypto.Day(w.now)
	poison := make([]byte, 900)
	for i := range 10_000 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), uint16(1+i*6))
		for _, d := range []crypto.Epoch{day, day - 1} {
			w.bells.peers[address.RequestBell(d)] = append(w.bells.peers[address.RequestBell(d)], at)
		}
		if i%2 == 0 {
			w.put(address, day, uint32(at.Port()), poison)
		}
	}
	w.begin(b)
	w.run(10 * time.Minute)
	packets := b.packets
	for range 6 * 60 {
		w.run(10 * time.Second)
		held := 0
		for _, d := range b.c.requests.in.days {
			held += len(d.buckets)
		}
		if in := b.c.requests.in; held > 3*bucketsHeld || len(in.queue) > bucketQueue || len(in.days) > 3 {
			t.Fatalf("holds %d buckets of %d days, %d wait", held, len(in.days), len(in.queue))
		}
	}
	mean := float64(b.packets-packets) / 3600
	t.Logf("flooded: %.1f packets/s", mean)
	if mean > 15 {
		t.Errorf("sent %.1f packets/s in the mean of an hour", mean)
	}
	if n := b.c.Stats()["request.poisoned"]; n < 100 {
		t.Errorf("%d buckets counted as poisoned", n)
	}
	a.ask(address, "hi")
	took := w.sees(b, "hi", 40*time.Minute)
	t.Logf("seen after %v", took)
	if wait := b.c.budget.wait(); wait > 10 {
		t.Errorf("%d jobs wait in the budget", wait)
	}
}

// TestManyHoldersVouch: a bucket that several holders name is read before those
// that one liar has thought up, and takes a place in a full queue.
func TestManyHoldersVouch(t *testing.T) {
	w := newRequesters(t)
	b := w.begun("bob")
	in := b.c.requests.in
	day := crypto.Day(w.now)
	d := in.days[day]
	in.reading = bucketsAtOnce // none begins
	for len(in.queue) < bucketQueue {
		lies := map[uint16]int{}
		for i := range uint16(bucketSample) {
			lies[uint16(len(in.queue))+i+1] = 1
		}
		b.do(func() { in.hear(day, d, announced(lies)) })
	}
	b.do(func() { in.hear(day, d, announced(map[uint16]int{50_000: 1, 50_001: 1, 60_000: 2})) })
	if len(in.queue) != bucketQueue || in.queue[0].bucket != 60_000 {
		t.Errorf("%d buckets wait, the first is %d; want %d, and 60000", len(in.queue), in.queue[0].bucket, bucketQueue)
	}
	if len(d.buckets) != bucketQueue || d.buckets[60_000] == nil {
		t.Errorf("%d buckets are known, want %d with 60000 among them", len(d.buckets), bucketQueue)
	}
	// One liar that gives a bucket to several hosts does not vouch for it.
	bell := b.address(1).RequestBell(day)
	for i := range byte(3) {
		w.bells.peers[bell] = append(w.bells.peers[bell], netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, i, 113, 1}), 50_002))
	}
	b.do(func() { in.queue = nil })
	w.run(10 * time.Second)
	if s := d.buckets[50_002]; s == nil || s.vouched {
		t.Errorf("a bucket that one holder gives to several hosts is %+v, want it known and not vouched for", s)
	}
}

// TestNetworksAreReadByTurns: who announces thousands of buckets from one network
// delays those of others by no more than one of its own.
func TestNetworksAreReadByTurns(t *testing.T) {
	w := newRequesters(t)
	b := w.begun("bob")
	in := b.c.requests.in
	day := crypto.Day(w.now)
	d := in.days[day]
	in.reading = bucketsAtOnce // none begins
	heard := func() map[netip.AddrPort]int {
		h := map[netip.AddrPort]int{}
		for i := range 2000 {
			h[netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i >> 3)}), uint16(1+i))] = 3
			h[netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(i)}), uint16(3001+i))] = 3
		}
		return h
	}
	for len(in.queue) < bucketQueue {
		b.do(func() { in.hear(day, d, heard()) })
	}
	honest := heard()
	for i := range byte(3) {
		honest[netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, i, 9}), 60_000+uint16(i))] = 2
	}
	b.do(func() { in.hear(day, d, honest) })
	if len(in.queue) != bucketQueue {
		t.Errorf("%d buckets wait, want %d", len(in.queue), bucketQueue)
	}
	for i := range 3 {
		if at := slices.IndexFunc(in.queue, func(r bucketRead) bool { return r.bucket == 60_000+uint16(i) }); at < 0 || at > 4 {
			t.Errorf("bucket %d of another network is at place %d of the queue, want it before the second of the flood's", 60_000+i, at)
		}
	}
	// Of what one holder alone has named nobody knows the network.
	for i := range 5 {
		d.rank(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1))
	}
	named := map[netip.AddrPort]int{}
	for i := range byte(20) {
		named[netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, i}), 50_000+uint16(i))] = 1
		named[netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, i, 1}), 51_000+uint16(i))] = 1
	}
	in.queue = nil
	b.do(func() { in.hear(day, d, named) })
	if !slices.ContainsFunc(in.queue, func(r bucketRead) bool { return r.bucket < 51_000 }) {
		t.Error("a network that was heard of comes after those that one liar may have thought up")
	}
}

// Somebody who has the Address hears the bell as its owner does, and puts over
// every bucket that is announced. A request draws another one each time that it
// finds itself put over, until its owner was faster.
func TestRequestThatIsPutOver(t *testing.T) {
	var took []time.Duration
	for range 10 {
		w := newRequesters(t)
		a, b := w.begun("alice"), w.begun("bob")
		w.run(time.Duration(10+len(took)) * time.Minute)
		address := b.address(1)
		key := address.RequestSlot(crypto.Day(w.now), crypto.FixedBucket(a.id))
		over := func(key [32]byte) {
			for _, h := range w.dht.near() {
				h.items[slotName(key, "")] = Item{Key: key, Value: make([]byte, 900), Seq: w.now.Add(23 * time.Hour).UnixMilli()}
			}
		}
		a.ask(address, "hi")
		begun := w.now
		for b.saw("hi") == 0 && w.now.Sub(begun) < 6*time.Hour {
			w.run(2 * time.Second)
			over([32]byte(key[32:]))
			for _, at := range w.bells.peers[address.RequestBell(crypto.Day(w.now))] {
				k := address.RequestSlot(crypto.Day(w.now), uint32(at.Port()))
				over([32]byte(k[32:]))
			}
		}
		took = append(took, w.now.Sub(begun))
	}
	slices.Sort(took)
	t.Logf("seen after p50 %v, at most %v", took[5], took[9])
	if took[5] > 10*time.Minute || took[9] > time.Hour {
		t.Errorf("seen after p50 %v, at most %v; want 10 minutes and an hour", took[5], took[9])
	}
}

package courier

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// requesters is a world in which requests are made.
type requesters struct {
	*world
	bells *bells
}

func newRequesters(t testing.TB) requesters {
	t.Helper()
	return requesters{newWorld(t), &bells{peers: make(map[[20]byte][]netip.AddrPort), known: make(map[*node]int)}}
}

// begin begins a run of a node with bells, watching its address.
func (w requesters) begin(n *node) {
	w.t.Helper()
	n.life++
	n.do(func() {
		c, err := New(Config{
			Identity: n.identity, Incarnation: n.inc, Loop: n, Rows: n, Slots: belled{slotsOf{n}, w.bells}, Datagrams: n, Prekeys: n, Handler: n,
			Quiet: n.quiet, Random: rand.New(rand.NewPCG(w.random.Uint64(), 7)),
		})
		if err != nil {
			w.t.Fatalf("%s: New: %v", n.name, err)
		}
		n.c = c
		c.SetAddress(n.address(1))
	})
	n.ready()
}

func (w requesters) begun(name string) *node {
	w.t.Helper()
	n := w.node(name)
	w.begin(n)
	return n
}

// address is the node's n-th address.
func (n *node) address(nospam byte) crypto.Address {
	return crypto.Address{ID: n.id, Nospam: crypto.Nospam{nospam}}
}

// ask has n ask another one for friendship.
func (n *node) ask(to crypto.Address, hello string) uint64 {
	now := n.w.now
	number := uint64(now.UnixMilli())
	n.do(func() { n.c.Publish(to, number, now, now.Add(30*24*time.Hour), hello) })
	return number
}

// sees waits until n has been handed a request with that hello.
func (w requesters) sees(n *node, hello string, d time.Duration) time.Duration {
	w.t.Helper()
	return w.wait("request "+hello, d, func() bool { return n.saw(hello) > 0 })
}

func (n *node) saw(hello string) (times int) {
	for _, r := range n.requests {
		if r.Hello == hello {
			times++
		}
	}
	return times
}

// put places a value as a hostile node might.
func (w requesters) put(a crypto.Address, day crypto.Epoch, bucket uint32, value []byte) {
	key := a.RequestSlot(day, bucket)
	w.dht.put(Item{Key: [32]byte(key[32:]), Value: value, Seq: w.now.UnixMilli()}, nil)
}

func TestRequestIsSeen(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.begun("bob")
	a.do(func() { a.c.ProfileChanged(&wire.Profile{Version: 1, Name: "Alice"}) })
	w.run(time.Minute)
	asked := w.now
	number := a.ask(b.address(1), "hi, it's Alice")
	w.sees(b, "hi, it's Alice", 10*time.Second)
	got := b.requests[0]
	want := &wire.Request{
		From: a.id, Incarnation: a.inc, Nospam: crypto.Nospam{1}, Number: number,
		Time: asked.UnixMilli(), Expiry: asked.Add(30 * 24 * time.Hour).UnixMilli(), Format: wire.Format,
		Start: a.c.Start(), Name: "Alice", Hello: "hi, it's Alice", Prekey: a.Current(), Endpoints: got.Endpoints,
	}
	if g, w := wire.AppendRequest(nil, got), wire.AppendRequest(nil, want); string(g) != string(w) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !slices.Equal(got.Endpoints, a.c.endpoints()) || len(got.Endpoints) == 0 {
		t.Errorf("got endpoints %v, want %v", got.Endpoints, a.c.endpoints())
	}
}

// Half of all requests must be seen within 5 s while both are there.
func TestRequestLatency(t *testing.T) {
	w := newRequesters(t)
	b := w.begun("bob")
	w.run(10 * time.Minute)
	var took []time.Duration
	for i := range 100 {
		w.run(time.Duration(w.random.Int64N(int64(5 * time.Minute))))
		a := w.begun("alice")
		hello := strings.Repeat("x", i+1)
		a.ask(b.address(1), hello)
		took = append(took, w.sees(b, hello, time.Minute))
		a.do(func() { a.c.Withdraw(b.id) })
		a.stop()
	}
	slices.Sort(took)
	t.Logf("seen after p50 %v, p90 %v, at most %v", took[50], took[90], took[99])
	if took[50] > 5*time.Second || took[99] > 15*time.Second {
		t.Errorf("seen after p50 %v, at most %v, want 5 s and 15 s", took[50], took[99])
	}
}

func TestRequestWaitsForTheTarget(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	a.ask(b.address(1), "are you there?")
	w.run(5 * time.Hour)
	w.begin(b)
	if took := w.sees(b, "are you there?", time.Minute); took > 5*time.Second {
		t.Errorf("seen %v after the start", took)
	}
	// It is found anew in every run: it may be that its answer was lost.
	b.stop()
	w.begin(b)
	w.wait("request, again", time.Minute, func() bool { return b.saw("are you there?") > 1 })
}

// What the fixed buckets hold is found up to two days later, when requester and
// announces are gone.
func TestRequestOutlivesItsRequester(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		found bool
	}{
		{"the same day", 3 * time.Hour, true},
		{"a day later", 24 * time.Hour, true},
		{"two days later", 48 * time.Hour, true},
		{"three days later", 72 * time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newRequesters(t)
			a, b := w.begun("alice"), w.node("bob")
			a.ask(b.address(1), "hi")
			w.run(time.Minute)
			a.stop()
			clear(w.bells.peers)
			w.run(tt.after)
			w.begin(b)
			took, found := w.until(func() bool { return b.saw("hi") > 0 }, 20*time.Minute)
			if found != tt.found {
				t.Errorf("found is %t, want %t", found, tt.found)
			}
			if found && took > 10*time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestRequestMovesWithTheDay(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	a.ask(b.address(1), "hi")
	w.run(72 * time.Hour)
	day := crypto.Day(w.now)
	if day < crypto.Day(midweek)+3 {
		t.Fatal("no day has passed")
	}
	buckets := make(map[uint16]bool)
	for d := day - 3; d <= day; d++ {
		peers := w.bells.peers[b.address(1).RequestBell(d)]
		if len(peers) != 1 {
			t.Fatalf("day %d: got %d buckets announced, want 1", d, len(peers))
		}
		buckets[peers[0].Port()] = true
		for _, bucket := range []uint32{uint32(peers[0].Port()), crypto.FixedBucket(a.id)} {
			key := b.address(1).RequestSlot(d, bucket)
			if _, ok := w.dht.holders[0].items[slotName([32]byte(key[32:]), "")]; !ok {
				t.Errorf("day %d: nothing in bucket %d", d, bucket)
			}
		}
	}
	if len(buckets) != 4 {
		t.Errorf("got %d different buckets in 4 days, want 4", len(buckets))
	}
	w.begin(b)
	w.sees(b, "hi", 10*time.Second)
}

func TestRequestIsPutHourlyAndAnnounced(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	a.ask(b.address(1), "hi")
	w.run(time.Hour)
	first := len(w.dht.puts)
	if first < 2*5 || first > 2*7 {
		t.Errorf("got %d puts in the first hour, want 2 after 0, 1, 3, 7, 15 and 31 minutes", first)
	}
	w.run(7 * time.Hour)
	if puts := len(w.dht.puts) - first; puts < 2*6 || puts > 2*10 {
		t.Errorf("got %d puts in 7 hours, want 2 an hour", puts)
	}
	if w.bells.rung < 26 || w.bells.rung > 42 {
		t.Errorf("rung %d times in 8 hours, want every 15 minutes", w.bells.rung)
	}
	for i, p := range w.dht.puts {
		if i > 0 && p.Seq <= w.dht.puts[i-1].Seq {
			t.Fatalf("put %d: seq %d after %d", i, p.Seq, w.dht.puts[i-1].Seq)
		}
		if size := len(p.Value); size != 512 && size != 900 {
			t.Errorf("put %d: %d bytes", i, size)
		}
	}
	// The same again changes nothing, a new number is put at once.
	puts := len(w.dht.puts)
	o := a.c.requests.out[b.id]
	a.do(func() { a.c.Publish(o.to, o.number, o.asked, o.expiry, o.hello) })
	w.run(10 * time.Second)
	if got := len(w.dht.puts); got != puts {
		t.Errorf("the same request: %d puts", got-puts)
	}
	a.ask(b.address(1), "hi?")
	w.run(10 * time.Second)
	if got := len(w.dht.puts); got != puts+3 {
		t.Errorf("a new request: %d puts, want 2 and one over the last", got-puts)
	}
}

// Who was away is shown the newest words only.
func TestRequestPutsOverTheLast(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	for _, hello := range []string{"hi", "hi?"} {
		a.ask(b.address(1), hello)
		w.run(time.Minute)
	}
	if o := a.c.requests.out[b.id]; o.last != 0 {
		t.Error("the last one is put over again and again")
	}
	w.begin(b)
	w.run(time.Hour)
	if old, now := b.saw("hi"), b.saw("hi?"); old != 0 || now == 0 {
		t.Errorf("the old words were seen %d times, the new ones %d times", old, now)
	}
	// What goes to another address does not concern the old one.
	a.ask(b.address(2), "hi!")
	if o := a.c.requests.out[b.id]; o.last != 0 {
		t.Error("a request to another address is put over the last")
	}
}

func TestRequestEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w requesters, a, b *node)
	}{
		{"withdrawn", func(_ requesters, a, b *node) { a.do(func() { a.c.Withdraw(b.id) }) }},
		{"expired", func(w requesters, _, _ *node) { w.run(4 * time.Hour) }},
		{"shut down", func(_ requesters, a, _ *node) { a.do(func() { a.c.Shutdown(func() {}) }) }},
		{"closed", func(_ requesters, a, _ *node) { a.do(func() { a.c.Close() }) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newRequesters(t)
			a, b := w.begun("alice"), w.node("bob")
			a.do(func() { a.c.Publish(b.address(1), 1, w.now, w.now.Add(4*time.Hour), "hi") })
			w.run(time.Minute)
			tt.end(w, a, b)
			w.run(2 * time.Second)
			puts, rung := len(w.dht.puts), w.bells.rung
			w.run(26 * time.Hour)
			if len(w.dht.puts) != puts || w.bells.rung != rung {
				t.Errorf("%d puts and %d announces afterwards", len(w.dht.puts)-puts, w.bells.rung-rung)
			}
		})
	}
}

// While a twin of ours is the one that writes, we put and announce nothing.
func TestRequestOfAYieldedTwin(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	a.c.twins.yield.on = true
	a.ask(b.address(1), "hi")
	w.run(2 * time.Hour)
	if len(w.dht.puts) != 0 || w.bells.rung != 0 {
		t.Errorf("%d puts, %d announces", len(w.dht.puts), w.bells.rung)
	}
	a.c.twins.yield.on = false
	w.run(10 * time.Minute)
	if len(w.dht.puts) == 0 || w.bells.rung == 0 {
		t.Error("nothing put when the twin had gone")
	}
	// Nor what waits for the budget when the twin shows.
	puts := len(w.dht.puts)
	a.do(func() {
		a.c.budget.spend(1000 * costPut)
		a.c.requests.out[b.id].put()
	})
	a.c.twins.yield.on = true
	w.run(2 * time.Hour)
	if got := len(w.dht.puts) - puts; got != 0 {
		t.Errorf("%d puts that had waited", got)
	}
}

func TestNewAddress(t *testing.T) {
	w := newRequesters(t)
	a, c, b := w.begun("alice"), w.begun("carol"), w.begun("bob")
	w.run(time.Minute)
	b.do(func() { b.c.SetAddress(b.address(2)) })
	a.ask(b.address(1), "to the old one")
	c.ask(b.address(2), "to the new one")
	w.sees(b, "to the new one", 15*time.Second)
	w.run(2 * time.Hour)
	if b.saw("to the old one") != 0 {
		t.Error("a request to the old address was seen")
	}
}

// What is under way for an old address says nothing any more.
func TestNewAddressWhileReading(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.begun("bob")
	w.run(time.Hour)
	a.ask(b.address(1), "hi")
	w.wait("read of the bucket", 15*time.Second, func() bool { return b.c.requests.in.reading > 0 })
	b.do(func() { b.c.SetAddress(b.address(2)) })
	w.run(time.Hour)
	if b.saw("hi") != 0 || b.c.requests.in.reading != 0 {
		t.Errorf("seen %d times, %d reads under way", b.saw("hi"), b.c.requests.in.reading)
	}
}

// Just after midnight yesterday's bell still tells.
func TestYesterdaysBell(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	w.run(untilDay(w.now) - time.Minute)
	a.ask(b.address(1), "hi")
	w.run(50 * time.Second)
	a.stop()
	w.run(5 * time.Minute)
	w.begin(b)
	if took := w.sees(b, "hi", time.Hour); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// Near midnight a clock that is a little wrong rings the other day's bell: it is
// heard as soon. At other hours the other days' bells cost little.
func TestBellsNearMidnight(t *testing.T) {
	for _, off := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			w := newRequesters(t)
			b, a := w.begun("bob"), w.node("alice")
			a.offset = off
			w.begin(a)
			w.run(untilDay(w.now) - off/2)
			a.do(func() {
				a.c.Publish(b.address(1), uint64(a.Now().UnixMilli()), a.Now(), a.Now().Add(30*24*time.Hour), "hi")
			})
			if crypto.Day(a.Now()) == crypto.Day(w.now) {
				t.Fatal("the clocks show one day")
			}
			if took := w.sees(b, "hi", time.Hour); took > 12*time.Second {
				t.Errorf("seen after %v", took)
			}
			w.run(3 * time.Hour)
			before := b.c.Stats()["request.bell"]
			w.run(time.Hour)
			if looks := b.c.Stats()["request.bell"] - before; looks < 700 || looks > 900 {
				t.Errorf("%d looks at bells in an hour, want one in 5 s and two more in a minute", looks)
			}
		})
	}
}

// A clock that is off by most of a day, as one set to another time zone, delays a
// request by no more than minutes.
func TestRequestOfAWrongClock(t *testing.T) {
	for _, off := range []time.Duration{-23 * time.Hour, -12 * time.Hour, -2 * time.Hour, 2 * time.Hour, 12 * time.Hour, 23 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			for hour := range 8 {
				w := newRequesters(t)
				w.run(time.Duration(hour) * 3 * time.Hour)
				b, a := w.begun("bob"), w.node("alice")
				a.offset = off
				w.begin(a)
				w.run(2 * time.Minute)
				now := a.Now()
				a.do(func() { a.c.Publish(b.address(1), uint64(now.UnixMilli()), now, now.Add(30*24*time.Hour), "hi") })
				if took := w.sees(b, "hi", 30*time.Minute); took > 2*time.Minute {
					t.Errorf("seen after %v", took)
				}
			}
		})
	}
}

// When all holders that were known have gone, others are looked for at once.
func TestHoldersOfTheBellMove(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.begun("bob")
	w.run(time.Hour)
	w.bells.moved++
	a.ask(b.address(1), "hi")
	w.sees(b, "hi", 20*time.Second)
}

func TestSeveralRequesters(t *testing.T) {
	w := newRequesters(t)
	b := w.begun("bob")
	w.run(time.Minute)
	const n = 40
	for i := range n {
		w.begun("x").ask(b.address(1), strings.Repeat("x", i+1))
	}
	w.wait("all requests", 3*time.Minute, func() bool {
		for i := range n {
			if b.saw(strings.Repeat("x", i+1)) == 0 {
				return false
			}
		}
		return true
	})
}

func TestRequestWithoutDHT(t *testing.T) {
	w := newRequesters(t)
	for _, h := range w.dht.holders {
		h.dead = true
	}
	w.bells.dead = true
	a, b := w.begun("alice"), w.begun("bob")
	a.ask(b.address(1), "hi")
	w.run(3 * time.Hour)
	if puts := len(w.dht.puts); puts > 2*(6+3*60/4) {
		t.Errorf("%d puts in 3 hours without anybody to answer", puts)
	}
	for _, h := range w.dht.holders {
		h.dead = false
	}
	w.bells.dead = false
	if took := w.sees(b, "hi", 10*time.Minute); took > 7*time.Minute {
		t.Errorf("seen %v after the DHT came back", took)
	}
}

// Somebody who knows the address stands in the way of every put.
func TestRequestAgainstHostileSeq(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	w.dht.hostile = 1<<62 + 5
	a.ask(b.address(1), "hi")
	w.run(6 * time.Hour)
	if puts := len(w.dht.puts); puts < 20 || puts > 2*(6+6*60/4) {
		t.Errorf("%d puts in 6 hours", puts)
	}
	if got := a.c.rising.last; got > tooFar(w.now) {
		t.Errorf("adopted a seq that is too far ahead: %d", got)
	}
	w.dht.hostile = 0
	w.begin(b)
	w.sees(b, "hi", 10*time.Minute)
}

// A fixed bucket whose holder has a clock ahead of ours is written above it.
func TestFixedBucketOfAClockAhead(t *testing.T) {
	w := newRequesters(t)
	a, b := w.begun("alice"), w.node("bob")
	key := b.address(1).RequestSlot(crypto.Day(w.now), crypto.FixedBucket(a.id))
	w.dht.put(Item{Key: [32]byte(key[32:]), Value: []byte("another's"), Seq: w.now.Add(20 * time.Hour).UnixMilli()}, nil)
	a.ask(b.address(1), "hi")
	w.run(time.Minute)
	a.stop()
	clear(w.bells.peers)
	w.begin(b)
	w.sees(b, "hi", 10*time.Minute)
}

func TestRequestDrops(t *testing.T) {
	w := newRequesters(t)
	a, b, c := w.begun("alice"), w.begun("bob"), w.begun("carol")
	good := func() *wire.Request {
		r := a.request(7)
		r.Nospam, r.Expiry = crypto.Nospam{1}, w.now.Add(time.Hour).UnixMilli()
		return r
	}
	seal := func(to crypto.ID, change func(*wire.Request)) []byte {
		r := good()
		change(r)
		value, err := a.c.sealRequest(to, r)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	same := func(*wire.Request) {}
	plain := func(kind wire.Kind, body []byte) []byte {
		size, ok := wire.PadRequest(len(body))
		if !ok {
			t.Fatal("too long")
		}
		value, err := b.id.Seal(requestInfo(b.id), nil, wire.AppendPlain(nil, kind, body, size))
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, tt := range []struct {
		name, want string
		value      []byte
	}{
		{"good", "", seal(b.id, same)},
		{"for another", "drop.request.open", seal(c.id, same)},
		{"garbage", "drop.request.open", make([]byte, 900)},
		{"empty", "drop.request.open", nil},
		{"too long", "drop.malformed", make([]byte, 901)},
		{"another's name", "drop.signature.request", seal(b.id, func(r *wire.Request) { r.From = c.id })},
		{"no key", "drop.signature.request", seal(b.id, func(r *wire.Request) { r.From = crypto.ID{} })},
		{"ourselves", "drop.request.from", seal(b.id, func(r *wire.Request) { r.From = b.id })},
		{"old address", "drop.request.nospam", seal(b.id, func(r *wire.Request) { r.Nospam = crypto.Nospam{2} })},
		{"expired", "drop.request.expired", seal(b.id, func(r *wire.Request) { r.Expiry = w.now.UnixMilli() })},
		{"other kind", "drop.kind", plain(wire.KindState, make([]byte, 100))},
		{"unknown kind", "drop.kind", plain(99, make([]byte, 100))},
		{"no record", "drop.malformed", plain(wire.KindRequest, make([]byte, 64))},
		{"short", "drop.malformed", plain(wire.KindRequest, make([]byte, 10))},
		{"later format", "drop.format", plain(wire.KindRequest, slices.Concat(make([]byte, 64), []byte{9}))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := b.c.Stats()
			r := b.c.openRequest(b.address(1), tt.value)
			if (r != nil) != (tt.want == "") {
				t.Errorf("got %+v", r)
			}
			var changed []string
			for name, n := range b.c.Stats() {
				if n != before[name] {
					changed = append(changed, name)
				}
			}
			want := []string{tt.want}
			if tt.want == "" {
				want = nil
			}
			if !slices.Equal(changed, want) {
				t.Errorf("counted %v, want %v", changed, want)
			}
		})
	}
}

// What it costs to be open for requests that nobody makes.
func TestWatchCost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		quiet bool
		want  float64
	}{{"open", false, 3}, {"quiet", true, 0.6}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newRequesters(t)
			b := w.node("bob")
			b.quiet = tt.quiet
			w.begin(b)
			w.run(3 * time.Hour)
			packets := b.packets
			w.run(6 * time.Hour)
			mean := float64(b.packets-packets) / (6 * 3600)
			t.Logf("%.2f packets/s", mean)
			if mean > tt.want || mean == 0 {
				t.Errorf("sent %.2f packets/s, want at most %.2f", mean, tt.want)
			}
		})
	}
}

func TestWatchEndsWithTheCourier(t *testing.T) {
	w := newRequesters(t)
	b := w.begun("bob")
	w.run(time.Minute)
	b.do(func() { b.c.Close() })
	gets, packets := len(w.dht.gets), b.packets
	w.run(24 * time.Hour)
	if len(w.dht.gets) != gets || b.packets != packets {
		t.Errorf("%d reads, %d packets after Close", len(w.dht.gets)-gets, b.packets-packets)
	}
}

func FuzzRequestValue(f *testing.F) {
	w := newRequesters(f)
	a, b := w.begun("alice"), w.begun("bob")
	r := a.request(7)
	r.Nospam, r.Expiry = crypto.Nospam{1}, w.now.Add(time.Hour).UnixMilli()
	value, err := a.c.sealRequest(b.id, r)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := b.identity.Open(requestInfo(b.id), nil, value)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte{})
	f.Add(wire.AppendPlain(nil, wire.KindRequest, make([]byte, 200), 852))
	f.Fuzz(func(t *testing.T, plain []byte) {
		value, err := b.id.Seal(requestInfo(b.id), nil, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.c.openRequest(b.address(1), value); got != nil && got.From != a.id {
			t.Fatalf("taken from %v", got.From)
		}
		if got := b.c.openRequest(b.address(1), plain); got != nil {
			t.Fatal("taken unsealed")
		}
	})
}

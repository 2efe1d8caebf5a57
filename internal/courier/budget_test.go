package courier

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

func TestBudgetStretchesAndKeepsOrder(t *testing.T) {
	w := newWorld(t)
	n := w.node("n")
	n.start()
	b := n.c.budget
	var done []int
	var spent int
	start := w.now
	n.do(func() {
		for i := range 200 {
			b.run(classWalk, costWalk, func() { done = append(done, i); spent += costWalk })
		}
	})
	if len(done) < 30 || len(done) > 40 {
		t.Errorf("%d walks at once, want the burst's", len(done))
	}
	asks := 0
	n.do(func() {
		for range 10 {
			b.run(classAsk, 2, func() { asks++; spent += 2 })
		}
	})
	w.run(10 * time.Second)
	if asks != 10 {
		t.Errorf("%d of 10 asks within 10 s behind walks of many minutes", asks)
	}
	w.wait("all", time.Hour, func() bool { return len(done) == 200 })
	rate := float64(spent-budgetBurst) / w.now.Sub(start).Seconds()
	if rate > budgetRate*1.01 || rate < budgetRate*0.95 {
		t.Errorf("%.1f packets/s, want %v", rate, budgetRate)
	}
	for i, x := range done {
		if i != x {
			t.Fatalf("job %d ran as number %d", x, i)
		}
	}
	// What is urgent goes at once, and stretches the rest.
	n.do(func() { b.spend(2 * budgetBurst) })
	ran := false
	n.do(func() { b.run(classAsk, 1, func() { ran = true }) })
	if took := w.wait("after debt", time.Hour, func() bool { return ran }); took < 20*time.Second {
		t.Errorf("the bucket was paid back in %v", took)
	}
}

func TestBudgetSharesBetweenClasses(t *testing.T) {
	w := newWorld(t)
	n := w.node("n")
	n.start()
	b := n.c.budget
	var spent [classes]int
	n.do(func() {
		b.spend(budgetBurst)
		for range 2000 {
			b.run(classAsk, 2, func() { spent[classAsk] += 2 })
		}
		for range 200 {
			b.run(classWalk, 35, func() { spent[classWalk] += 35 })
		}
	})
	w.run(90 * time.Second)
	if d := spent[classAsk] - spent[classWalk]; d < -40 || d > 40 || spent[classAsk] < 1600 {
		t.Errorf("asks got %d packets, walks %d; want the same", spent[classAsk], spent[classWalk])
	}
}

// The budget of DESIGN: 1,000 friends, 50 of them online, 950 silent for more
// than a day.
func TestThousandFriendsStayWithinTheBudget(t *testing.T) {
	span := 10 * time.Minute
	if testing.Short() {
		span = 3 * time.Minute
	}
	w := newWorld(t)
	w.now = midweek.Add(53 * time.Minute) // an hour begins within the span
	a := w.node("alice")
	var near, far []*node
	for i := range 1000 {
		f := w.node(fmt.Sprint("friend ", i))
		befriend(a, f)
		if i%20 == 0 {
			near = append(near, f)
		} else {
			far = append(far, f)
		}
	}
	a.start()
	a.do(func() {
		for _, f := range near { // whom it looks for first
			p := a.c.peers[f.id]
			p.seen = w.now.Add(-time.Hour)
			p.save()
		}
		for _, f := range far { // last seen two days ago, at some address
			p := a.c.peers[f.id]
			p.theirs = &wire.State{
				Version: 1, Time: w.now.Add(-48 * time.Hour).UnixMilli(), Format: 1, Prekey: f.Current(), Endpoints: f.local,
			}
			p.seen = w.now.Add(-48 * time.Hour)
			p.save()
		}
	})
	a.stop()
	for _, f := range near {
		f.start()
		f.ready()
	}
	a.start()
	a.ready()
	w.run(time.Minute)
	if limit := 2*budgetBurst + budgetRate*60; float64(a.packets+a.datagrams) > limit { // in line, and ahead of it
		t.Errorf("%d packets in the first minute, want %v at most", a.packets+a.datagrams, limit)
	}
	w.run(3 * time.Minute) // the burst at start is not what is meant
	online := 0
	for _, f := range near {
		if a.online[f.id] {
			online++
		}
	}
	if online != len(near) {
		t.Fatalf("%d of %d friends online", online, len(near))
	}
	packets, datagrams := a.packets, a.datagrams
	w.run(span)
	dht := float64(a.packets-packets) / span.Seconds()
	direct := float64(a.datagrams-datagrams) / span.Seconds()
	t.Logf("%.1f packets/s to the DHT, %.1f to friends", dht, direct)
	if dht+direct > 50 {
		t.Errorf("%.1f packets/s, want 50 at most", dht+direct)
	}
	if dht > budgetRate*1.01 {
		t.Errorf("%.1f packets/s to the DHT, want %v at most", dht, budgetRate)
	}
	for _, f := range near {
		if !a.online[f.id] {
			t.Fatal("a friend went offline")
		}
	}
	if waiting := a.c.budget.wait(); waiting > 2100 { // a walk and a put each, at first
		t.Errorf("%d jobs wait", waiting)
	}
}

func TestIdleFriendIsSmall(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	n := 1000
	if testing.Short() {
		n = 200
	}
	friends := make([]crypto.ID, n)
	for i := range friends {
		friends[i] = seedIdentity(uint64(5000 + i)).ID()
		a.friends[friends[i]] = &friendship{relation: wire.RelationFriend, bond: 1}
	}
	rec := &wire.State{
		Version: 1, Format: 1, Time: w.now.Add(-48 * time.Hour).UnixMilli(), Prekey: a.Current(), Endpoints: a.local,
		Receipt: &wire.Receipt{},
	}
	before := heap0()
	a.do(func() {
		for _, id := range friends {
			if err := a.c.SetPeer(id, Mode{Poll: PollFriend, Publish: true}); err != nil {
				t.Fatal(err)
			}
			s := *rec
			p := a.c.peers[id]
			p.theirs = &s
			p.seen = w.now.Add(-48 * time.Hour)
		}
	})
	a.ready()
	packets := a.packets
	w.run(3 * time.Hour)
	if rate, most := float64(a.packets-packets)/(3*3600), budgetRate+budgetBurst/(3*3600); rate > most {
		t.Errorf("%.1f packets/s to the DHT in three hours, want %.1f at most", rate, most)
	}
	w.dht.gets, w.dht.puts, w.dht.reputs = nil, nil, nil
	for _, h := range w.dht.holders {
		clear(h.items)
	}
	clear(a.rows)
	per := (int64(heap0()) - int64(before)) / int64(n)
	t.Logf("%d bytes an idle friend, its timers and the test's books included", per)
	if per > 4096 {
		t.Errorf("%d bytes an idle friend, want 4 KiB at most", per)
	}
	runtime.KeepAlive(a)
}

func heap0() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

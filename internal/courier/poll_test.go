package courier

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

func TestPollingTable(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	now := w.now
	for _, tt := range []struct {
		name  string
		poll  Poll
		seen  time.Duration // ago
		since time.Duration // ago
		want  pace
	}{
		{"live link", PollLinked, 0, 0, pace{}},
		{"nobody", PollNone, 0, 0, pace{}},
		{"suspect just now", PollSuspect, time.Hour, 4 * time.Second, pace{500 * time.Millisecond, 3, 30 * time.Second}},
		{"suspect", PollSuspect, time.Hour, time.Hour, pace{1500 * time.Millisecond, 3, 30 * time.Second}},
		{"pending, new", PollPending, time.Hour, 59 * time.Second, pace{2 * time.Second, 2, 10 * time.Minute}},
		{"pending", PollPending, time.Hour, 2 * time.Minute, pace{10 * time.Second, 2, 10 * time.Minute}},
		{"pending, old", PollPending, time.Hour, time.Hour, pace{time.Minute, 2, time.Hour}},
		{"seen just now", PollFriend, 0, time.Hour, pace{10 * time.Second, 2, 10 * time.Minute}},
		{"seen in the last 10 min", PollFriend, 9 * time.Minute, time.Hour, pace{10 * time.Second, 2, 10 * time.Minute}},
		{"seen in the last day", PollFriend, 11 * time.Minute, time.Hour, pace{time.Minute, 1, 30 * time.Minute}},
		{"seen yesterday", PollFriend, 23 * time.Hour, time.Hour, pace{time.Minute, 1, 30 * time.Minute}},
		{"silent longer", PollFriend, 25 * time.Hour, time.Hour, pace{5 * time.Minute, 1, time.Hour}},
	} {
		p := &peer{c: a.c, mode: Mode{Poll: tt.poll}, seen: now.Add(-tt.seen)}
		p.looking.since = now.Add(-tt.since)
		if got := p.pace(now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		a.c.quiet = true
		want := pace{tt.want.every * 6, tt.want.ask, tt.want.walk * 6}
		if got := p.pace(now); got != want {
			t.Errorf("%s, quiet: %v, want %v", tt.name, got, want)
		}
		a.c.quiet = false
	}
}

// lookups counts a node's asks and walks for states since an index.
func (d *dht) lookups(from int) (asks, walks int) {
	for _, q := range d.gets[from:] {
		switch {
		case q.Salt != saltState:
		case q.Ask > 0:
			asks++
		default:
			walks++
		}
	}
	return asks, walks
}

func TestPollingKeepsItsIntervals(t *testing.T) {
	w, a, b := alone(t)
	a.c.peers[b.id].seen = w.now.Add(-48 * time.Hour)
	a.c.peers[b.id].looking.since = w.now.Add(-48 * time.Hour)
	for _, tt := range []struct {
		name             string
		poll             Poll
		span             time.Duration
		minAsks, maxAsks int
		walks, maxWalks  int
	}{
		{"silent", PollFriend, 10 * time.Hour, 110, 150, 8, 13},
		{"suspect", PollSuspect, 10 * time.Minute, 330, 500, 16, 26},
		{"linked", PollLinked, time.Hour, 0, 0, 0, 0},
		{"pending", PollPending, time.Minute, 22, 38, 0, 1},
	} {
		a.do(func() {
			if err := a.c.SetPeer(b.id, Mode{Poll: tt.poll, Publish: true}); err != nil {
				t.Fatal(err)
			}
		})
		from := len(w.dht.gets)
		w.run(tt.span)
		asks, walks := w.dht.lookups(from)
		if asks < tt.minAsks || asks > tt.maxAsks || walks < tt.walks || walks > tt.maxWalks {
			t.Errorf("%s: %d asks and %d walks in %v, want %d to %d and %d to %d",
				tt.name, asks, walks, tt.span, tt.minAsks, tt.maxAsks, tt.walks, tt.maxWalks)
		}
	}
}

func TestASuspectLinkIsWalkedForAtOnce(t *testing.T) {
	w, a, b := alone(t)
	from := len(w.dht.gets)
	a.do(func() {
		if err := a.c.SetPeer(b.id, Mode{Poll: PollSuspect, Publish: true}); err != nil {
			t.Fatal(err)
		}
	})
	w.run(10 * time.Millisecond)
	if _, walks := w.dht.lookups(from); walks != 1 {
		t.Errorf("%d walks at once, want 1", walks)
	}
}

func TestIntervalsAreJittered(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := a.c.jitter(10 * time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < 8*time.Second || low > 8200*time.Millisecond || high > 12*time.Second || high < 11800*time.Millisecond {
		t.Errorf("jittered to %v to %v, want 8 to 12 s", low, high)
	}
}

func TestAskWithoutHoldersWalks(t *testing.T) {
	w, a, b := alone(t)
	w.dht.unknown = true
	a.do(func() {
		if err := a.c.SetPeer(b.id, Mode{Poll: PollPending, Publish: true}); err != nil {
			t.Fatal(err)
		}
	})
	from := len(w.dht.gets)
	w.run(5 * time.Minute)
	if _, walks := w.dht.lookups(from); walks < 6 || walks > 13 {
		t.Errorf("%d walks in 5 minutes without holders, want about one in 30 s", walks)
	}
}

func TestStartWalksLastSeenFirst(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	var order []crypto.ID
	seen := make(map[crypto.ID]time.Duration)
	for i := range 60 {
		f := w.node(fmt.Sprint("friend ", i))
		a.add(f.id, wire.RelationFriend, 1)
		seen[f.id] = time.Duration((i*37)%60) * time.Hour
		order = append(order, f.id)
	}
	slices.SortFunc(order, func(x, y crypto.ID) int { return int(seen[x] - seen[y]) })
	a.start()
	a.do(func() {
		for id, ago := range seen {
			a.c.peers[id].seen = w.now.Add(-ago)
			a.c.peers[id].save()
		}
	})
	a.stop()
	a.start()
	a.ready()
	w.run(10 * time.Minute)
	index := make(map[[32]byte]int)
	for i, id := range order {
		p := a.c.peers[id]
		_, key := p.slotKey(crypto.In, crypto.Week(midweek))
		index[key] = i
	}
	next := 0
	for _, q := range w.dht.gets {
		if i, ok := index[q.Key]; ok && q.Ask == 0 && q.Salt == saltState && next < len(order) {
			if i < next {
				continue // walked again
			}
			if i != next {
				t.Fatalf("walk %d is for the friend seen as number %d", next, i)
			}
			next++
		}
	}
	if next != len(order) {
		t.Errorf("%d of %d friends were walked for", next, len(order))
	}
}

func TestReadersLookInTheWeeksThatMayBeMeant(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("a"), w.node("b")
	befriend(a, b)
	a.start()
	p := a.c.peers[b.id]
	week := crypto.Week(w.now)
	start := week.WeekStart()
	for _, tt := range []struct {
		into time.Duration
		all  bool
		want []crypto.Epoch
	}{
		{3 * 24 * time.Hour, false, []crypto.Epoch{week}},
		{3 * 24 * time.Hour, true, []crypto.Epoch{week, week - 1}},
		{time.Hour, false, []crypto.Epoch{week, week - 1}},
		{47 * time.Hour, false, []crypto.Epoch{week, week - 1}},
		{49 * time.Hour, false, []crypto.Epoch{week}},
		{6*24*time.Hour + time.Hour, false, []crypto.Epoch{week, week + 1}},
		{7*24*time.Hour - time.Second, true, []crypto.Epoch{week, week - 1, week + 1}},
	} {
		w.now = start.Add(tt.into)
		if got := p.readWeeks(tt.all); !slices.Equal(got, tt.want) {
			t.Errorf("%v into the week, all %v: %v, want %v", tt.into, tt.all, got, tt.want)
		}
	}
}

// A friend whose clock is a day ahead writes under next week's key already.
func TestClocksADayApartMeetAtTheBoundary(t *testing.T) {
	w := newWorld(t)
	w.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
	w.now = (crypto.Week(w.now) + 1).WeekStart().Add(-10 * time.Hour)
	a, b := w.node("alice"), w.node("bob")
	b.offset = 20 * time.Hour
	befriend(a, b)
	a.start()
	b.start()
	b.ready()
	w.run(time.Minute)
	a.ready()
	w.wait("state from the next week", time.Minute, func() bool { return len(a.states[b.id]) > 0 })
	w.wait("state from the last week", 10*time.Minute, func() bool { return len(b.states[a.id]) > 0 })
}

func TestNetworkChangeLooksForFriendsAtOnce(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	delete(w.nodes, a.addr)
	a.addr = netip.MustParseAddrPort("10.7.7.7:4000")
	a.local = []netip.AddrPort{a.addr}
	w.nodes[a.addr] = a
	a.do(func() { a.c.NetworkChanged() })
	took := w.wait("the friend to see the new address", time.Minute, func() bool {
		for _, e := range b.c.peers[a.id].endpoints {
			if e.addr == a.addr && !e.proven.IsZero() {
				return true
			}
		}
		return false
	})
	if took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	b.send(a, "still there?")
	w.wait("mail to the new address", 20*time.Second, func() bool { return len(a.got(b)) == 1 })
}

package lab

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// carry is Carry with a slice that lasts.
func carry(p *Path, now time.Duration, size int) []time.Duration {
	return slices.Clone(p.Carry(now, size))
}

func wantDue(t *testing.T, what string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestPathPerfect(t *testing.T) {
	p := NewPath(Link{}, 1)
	for _, now := range []time.Duration{0, 0, ms, time.Hour} {
		wantDue(t, now.String(), carry(p, now, 1200), now)
	}
	want := Stats{Sent: 4, SentBytes: 4800, Delivered: 4}
	if got := p.Stats(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestPathMTU(t *testing.T) {
	p := NewPath(Link{MTU: 1200, Delay: ms, Rate: 1000}, 1)
	wantDue(t, "one byte too long", carry(p, 0, 1201))
	wantDue(t, "just right", carry(p, 0, 1200), 1200*ms+ms) // the other took no time of the link
	if s := p.Stats(); s.TooLong != 1 || s.Sent != 2 || s.Delivered != 1 {
		t.Errorf("counted %+v, want 1 too long of 2", s)
	}
}

// TestPathRateIsExact has a rate that no datagram's time is a whole number of nanoseconds at.
func TestPathRateIsExact(t *testing.T) {
	p := NewPath(Link{Rate: 3_000_000, Queue: 1 << 30}, 1)
	last := p.Carry(0, 1000)[0]
	if last != 333_334*time.Nanosecond {
		t.Errorf("the first took %v, want 333.334 µs, no less than its time", last)
	}
	for range 29_999 {
		last = p.Carry(0, 1000)[0]
	}
	if last != 10*time.Second {
		t.Errorf("30 MB at 3 MB/s took %v, want 10 s to the nanosecond", last)
	}
	now, rest := 333_333*time.Nanosecond, 29_999_001 // a third of a nanosecond short of one datagram
	if got := p.Queued(now); got != rest {
		t.Errorf("%d bytes wait, want %d", got, rest)
	}
	if got := p.Queued(10*time.Second - 1); got != 1 {
		t.Errorf("%d bytes wait a nanosecond before the end, want a part of the last one", got)
	}
	if got := p.Queued(10 * time.Second); got != 0 {
		t.Errorf("%d bytes wait at the end, want none", got)
	}
}

// TestPathQueueIsDropTail compares the queue to a list of bytes with the time that each is sent at.
func TestPathQueueIsDropTail(t *testing.T) {
	const queue, perByte = 10_000, time.Microsecond
	p := NewPath(Link{Rate: int64(time.Second / perByte), Queue: queue, Delay: 5 * ms}, 1)
	r := rand.New(rand.NewPCG(1, 2))
	var now, free time.Duration
	drops := uint64(0)
	for i := range 20_000 {
		now += time.Duration(r.IntN(1500)) * time.Microsecond // a little less than what is sent
		if i%1000 == 0 {
			now += 50 * ms // the queue runs empty
		}
		size := r.IntN(1600)
		waiting := int((max(free, now) - now + perByte - 1) / perByte)
		if got := p.Queued(now); got != waiting {
			t.Fatalf("datagram %d: %d bytes wait, want %d", i, got, waiting)
		}
		if waiting > 0 && max(free, now)-now+time.Duration(size)*perByte > queue*perByte {
			drops++
			wantDue(t, "queue full", carry(p, now, size))
			continue
		}
		free = max(free, now) + time.Duration(size)*perByte
		wantDue(t, "room", carry(p, now, size), free+5*ms)
	}
	if s := p.Stats(); s.QueueFull != drops || drops < 500 || drops > 10_000 {
		t.Errorf("counted %d drops, want %d, some but not most of 20,000", s.QueueFull, drops)
	}
}

func TestPathExtremes(t *testing.T) {
	p := NewPath(Link{Rate: maxRate, Queue: maxQueue}, 1)
	sent := 0
	for len(p.Carry(0, maxDatagram)) == 1 {
		sent += maxDatagram
	}
	if sent > maxQueue || sent < maxQueue-maxDatagram {
		t.Errorf("%d bytes fit, want 2 GiB", sent)
	}
	p = NewPath(Link{Rate: 1}, 1)
	wantDue(t, "a byte a second", carry(p, 0, 65535), 65535*time.Second)
	wantDue(t, "the last that fits", carry(p, 0, 1), 65536*time.Second)
	wantDue(t, "too much", carry(p, 0, 1))
	wantDue(t, "after a hundred years", carry(p, 100*365*24*time.Hour, 0), 100*365*24*time.Hour)
}

// TestPathJitterReorders wants jitter within its bounds, and each overtaking counted.
func TestPathJitterReorders(t *testing.T) {
	p := NewPath(Link{Delay: 10 * ms, Jitter: 20 * ms, JitterReorders: true}, 1)
	low, high, latest, overtook := time.Hour, time.Duration(0), time.Duration(0), uint64(0)
	for i := range 10_000 {
		now := time.Duration(i) * ms
		due := p.Carry(now, 100)[0]
		low, high = min(low, due-now), max(high, due-now)
		if due < latest {
			overtook++
		}
		latest = max(latest, due)
	}
	if low <= 10*ms || low > 10*ms+ms/10 || high > 30*ms || high < 30*ms-ms/10 {
		t.Errorf("took %v to %v, want 10 to 30 ms", low, high)
	}
	if got := p.Stats().Reordered; got != overtook || overtook < 5000 {
		t.Errorf("counted %d that overtook, want %d, most of 10,000", got, overtook)
	}
}

// TestPathBurst wants the share and the mean length of losses that Gilbert and Elliott's model has.
func TestPathBurst(t *testing.T) {
	near := func(what string, got, want float64) {
		t.Helper()
		if got < 0.9*want || got > 1.1*want {
			t.Errorf("%s: %.4f, want about %.4f", what, got, want)
		}
	}
	const total = 200_000
	run := func(l Link) (share, length float64) {
		p := NewPath(l, 3)
		lost, bursts, before := 0, 0, false
		for i := range total {
			now := len(p.Carry(time.Duration(i)*ms, 100)) == 0
			if now {
				lost++
				if !before {
					bursts++
				}
			}
			before = now
		}
		if got := p.Stats().Lost; got != uint64(lost) {
			t.Errorf("counted %d lost, want %d", got, lost)
		}
		return float64(lost) / total, float64(lost) / float64(bursts)
	}
	share, length := run(Link{Burst: Burst{Enter: 0.01, Leave: 0.2}})
	near("share", share, 0.01/0.21)
	near("length", length, 5)
	share, _ = run(Link{Loss: 0.01, Burst: Burst{Enter: 0.01, Leave: 0.09, Loss: 0.5}})
	near("share with loss in both states", share, 0.9*0.01+0.1*0.5)
	share, length = run(Link{Loss: 0.05})
	near("share without bursts", share, 0.05)
	near("length without bursts", length, 1/0.95)
}

func TestPathLosesEachCopy(t *testing.T) {
	p := NewPath(Link{Loss: 1, Duplicate: 1}, 1)
	wantDue(t, "total loss", carry(p, 0, 100))
	if s := p.Stats(); s.Lost != 2 || s.Duplicated != 1 {
		t.Errorf("counted %+v, want both copies lost", s)
	}
	p.Set(Link{Duplicate: 1})
	wantDue(t, "twice", carry(p, 5, 100), 5, 5)
	p.Set(Link{Loss: 0.5, Duplicate: 1})
	var came [3]int
	for range 10_000 {
		came[len(p.Carry(5, 100))]++
	}
	for copies, want := range []int{2500, 5000, 2500} {
		if got := came[copies]; got < want*9/10 || got > want*11/10 {
			t.Errorf("%d copies came %d times, want about %d", copies, got, want)
		}
	}
}

func TestPathSet(t *testing.T) {
	t.Run("rate", func(t *testing.T) {
		p := NewPath(Link{Rate: 1_000_000, Queue: 5000, Delay: 10 * ms}, 1)
		for i := range 5 {
			wantDue(t, "fast", carry(p, 0, 1000), time.Duration(i+1)*ms+10*ms)
		}
		p.Set(Link{Rate: 100_000, Queue: 2000, Delay: 10 * ms})
		wantDue(t, "behind what waits", carry(p, ms, 1000), 5*ms+10*ms+10*ms)
		if got := p.Queued(ms); got != 1000 {
			t.Errorf("%d bytes count against the queue, want what came after Set", got)
		}
		wantDue(t, "the last that fits", carry(p, ms, 1000), 5*ms+20*ms+10*ms)
		wantDue(t, "too much", carry(p, ms, 1000))
		p.Set(Link{Delay: 10 * ms, JitterReorders: true})
		wantDue(t, "unlimited, behind what waits", carry(p, 2*ms, 1000), 25*ms+10*ms)
		wantDue(t, "unlimited", carry(p, 30*ms, 1000), 40*ms)
	})
	t.Run("delay", func(t *testing.T) {
		p := NewPath(Link{Delay: time.Hour}, 1)
		wantDue(t, "slow", carry(p, 0, 100), time.Hour)
		p.Set(Link{Delay: ms})
		wantDue(t, "overtakes", carry(p, 1, 100), ms+1)
	})
	t.Run("burst", func(t *testing.T) {
		p := NewPath(Link{Burst: Burst{Enter: 1, Leave: 1e-9}}, 1)
		wantDue(t, "bad", carry(p, 0, 100))
		p.Set(Link{Burst: Burst{Enter: 1e-9, Leave: 1e-9}})
		wantDue(t, "good again", carry(p, 0, 100), 0)
	})
}

// TestPathHolds draws links of all sorts and holds what is true for each: counters that add up, no arrival before the
// delay, order unless told otherwise, and the same seed the same course.
func TestPathHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	some := func(n int) int { return r.IntN(2) * r.IntN(n) }
	for range 300 {
		l := Link{
			Delay: time.Duration(some(100)) * ms, Jitter: time.Duration(some(50)) * ms, JitterReorders: r.IntN(2) == 0,
			Loss: float64(some(50)) / 100, Duplicate: float64(some(50)) / 100, Reorder: float64(some(50)) / 100,
			Burst: Burst{Enter: float64(some(10)) / 100, Leave: 0.2, Loss: float64(some(100)) / 100},
			Rate:  int64(some(1_000_000)), Queue: some(50_000), MTU: some(1500),
		}
		seed := r.Uint64()
		p, again := NewPath(l, seed), NewPath(l, seed)
		var now, latest time.Duration
		arrived := uint64(0)
		for range 500 {
			now += time.Duration(r.IntN(3000)) * time.Microsecond
			size := r.IntN(1500)
			dues := p.Carry(now, size)
			if !slices.Equal(dues, again.Carry(now, size)) {
				t.Fatalf("%+v: the same seed gave two courses", l)
			}
			arrived += uint64(len(dues))
			for _, due := range dues {
				if due < now+l.Delay {
					t.Fatalf("%+v: sent at %v, arrived at %v", l, now, due)
				}
				if due < latest && l.Reorder == 0 && !l.JitterReorders {
					t.Fatalf("%+v: order not kept", l)
				}
				latest = max(latest, due)
			}
		}
		s := p.Stats()
		if s.Delivered != arrived || s.Sent != 500 || s.Sent+s.Duplicated != s.Delivered+s.Lost+s.QueueFull+s.TooLong {
			t.Fatalf("%+v: %d arrived, counters do not add up: %+v", l, arrived, s)
		}
	}
}

func TestPathSeeds(t *testing.T) {
	course := func(seed uint64) []time.Duration {
		p := NewPath(Link{Delay: ms, Jitter: ms, Loss: 0.5}, seed)
		var all []time.Duration
		for i := range 100 {
			all = append(all, p.Carry(time.Duration(i)*ms, 100)...)
		}
		return all
	}
	if slices.Equal(course(1), course(2)) {
		t.Error("two seeds gave the same course")
	}
	if !slices.Equal(course(1), course(1)) {
		t.Error("one seed gave two courses")
	}
}

// TestNetworkCarriesByPath holds that a Network does what a Path with the pair's seed does.
func TestNetworkCarriesByPath(t *testing.T) {
	l := Link{
		Delay: 20 * ms, Jitter: 10 * ms, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Rate: 50_000, Queue: 5000,
		Burst: Burst{Enter: 0.05, Leave: 0.3}, MTU: 450,
	}
	onLine(t, l, func(t *testing.T, line *line) {
		p := NewPath(l, pathSeed(1, pair{addrA, addrB}))
		var want []arrived
		for i := range 500 {
			now, size := time.Since(line.start), 4+i
			line.send(t, i, size)
			for _, due := range p.Carry(now, size) {
				want = append(want, arrived{i, due})
			}
			time.Sleep(2 * ms)
		}
		slices.SortStableFunc(want, func(a, b arrived) int { return int(a.at - b.at) })
		// What came before the first read waits in the receive buffer, so only the order can be compared.
		var got, order []int
		for _, a := range line.receive(t) {
			got = append(got, a.number)
		}
		for _, a := range want {
			order = append(order, a.number)
		}
		if !reflect.DeepEqual(got, order) {
			t.Errorf("got %v, want %v", got, order)
		}
		if got, want := line.LinkStats(addrA, addrB), p.Stats(); got != want || want.QueueFull == 0 || want.TooLong == 0 {
			t.Errorf("the link counted %+v, want %+v with drops of each kind", got, want)
		}
		s, path := line.Stats(), p.Stats()
		if s != path {
			t.Errorf("the network counted %+v, want %+v: all arrived in time", s, path)
		}
		if got := line.LinkStats(addrB, addrA); got != (Stats{}) {
			t.Errorf("the other direction counted %+v, want nothing", got)
		}
	})
}

// TestPathAllocates holds the promise that a simulation may carry millions.
func TestPathAllocates(t *testing.T) {
	p := NewPath(Link{
		Delay: ms, Jitter: ms, JitterReorders: true, Loss: 0.1, Duplicate: 0.3, Reorder: 0.1,
		Burst: Burst{Enter: 0.1, Leave: 0.5}, Rate: 1_000_000, MTU: 1400,
	}, 1)
	var now time.Duration
	if got := testing.AllocsPerRun(1000, func() { now += ms; p.Carry(now, 1200) }); got != 0 {
		t.Errorf("%v allocations a datagram, want none", got)
	}
}

func TestPathWithoutMeaningPanics(t *testing.T) {
	cases := []struct {
		link Link
		want string
	}{
		{Link{Loss: 1.5}, "Loss"},
		{Link{Duplicate: -1}, "Duplicate"},
		{Link{Reorder: 2}, "Reorder"},
		{Link{Burst: Burst{Enter: 2, Leave: 1}}, "Burst.Enter"},
		{Link{Burst: Burst{Leave: -1}}, "Burst.Leave"},
		{Link{Burst: Burst{Enter: 0.1}}, "never ends"},
		{Link{Burst: Burst{Enter: 0.1, Leave: 1, Loss: 7}}, "Burst.Loss"},
		{Link{Delay: -1}, "negative"},
		{Link{MTU: -1}, "negative"},
		{Link{Rate: maxRate + 1}, "1 TB/s"},
	}
	for _, c := range cases {
		func() {
			defer func() {
				if msg, _ := recover().(string); !strings.Contains(msg, c.want) {
					t.Errorf("%+v: panic %q, want one about %s", c.link, msg, c.want)
				}
			}()
			NewPath(c.link, 1)
		}()
	}
}

func TestPathSeedIsOfTheDirection(t *testing.T) {
	seen := map[uint64]string{}
	for _, c := range []struct {
		name     string
		seed     uint64
		from, to netip.Addr
	}{{"A to B", 1, addrA, addrB}, {"B to A", 1, addrB, addrA}, {"A to C", 1, addrA, addrC}, {"A to B of another network", 2, addrA, addrB}} {
		s := pathSeed(c.seed, pair{c.from, c.to})
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s have the same seed", c.name, other)
		}
		seen[s] = c.name
	}
}

func BenchmarkPath(b *testing.B) {
	p := NewPath(Link{
		Delay: 25 * ms, Jitter: ms, Loss: 0.01, Duplicate: 0.001, Reorder: 0.01,
		Burst: Burst{Enter: 0.001, Leave: 0.3}, Rate: 12_500_000, MTU: 1452,
	}, 1)
	var now time.Duration
	b.ReportAllocs()
	for b.Loop() {
		now += 100 * time.Microsecond
		p.Carry(now, 1200)
	}
}

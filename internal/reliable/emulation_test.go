package reliable_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

// The line of these tests: 100 Mbit/s, a round trip of 50 ms, a queue of one bandwidth-delay product.
const (
	lineRate = 100_000_000 / 8
	lineTrip = 50 * time.Millisecond

	warmUp  = 5 * time.Second
	measure = 10 * time.Second
)

func line(loss float64) lab.Link {
	return lab.Link{Delay: lineTrip / 2, Rate: rate(), Queue: int(rate() / 20), Loss: loss}
}

// rate is that of the line in bytes a second: lineRate, or a tenth of it where tests are to be short.
func rate() int64 {
	if testing.Short() {
		return lineRate / 10
	}
	return lineRate
}

// bulk writes on one lane of x, from an instant on, as much as it takes, and has y read it all. It returns the count of
// bytes read.
func (w *world) bulk(x, y *end, start time.Duration) (read *int) {
	return w.weighted(x, y, start, 1)
}

// weighted is bulk on a lane of a weight.
func (w *world) weighted(x, y *end, start time.Duration, weight int) (read *int) {
	read = new(int)
	b := content(0, 0, patternChunk)
	var l *reliable.Lane
	write := func() {
		for {
			n, err := l.Write(b)
			if err != nil {
				w.fail("%s: Write: %w", x.name, err)
			}
			if n < len(b) {
				return
			}
		}
	}
	w.at(start, x, func() {
		var err error
		if l, err = x.Open(); err != nil {
			w.fail("%s: Open: %w", x.name, err)
			return
		}
		l.SetWeight(weight)
		write()
	})
	x.on(func(v reliable.Event) {
		if v.Lane == l && l != nil && v.Ready&reliable.Writable != 0 {
			write()
		}
	})
	in := make([]byte, 64<<10)
	y.on(func(v reliable.Event) {
		if v.Lane == nil || l == nil || v.Lane.ID() != l.ID() || v.Ready&(reliable.Readable|reliable.Opened) == 0 {
			return
		}
		for {
			n, err := v.Lane.Read(in)
			if err != nil {
				w.fail("%s: Read: %w", y.name, err)
			}
			if *read += n; n == 0 {
				return
			}
		}
	})
	return read
}

// on has f see the events of e too.
func (e *end) on(f func(reliable.Event)) {
	before := e.event
	e.event = func(v reliable.Event) {
		if before != nil {
			before(v)
		}
		f(v)
	}
}

// over lets time pass until an instant, and returns how much the counter has grown a second since from.
func (w *world) over(t *testing.T, from, until time.Duration, counters ...*int) []float64 {
	t.Helper()
	w.run(from, nil)
	var before []int
	for _, c := range counters {
		before = append(before, *c)
	}
	w.run(until, nil)
	if w.err != nil {
		t.Fatal(w.err)
	}
	var rates []float64
	for i, c := range counters {
		rates = append(rates, float64(*c-before[i])/(until-from).Seconds())
	}
	return rates
}

// TestGoodput fills the line with one lane. The rate is of the line's bytes, so that headers and seals count as loss.
func TestGoodput(t *testing.T) {
	for _, c := range []struct {
		name  string
		loss  float64
		least float64
	}{
		{"clean", 0, 0.92},
		{"loss=0.0001", 0.0001, 0.3},
		{"loss=0.01", 0.01, 0.01}, // written down beside what others get: loss-based control does not do better
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			x, y := w.join(reliable.Config{}, reliable.Config{}, lab.NewPath(line(c.loss), 1), lab.NewPath(line(c.loss), 2))
			read := w.bulk(x, y, 0)
			share := w.over(t, warmUp, warmUp+measure, read)[0] / float64(rate())
			s := x.Stats()
			t.Logf("%.1f %% of the line; lost %d packets of %d, %d spurious, %d timeouts, %d packets came back, srtt %v, window %d",
				100*share, s.PacketsLost, s.PacketsSent, s.PacketsSpurious, s.Timeouts, y.Stats().PacketsSent, s.RTT, s.Window)
			if share < c.least {
				t.Errorf("got %.1f %% of the line, want at least %.0f %%", 100*share, 100*c.least)
			}
		})
	}
}

// TestReordering fills a line that loses nothing by itself and lets packets overtake one another: few are sent again
// without need, and the rate stays.
func TestReordering(t *testing.T) {
	for _, c := range []struct {
		name    string
		reorder float64
		jitter  time.Duration
	}{
		{"a few late", 0.01, 0},
		{"many late", 0.1, 0},
		{"jitter", 0, lineTrip / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := line(0)
			l.Reorder, l.Jitter, l.JitterReorders = c.reorder, c.jitter, true
			w := newWorld()
			x, y := w.join(reliable.Config{}, reliable.Config{}, lab.NewPath(l, 1), lab.NewPath(l, 2))
			read := w.bulk(x, y, 0)
			share := w.over(t, warmUp, warmUp+measure/3, read)[0] / float64(rate())
			s := x.Stats()
			t.Logf("%.1f %% of the line; of %d packets %d spuriously lost", 100*share, s.PacketsSent, s.PacketsSpurious)
			if share < 0.9 {
				t.Errorf("got %.1f %% of the line, want 90 %%", 100*share)
			}
			if s.PacketsSpurious == 0 || s.PacketsSpurious > s.PacketsSent/200 {
				t.Errorf("%d packets of %d were lost spuriously, want some, and at most 0.5 %%", s.PacketsSpurious, s.PacketsSent)
			}
		})
	}
}

// TestFairness has two links share a line. CUBIC's way to a fair share is slow where windows are large: of 100 Mbit/s a
// flow that comes later has a third for about a minute (its growth is by time, some 11 s from loss to loss), which is
// written down; of 10 Mbit/s it has its half within the warm-up.
func TestFairness(t *testing.T) {
	for _, c := range []struct {
		rate  int64 // of lineRate, one part in
		later time.Duration
		most  float64 // share of the first
	}{
		{1, 0, 0.6},
		{1, 2 * time.Second, 0.85},
		{10, 100 * time.Millisecond, 0.6},
		{10, 700 * time.Millisecond, 0.6},
		{10, 2 * time.Second, 0.6},
		{10, 5 * time.Second, 0.6},
	} {
		t.Run(fmt.Sprintf("rate=1:%d,later=%v", c.rate, c.later), func(t *testing.T) {
			w := newWorld()
			l := line(0)
			l.Rate /= c.rate
			l.Queue /= int(c.rate)
			there, back := lab.NewPath(l, 1), lab.NewPath(l, 2)
			x, y := w.join(reliable.Config{}, reliable.Config{}, there, back)
			u, v := w.join(reliable.Config{}, reliable.Config{}, there, back)
			first := w.bulk(x, y, 0)
			second := w.bulk(u, v, c.later)
			rates := w.over(t, c.later+warmUp, c.later+warmUp+measure, first, second)
			all := rates[0] + rates[1]
			share, use := rates[0]/all, all/float64(l.Rate)
			t.Logf("%.1f %% and %.1f %% of what both got, together %.1f %% of the line", 100*share, 100-100*share, 100*use)
			if share < 0.4 || share > c.most {
				t.Errorf("the first got %.1f %% of what both got, want 40 to %.0f %%", 100*share, 100*c.most)
			}
			if use < 0.9 {
				t.Errorf("both together got %.1f %% of the line, want 90 %%", 100*use)
			}
		})
	}
}

// TestControlUnderBulk sends 64 bytes on the control lane now and then while a lane fills the line.
func TestControlUnderBulk(t *testing.T) {
	w := newWorld()
	l := line(0)
	x, y := w.join(reliable.Config{}, reliable.Config{}, lab.NewPath(l, 1), lab.NewPath(l, 2))
	read := w.bulk(x, y, 0)
	var waits, latencies []time.Duration
	x.took = func(size int, d time.Duration) {
		if w.now > warmUp {
			waits = append(waits, d-l.Delay) // in the queue, and its own time on the line
		}
	}
	var sent []time.Duration
	w.every(warmUp, 97*time.Millisecond, x, func() bool {
		if n, err := x.Control().Write(content(len(sent)*64, 0, 64)); n != 64 || err != nil {
			w.fail("Write: %d, %w", n, err)
		}
		sent = append(sent, w.now)
		return w.now < warmUp+measure
	})
	got, in := 0, make([]byte, 4096)
	y.on(func(v reliable.Event) {
		if v.Lane != y.Control() {
			return
		}
		n, _ := v.Lane.Read(in)
		for got += n; len(latencies) < got/64; {
			latencies = append(latencies, w.now-sent[len(latencies)])
		}
	})
	share := w.over(t, warmUp, warmUp+measure+time.Second, read)[0] / float64(rate())
	if len(latencies) != len(sent) || len(sent) < 100 {
		t.Fatalf("%d of %d messages have come", len(latencies), len(sent))
	}
	latency, wait := median(latencies), median(waits)
	t.Logf("p50 of %d messages: %v, of the queue: %v; the lane gets %.1f %% of the line", len(latencies), latency, wait, 100*share)
	if limit := lineTrip + wait + 10*time.Millisecond; latency > limit {
		t.Errorf("p50 is %v, want at most a round trip, the queue and 10 ms: %v", latency, limit)
	}
	if share < 0.85 {
		t.Errorf("the line is not full: %.1f %%", 100*share)
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// TestNoHeadOfLineBlocking loses each packet of a flight in turn: lanes that had nothing in it get their bytes at the
// same instants as without a loss, only those that had wait for it to come again.
func TestNoHeadOfLineBlocking(t *testing.T) {
	const lanes, size = 8, 1100
	type arrival struct {
		lane uint64
		read int
		at   time.Duration
	}
	// flight sends once on each lane and then again, losing the packet of that number, and returns what comes when,
	// and what lanes the packet carried.
	flight := func(lose int) (come map[uint64][]arrival, hit map[uint64]bool) {
		w := newWorld()
		l := lab.Link{Delay: lineTrip / 2}
		x, y := w.join(reliable.Config{RTT: lineTrip}, reliable.Config{RTT: lineTrip}, lab.NewPath(l, 1), lab.NewPath(l, 2))
		come, hit = make(map[uint64][]arrival), make(map[uint64]bool)
		w.at(0, x, func() {
			for range lanes {
				r, err := x.Open()
				if err != nil {
					t.Fatal(err)
				}
				if n, err := r.Write(content(0, 0, size)); n != size || err != nil {
					t.Fatalf("Write: %d, %v", n, err)
				}
				w.at(10*time.Millisecond, x, func() { _, _ = r.Write(content(0, size, 10)) }) // in a later packet
			}
		})
		made := 0
		x.loses = func(p []byte) bool {
			made++
			if made != lose {
				return false
			}
			for _, id := range lanesIn(t, p) {
				hit[id] = true
			}
			return true
		}
		read := make(map[uint64]int)
		in := make([]byte, 4096)
		y.on(func(v reliable.Event) {
			for n := 1; v.Lane != nil && n > 0; {
				n, _ = v.Lane.Read(in)
				id := v.Lane.ID()
				if n > 0 {
					read[id] += n
					come[id] = append(come[id], arrival{id, read[id], w.now})
				}
			}
		})
		w.run(10*time.Second, nil)
		if w.err != nil {
			t.Fatal(w.err)
		}
		for id, n := range read {
			if n != size+10 {
				t.Errorf("packet %d lost: lane %d has %d bytes, want %d", lose, id, n, size+10)
			}
		}
		if len(read) != lanes {
			t.Errorf("packet %d lost: %d lanes have come, want %d", lose, len(read), lanes)
		}
		return come, hit
	}
	want, _ := flight(never)
	for lose := 1; lose <= lanes; lose++ {
		got, hit := flight(lose)
		if len(hit) == 0 {
			t.Fatalf("packet %d carries no lane, so it shows nothing", lose)
		}
		late := 0
		for id := range want {
			same := slices.Equal(got[id], want[id])
			if !same && !hit[id] {
				t.Errorf("packet %d lost: lane %d had nothing in it, and waits: %v, want %v", lose, id, got[id], want[id])
			}
			if !same {
				late++
			}
		}
		if late == 0 || late == lanes {
			t.Errorf("packet %d lost: %d of %d lanes come late, so it shows nothing", lose, late, lanes)
		}
	}
}

// lanesIn returns the lanes that a packet carries data of.
func lanesIn(t *testing.T, p []byte) (ids []uint64) {
	t.Helper()
	ranges := make([]wire.AckRange, 0, wire.MaxAckRanges)
	for len(p) > 0 {
		var err error
		switch wire.FrameKind(p[0]) {
		case wire.FrameData, wire.FrameDataFin:
			var d wire.Data
			if d, p, err = wire.ParseData(p); err == nil {
				ids = append(ids, d.Lane)
			}
		case wire.FrameAck:
			_, p, err = wire.ParseAck(p, ranges)
		case wire.FramePing:
			p = p[1:]
		case wire.FrameLanes:
			_, p, err = wire.ParseLanes(p)
		case wire.FramePadding:
			return ids
		default:
			t.Fatalf("a frame of kind %#x in a flight of data", p[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// TestOutage kills the line in the middle of a transfer: when it lives again it is used again soon, however long it was
// dead.
func TestOutage(t *testing.T) {
	for _, dead := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, time.Minute} {
		t.Run(dead.String(), func(t *testing.T) {
			w := newWorld()
			there, back := lab.NewPath(line(0), 1), lab.NewPath(line(0), 2)
			x, y := w.join(reliable.Config{}, reliable.Config{}, there, back)
			read := w.bulk(x, y, 0)
			w.run(2*time.Second, nil)
			none := line(1)
			there.Set(none)
			back.Set(none)
			sent := x.packets
			w.run(2*time.Second+dead, nil)
			if made := x.packets - sent; made > 1000+int(dead/time.Second)*4 {
				t.Errorf("%d packets were sent into a dead line in %v", made, dead)
			}
			there.Set(line(0))
			back.Set(line(0))
			before := *read
			alive := w.now
			w.run(alive+time.Minute, func() bool { return *read > before })
			if wait := w.now - alive; wait > 3*time.Second+lineTrip {
				t.Errorf("dead for %v: used again after %v, want 3 s", dead, wait)
			} else {
				t.Logf("used again after %v", wait)
			}
			at := w.now
			if share := w.over(t, at+2*time.Second, at+4*time.Second, read)[0] / float64(rate()); share < 0.5 {
				t.Errorf("3 s after that %.0f %% of the line are used, want half", 100*share)
			}
		})
	}
}

// TestWeights has lanes share the line in proportion to their weights.
func TestWeights(t *testing.T) {
	w := newWorld()
	l := line(0)
	l.Rate /= 10
	x, y := w.join(reliable.Config{}, reliable.Config{}, lab.NewPath(l, 1), lab.NewPath(l, 2))
	weights := []int{1, 2, 5, 5}
	var reads []*int
	for _, weight := range weights {
		reads = append(reads, w.weighted(x, y, 0, weight))
	}
	rates := w.over(t, warmUp, warmUp+measure, reads...)
	sum, parts := 0.0, 0.0
	for i, r := range rates {
		sum += r
		parts += float64(weights[i])
	}
	for i, r := range rates {
		got, want := r/sum, float64(weights[i])/parts
		t.Logf("weight %d: %.1f %%", weights[i], 100*got)
		if got < 0.95*want || got > 1.05*want {
			t.Errorf("weight %d: got %.1f %%, want %.1f", weights[i], 100*got, 100*want)
		}
	}
}

// TestStoppedReaders has many lanes whose readers have stopped hold what was sent to them, and one that goes on: it has
// the line for itself.
func TestStoppedReaders(t *testing.T) {
	stopped := int(40 * rate() / lineRate) // half a megabyte each, in all twenty times the first window of the link
	w := newWorld()
	x, y := w.join(reliable.Config{}, reliable.Config{}, lab.NewPath(line(0), 1), lab.NewPath(line(0), 2))
	w.at(0, x, func() {
		for range stopped {
			l, err := x.Open()
			if err != nil {
				w.fail("Open: %w", err)
				return
			}
			var write func()
			write = func() {
				for n := 1; n > 0; {
					n, _ = l.Write(content(0, 0, 10_000))
				}
				w.at(w.now+10*time.Millisecond, x, write) // a writer that tries and tries
			}
			write()
		}
	})
	read := w.bulk(x, y, 0)
	share := w.over(t, warmUp, warmUp+measure/3, read)[0] / float64(rate())
	unread := y.Stats().Unread
	t.Logf("%.1f %% of the line, %d bytes wait to be read", 100*share, unread)
	if share < 0.9 {
		t.Errorf("got %.1f %% of the line, want 90 %%", 100*share)
	}
	if least := stopped * wire.InitialLaneWindow; unread < least {
		t.Errorf("%d bytes wait to be read, want %d: the readers were not stopped", unread, least)
	}
}

// TestSlowReader has a reader that takes little: what waits for it stays at the first window, as a larger one would
// bring nothing.
func TestSlowReader(t *testing.T) {
	const rate = 200_000 // bytes a second
	w := newWorld()
	x, y := w.join(reliable.Config{}, reliable.Config{}, lab.NewPath(line(0), 1), lab.NewPath(line(0), 2))
	var l, r *reliable.Lane
	w.at(0, x, func() { l, _ = x.Open() })
	w.every(0, 10*time.Millisecond, x, func() bool {
		for n := 1; n > 0; {
			n, _ = l.Write(content(0, 0, 10_000))
		}
		return true
	})
	y.on(func(v reliable.Event) {
		if v.Ready&reliable.Opened != 0 {
			r = v.Lane
		}
	})
	got, most, in := 0, 0, make([]byte, rate/100)
	w.every(time.Second, 10*time.Millisecond, y, func() bool {
		n, _ := r.Read(in)
		got += n
		most = max(most, y.Stats().Unread)
		return true
	})
	w.run(61*time.Second, nil)
	if w.err != nil {
		t.Fatal(w.err)
	}
	if want := 60 * rate * 99 / 100; got < want {
		t.Errorf("read %d bytes in a minute, want %d", got, want)
	}
	if most > wire.InitialLaneWindow {
		t.Errorf("up to %d bytes waited to be read, want at most %d", most, wire.InitialLaneWindow)
	}
}

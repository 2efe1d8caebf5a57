package reliable_test

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

var (
	schedules = flag.Int("schedules", 1000, "how many random schedules to run")
	seed      = flag.Uint64("seed", 0, "the one schedule to run, with a trace; 0: -schedules of them")
)

// TestSchedules has two programs exchange what they want over random lines, and holds the invariants: every lane's
// bytes arrive intact and in order, each reader sees exactly one end, datagrams arrive at most once, nothing stalls
// while the line lives, memory is bounded, and nothing is sent when there is nothing to say.
func TestSchedules(t *testing.T) {
	if *seed != 0 {
		s := newSchedule(*seed)
		s.trace = func(format string, args ...any) { t.Logf("%14v  %s", s.now-s.begin, fmt.Sprintf(format, args...)) }
		if err := s.run(); err != nil {
			t.Fatalf("%v\n%+v", err, s.plan)
		}
		t.Logf("%+v\n%+v", s.plan, s.tally)
		return
	}
	n := *schedules
	if testing.Short() {
		n /= 10
	}
	var total tally
	for i := uint64(1); i <= uint64(n); i++ {
		s := newSchedule(i)
		if err := s.run(); err != nil {
			t.Fatalf("seed %d: %v\nreplay with: go test ./internal/reliable -run 'TestSchedules$' -seed %d -v", i, err, i)
		}
		total.add(s.tally)
	}
	t.Logf("%+v", total)
	for what, count := range map[string]int{ // a schedule that exercises nothing proves nothing
		"EOF": total.EOFs, "reset": total.Resets, "stop": total.Stops, "halt": total.Halts, "pause": total.Pauses,
		"full lane": total.Blocked, "refused lane": total.TooMany, "datagram": total.Datagrams, "lost datagram": total.Missing, "probe": total.Probes,
		"lost packet": total.Lost, "spurious loss": total.Spurious, "outage": total.Outages, "move": total.Moves,
		"raise": total.Raises, "fall": total.Falls,
		"closed": total.Closed,
	} {
		if count < n/20 {
			t.Errorf("%s: %d times in %d schedules, want more", what, count, n)
		}
	}
}

// TestDeterministic runs schedules twice and wants the same packets at the same instants.
func TestDeterministic(t *testing.T) {
	n := uint64(40)
	if testing.Short() {
		n = 10
	}
	for i := uint64(1); i <= n; i++ {
		var sums [2]uint64
		for j := range sums {
			h := fnv.New64a()
			s := newSchedule(i)
			for _, e := range s.ends {
				e.sees = func(pn uint64, b []byte) {
					fmt.Fprint(h, e.name, s.now, pn)
					h.Write(b)
				}
			}
			if err := s.run(); err != nil {
				t.Fatalf("seed %d: %v", i, err)
			}
			sums[j] = h.Sum64()
		}
		if sums[0] != sums[1] {
			t.Errorf("seed %d: two runs sent different packets", i)
		}
	}
}

// tally counts what schedules have exercised.
type tally struct {
	Bytes, EOFs, Resets, Stops, Halts, Pauses, Blocked, TooMany int
	Datagrams, Missing, Probes, Outages, Moves, Raises, Closed  int
	Packets, Lost, Spurious, Falls                              int
	Time                                                        time.Duration
	Slowest                                                     float64 // largest share of the time allowed that was taken
	Longest                                                     float64 // the same of the time without progress
	Dearest                                                     float64 // the same of the packets allowed
}

func (t *tally) add(o tally) {
	t.Bytes += o.Bytes
	t.EOFs += o.EOFs
	t.Resets += o.Resets
	t.Stops += o.Stops
	t.Halts += o.Halts
	t.Pauses += o.Pauses
	t.Blocked += o.Blocked
	t.TooMany += o.TooMany
	t.Datagrams += o.Datagrams
	t.Missing += o.Missing
	t.Probes += o.Probes
	t.Outages += o.Outages
	t.Moves += o.Moves
	t.Raises += o.Raises
	t.Closed += o.Closed
	t.Packets += o.Packets
	t.Lost += o.Lost
	t.Falls += o.Falls
	t.Spurious += o.Spurious
	t.Time += o.Time
	t.Slowest = max(t.Slowest, o.Slowest)
	t.Longest = max(t.Longest, o.Longest)
	t.Dearest = max(t.Dearest, o.Dearest)
}

// schedule is one run.
type schedule struct {
	*world
	rng             *rand.Rand
	plan            plan
	links           [][2]lab.Link // all that the line will be
	paths           [2]*lab.Path
	down            [2]bool
	sides           [2]*side
	halves          []*half
	closer          *side         // closed the link, if anyone did
	left            int           // halves that are not settled
	last            time.Duration // when there was progress
	buffer, scratch []byte
	drawn           logRange // the last one
	tally           tally
}

func newSchedule(seed uint64) *schedule {
	s := &schedule{
		world: newWorld(), rng: rand.New(rand.NewPCG(seed, 4)),
		buffer: make([]byte, 64<<10), scratch: make([]byte, 4<<10),
	}
	s.draw()
	for i := range s.paths {
		s.paths[i] = lab.NewPath(s.plan.Links[i], seed*2+uint64(i))
	}
	x, y := s.join(s.plan.Configs[0], s.plan.Configs[1], s.paths[0], s.paths[1])
	for i, e := range []*end{x, y} {
		d := &side{end: e, s: s, base: e.size, lanes: make(map[uint64]*lane), got: make(map[uint64]bool), asked: make(map[[8]byte]bool)}
		s.sides[i] = d
		e.event, e.probed = d.act, d.answer
		if s.plan.Late > 0 {
			e.late = func() time.Duration { return time.Duration(s.rng.Int64N(int64(s.plan.Late))) }
		}
		if s.plan.Skip > 0 {
			e.skip = func() uint64 {
				if s.chance(s.plan.Skip) {
					return uint64(s.logUniform(1, 1000))
				}
				return 0
			}
		}
		if s.plan.Short {
			e.short = func(size int) int {
				if s.chance(0.2) {
					return 300 + s.rng.IntN(size-299)
				}
				return size
			}
		}
	}
	s.populate()
	s.disturb()
	s.resize()
	return s
}

func (s *schedule) progress() { s.last = s.now }

// after has f done by the program of e in a while.
func (s *schedule) after(span time.Duration, e *end, f func()) { s.at(s.now+span, e, f) }

// pause has f called in a while, and returns when.
func (s *schedule) pause(e *end, f func()) time.Duration {
	span := s.duration(100*time.Microsecond, 3*time.Second)
	s.plan.Overhead += span
	s.tally.Pauses++
	s.after(span, e, func() { s.progress(); f() })
	return s.now + span
}

// bounds are what a schedule may take.
type bounds struct {
	time    time.Duration // for all, besides plan.Overhead
	stall   time.Duration // without progress while the line lives
	packets int
}

func (s *schedule) bounds() bounds {
	p := &s.plan
	var rtt time.Duration
	lost, stuck, clean := 0.0, 0.0, true
	rate := math.Inf(1)
	for _, both := range s.links {
		var there time.Duration
		back := 1.0
		for _, l := range both {
			d := l.Delay + l.Jitter
			if l.Reorder > 0 {
				d += max(d, 10*time.Millisecond)
			}
			if l.Rate > 0 {
				queue := l.Queue
				if queue == 0 {
					queue = int(max(64<<10, l.Rate/10))
				}
				if queue < 16*1500 { // a burst overflows it
					lost, clean = max(lost, 0.1), false
				}
				d += time.Duration(float64(queue+1500) / float64(l.Rate) * float64(time.Second))
				rate = min(rate, float64(l.Rate))
			}
			there += d + p.Late
			bad := 0.0
			if l.Burst.Enter > 0 {
				bad = l.Burst.Enter / (l.Burst.Enter + l.Burst.Leave)
				stuck = max(stuck, 1-l.Burst.Leave)
			}
			back *= (1 - l.Loss) * (1 - bad)
			clean = clean && l.Loss == 0 && bad == 0 && l.Reorder == 0 && !l.JitterReorders
		}
		rtt = max(rtt, there)
		lost = max(lost, 1-back)
	}
	const backOff = 100 * time.Millisecond // in the mean, of a timer that brought nothing
	timeout := 3*time.Second + 2*rtt
	size := 600.0
	if p.Short {
		size = 400
	}
	for _, c := range p.Configs {
		if c.SendBuffer > 0 {
			size = min(size, float64(c.SendBuffer))
		}
	}
	datagrams := len(s.agenda)
	n := float64(p.Bytes)/size + float64(8*p.Lanes+datagrams) + 20
	stall := time.Duration((4 + math.Log(1e-9)/math.Log(max(lost, stuck, 0.05))) * float64(timeout))
	spent := 5*time.Second + 2*timeout + time.Duration(3*n*1500/rate*float64(time.Second))
	rounds := 40.0
	if !clean {
		rounds += n / max(1, min(0.3/math.Sqrt(lost), 50)) / (1 - lost)
		spent += stall / 2
	}
	spent += time.Duration(rounds * (float64(rtt+30*time.Millisecond) + lost*lost*float64(backOff)))
	return bounds{time: spent, stall: stall, packets: int(3*n/(1-lost)) + 100}
}

// run runs the schedule to its end.
func (s *schedule) run() error {
	b := s.bounds()
	steps := 0
	check := func() bool {
		if steps++; steps%256 == 0 {
			s.measure()
		}
		switch {
		case s.down[0] || s.down[1]:
			s.progress()
		case s.now-s.last > b.stall:
			s.fail("no progress for %v", s.now-s.last)
		case s.now-s.begin > b.time+s.plan.Overhead:
			s.fail("not done, %v were allowed", b.time+s.plan.Overhead)
		}
		s.tally.Longest = max(s.tally.Longest, float64(s.now-s.last)/float64(b.stall))
		return s.left == 0 || s.closer != nil
	}
	s.last = s.now
	s.world.run(reliable.Never-1, check)
	s.need("all is quiet, and not done")
	s.tally.Slowest = float64(s.now-s.begin) / float64(b.time+s.plan.Overhead)
	s.finish()
	b.time += s.now - s.begin
	s.world.run(reliable.Never-1, check)
	s.need("all is quiet, and not done at the finish")
	s.world.run(s.now+b.stall+time.Minute, nil)
	if s.err == nil {
		s.rest(b)
	}
	return s.err
}

// need fails what is not settled.
func (s *schedule) need(why string) {
	if s.err != nil || s.left == 0 || s.closer != nil {
		return
	}
	for _, h := range s.halves {
		if !h.settled {
			s.fail("%s: %s: %d of %d written, closed %v reset %v refused %v; %d read, halted %v stopped %v ended %v",
				why, h.name, h.written, h.size, h.closed, h.reset, h.refused, h.read, h.halted, h.stopped, h.ended)
		}
	}
}

// finish ends what nobody reads.
func (s *schedule) finish() {
	if s.err != nil {
		return
	}
	s.trace("the finish")
	if s.plan.Finish == closeAll {
		if s.closer == nil {
			s.sides[s.rng.IntN(2)].close()
		}
		return
	}
	for _, h := range s.halves {
		if !h.halted {
			continue
		}
		h.halted, h.haltAt, h.settled = false, never, false
		s.left++
		if s.plan.Finish == stopAll {
			h.stopAt = h.read
		}
		s.at(s.now, h.to, h.take)
	}
}

// measure holds what the machines say of themselves against what they may hold.
func (s *schedule) measure() {
	for i, d := range s.sides {
		c := s.plan.Configs[i]
		link := c.LinkWindow
		if link == 0 {
			link = 32 << 20
		}
		if n := d.Stats().Unread; n > link+wire.InitialLaneWindow {
			s.fail("%s: %d bytes wait to be read, the window is %d", d.name, n, link)
		}
	}
}

// rest checks what is left when all is over.
func (s *schedule) rest(b bounds) {
	for _, d := range s.sides {
		if d.wake != reliable.Never {
			s.fail("%s: wants to be called in %v, long after all was done; %+v", d.name, d.wake-s.now, d.Stats())
		}
		stats := d.Stats()
		s.tally.Packets += d.packets
		s.tally.Lost += int(stats.PacketsLost)
		s.tally.Spurious += int(stats.PacketsSpurious)
		if d.size > d.base && d.MaxPacket() == d.base {
			s.tally.Falls++
		}
		if s.closer != nil {
			var c *reliable.ClosedError
			if err := d.Err(); err != nil && (!errors.As(err, &c) || c.Code != 7 || c.Reason != "enough" || c.Remote != (d != s.closer)) {
				s.fail("%s: Close has ended it with %w", d.name, err)
			} else if err == nil && d == s.closer {
				s.fail("%s: lives after Close", d.name)
			}
			continue
		}
		if err := d.Err(); err != nil {
			s.fail("%s: %w", d.name, err)
		}
		for id, l := range d.lanes {
			if !l.ended && id != 0 {
				s.fail("%s: lane %d (%s) has not ended", d.name, id, l.out.name)
			}
		}
		if stats.Lanes != 1 || stats.Unread != 0 || stats.Unacked != 0 || stats.InFlight != 0 || !stats.Idle {
			s.fail("%s: holds something after all: %+v", d.name, stats)
		}
	}
	s.datagramsOf(s.sides[0], s.sides[1], s.paths[0])
	s.datagramsOf(s.sides[1], s.sides[0], s.paths[1])
	s.tally.Time = s.now - s.begin
	s.tally.Dearest = float64(s.tally.Packets) / float64(b.packets)
	if s.tally.Packets > b.packets {
		s.fail("%d packets were sent, %d allowed", s.tally.Packets, b.packets)
	}
}

// datagramsOf accounts for the datagrams of one direction: where the line lost nothing, each has come or is counted as
// dropped.
func (s *schedule) datagramsOf(from, to *side, path *lab.Path) {
	missing := len(from.sent) - len(to.got)
	s.tally.Missing += missing
	if s.closer != nil {
		return
	}
	line := path.Stats()
	dropped := int(from.Stats().DatagramsDropped + to.Stats().DatagramsUnread)
	if line.Lost+line.QueueFull+line.TooLong == 0 && missing != dropped {
		s.fail("%s: %d datagrams are missing on a line that lost nothing, %d were counted as dropped", to.name, missing, dropped)
	}
}

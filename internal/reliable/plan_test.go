package reliable_test

import (
	"fmt"
	"math"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/reliable"
	"github.com/gocarrier/carrier/internal/wire"
)

// plan is what a seed has drawn.
type plan struct {
	Links    [2]lab.Link
	Configs  [2]reliable.Config
	Lanes    int
	Bytes    int
	Pauses   float64       // chance of a pause after each Write and Read
	Late     time.Duration // the most that programs are late
	Skip     float64       // chance that packet numbers are left out
	Short    bool          // some packets have less room
	Opening  time.Duration // in which lanes are opened
	Finish   finish
	Abort    time.Duration // when the link is closed in the midst of it all; 0 is never
	Overhead time.Duration // outages, moves and other waits that are not the machines' fault
}

// finish is what becomes of lanes that nobody reads once all others have ended.
type finish int

const (
	readOn finish = iota // their readers go on
	stopAll
	closeAll // the link is closed
)

func (s *schedule) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

// logRange is what is drawn from, with its logarithms: most draws are from the same one as the last.
type logRange struct {
	low, high  int
	from, over float64
}

// logUniform draws from low to high, each order of magnitude as likely as another.
func (s *schedule) logUniform(low, high int) int {
	if high <= low {
		return high
	}
	r := &s.drawn
	if r.low != low || r.high != high {
		*r = logRange{low, high, math.Log(float64(low)), math.Log(float64(high+1) / float64(low))}
	}
	return min(int(math.Exp(r.from+s.rng.Float64()*r.over)), high)
}

func (s *schedule) duration(low, high time.Duration) time.Duration {
	return time.Duration(s.logUniform(int(low), int(high)))
}

// draw makes the plan.
func (s *schedule) draw() {
	p := &s.plan
	for i := range p.Links {
		p.Links[i] = s.link()
		if i == 1 && s.chance(0.5) { // the same both ways
			p.Links[1] = p.Links[0]
		}
		c := reliable.Config{}
		if s.chance(0.3) {
			c.RTT = s.duration(time.Millisecond, time.Second)
		}
		if s.chance(0.3) {
			c.SendBuffer = s.logUniform(1, 1<<20)
		}
		if s.chance(0.2) {
			c.LinkWindow = s.logUniform(2<<20, 32<<20)
			c.LaneWindow = c.LinkWindow / 2
		}
		if s.chance(0.2) {
			c.DatagramQueue = s.logUniform(4<<10, 1<<20)
		}
		p.Configs[i] = c
	}
	if s.chance(0.3) {
		for i := range p.Configs {
			p.Configs[i].MaxPacket = 600 + s.rng.IntN(900)
		}
	}
	s.links = append(s.links, p.Links)
	p.Lanes = s.logUniform(1, 64)
	p.Bytes = s.logUniform(1, 8<<20)
	if s.chance(0.05) { // more than may be open at once
		p.Lanes = 150 + s.rng.IntN(300)
		p.Bytes = min(p.Bytes, 1<<20)
		p.Configs[0].Lanes, p.Configs[1].Lanes = 128, 128+s.rng.IntN(100)
	}
	for i := range p.Configs { // a megabyte a few bytes at a time proves little
		if c := &p.Configs[i]; c.SendBuffer > 0 {
			c.SendBuffer = max(c.SendBuffer, p.Bytes/4096)
		}
	}
	if s.chance(0.4) {
		p.Pauses = 0.1 * s.rng.Float64()
	}
	if s.chance(0.3) {
		p.Late = s.duration(time.Microsecond, 20*time.Millisecond)
	}
	if s.chance(0.3) {
		p.Skip = 0.5 * s.rng.Float64() * s.rng.Float64()
	}
	p.Short = s.chance(0.2)
	if s.chance(0.5) {
		p.Opening = s.duration(time.Millisecond, 20*time.Second)
	}
	p.Finish = finish(s.rng.IntN(3))
	if s.chance(0.1) {
		p.Finish, p.Abort = closeAll, s.duration(time.Millisecond, 10*time.Second)
	}
	if s.chance(0.5) {
		s.now = s.duration(time.Second, 100_000*time.Hour)
	}
	s.begin = s.now
}

// link draws what one direction is like.
func (s *schedule) link() lab.Link {
	var l lab.Link
	if s.chance(0.9) {
		l.Delay = s.duration(100*time.Microsecond, 500*time.Millisecond)
	}
	if s.chance(0.5) {
		l.Jitter = time.Duration(s.rng.Float64() * float64(l.Delay))
		l.JitterReorders = s.chance(0.3)
	}
	if s.chance(0.6) {
		l.Loss = 0.3 * s.rng.Float64() * s.rng.Float64()
		if s.chance(0.2) {
			l.Loss = 0.3
		}
	}
	if s.chance(0.2) {
		l.Burst = lab.Burst{Enter: 0.05 * s.rng.Float64(), Leave: 0.2 + 0.8*s.rng.Float64()}
	}
	if s.chance(0.4) {
		l.Duplicate = 0.3 * s.rng.Float64() * s.rng.Float64()
	}
	if s.chance(0.4) {
		l.Reorder = 0.3 * s.rng.Float64() * s.rng.Float64()
	}
	if s.chance(0.6) {
		l.Rate = int64(s.logUniform(20_000, 100_000_000))
		if s.chance(0.5) {
			l.Queue = s.logUniform(4_000, 1_000_000)
		}
	}
	return l
}

// populate draws the lanes and datagrams.
func (s *schedule) populate() {
	p := &s.plan
	for _, d := range s.sides {
		d.lanes[0] = &lane{}
	}
	shares := make([]float64, 2*(p.Lanes+1))
	sum := 0.0
	for i := range shares {
		shares[i] = math.Pow(s.rng.Float64(), 8) // most are small
		sum += shares[i]
	}
	size := func(i int) int { return int(float64(p.Bytes) * shares[i] / sum) }
	control := [2]*half{s.half("control", 0, 1, size(0)/8), s.half("control", 1, 0, size(1)/8)}
	for i, h := range control {
		h.keep, h.cutAt, h.stopAt, h.haltAt = true, never, never, never
		h.id = 0
		s.sides[i].lanes[0].out, s.sides[1-i].lanes[0].in = h, h
		h.w, h.r = s.sides[i].Control(), s.sides[1-i].Control()
		s.after(0, s.sides[i].end, h.write)
	}
	for i := range p.Lanes {
		opener := s.rng.IntN(2)
		name := fmt.Sprintf("lane #%d", i)
		l := &lane{out: s.half(name, opener, 1-opener, size(2*i+2)), in: s.half(name, 1-opener, opener, size(2*i+3))}
		if s.chance(0.3) {
			l.weight = 1 + s.rng.IntN(256)
		}
		var when time.Duration
		if p.Opening > 0 {
			when = time.Duration(s.rng.Int64N(int64(p.Opening)))
		}
		d := s.sides[opener]
		s.after(when, d.end, func() { d.open(l) })
	}
	s.spare()
	p.Overhead += p.Opening
	for i, d := range s.sides {
		if s.chance(0.2) {
			for range 5 {
				s.after(s.duration(time.Millisecond, 2*time.Second), d.end, d.challenge)
			}
		}
		if !s.chance(0.4) {
			continue
		}
		n := s.logUniform(1, 300)
		span := s.duration(time.Millisecond, 5*time.Second)
		p.Overhead += span
		for range n {
			s.after(time.Duration(s.rng.Int64N(int64(span))), d.end, func() { s.sides[i].datagram() })
		}
	}
}

// half draws one direction of a lane.
func (s *schedule) half(name string, from, to, size int) *half {
	h := &half{
		s: s, name: fmt.Sprintf("%s (%s)", name, s.sides[from].name), base: s.rng.IntN(patternPeriod), size: size,
		from: s.sides[from].end, to: s.sides[to].end, cutAt: never, stopAt: never, haltAt: never,
		chunk: s.logUniform(1, patternChunk), buffer: s.logUniform(1, len(s.buffer)),
	}
	if size > 64<<10 { // a megabyte a byte at a time proves little
		h.chunk, h.buffer = max(h.chunk, size/4096), min(max(h.buffer, size/4096), len(s.buffer))
	}
	where := func() int {
		if size == 0 || s.chance(0.1) {
			return size
		}
		return s.rng.IntN(size + 1)
	}
	switch {
	case s.chance(0.1):
		h.cutAt = where()
	case s.chance(0.1):
		h.haltAt = where()
	}
	if s.chance(0.1) && h.haltAt == never {
		h.stopAt, h.keep = where(), size > 0 && s.chance(0.5) // a lane that nothing is written on is not known to the peer
	}
	s.halves = append(s.halves, h)
	s.left++
	return h
}

// disturb draws what happens to the link: it is closed, its line dies for a while, or the peer moves to another.
func (s *schedule) disturb() {
	p := &s.plan
	if p.Abort > 0 {
		d := s.sides[s.rng.IntN(2)]
		s.after(p.Abort, d.end, d.close)
	}
	if s.chance(0.15) {
		for range 1 + s.rng.IntN(2) {
			span := s.duration(time.Second, 20*time.Second)
			ways := 1 + s.rng.IntN(3)
			p.Overhead += span + 4*time.Second
			s.tally.Outages++
			s.after(s.duration(time.Millisecond, 10*time.Second), s.sides[0].end, func() {
				s.cut(ways, true)
				s.after(span, s.sides[0].end, func() { s.cut(ways, false) })
			})
		}
	}
	if s.chance(0.15) {
		s.tally.Moves++
		links := [2]lab.Link{s.link(), s.link()}
		s.links = append(s.links, links)
		size := s.sides[0].size
		if s.chance(0.5) {
			size = 600 + s.rng.IntN(900)
		}
		late := s.duration(time.Millisecond, 2*time.Second) // until it is noticed
		p.Overhead += late + 4*time.Second
		s.after(s.duration(time.Millisecond, 5*time.Second), s.sides[0].end, func() {
			for i := range links {
				links[i].MTU = size + sealing
				p.Links[i] = links[i]
				s.apply(i)
			}
			s.trace("the line becomes %+v", links)
			for _, d := range s.sides {
				s.after(late, d.end, func() { d.move(size) })
			}
		})
	}
}

// resize draws that larger packets than before are found to pass, and perhaps pass no more after a while.
func (s *schedule) resize() {
	if !s.chance(0.3) {
		return
	}
	s.tally.Raises++
	size := 1000 + s.logUniform(1, 8000)
	hole := s.chance(0.5)
	s.plan.Overhead += 10 * time.Second // until what vanishes is noticed
	s.after(s.duration(time.Millisecond, 2*time.Second), s.sides[0].end, func() {
		for _, d := range s.sides {
			s.trace("%s may send packets of %d", d.name, size)
			d.SetMaxPacket(size)
			d.size, d.buf = d.MaxPacket(), make([]byte, d.MaxPacket())
		}
	})
	if !hole {
		return
	}
	s.after(s.duration(2*time.Millisecond, 5*time.Second), s.sides[0].end, func() {
		for i, d := range s.sides {
			s.plan.Links[i].MTU = d.base + sealing
			s.apply(i)
		}
		s.trace("the line carries no large packets")
	})
}

// cut lets directions of the line die or live again.
func (s *schedule) cut(ways int, down bool) {
	s.trace("the line is down in the directions %02b: %v", ways, down)
	for i := range s.down {
		if ways&(1<<i) != 0 {
			s.down[i] = down
			s.apply(i)
		}
	}
	s.progress()
}

func (s *schedule) apply(i int) {
	l := s.plan.Links[i]
	if s.down[i] {
		l.Loss = 1
	}
	s.paths[i].Set(l)
}

// spare has readers go on where so much would be left unread that the link's window could not hold it, and other lanes
// had to wait.
func (s *schedule) spare() {
	var held [2]int
	for _, h := range s.halves {
		if h.haltAt == never {
			continue
		}
		i := 0
		if h.to == s.sides[1].end {
			i = 1
		}
		c := s.plan.Configs[i]
		lane, link := c.LaneWindow, c.LinkWindow
		if link == 0 {
			lane, link = 16<<20, 32<<20
		}
		held[i] += min(h.size-h.haltAt, lane)
		if held[i] > link-wire.InitialLinkWindow {
			h.haltAt = never
		}
	}
}

package reliable

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const testPacket = 1000 // bytes: windows read as packets

// newTestCubic is a CUBIC of 1000-byte packets that has left slow start for a window of so many packets, by no loss.
func newTestCubic(packets float64) *cubic {
	c := NewCubic(Path{MaxPacket: testPacket}).(*cubic)
	c.window = packets * testPacket
	c.ssthresh = c.window
	return c
}

// packets is the window of c in packets.
func (c *cubic) packets() float64 { return c.window / testPacket }

// bulk is an ACK of bytes sent at now - rtt by a program that always has more to send.
func bulk(now, rtt time.Duration, bytes int) Sample {
	return Sample{Bytes: bytes, SentAt: now - rtt, RTT: RTT{Latest: rtt, Min: rtt, Smoothed: rtt}, Limited: true}
}

// grow acknowledges packet by packet from now to end, as many a round trip as the window has.
func grow(c *cubic, now, end, rtt time.Duration) {
	for now < end {
		now += time.Duration(float64(rtt) * testPacket / c.window)
		c.Acked(now, bulk(now, rtt, testPacket))
	}
}

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance }

func TestCubicInitialWindow(t *testing.T) {
	for _, test := range []struct{ packet, want int }{
		{0, 12000}, {100, 1000}, {1200, 12000}, {1400, 14000}, {1472, 14720}, {1500, 14720}, {9000, 18000}, {math.MaxInt, 2 * (maxWindow / 10)},
	} {
		c := NewCubic(Path{MaxPacket: test.packet})
		if got := c.Window(); got != test.want {
			t.Errorf("packets of %d: got an initial window of %d, want %d", test.packet, got, test.want)
		}
		if got, want := c.Rate(), 2*float64(test.want)/0.1; !near(got, want, 1e-9*want) {
			t.Errorf("packets of %d: got a first rate of %g, want %g", test.packet, got, want)
		}
	}
	if got, want := NewCubic(Path{MaxPacket: 1000, RTT: 20 * time.Millisecond}).Rate(), 2*10000/0.020; !near(got, want, 1e-3) {
		t.Errorf("got a first rate of %g, want %g by the round trip given", got, want)
	}
}

func TestCubicSlowStartDoubles(t *testing.T) {
	c := NewCubic(Path{MaxPacket: testPacket})
	rtt, now := 50*time.Millisecond, 50*time.Millisecond
	for round, want := range []int{20, 40, 80, 160} {
		for range c.Window() / testPacket {
			s := bulk(now, rtt, testPacket)
			s.Round = uint64(round)
			c.Acked(now, s)
		}
		if got := c.Window() / testPacket; got != want {
			t.Fatalf("round %d: got a window of %d packets, want %d", round, got, want)
		}
		if got, want := c.Rate(), 2*float64(c.Window())/0.05; !near(got, want, 1) {
			t.Fatalf("round %d: got rate %g, want %g", round, got, want)
		}
		now += rtt
	}
}

// TestCubicCurve replays a congestion event at 1000 packets against the closed formula of RFC 9438 §4.2.
func TestCubicCurve(t *testing.T) {
	const rtt = 100 * time.Millisecond
	c := newTestCubic(1000)
	start := 10 * time.Second
	c.Lost(start, Loss{Bytes: testPacket, Packets: 1, SentAt: start - rtt})
	if got := c.packets(); !near(got, 700, 1e-9) {
		t.Fatalf("got %g packets after the event, want 700", got)
	}
	if got, want := c.Rate(), 1.25*700*testPacket/0.1; !near(got, want, 1) {
		t.Errorf("got rate %g in congestion avoidance, want %g", got, want)
	}
	now := start + rtt + time.Millisecond // the first ACK of what was sent after the event starts the curve
	c.Acked(now, bulk(now, rtt, testPacket))
	epoch, k := now, math.Cbrt(300/0.4)
	for _, second := range []float64{0.5, 1, 2, 4, 6, 8, k, 10, 12, 14, 16, 18} {
		end := epoch + time.Duration(second*float64(time.Second))
		grow(c, now, end, rtt)
		now = end
		want := 1000 + 0.4*math.Pow(second-k, 3)
		if got := c.packets(); !near(got, want, 1) {
			t.Errorf("after %.2f s: got %.2f packets, want %.2f", second, got, want)
		}
	}
}

// TestCubicGrowthIsBounded sees that a round trip in which the curve runs away, since ACKs were long in coming, raises the
// window by half and no more (RFC 9438 §4.2).
func TestCubicGrowthIsBounded(t *testing.T) {
	c := newTestCubic(100)
	c.Acked(0, bulk(0, time.Second, testPacket))
	before := c.window
	now := time.Hour
	c.Acked(now, bulk(now, time.Second, 2*int(before))) // twice the window, as it may have been larger
	if got := c.window / before; !near(got, 1.5, 1e-3) {
		t.Errorf("a window acknowledged after an hour made it grow by %g, want 1.5", got)
	}
}

func TestCubicRenoFriendly(t *testing.T) {
	const rtt = 10 * time.Millisecond
	c := newTestCubic(20)
	c.Lost(time.Second, Loss{Bytes: testPacket, Packets: 1, SentAt: time.Second})
	now := time.Second
	prior, alpha := 20.0, 3*0.3/1.7
	for round := range 40 {
		now += rtt + time.Nanosecond
		before := c.packets()
		c.Acked(now, bulk(now, rtt, c.Window()))
		want := alpha
		if before >= prior {
			want = 1
		}
		if got := c.packets() - before; !near(got, want, 0.01) {
			t.Fatalf("round %d, %g packets: got growth by %g, want %g", round, before, got, want)
		}
	}
	if c.packets() < prior+10 {
		t.Errorf("got %g packets at the end: growth beyond the window of the event was not seen", c.packets())
	}
}

func TestCubicOneEventARoundTrip(t *testing.T) {
	c := newTestCubic(100)
	at := time.Second
	c.Lost(at, Loss{Packets: 1, SentAt: at - 50*time.Millisecond})
	c.Lost(at+10*time.Millisecond, Loss{Packets: 9, SentAt: at - 10*time.Millisecond})
	c.Lost(at+20*time.Millisecond, Loss{Packets: 9, SentAt: at})
	if got := c.packets(); !near(got, 70, 1e-9) {
		t.Errorf("got %g packets after losses of one round trip, want 70", got)
	}
	old := at + 30*time.Millisecond
	c.Acked(old, Sample{Bytes: 50 * testPacket, SentAt: at, Limited: true})
	if got := c.packets(); !near(got, 70, 1e-9) {
		t.Errorf("got %g packets after an ACK of what was sent before the event, want 70", got)
	}
	c.Lost(at+60*time.Millisecond, Loss{Packets: 1, SentAt: at + time.Nanosecond})
	if got := c.packets(); !near(got, 49, 1e-9) {
		t.Errorf("got %g packets after a loss of the next round trip, want 49", got)
	}
}

func TestCubicFirstLossAtEpoch(t *testing.T) {
	for _, sent := range []time.Duration{0, -time.Second} { // instants may be any
		c := newTestCubic(100)
		c.Lost(sent+time.Second, Loss{Packets: 1, SentAt: sent})
		if got := c.packets(); !near(got, 70, 1e-9) {
			t.Errorf("sent at %v: got %g packets after the first loss, want 70", sent, got)
		}
	}
}

func TestCubicFastConvergence(t *testing.T) {
	c := newTestCubic(100)
	c.Lost(time.Second, Loss{Packets: 1, SentAt: time.Second})
	if got := c.wmax / testPacket; !near(got, 100, 1e-9) {
		t.Errorf("got W_max %g, want 100", got)
	}
	c.Lost(2*time.Second, Loss{Packets: 1, SentAt: 2 * time.Second}) // at 70: others need room
	if got, want := c.wmax/testPacket, 70*1.7/2; !near(got, want, 1e-9) {
		t.Errorf("got W_max %g after an event below the one before, want %g", got, want)
	}
	c.window = 80 * testPacket
	c.Lost(3*time.Second, Loss{Packets: 1, SentAt: 3 * time.Second}) // above 59.5
	if got := c.wmax / testPacket; !near(got, 80, 1e-9) {
		t.Errorf("got W_max %g after an event above the one before, want 80", got)
	}
}

func TestCubicPersistent(t *testing.T) {
	const rtt = 50 * time.Millisecond
	c := newTestCubic(100)
	now := time.Second
	c.Lost(now, Loss{Packets: 100, SentAt: now, Persistent: true})
	if c.Window() != 2*testPacket {
		t.Fatalf("got a window of %d, want two packets", c.Window())
	}
	// The outage goes on: probes are lost, too. That must not make the way back up longer.
	for range 10 {
		now += time.Second
		c.Lost(now, Loss{Packets: 2, SentAt: now - time.Millisecond, Persistent: true})
	}
	for round, want := range []float64{4, 8, 16, 32, 64, 70} {
		now += rtt
		c.Acked(now, bulk(now, rtt/2, c.Window()))
		if got := c.packets(); !near(got, want, 0.01) {
			t.Errorf("round %d after the outage: got %g packets, want %g", round, got, want)
		}
	}
	// Now congestion avoidance, from a flat curve (RFC 9438 §4.8): Reno-friendly, by one packet.
	now += rtt
	c.Acked(now, bulk(now, rtt, c.Window()))
	if got := c.packets(); !near(got, 71, 0.01) || c.k != 0 {
		t.Errorf("got %g packets and K = %g after the first round of congestion avoidance, want 71 and 0", got, c.k)
	}
}

// TestCubicPersistentGrowsAtOnce sees that what was sent before an outage and arrives after it counts, and that HyStart++
// stays out of a slow start that knows where it goes (RFC 9406).
func TestCubicPersistentGrowsAtOnce(t *testing.T) {
	c := newTestCubic(1000)
	at := time.Second
	c.Lost(at, Loss{Packets: 9, SentAt: at - 50*time.Millisecond, Persistent: true})
	c.Acked(at, Sample{Bytes: 2 * testPacket, SentAt: at - 40*time.Millisecond, Limited: true})
	if got := c.packets(); got != 4 {
		t.Errorf("got %g packets, want 4", got)
	}
	for round := range 7 {
		at += time.Second
		for range 8 {
			s := bulk(at, time.Duration(round+1)*20*time.Millisecond, c.Window()/8+1)
			s.Round = uint64(round)
			c.Acked(at, s)
		}
	}
	if got := c.packets(); got < 699 {
		t.Errorf("got %g packets after seven rounds of a growing round trip, want the 700 of ssthresh", got)
	}
}

// TestCubicEventAtLeastWindow sees that at the least window an event takes back the time that the curve has come.
func TestCubicEventAtLeastWindow(t *testing.T) {
	const rtt = 100 * time.Millisecond
	c := newTestCubic(2)
	c.Acked(0, bulk(0, rtt, testPacket))
	c.window = 2 * testPacket
	c.Lost(time.Hour, Loss{Packets: 1, SentAt: time.Hour})
	now := time.Hour + 2*rtt
	c.Acked(now, bulk(now, rtt, 2*testPacket))
	if got := c.packets(); !near(got, 3, 0.01) {
		t.Errorf("got %g packets a round trip after, want 3 as Reno", got)
	}
	now += rtt
	c.Acked(now, bulk(now, rtt, 3*testPacket))
	if got := c.packets(); !near(got, 4, 0.01) {
		t.Errorf("got %g packets two round trips after, want 4 as Reno", got)
	}
}

func TestCubicSpurious(t *testing.T) {
	ms := time.Millisecond
	lost := func(packets int, sent time.Duration) Loss { return Loss{Packets: packets, SentAt: sent} }
	for _, test := range []struct {
		name string
		run  func(*cubic)
		want float64 // packets
	}{
		{"all at once", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Spurious(1020*ms, lost(3, 950*ms))
		}, 100},
		{"one by one, of two passes", func(c *cubic) {
			c.Lost(1000*ms, lost(2, 950*ms))
			c.Lost(1010*ms, lost(1, 960*ms))
			c.Spurious(1020*ms, lost(1, 940*ms))
			c.Spurious(1030*ms, lost(2, 960*ms))
		}, 100},
		{"one was lost", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Spurious(1020*ms, lost(2, 950*ms))
		}, 70},
		{"persistent", func(c *cubic) {
			c.Lost(1000*ms, Loss{Packets: 80, SentAt: 950 * ms, Persistent: true})
			c.Spurious(1020*ms, lost(80, 950*ms))
		}, 100},
		{"persistent after the event", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Lost(1100*ms, Loss{Packets: 50, SentAt: 1000 * ms, Persistent: true})
			c.Lost(1200*ms, lost(2, 1150*ms)) // an event at the least window is part of the one before
			c.Spurious(1300*ms, lost(55, 1150*ms))
		}, 100},
		{"persistent, a probe was lost", func(c *cubic) {
			c.Lost(1000*ms, Loss{Packets: 50, SentAt: 1000 * ms, Persistent: true})
			c.Lost(1200*ms, lost(2, 1150*ms))
			c.Spurious(1300*ms, lost(51, 1150*ms))
		}, 2},
		{"of the event before", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Lost(1100*ms, lost(3, 1050*ms))
			c.Spurious(1120*ms, lost(3, 950*ms))
		}, 49},
		{"straggler of the event before", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Lost(1100*ms, lost(3, 1050*ms))
			c.Lost(1110*ms, lost(1, 960*ms)) // does not count for the second event
			c.Spurious(1120*ms, lost(3, 1050*ms))
		}, 70},
		{"second event only", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Lost(1100*ms, lost(3, 1050*ms))
			c.Spurious(1120*ms, lost(3, 1050*ms))
			c.Spurious(1130*ms, lost(3, 950*ms)) // the first event is past undoing
		}, 70},
		{"window has outgrown it", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.window = 120 * testPacket
			c.Spurious(1120*ms, lost(3, 950*ms))
		}, 120},
		{"without any loss", func(c *cubic) {
			c.Spurious(1120*ms, lost(3, 950*ms))
		}, 100},
		{"after the window decayed", func(c *cubic) {
			c.Sent(1000*ms, testPacket, c.Window())
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Sent(1000*ms+validFor, testPacket, testPacket)
			c.Spurious(1000*ms+validFor, lost(3, 950*ms))
		}, 35},
		{"lost again for true", func(c *cubic) {
			c.Lost(1000*ms, lost(3, 950*ms))
			c.Spurious(1020*ms, lost(3, 950*ms))
			c.Lost(1030*ms, lost(1, 980*ms)) // sent before the event that was none: it counts
		}, 70},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newTestCubic(100)
			test.run(c)
			if got := c.packets(); !near(got, test.want, 1e-9) {
				t.Errorf("got %g packets, want %g", got, test.want)
			}
		})
	}
}

// TestCubicUndoIsComplete sees that a flow whose event was undone grows as one that never had it, the time of the event
// left out.
func TestCubicUndoIsComplete(t *testing.T) {
	const rtt, event = 20 * time.Millisecond, 3 * time.Second
	run := func(disturbed bool) float64 {
		c := newTestCubic(1000)
		c.Lost(0, Loss{Packets: 1, SentAt: 0})
		now, end := rtt, 5*time.Second
		grow(c, now, event, rtt)
		now = event
		if disturbed {
			c.Lost(now, Loss{Packets: 2, SentAt: now - rtt})
			now += 2 * rtt
			c.Acked(now, bulk(now, rtt/2, testPacket))
			c.Spurious(now, Loss{Packets: 2, SentAt: event - rtt})
			end += 2 * rtt
		}
		grow(c, now, end, rtt)
		return c.packets()
	}
	if got, want := run(true), run(false); !near(got, want, 0.5) {
		t.Errorf("got %g packets with an event undone, want %g", got, want)
	}
}

func TestCubicUndoRestoresSlowStart(t *testing.T) {
	c := NewCubic(Path{MaxPacket: testPacket}).(*cubic)
	c.Lost(time.Second, Loss{Packets: 1, SentAt: time.Second})
	if got := c.Window(); got != 7*testPacket {
		t.Fatalf("got %d, want 7 packets", got)
	}
	c.Spurious(time.Second, Loss{Packets: 1, SentAt: time.Second})
	c.Acked(2*time.Second, bulk(2*time.Second, time.Second, 10*testPacket))
	if got := c.Window(); got != 20*testPacket {
		t.Errorf("got a window of %d after a round trip, want 20 packets: slow start goes on", got)
	}
}

func TestCubicProgramLimited(t *testing.T) {
	const rtt = 20 * time.Millisecond
	for _, limit := range []struct {
		name string
		wait func(c *cubic, now, end time.Duration)
	}{
		{"program sends little", func(c *cubic, now, end time.Duration) {
			for ; now < end; now += rtt {
				s := bulk(now, rtt, testPacket)
				s.Limited = false
				c.Acked(now, s)
			}
		}},
		{"idle", func(c *cubic, _, end time.Duration) {
			c.Sent(end, testPacket, testPacket)
		}},
	} {
		t.Run(limit.name, func(t *testing.T) {
			run := func(pause time.Duration) (growth, window float64) {
				c := newTestCubic(1000)
				c.Lost(0, Loss{Packets: 1, SentAt: 0})
				now := 4 * time.Second
				grow(c, rtt, now, rtt)
				before := c.window
				if pause > 0 {
					limit.wait(c, now, now+pause)
					now += pause
				}
				growth = c.window - before
				grow(c, now, now+time.Second, rtt)
				return growth, c.packets()
			}
			_, want := run(0)
			growth, got := run(time.Minute)
			if growth != 0 {
				t.Errorf("the window grew by %g bytes while it was not used", growth)
			}
			if !near(got, want, 0.5) {
				t.Errorf("got %g packets a second after a pause of a minute, want %g as without it", got, want)
			}
		})
	}
	c := NewCubic(Path{MaxPacket: testPacket})
	for i := range 1000 {
		c.Acked(rtt, Sample{Bytes: testPacket, Round: uint64(i), RTT: RTT{Latest: rtt, Smoothed: rtt}})
	}
	if got := c.Window(); got != 10*testPacket {
		t.Errorf("got a window of %d in slow start of a program that does not use it, want the initial one", got)
	}
}

func TestCubicDecay(t *testing.T) {
	for _, test := range []struct {
		name    string
		packets float64
		idle    time.Duration
		use     int // bytes in flight in between
		want    float64
		target  float64 // of slow start
	}{
		{"short", 100, 299 * time.Second, 0, 100, 100},
		{"one period", 100, 300 * time.Second, 0, 50, 100},
		{"two periods", 100, 601 * time.Second, 0, 25, 100},
		{"down to the initial window", 100, 24 * time.Hour, 0, 10, 100},
		{"used to a third", 100, 300 * time.Second, 33 * testPacket, 50, 100},
		{"used to half", 100, 300 * time.Second, 50 * testPacket, 100, 100},
		{"no larger than the initial window", 5, 24 * time.Hour, 0, 5, 5},
	} {
		c := newTestCubic(test.packets)
		start := time.Minute
		c.Sent(start, testPacket, c.Window())
		if test.use > 0 {
			c.Sent(start+test.idle/2, testPacket, test.use)
		}
		c.Sent(start+test.idle, testPacket, testPacket)
		if got := c.packets(); !near(got, test.want, 1e-9) {
			t.Errorf("%s: got %g packets, want %g", test.name, got, test.want)
		}
		if got := c.ssthresh / testPacket; !near(got, test.target, 1e-9) {
			t.Errorf("%s: got ssthresh of %g packets, want %g", test.name, got, test.target)
		}
	}
	grown := newTestCubic(100)
	grown.window *= 4 // by congestion avoidance, since the event that left 100
	grown.Sent(time.Hour, testPacket, testPacket)
	if got, want := grown.ssthresh/testPacket, 300.0; got != want {
		t.Errorf("got ssthresh of %g packets, want three quarters of the window, %g", got, want)
	}
}

// TestCubicInvariants drives controllers at random, sensibly and not, and sees that nothing gets out of bounds.
func TestCubicInvariants(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		packet := 1 + r.IntN(3000)
		c := NewCubic(Path{MaxPacket: packet, RTT: magnitude(r)}).(*cubic)
		now := magnitude(r)
		undo, open := 0.0, 0 // window before the last event, losses of it not seen since
		for step := range 300 {
			if r.IntN(2) == 0 {
				now += magnitude(r)
			}
			before := *c
			what := r.IntN(8)
			switch what {
			case 0, 1:
				c.Sent(now, packet, packet+r.IntN(2*c.Window()))
				if c.window != before.window {
					open = 0 // decayed
				}
			case 2, 3, 4, 5:
				s := Sample{
					Bytes: r.IntN(2 * c.Window()), SentAt: now - magnitude(r), Round: uint64(step), Limited: r.IntN(4) > 0,
					RTT: RTT{Latest: magnitude(r), Smoothed: magnitude(r)},
				}
				c.Acked(now, s)
				if c.window < before.window {
					t.Fatalf("seed %d step %d: an ACK made the window shrink from %g to %g", seed, step, before.window, c.window)
				}
				if c.window > before.window && !s.Limited {
					t.Fatalf("seed %d step %d: the window grew without being used", seed, step)
				}
				if c.window > before.window+max(before.window/2, float64(s.Bytes))+float64(packet) {
					t.Fatalf("seed %d step %d: %d bytes acknowledged made the window grow from %g to %g", seed, step, s.Bytes, before.window, c.window)
				}
			case 6:
				l := Loss{Packets: 1 + r.IntN(5), SentAt: now - magnitude(r), Persistent: r.IntN(8) == 0}
				c.Lost(now, l)
				switch {
				case l.SentAt > before.recovery && before.window > before.floor():
					undo, open = before.window, l.Packets
				case open > 0 && l.SentAt > before.undoStart:
					open += l.Packets
				}
				if c.window > before.window {
					t.Fatalf("seed %d step %d: a loss made the window grow from %g to %g", seed, step, before.window, c.window)
				}
			case 7:
				if open == 0 {
					break
				}
				n := 1 + r.IntN(open)
				c.Spurious(now, Loss{Packets: n, SentAt: c.recovery})
				open -= n
				want := before.window
				if open == 0 {
					want = max(want, undo)
				}
				if c.window != want {
					t.Fatalf("seed %d step %d: got a window of %g after spurious losses with %d to go, want %g", seed, step, c.window, open, want)
				}
			}
			if w := c.Window(); w < minPackets*packet || w > maxWindow {
				t.Fatalf("seed %d step %d (call %d): window of %d, packets of %d", seed, step, what, w, packet)
			}
			if rate := c.Rate(); !(rate > 0) || math.IsInf(rate, 1) {
				t.Fatalf("seed %d step %d (call %d): rate %g", seed, step, what, rate)
			}
			for _, f := range []float64{c.window, c.prior, c.wmax, c.k, c.reno, c.clock} {
				if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
					t.Fatalf("seed %d step %d (call %d): state %+v", seed, step, what, c.cubicState)
				}
			}
		}
	}
}

// magnitude draws a time of any order of magnitude, from none to a year.
func magnitude(r *rand.Rand) time.Duration {
	if r.IntN(10) == 0 {
		return 0
	}
	return time.Duration(math.Pow(10, r.Float64()*16.5))
}

func TestCubicDoesNotAllocate(t *testing.T) {
	c := NewCubic(Path{MaxPacket: testPacket})
	now := time.Second
	got := testing.AllocsPerRun(1000, func() {
		now += time.Millisecond
		c.Sent(now, testPacket, 5*testPacket)
		c.Acked(now, bulk(now, time.Millisecond, testPacket))
		c.Lost(now, Loss{Packets: 1, SentAt: now - time.Microsecond})
		c.Spurious(now, Loss{Packets: 1, SentAt: now - time.Microsecond})
		_, _ = c.Window(), c.Rate()
	})
	if got != 0 {
		t.Errorf("got %g allocations a packet, want none", got)
	}
}

// BenchmarkController is what congestion control costs a packet that is acknowledged by itself: the worst case.
func BenchmarkController(b *testing.B) {
	for _, bench := range []struct {
		name       string
		controller *cubic
	}{
		{"avoidance", newTestCubic(100)},
		{"slow start", NewCubic(Path{MaxPacket: testPacket}).(*cubic)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			var c Controller = bench.controller
			const rtt = 10 * time.Millisecond
			now, round := time.Second, uint64(0)
			for b.Loop() {
				now += time.Microsecond
				round++
				c.Sent(now, testPacket, 2*testPacket)
				s := bulk(now, rtt, testPacket)
				s.Round = round >> 4
				c.Acked(now, s)
			}
		})
		b.Run(bench.name+" with pacer and sampler", func(b *testing.B) {
			b.ReportAllocs()
			var c Controller = bench.controller
			p := pacer{packet: testPacket}
			var r rateSampler
			const rtt = 10 * time.Millisecond
			now, round := time.Second, uint64(0)
			for b.Loop() {
				now += time.Microsecond
				round++
				rate := c.Rate()
				if p.next(now, testPacket, rate) <= now && c.Window() > 0 {
					p.sent(now, testPacket, rate)
				}
				mark := r.sent(now, testPacket)
				c.Sent(now, testPacket, 2*testPacket)
				s := bulk(now, rtt, testPacket)
				r.acked(now, mark, testPacket, now-rtt)
				s.Rate, s.RateAppLimited, s.Delivered = r.sample()
				s.Round = round >> 4
				c.Acked(now, s)
			}
		})
	}
}

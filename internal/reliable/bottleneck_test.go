package reliable

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A bottleneck is a drop-tail queue that flows of bulk data share. It is a model of controller, pacer and sampler alone:
// packets are told apart by nothing but the order in which they were sent, and ACKs are never lost.
type bottleneck struct {
	rate  float64 // bytes a second
	queue float64 // bytes
	loss  float64 // chance of random loss
	rand  *rand.Rand
	free  time.Duration // when all that is queued will have left
	flows []*bulkFlow
	now   time.Duration
}

// A bulkFlow is a program with endless data.
type bulkFlow struct {
	Controller
	pacer   pacer
	sampler rateSampler
	rtt     time.Duration // without the queue
	deaf    bool          // the controller gets no samples of the round trip
	start   time.Duration

	sent      []modelPacket // in flight, in order; those before head are done with
	head      int
	acks      int // index behind the newest acknowledged
	inFlight  int
	srtt, min time.Duration
	round     uint64
	roundEnd  time.Duration
	heard     time.Duration

	delivered, lost int     // bytes, packets
	topRate         float64 // largest delivery rate sampled
}

type modelPacket struct {
	sentAt, ackAt time.Duration // ackAt 0: dropped
	mark          rateMark
	done          bool
}

const (
	modelPacketSize = 1200
	modelTick       = 200 * time.Microsecond
)

func newBottleneck(rate float64, queue time.Duration) *bottleneck {
	return &bottleneck{rate: rate, queue: rate * queue.Seconds(), rand: rand.New(rand.NewPCG(1, 2))}
}

// join adds a flow of CUBIC that begins at start.
func (b *bottleneck) join(rtt, start time.Duration) *bulkFlow {
	f := &bulkFlow{Controller: NewCubic(Path{MaxPacket: modelPacketSize}), pacer: pacer{packet: modelPacketSize}, rtt: rtt, start: start, heard: start}
	b.flows = append(b.flows, f)
	return f
}

// run lets time pass until end.
func (b *bottleneck) run(end time.Duration) {
	for ; b.now < end; b.now += modelTick {
		// The flows take turns in being first, so that none has the queue's last place for itself.
		first := int(b.now/modelTick) % len(b.flows)
		for i := range b.flows {
			if f := b.flows[(first+i)%len(b.flows)]; b.now >= f.start {
				f.receive(b.now)
				f.send(b)
			}
		}
	}
}

// send sends what window and pacer allow.
func (f *bulkFlow) send(b *bottleneck) {
	for f.inFlight+modelPacketSize <= f.Window() && f.pacer.next(b.now, modelPacketSize, f.Rate()) <= b.now {
		p := modelPacket{sentAt: b.now, mark: f.sampler.sent(b.now, f.inFlight)}
		waiting := max(0, b.free-b.now)
		if waiting.Seconds()*b.rate+modelPacketSize <= b.queue && b.rand.Float64() >= b.loss {
			b.free = b.now + waiting + time.Duration(modelPacketSize/b.rate*float64(time.Second))
			p.ackAt = b.free + f.rtt
		}
		f.pacer.sent(b.now, modelPacketSize, f.Rate())
		f.inFlight += modelPacketSize
		f.sent = append(f.sent, p)
		f.Sent(b.now, modelPacketSize, f.inFlight)
	}
}

// receive takes the ACKs due as one, and finds losses by the packet threshold.
func (f *bulkFlow) receive(now time.Duration) {
	s := Sample{InFlight: f.inFlight, Limited: true}
	for i := f.acks; i < len(f.sent) && f.sent[i].ackAt <= now; i++ {
		p := &f.sent[i]
		if p.ackAt == 0 {
			continue // nobody knows until a later one is acknowledged
		}
		p.done = true
		f.acks = i + 1
		s.Bytes += modelPacketSize
		s.SentAt, s.RTT.Latest = p.sentAt, now-p.sentAt
		f.sampler.acked(now, p.mark, modelPacketSize, p.sentAt)
	}
	silent := f.inFlight > 0 && now-f.heard > 3*max(f.srtt, 100*time.Millisecond)
	var l Loss
	for f.head < len(f.sent) && (f.head+3 < f.acks || f.sent[f.head].done || silent) {
		if p := &f.sent[f.head]; !p.done {
			if p.ackAt > now {
				break
			}
			l.Packets++
			l.Bytes += modelPacketSize
			l.SentAt = p.sentAt
		}
		f.head++
		f.acks = max(f.acks, f.head)
	}
	f.inFlight -= s.Bytes + l.Bytes
	f.lost += l.Packets
	if l.Packets > 0 {
		l.InFlight = f.inFlight
		l.Persistent = silent
		f.Lost(now, l)
		f.heard = now
	}
	if s.Bytes > 0 {
		f.acked(now, s)
	}
	if f.head > 4096 && f.head > len(f.sent)/2 {
		n := copy(f.sent, f.sent[f.head:])
		f.sent, f.acks, f.head = f.sent[:n], f.acks-f.head, 0
	}
}

func (f *bulkFlow) acked(now time.Duration, s Sample) {
	f.heard = now
	f.delivered += s.Bytes
	if f.srtt == 0 {
		f.srtt, f.min = s.RTT.Latest, s.RTT.Latest
	}
	f.srtt += (s.RTT.Latest - f.srtt) / 8
	f.min = min(f.min, s.RTT.Latest)
	s.RTT.Smoothed, s.RTT.Min = f.srtt, f.min
	if s.SentAt >= f.roundEnd {
		f.round++
		f.roundEnd = now
	}
	s.Round = f.round
	s.Rate, s.RateAppLimited, s.Delivered = f.sampler.sample()
	f.topRate = max(f.topRate, s.Rate)
	if f.deaf {
		s.RTT.Latest = 0
	}
	f.Acked(now, s)
}

// shares runs b until end and returns what part of the capacity each flow had since now.
func (b *bottleneck) shares(end time.Duration) []float64 {
	before := make([]int, len(b.flows))
	for i, f := range b.flows {
		before[i] = f.delivered
	}
	capacity := b.rate * (end - b.now).Seconds()
	b.run(end)
	parts := make([]float64, len(b.flows))
	for i, f := range b.flows {
		parts[i] = float64(f.delivered-before[i]) / capacity
	}
	return parts
}

func TestCubicFillsPath(t *testing.T) {
	ms := time.Millisecond
	for _, test := range []struct {
		name       string
		rate       float64
		rtt, queue time.Duration
		warm       time.Duration
		want       float64
	}{
		{"100 Mbit/s, 50 ms, a round trip of queue", 12.5e6, 50 * ms, 50 * ms, 2 * time.Second, 0.95},
		{"100 Mbit/s, 50 ms, a fifth of it", 12.5e6, 50 * ms, 10 * ms, 10 * time.Second, 0.8},
		{"10 Mbit/s, 20 ms", 1.25e6, 20 * ms, 40 * ms, 2 * time.Second, 0.95},
		{"1 Gbit/s, 5 ms", 125e6, 5 * ms, 5 * ms, 2 * time.Second, 0.9},
		{"500 kbit/s, 300 ms", 62.5e3, 300 * ms, 300 * ms, 10 * time.Second, 0.9},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBottleneck(test.rate, test.queue)
			f := b.join(test.rtt, 0)
			b.run(test.warm)
			got := b.shares(test.warm + 20*time.Second)[0]
			t.Logf("%.1f %% of the capacity, %d packets lost, rate sampled %.4g", 100*got, f.lost, f.topRate)
			if got < test.want || got > 1.01 {
				t.Errorf("got %.3f of the capacity, want %.2f", got, test.want)
			}
			if f.topRate < 0.97*test.rate || f.topRate > 1.1*test.rate {
				t.Errorf("got a delivery rate of %.4g sampled, want %.4g", f.topRate, test.rate)
			}
		})
	}
}

// TestHystartSavesPackets compares slow start with and without HyStart++, at the queue's first overflow: how much more it
// loses when nobody sees the queue grow.
func TestHystartSavesPackets(t *testing.T) {
	for _, rtt := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		run := func(deaf bool) *bulkFlow {
			b := newBottleneck(12.5e6, 2*rtt)
			f := b.join(rtt, 0)
			f.deaf = deaf
			b.run(40 * rtt)
			return f
		}
		packets := int(12.5e6 * rtt.Seconds() / modelPacketSize)
		with, without := run(false), run(true)
		t.Logf("round trip %v, path of %d packets: %d lost with HyStart++, %d without", rtt, packets, with.lost, without.lost)
		if without.lost < packets/2 {
			t.Errorf("round trip %v: %d packets lost without HyStart++, want half of the path's %d: the comparison is worth nothing", rtt, without.lost, packets)
		}
		if with.lost > without.lost/3 {
			t.Errorf("round trip %v: %d packets lost with HyStart++, want a third of the %d without", rtt, with.lost, without.lost)
		}
		if with.delivered < without.delivered {
			t.Errorf("round trip %v: %d bytes delivered with HyStart++, want the %d without", rtt, with.delivered, without.delivered)
		}
	}
}

func TestCubicFairness(t *testing.T) {
	ms, second := time.Millisecond, time.Second
	for _, test := range []struct {
		name  string
		rtts  []time.Duration
		least float64 // share of the slowest
		most  float64 // ratio of fastest to slowest
	}{
		{"two alike", []time.Duration{40 * ms, 40 * ms}, 0.35, 1.6},
		{"four alike", []time.Duration{40 * ms, 40 * ms, 40 * ms, 40 * ms}, 0.15, 2},
		{"round trips 1:2", []time.Duration{30 * ms, 60 * ms}, 0.15, 4},
		{"round trips 1:4", []time.Duration{20 * ms, 80 * ms}, 0.06, 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBottleneck(6.25e6, 40*ms)
			for i, rtt := range test.rtts {
				b.join(rtt, time.Duration(i)*5*second) // the later ones find the queue filled
			}
			b.run(60 * second)
			parts := b.shares(160 * second)
			t.Logf("shares %.3f", parts)
			low, high, sum := parts[0], parts[0], 0.0
			for _, part := range parts {
				low, high, sum = min(low, part), max(high, part), sum+part
			}
			if low < test.least || high/low > test.most {
				t.Errorf("got shares %.3f, want none below %.2f nor %g times another", parts, test.least, test.most)
			}
			if sum < 0.9 {
				t.Errorf("got %.3f of the capacity used, want 0.9", sum)
			}
		})
	}
}

// TestCubicShortOutage sees that a path that was gone for some seconds is full again soon after.
func TestCubicShortOutage(t *testing.T) {
	b := newBottleneck(12.5e6, 50*time.Millisecond)
	b.join(50*time.Millisecond, 0)
	b.run(5 * time.Second)
	b.loss = 1
	b.run(8 * time.Second)
	b.loss = 0
	b.run(9500 * time.Millisecond)
	if got := b.shares(14 * time.Second)[0]; got < 0.8 {
		t.Errorf("got %.3f of the capacity after an outage, want 0.8", got)
	}
}

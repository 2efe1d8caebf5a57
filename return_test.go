package carrier_test

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

// longOutage is one more outage for TestReturn and TestSeenAgain, which takes
// about a second of CPU time an hour: 8h was run.
var longOutage = flag.Duration("long-outage", 0, "one more outage for the tests of a friend's return")

const (
	// returnMost is within what time two friends see each other again after an
	// outage of any length, returnMedian half of the times.
	returnMost   = 15 * time.Second
	returnMedian = 10 * time.Second
)

// outages are the lengths that are tried.
func outages() []time.Duration {
	all := []time.Duration{20 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}[:fewer(4, 2)]
	if *longOutage > 0 {
		all = append(all, *longOutage)
	}
	return all
}

// apart has two friends lose each other for so long, by what lose does, and
// returns how long after back both see each other online again.
func (p *pair) apart(t *testing.T, outage time.Duration, lose, back func()) time.Duration {
	t.Helper()
	p.linked(t)
	time.Sleep(5 * time.Second)
	lose()
	time.Sleep(outage)
	if p.ab.Online() || p.ba.Online() {
		t.Errorf("after an outage of %v a friend is still shown online", outage)
	}
	back()
	begun := time.Now()
	for _, f := range []*carrier.Friend{p.ab, p.ba} {
		p.alice.must(f.WaitOnline(within(t, patience)))
	}
	return time.Since(begun)
}

// TestReturn: after an outage of any length and kind two friends see each other
// within seconds. (TestSeenAgain has that of a partition.)
func TestReturn(t *testing.T) {
	for name, of := range map[string]func(n *carriertest.Network, p *pair) (lose, back func()){
		"unplugged": func(n *carriertest.Network, p *pair) (lose, back func()) {
			return func() { n.Offline(p.bob.Node) }, func() { n.Online(p.bob.Node) }
		},
		"both moved": func(n *carriertest.Network, p *pair) (lose, back func()) {
			return func() { n.Partition(p.alice.Node); n.Offline(p.bob.Node) }, func() {
				n.Heal()
				n.Move(p.alice.Node)
				n.Online(p.bob.Node)
				n.Move(p.bob.Node)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := &carriertest.Options{Delay: 25 * time.Millisecond, Routers: 4}
			bubbleWith(t, opts, func(t *testing.T, n *carriertest.Network) {
				p := newPair(t, n)
				lose, back := of(n, p)
				var took []time.Duration
				for _, outage := range outages() {
					took = append(took, p.apart(t, outage, lose, back))
				}
				t.Logf("after %v they saw each other in %v", outages(), took)
				for i, d := range took {
					if d > returnMost {
						t.Errorf("after an outage of %v they saw each other in %v, want at most %v", outages()[i], d, returnMost)
					}
				}
				if m := median(took); m > returnMedian {
					t.Errorf("the median is %v, want at most %v", m, returnMedian)
				}
			})
		})
	}
}

// TestFiveOutages: the fifth is no worse than the first.
func TestFiveOutages(t *testing.T) {
	t.Parallel()
	opts := &carriertest.Options{Delay: 25 * time.Millisecond, Routers: 4}
	bubbleWith(t, opts, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		var took []time.Duration
		for i := range 5 {
			d := p.apart(t, time.Minute, func() { n.Partition(p.bob.Node) }, n.Heal)
			if took = append(took, d); d > returnMost {
				t.Errorf("after outage %d they saw each other in %v, want at most %v", i+1, d, returnMost)
			}
			m := p.alice.send(p.bob.ID(), fmt.Sprint("after outage ", i+1))
			p.alice.delivered(m)
		}
		if got := len(p.bob.read(5, patience)); got != 5 {
			t.Errorf("%d of 5 messages have come", got)
		}
		t.Logf("they saw each other in %v", took)
	})
}

// TestResume: a machine that slept is told by its wall clock alone. Its node
// looks for everybody anew then, as after any change of network.
func TestResume(t *testing.T) {
	bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		var slept atomic.Int64
		bob := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Name: "Bob", Net: n.Host()}}
		bob.config.Hook(store.Memory(), store.MemoryPrekeys(), func() time.Time {
			return time.Now().Add(time.Duration(slept.Load()))
		})
		bob.start()
		p := &pair{alice: newPerson(t, n, "Alice"), bob: bob}
		p.ab, p.ba = befriend(p.alice, bob)
		p.linked(t)
		time.Sleep(time.Minute)
		changes := func() uint64 { return bob.Stats()["engine.network.changed"] }
		before := changes()
		time.Sleep(time.Minute)
		if got := changes() - before; got != 0 {
			t.Errorf("awake, %d changes were noticed, want none", got)
		}
		for i, jump := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
			slept.Add(int64(jump))
			time.Sleep(6 * time.Second)
			if got := changes() - before; got != uint64(i+1) {
				t.Errorf("after a jump of %v, %d changes were noticed in all, want %d", jump, got, i+1)
			}
		}
		if !p.ab.Online() || !p.ba.Online() {
			t.Error("a friend went offline by a jump of the clock")
		}
	})
}

// TestStartTogether: two friends who know no more of each other than that they
// are friends, and start in the same moment, see each other within seconds,
// however small the network is.
func TestStartTogether(t *testing.T) {
	const most = 6 * time.Second
	for _, routers := range []int{3, 16} {
		t.Run(fmt.Sprint(routers, " routers"), func(t *testing.T) {
			t.Parallel()
			opts := &carriertest.Options{Delay: 25 * time.Millisecond, Routers: routers}
			bubbleWith(t, opts, func(t *testing.T, n *carriertest.Network) {
				p := newPair(t, n)
				configs := [2]carrier.Config{{Ephemeral: true}, {Ephemeral: true}}
				for i, who := range []*person{p.alice, p.bob} {
					var err error
					configs[i].Identity, err = who.ExportIdentity()
					who.must(err)
					who.leave()
				}
				time.Sleep(time.Minute)
				begun := time.Now()
				alice, bob := n.Start(configs[0]), n.Start(configs[1])
				for _, way := range [][2]*carrier.Node{{alice, bob}, {bob, alice}} {
					f, err := way[0].Friend(way[1].ID())
					p.alice.must(err)
					p.alice.must(f.WaitOnline(within(t, patience)))
				}
				took := time.Since(begun)
				t.Logf("they saw each other in %v", took)
				if took > most {
					t.Errorf("they saw each other in %v, want at most %v", took, most)
				}
			})
		})
	}
}

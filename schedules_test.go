package carrier_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
)

var (
	systemSchedules = flag.Int("system-schedules", 100, "how many random schedules of whole nodes to run")
	systemFirst     = flag.Uint64("system-first", 101, "the seed of the first of them; each adds 1")
	systemSeed      = flag.Uint64("system-seed", 0, "the one schedule to run, with its story; 0: -system-schedules of them")
	systemLog       = flag.Bool("system-log", false, "log what the nodes log, too")
)

// patienceInCalm is how long after everything was mended all must have come to
// its end.
const patienceInCalm = 2 * time.Hour

// scheduleTally counts what schedules have exercised.
type scheduleTally struct {
	Steps                                  map[string]int
	Sent, Stored, Shown, Again             int
	Direct, Slots, Links                   int
	Delivered, Expired, Refused, Cancelled int
	Friends, Apart                         int // pairs in the end
	Starts, Commits, Crashes, AskedAgain   int
	Calm                                   []time.Duration // how long it took until all had come to its end
	Virtual                                time.Duration
}

func (t *scheduleTally) add(o *scheduleTally) {
	if t.Steps == nil {
		t.Steps = map[string]int{}
	}
	for name, n := range o.Steps {
		t.Steps[name] += n
	}
	t.Sent += o.Sent
	t.Stored += o.Stored
	t.Shown += o.Shown
	t.Again += o.Again
	t.Direct += o.Direct
	t.Slots += o.Slots
	t.Links += o.Links
	t.Delivered += o.Delivered
	t.Expired += o.Expired
	t.Refused += o.Refused
	t.Cancelled += o.Cancelled
	t.Friends += o.Friends
	t.Apart += o.Apart
	t.Starts += o.Starts
	t.Commits += o.Commits
	t.Crashes += o.Crashes
	t.AskedAgain += o.AskedAgain
	t.Calm = append(t.Calm, o.Calm...)
	t.Virtual += o.Virtual
}

// least is how often two hundred schedules must at least have done what they are
// there for, about a quarter of what they do.
func (t *scheduleTally) least() map[string][2]int {
	all := map[string][2]int{
		"messages sent": {t.Sent, 300}, "stored": {t.Stored, 300}, "shown": {t.Shown, 300}, "shown again": {t.Again, 50},
		"by datagram": {t.Direct, 20}, "by the DHT": {t.Slots, 40}, "by link": {t.Links, 150},
		"delivered": {t.Delivered, 300}, "expired": {t.Expired, 5}, "refused": {t.Refused, 1}, "cancelled": {t.Cancelled, 2},
		"pairs of friends": {t.Friends, 40}, "pairs of others": {t.Apart, 15}, "starts": {t.Starts, 200},
		"crashes at a commit": {t.Crashes, 20},
	}
	for _, kind := range stepKinds() {
		all["step "+kind.name] = [2]int{t.Steps[kind.name], 4 * kind.weight}
	}
	return all
}

// TestSystemSchedules runs two to five people's nodes, with all that is under
// them, through random schedules of what can happen to them and their network:
// crashes at every commit, machines that go, come and move, lines that lose,
// part and go deaf on one side, DHT nodes that are gone, slow or hold what is
// old, and clocks that are wrong. It holds what is promised at every commit and
// event, and in the end, when everything is mended: nothing that was
// acknowledged is lost, nothing is stored twice or out of order, every sent
// message comes to one end, and friends agree that they are.
func TestSystemSchedules(t *testing.T) {
	if *systemSeed != 0 {
		synctest.Test(t, func(t *testing.T) {
			w := runSchedule(t, *systemSeed)
			t.Logf("%s\n%+v", w.story(math.MaxInt), w.tally)
			for _, fault := range w.faults {
				t.Error(fault)
			}
		})
		return
	}
	n := *systemSchedules
	switch {
	case testing.Short() && raced():
		n = min(n, 5)
	case testing.Short():
		n = min(n, 15)
	}
	var mu sync.Mutex
	var total scheduleTally
	t.Run("seeds", func(t *testing.T) {
		for i := range n {
			seed := *systemFirst + uint64(i)
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := runSchedule(t, seed)
					if len(w.faults) > 0 {
						t.Errorf("%s\nthe same plan again: go test -run TestSystemSchedules -system-seed %d .\nthe end of its story:\n%s",
							strings.Join(w.faults, "\n"), seed, w.story(60))
					}
					if calm := slices.Max(append(w.tally.Calm, 0)); calm > 5*time.Minute {
						t.Logf("all had come to its end only %v after all was mended", calm)
					}
					mu.Lock()
					defer mu.Unlock()
					total.add(&w.tally)
				})
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%+v", total)
	slices.Sort(total.Calm)
	t.Logf("all had come to its end %v after all was mended in the median, %v in 99 of 100, %v at most (virtual)",
		total.Calm[len(total.Calm)/2], total.Calm[len(total.Calm)*99/100], total.Calm[len(total.Calm)-1])
	if len(total.Calm) < 100 {
		return // few say nothing of how often each thing is done
	}
	for what, n := range total.least() { // schedules that exercise nothing prove nothing
		if n[0] < n[1]*len(total.Calm)/200 {
			t.Errorf("%s: %d times in %d schedules, want at least %d in 200", what, n[0], len(total.Calm), n[1])
		}
	}
}

// runSchedule plays the schedule of a seed, in the bubble of the test.
func runSchedule(t *testing.T, seed uint64) *system {
	time.Sleep(time.Duration(seed%24) * time.Hour) // at any time of day: bubbles begin at midnight
	w := newSystem(t, newPlan(seed))
	defer w.close()
	if *systemLog {
		w.logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for i, p := range w.people {
		p.clock.set(w.plan.skew[i])
		p.setReading(true)
		p.start()
	}
	w.meet()
	for _, s := range w.plan.steps {
		if w.broken() {
			return w
		}
		w.play(s)
	}
	w.settle()
	if seed%8 == 0 && !w.broken() {
		w.rest()
	}
	w.tally.Virtual = time.Since(w.at)
	return w
}

// meet makes most of the people friends.
func (w *system) meet() {
	for _, a := range w.people {
		for _, b := range w.people[a.index+1:] {
			if (w.plan.seed+uint64(a.index+b.index))%4 > 0 {
				w.add(a, b, "hello")
			}
		}
	}
	for range 30 {
		w.sleep(time.Second)
		if w.answer() {
			return
		}
	}
}

// answer accepts all requests that are pending, and reports whether nobody waits
// for an answer.
func (w *system) answer() bool {
	all := true
	for _, p := range w.people {
		if p.node == nil {
			continue
		}
		for _, r := range p.node.Requests() {
			_, err := p.node.Accept(r.ID)
			w.acted(err)
		}
		for _, f := range p.node.Friends() {
			all = all && !pending(f.State())
		}
	}
	return all
}

// settle mends everything and waits until all has come to its end.
func (w *system) settle() {
	w.calm()
	begun := time.Now()
	w.note("calm")
	for !w.broken() {
		w.sleep(time.Second)
		for _, p := range w.people {
			p.start() // a crash was still to come
			if p.node == nil {
				continue
			}
			for _, id := range p.node.Blocked() {
				w.acted(p.node.Unblock(id))
			}
		}
		w.answer()
		took := time.Since(begun)
		if took > 3*time.Minute {
			w.withdraw()
		}
		open := w.unsettled()
		if len(open) == 0 {
			w.note("settled")
			w.pairs()
			w.tally.Calm = append(w.tally.Calm, took)
			return
		}
		if took > patienceInCalm {
			w.fail("%v after everything was mended: %s", took, strings.Join(open, "; "))
			return
		}
	}
}

// rest lets a minute pass in which nobody does anything, and counts packets.
func (w *system) rest() {
	const span, most = time.Minute, 50 // packets a second of a node
	w.count(true)
	w.sleep(span)
	for _, p := range w.people {
		if sent := w.count(false)[p.addr()]; sent > most*int(span/time.Second) {
			w.fail("%s has sent %d packets in %v of rest, more than %d a second", p.name, sent, span, most)
		}
	}
}

// pairs counts what people are to each other in the end.
func (w *system) pairs() {
	for _, a := range w.people {
		for _, b := range w.people[a.index+1:] {
			if a.stateOf(b) == carrier.FriendAccepted {
				w.tally.Friends++
			} else {
				w.tally.Apart++
			}
		}
	}
}

// withdraw does what people must do themselves. Requests to addresses that are
// dead find nobody and are taken back. Somebody whose store was put back may have
// forgotten a request, which is accepted all the same, or a removal: they ask
// again.
func (w *system) withdraw() {
	for _, a := range w.people {
		for _, b := range w.people {
			if a == b || a.node == nil || b.node == nil {
				continue
			}
			ab, ba := a.stateOf(b), b.stateOf(a)
			switch {
			case pending(ab) && a.asked[b.index] != b.node.Address():
				w.note("%s withdraws the request to the old address of %s", a.name, b.name)
				w.acted(a.friend(b).Remove())
			case w.wasPutBack(a) && !pending(ab) && !pending(ba) && (ab == carrier.FriendAccepted) != (ba == carrier.FriendAccepted):
				w.note("%s asks %s again", a.name, b.name)
				w.tally.AskedAgain++
				w.add(a, b, "my store was put back")
			}
		}
	}
}

package carrier_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/dht"
)

// replayed is the story of two people of which all was recorded, with backups of
// their disks.
type replayed struct {
	t          *testing.T
	w          *system
	tape       *wiretap
	thief      *replayer
	alice, bob *held
	early      [2]*disk  // from before the first mail and the first removal
	late       [2]*disk  // from the second friendship, before its mail
	ended      time.Time // when the removal stood in the DHT,
	left       time.Time // and mail of both, which is in no backup
}

func newReplayed(t *testing.T) *replayed {
	t.Helper()
	w := newSystem(t, plan{seed: 1})
	r := &replayed{t: t, w: w, tape: &wiretap{people: map[netip.Addr]bool{}}, thief: newReplayer(t, w)}
	for i, p := range []**held{&r.alice, &r.bob} {
		addr := netip.AddrFrom4([4]byte{198, 18, byte(1 + i), 1})
		r.tape.people[addr] = true
		*p = &held{t: t, w: w, name: []string{"Alice", "Bob"}[i], host: w.net.Host(addr), disk: newDisk(), times: map[carrier.MessageID]int{}}
	}
	w.net.Tap(r.tape.tap)
	return r
}

func (r *replayed) people() [2]*held { return [2]*held{r.alice, r.bob} }

func (r *replayed) close() {
	for _, p := range r.people() {
		p.kill()
	}
	if err := r.thief.conn.Close(); err != nil {
		r.t.Error(err)
	}
	r.w.close()
}

// befriend has one ask the other, who accepts.
func (r *replayed) befriend(from, to *held) {
	r.t.Helper()
	if _, err := from.AddFriend(r.t.Context(), to.Address(), "it is "+from.name); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "a request", func() bool { return len(to.Requests()) == 1 })
	if _, err := to.Accept(from.ID()); err != nil {
		r.t.Fatal(err)
	}
	r.online()
}

func (r *replayed) online() {
	r.t.Helper()
	for _, p := range r.people() {
		if err := p.Friends()[0].WaitOnline(within(r.t, patience)); err != nil {
			r.t.Fatalf("%s: %v", p.name, err)
		}
	}
}

// linked waits until both have a link.
func (r *replayed) linked() {
	r.t.Helper()
	for _, p := range r.people() {
		eventually(r.t, p.name+" has a link", func() bool { return p.Friends()[0].Path() != carrier.Path{} })
	}
}

// again starts both nodes anew, with links or without.
func (r *replayed) again(linkless bool) {
	r.t.Helper()
	for _, p := range r.people() {
		p.kill()
		p.linkless = linkless
		p.start()
	}
}

// exchange has each send the other a message, which comes as it should.
func (r *replayed) exchange(what string, by carrier.Courier) {
	r.t.Helper()
	for i, p := range r.people() {
		other := r.people()[1-i]
		n, body := len(other.got(0)), what+" of "+p.name
		msg := p.send(body)
		if err := msg.WaitDelivered(within(r.t, patience)); err != nil {
			r.t.Fatal(err)
		}
		eventually(r.t, body, func() bool { return len(other.got(n)) > 0 })
		if got, want := other.got(n), []string{fmt.Sprintf("%s by %s", body, by)}; !slices.Equal(got, want) {
			r.t.Fatalf("%s got %q, want %q", other.name, got, want)
		}
	}
}

// talk has mail go each way by each courier. All nodes run at its end, linked.
func (r *replayed) talk(what string) {
	r.t.Helper()
	r.linked()
	r.exchange(what+" over a link", carrier.CourierLink)
	r.again(true)
	r.online()
	r.exchange(what+" straight", carrier.CourierDirect)
	var left [2]*carrier.Message
	r.bob.leave()
	for i, p := range r.people() {
		left[i] = p.send(what + " left by " + p.name)
		if err := left[i].WaitStored(within(r.t, patience)); err != nil {
			r.t.Fatal(err)
		}
		p.leave()
		if i == 0 {
			n := len(r.bob.got(0))
			r.bob.start()
			eventually(r.t, "mail in the DHT", func() bool { return len(r.bob.got(n)) > 0 })
		}
	}
	r.left = time.Now()
	for _, p := range r.people() {
		p.linkless = false
		p.start()
	}
	r.linked()
	time.Sleep(time.Minute)
}

// story is all that is recorded.
func (r *replayed) story() {
	r.t.Helper()
	for _, p := range r.people() {
		p.start()
	}
	r.befriend(r.alice, r.bob)
	r.linked()
	time.Sleep(10 * time.Second)
	r.early = r.backups()
	r.talk("first")
	for _, presence := range []carrier.Presence{carrier.PresenceBusy, carrier.PresenceOnline} {
		if err := r.bob.SetPresence(presence); err != nil {
			r.t.Fatal(err)
		}
		eventually(r.t, "presence", func() bool { return r.alice.Friends()[0].Presence() == presence })
	}
	if err := r.bob.SetProfile(carrier.Profile{Name: "Bob", Description: "new"}); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "profile", func() bool { return r.alice.Friends()[0].Profile().Description == "new" })
	if err := r.alice.Friends()[0].Remove(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "removal", func() bool { return r.bob.Friends()[0].State() == carrier.FriendRemoved })
	time.Sleep(10 * time.Second)
	r.ended = time.Now()
	r.befriend(r.bob, r.alice)
	r.linked()
	eventually(r.t, "profile of the new friend", func() bool { return r.alice.Friends()[0].Profile().Description == "new" })
	time.Sleep(10 * time.Second)
	r.late = r.backups()
	r.talk("second")
	r.tape.stop()
	r.t.Logf("%d datagrams, %d items", len(r.tape.datagrams), len(r.tape.items))
}

// backups are copies of both disks, between two runs.
func (r *replayed) backups() (disks [2]*disk) {
	r.t.Helper()
	for i, p := range r.people() {
		p.kill()
		disks[i] = p.backup()
		p.start()
	}
	return disks
}

// all are the recorded items.
func (r *replayed) all() (list []dht.Item) {
	for _, i := range r.tape.items {
		list = append(list, i.Item)
	}
	return list
}

// nothing plays what was recorded to those, and then holds that nothing has
// changed and nobody was told of anything.
func (r *replayed) nothing(when string, act func(), to ...*held) {
	r.t.Helper()
	synctest.Wait() // for what is being told
	var before []string
	var told []int
	for _, p := range to {
		before = append(before, p.state())
		told = append(told, len(p.news.all()))
	}
	act()
	time.Sleep(15 * time.Second)
	synctest.Wait()
	for i, p := range to {
		if got := p.state(); got != before[i] {
			r.t.Errorf("%s: replays have changed what %s has\nfrom %s\nto   %s", when, p.name, before[i], got)
		}
		for _, ev := range p.news.all()[told[i]:] {
			r.t.Errorf("%s: replays have had %s told %T %+v", when, p.name, ev, ev)
		}
	}
}

// TestReplays records all that two nodes say to each other and put into the DHT,
// from a request to the second friendship, and plays it back to both, in every
// situation in which it might be taken for new.
func TestReplays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReplayed(t)
		defer r.close()
		r.story()
		alice, bob, routers := r.alice, r.bob, r.w.routers

		before := bob.Stats()
		r.nothing("at once", func() {
			r.thief.play(r.tape.datagrams, alice, bob)
			r.thief.plant(r.all(), routers...)
		}, alice, bob)
		counted(t, bob.Node, before, "courier.drop.replay.hello", "courier.drop.replay.state", "courier.drop.unproven")

		seed, _ := alice.InsecureKeys()
		r.nothing("put above the newest", func() {
			r.thief.plant(above(t, r.tape.items, seed, bob.ID(), time.Now().Add(time.Minute).UnixMilli()), routers...)
		}, alice, bob)

		// While nodes start again, and then of one that is alone.
		want := [2]string{alice.state(), bob.state()}
		for i, p := range r.people() {
			p.kill()
			p.begin()
			r.thief.play(r.tape.datagrams, alice, bob)
			r.linked()
			time.Sleep(time.Minute)
			for j, q := range r.people() {
				if got := q.state(); got != want[j] {
					t.Errorf("after restart %d: replays have changed what %s has\nfrom %s\nto   %s", i, q.name, want[j], got)
				}
			}
		}
		alice.kill()
		eventually(t, "offline", func() bool { return !bob.Friends()[0].Online() })
		r.nothing("of one who is away", func() { r.thief.play(r.tape.datagrams, bob) }, bob)
		alice.start()
		r.linked()

		for i, p := range r.people() {
			r.restored(p.name+" with the late backup", p, r.late[i], r.left)
			r.restored(p.name+" with the early backup", p, r.early[i], r.ended)
		}
		r.imported()

		// Much later.
		for _, p := range r.people() {
			p.kill()
		}
		for _, d := range []time.Duration{time.Hour, 7 * 24 * time.Hour} {
			for _, x := range routers {
				r.w.stopRouter(x)
			}
			time.Sleep(d)
			for _, x := range routers {
				r.w.startRouter(x)
			}
			bob.start()
			r.thief.plant(r.all(), routers...)
			time.Sleep(time.Minute)
			r.nothing(fmt.Sprintf("%v later", d), func() { r.thief.play(r.tape.datagrams, bob) }, bob)
			bob.kill()
		}
	})
}

// restored puts a backup back to a node, under attack from its first moment: by
// holders of the DHT, too, who have kept what stood there at that time.
func (r *replayed) restored(what string, p *held, backup *disk, kept time.Time) {
	r.t.Helper()
	for _, q := range r.people() {
		q.kill()
	}
	time.Sleep(10 * time.Minute) // numbers of the lost runs may be ahead of the clock, by up to two minutes a start
	for _, q := range r.people() {
		if q != p {
			q.start()
		}
	}
	time.Sleep(10 * time.Second) // for its state to stand
	stale := r.w.routers[:4]
	r.thief.emptied(stale...)
	r.thief.plant(r.tape.itemsAt(kept), stale...)
	p.disk = backup
	n, m := len(r.alice.got(0)), len(r.bob.got(0))
	p.begin()
	r.thief.play(r.tape.datagrams, p)
	r.linked()
	r.thief.play(r.tape.datagrams, p)
	time.Sleep(time.Minute)
	r.settled(what, p, n, m)
}

// imported starts Bob's identity with a new store, under the same attack.
func (r *replayed) imported() {
	r.t.Helper()
	export, err := r.bob.ExportIdentity()
	if err != nil {
		r.t.Fatal(err)
	}
	r.bob.identity = export
	r.restored("imported", r.bob, newDisk(), r.left)
}

// waits reports whether a message has no final state yet.
func waits(m *carrier.Message) bool {
	return m.State().Status == carrier.MessageQueued || m.State().Status == carrier.MessageStored
}

// settled holds that the two go on as friends, and that nobody was shown or told
// what was recorded.
func (r *replayed) settled(what string, p *held, n, m int) {
	r.t.Helper()
	for _, q := range r.people() {
		for _, ev := range q.news.all() {
			switch ev := ev.(type) {
			case carrier.FriendChanged:
				if q == p && ev.State != carrier.FriendAccepted {
					r.t.Errorf("%s: %s is told that the friend is %v", what, q.name, ev.State)
				}
			case carrier.IdentityInUse, carrier.ClockSkew, carrier.FriendRequest:
				if q == p {
					r.t.Errorf("%s: %s is told %T %+v", what, q.name, ev, ev)
				}
			}
		}
		if f := q.Friends(); len(f) != 1 || f[0].State() != carrier.FriendAccepted || !f[0].Online() {
			r.t.Fatalf("%s: %s has the friends %v", what, q.name, f)
		}
		if got, want := r.alice.Friends()[0].Profile(), r.bob.Profile(); p == r.alice && got != want {
			r.t.Errorf("%s: Alice sees the profile %v, want %v", what, got, want)
		}
		if len(q.Requests()) != 0 || slices.ContainsFunc(q.Outbox(), waits) {
			r.t.Errorf("%s: %s has\n%s", what, q.name, q.state())
		}
	}
	if got := append(r.alice.got(n), r.bob.got(m)...); len(got) != 0 {
		r.t.Errorf("%s: shown again: %s", what, strings.Join(got, ", "))
	}
	r.exchange("after "+what, carrier.CourierLink)
}

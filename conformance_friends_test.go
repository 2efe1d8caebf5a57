package carrier_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// states lists the states that a friend went through, as events told.
func states(r *recorder, f *carrier.Friend) []carrier.FriendState {
	var out []carrier.FriendState
	for _, ev := range eventsOf[carrier.FriendChanged](r) {
		if ev.Friend == f {
			out = append(out, ev.State)
		}
	}
	return out
}

func TestAddFriendAndAccept(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		atAlice, atBob := record(t, alice.Node), record(t, bob.Node)
		asked := time.Now()
		ab := alice.add(bob.Address(), "hi, it's Alice from school")
		if ab.State() != carrier.FriendPending || ab.ID() != bob.ID() {
			t.Errorf("AddFriend gave %s in state %s, want Bob, pending", ab.ID(), ab.State())
		}
		r := bob.request(alice.ID())
		if r.Name != "Alice" || r.Hello != "hi, it's Alice from school" || r.Time.Sub(asked).Abs() > time.Second {
			t.Errorf("Bob sees request %+v, want Alice's name, hello and time", r)
		}
		if got := bob.Requests(); len(got) != 1 || got[0] != r {
			t.Errorf("Requests = %+v, want the one of the event", got)
		}
		if _, err := bob.Friend(alice.ID()); !errors.Is(err, carrier.ErrNotFriend) {
			t.Errorf("before Accept Bob.Friend = %v, want ErrNotFriend", err)
		}
		ba := bob.accept(alice.ID())
		if ba.State() != carrier.FriendAccepted || ba.Profile().Name != "Alice" {
			t.Errorf("after Accept %s, name %q; want accepted, Alice", ba.State(), ba.Profile().Name)
		}
		if got := bob.Requests(); len(got) != 0 {
			t.Errorf("after Accept Requests = %+v, want none", got)
		}
		alice.must(ab.WaitAccepted(within(t, patience)))
		for _, f := range []*carrier.Friend{ab, ba} {
			alice.must(f.WaitOnline(within(t, patience)))
		}
		synctest.Wait()
		// Bob may be faster than the last copy of the request.
		got := slices.DeleteFunc(states(atAlice, ab), func(s carrier.FriendState) bool { return s == carrier.FriendStored })
		if want := []carrier.FriendState{carrier.FriendPending, carrier.FriendAccepted}; !slices.Equal(got, want) {
			t.Errorf("Alice was told %v of Bob, want %v and stored between them at most", got, want)
		}
		if got, want := states(atBob, ba), []carrier.FriendState{carrier.FriendAccepted}; !slices.Equal(got, want) {
			t.Errorf("Bob was told %v of Alice, want %v", got, want)
		}
		// Friend added comes before friend connected.
		for name, r := range map[string]*recorder{"Alice": atAlice, "Bob": atBob} {
			added, online := -1, -1
			for i, ev := range r.all() {
				switch ev := ev.(type) {
				case carrier.FriendChanged:
					if ev.State == carrier.FriendAccepted && added < 0 {
						added = i
					}
				case carrier.FriendPresence:
					if ev.Online && online < 0 {
						online = i
					}
				}
			}
			if added < 0 || online < added {
				t.Errorf("%s: accepted is event %d, online event %d; want both, in this order", name, added, online)
			}
		}
		if got, _ := alice.Friend(bob.ID()); got != ab {
			t.Error("Friend returned another handle than AddFriend")
		}
		if got := alice.Friends(); len(got) != 1 || got[0] != ab {
			t.Errorf("Friends = %v, want the one handle", got)
		}
	})
}

func TestAddTwice(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		events := record(t, bob.Node)
		first := alice.add(bob.Address(), "hello")
		bob.request(alice.ID())
		// An identical repeat is no error, and is not shown twice.
		if again := alice.add(bob.Address(), "hello"); again != first {
			t.Error("the second AddFriend gave another handle")
		}
		time.Sleep(5 * time.Minute)
		if got := eventsOf[carrier.FriendRequest](events); len(got) != 1 {
			t.Errorf("after an identical repeat Bob was shown %d requests, want 1: %+v", len(got), got)
		}
		// With another hello it is shown.
		alice.add(bob.Address(), "hello, it's me!")
		time.Sleep(5 * time.Minute)
		got := eventsOf[carrier.FriendRequest](events)
		if len(got) != 2 || got[1].Hello != "hello, it's me!" {
			t.Errorf("after a changed hello Bob was shown %+v, want it as the second", got)
		}
		if r := bob.Requests(); len(r) != 1 || r[0].Hello != "hello, it's me!" {
			t.Errorf("Requests = %+v, want the new one only", r)
		}
		bob.accept(alice.ID())
		alice.must(first.WaitAccepted(within(t, patience)))
		// Asking a friend refreshes the friendship and shows nothing.
		alice.add(bob.Address(), "are we still friends?")
		time.Sleep(5 * time.Minute)
		if first.State() != carrier.FriendAccepted {
			t.Errorf("after asking a friend again the state is %s, want accepted", first.State())
		}
		if got := eventsOf[carrier.FriendRequest](events); len(got) != 2 {
			t.Errorf("a friend's request was shown: %+v", got[2:])
		}
		alice.delivered(alice.send(bob.ID(), "yes"))
		alice.must(bob.friend(alice.ID()).WaitOnline(within(t, patience)))
	})
}

func TestAddInvalid(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Node("Bob")
		for _, test := range []struct {
			name  string
			to    carrier.Address
			hello string
			want  error
		}{
			{"self", alice.Address(), "", carrier.ErrSelf},
			{"zero address", carrier.Address{}, "", carrier.ErrBadAddress},
			{"hello too long", bob.Address(), strings.Repeat("h", 257), carrier.ErrTooLong},
			{"hello not UTF-8", bob.Address(), "\xff", carrier.ErrBadText},
			{"hello with NUL", bob.Address(), "a\x00b", carrier.ErrBadText},
		} {
			f, err := alice.AddFriend(t.Context(), test.to, test.hello)
			if !errors.Is(err, test.want) || f != nil {
				t.Errorf("%s: AddFriend = %v, %v; want %v", test.name, f, err, test.want)
			}
		}
		if got := alice.Friends(); len(got) != 0 {
			t.Errorf("failed calls left the friends %v", got)
		}
	})
}

func TestHelloSizes(t *testing.T) {
	for name, hello := range map[string]string{
		"empty": "", "largest": strings.Repeat("h", 256), "UTF-8 and lines": "grüß dich!\n你好",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *carriertest.Network) {
				alice, bob := n.Start(carrier.Config{Ephemeral: true, Name: strings.Repeat("n", 64)}), newPerson(t, n, "Bob")
				if _, err := alice.AddFriend(t.Context(), bob.Address(), hello); err != nil {
					t.Fatal(err)
				}
				if got := bob.request(alice.ID()); got.Hello != hello || got.Name != alice.Profile().Name {
					t.Errorf("Bob sees %q of %q, want %q of %q", got.Hello, got.Name, hello, alice.Profile().Name)
				}
			})
		})
	}
}

// TestRequestSurvives: a request reaches its target and its answer the
// requester, whoever is away meanwhile.
func TestRequestSurvives(t *testing.T) {
	for name, between := range map[string]struct {
		beforeSeen, beforeAnswer, afterAnswer func(alice, bob *person)
	}{
		"target offline at the time": {beforeSeen: func(_, bob *person) { bob.start() }},
		"target offline, requester gone when it comes": {
			beforeSeen:   func(alice, bob *person) { time.Sleep(time.Minute); alice.stop(); bob.start() },
			beforeAnswer: func(*person, *person) {},
			afterAnswer:  func(alice, _ *person) { time.Sleep(10 * time.Minute); alice.start() },
		},
		"requester restarted": {beforeSeen: func(alice, bob *person) {
			alice.stop()
			bob.start()
			alice.start()
		}},
		"target restarted": {
			beforeSeen:   func(_, bob *person) { bob.start() },
			beforeAnswer: func(_, bob *person) { bob.stop(); bob.start() },
		},
		"both restarted after the answer": {
			beforeSeen: func(_, bob *person) { bob.start() },
			afterAnswer: func(alice, bob *person) {
				alice.stop()
				bob.stop()
				alice.start()
				bob.start()
			},
		},
		"answered while the requester is away": {
			beforeSeen:   func(_, bob *person) { bob.start() },
			beforeAnswer: func(alice, _ *person) { alice.stop() },
			afterAnswer: func(alice, bob *person) {
				time.Sleep(time.Minute)
				bob.leave()
				alice.start()
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *carriertest.Network) {
				alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
				bob.stop()
				alice.add(bob.Address(), "hello")
				time.Sleep(10 * time.Second)
				for _, step := range []func(alice, bob *person){
					between.beforeSeen,
					func(alice, bob *person) { bob.request(alice.ID()) },
					between.beforeAnswer,
					func(alice, bob *person) { bob.accept(alice.ID()) },
					between.afterAnswer,
				} {
					if step != nil {
						step(alice, bob)
					}
				}
				alice.must(alice.friend(bob.ID()).WaitAccepted(within(t, patience)))
			})
		})
	}
}

func TestRefuseAndAskAgain(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "please")
		waiting := alice.send(bob.ID(), "for when you accept")
		bob.request(alice.ID())
		bob.must(bob.Refuse(alice.ID()))
		if err := ab.WaitAccepted(within(t, patience)); !errors.Is(err, carrier.ErrRefused) {
			t.Fatalf("WaitAccepted = %v, want ErrRefused", err)
		}
		if ab.State() != carrier.FriendRefused {
			t.Errorf("State = %s, want refused", ab.State())
		}
		if err := waiting.WaitDelivered(within(t, patience)); !errors.Is(err, carrier.ErrRefused) {
			t.Errorf("the queued message ended with %v, want ErrRefused", err)
		}
		if _, err := ab.Send(t.Context(), nil, nil); !errors.Is(err, carrier.ErrNotFriend) {
			t.Errorf("Send after the refusal = %v, want ErrNotFriend", err)
		}
		for op, err := range map[string]error{"Refuse": bob.Refuse(alice.ID()), "Accept": func() error { _, err := bob.Accept(alice.ID()); return err }()} {
			if !errors.Is(err, carrier.ErrNoRequest) {
				t.Errorf("%s without a request = %v, want ErrNoRequest", op, err)
			}
		}
		alice.stop()
		alice.start()
		if got := alice.friend(bob.ID()).State(); got != carrier.FriendRefused {
			t.Errorf("after a restart State = %s, want refused", got)
		}

		ab = alice.add(bob.Address(), "pretty please")
		if got := bob.request(alice.ID()); got.Hello != "pretty please" {
			t.Errorf("the second request says %q", got.Hello)
		}
		bob.accept(alice.ID())
		alice.must(ab.WaitAccepted(within(t, patience)))
		alice.delivered(alice.send(bob.ID(), "thank you"))
	})
}

func TestBlockedStrangerIsNeverHeard(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "buy my pills")
		bob.request(alice.ID())
		bob.must(bob.Block(alice.ID()))
		if got := bob.Requests(); len(got) != 0 {
			t.Errorf("after Block Requests = %+v, want none", got)
		}
		events := record(t, bob.Node)
		alice.add(bob.Address(), "really, they are good")
		time.Sleep(32 * time.Minute) // over the fixed buckets too
		bob.stop()
		bob.start()
		again := record(t, bob.Node)
		time.Sleep(5 * time.Minute)
		for _, r := range slices.Concat(eventsOf[carrier.FriendRequest](events), eventsOf[carrier.FriendRequest](again)) {
			t.Errorf("request %q of a blocked person was shown", r.Hello)
		}
		if ab.State() != carrier.FriendStored {
			t.Errorf("the blocked person sees %s, want stored: nobody tells", ab.State())
		}
		if got := bob.Blocked(); !slices.Equal(got, []carrier.ID{alice.ID()}) {
			t.Errorf("Blocked = %v, want Alice", got)
		}
		if _, err := bob.AddFriend(t.Context(), alice.Address(), ""); !errors.Is(err, carrier.ErrBlocked) {
			t.Errorf("AddFriend of a blocked person = %v, want ErrBlocked", err)
		}
		bob.must(bob.Unblock(alice.ID()))
		if got := bob.Blocked(); len(got) != 0 {
			t.Errorf("after Unblock Blocked = %v", got)
		}
		alice.add(bob.Address(), "sorry")
		if got := bob.request(alice.ID()); got.Hello != "sorry" {
			t.Errorf("after Unblock Bob sees %q", got.Hello)
		}
		if err := bob.Block(bob.ID()); !errors.Is(err, carrier.ErrSelf) {
			t.Errorf("Block of self = %v, want ErrSelf", err)
		}
	})
}

func TestBlockedFriendIsSuspended(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, ba := befriend(alice, bob)
		bob.must(bob.Block(alice.ID()))
		eventually(t, "Alice sees Bob offline", func() bool { return !ab.Online() })
		if ba.Online() {
			t.Error("a blocked friend is shown online")
		}
		msg := alice.send(bob.ID(), "can you hear me?")
		bob.nothingElse(10 * time.Minute)
		if s := msg.State(); s.Status.Final() {
			t.Errorf("the message to who blocks us is %s, want it waiting", s)
		}
		if ab.State() != carrier.FriendAccepted {
			t.Errorf("the blocked friend sees %s, want accepted: nobody tells", ab.State())
		}
		bob.must(bob.Unblock(alice.ID()))
		alice.delivered(msg)
		if got := bob.next(); got.body != "can you hear me?" {
			t.Errorf("after Unblock Bob got %q", got.body)
		}
		alice.must(ba.WaitOnline(within(t, patience)))
	})
}

func TestLabel(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "")
		for _, label := range []string{"Bobby", "", strings.Repeat("é", 127)} {
			alice.must(ab.SetLabel(label))
			if got := ab.Label(); got != label {
				t.Errorf("Label = %q, want %q", got, label)
			}
		}
		bob.request(alice.ID())
		bob.accept(alice.ID())
		alice.must(ab.WaitAccepted(within(t, patience)))
		eventually(t, "Alice knows Bob's name", func() bool { return ab.Profile().Name == "Bob" })
		if got, want := ab.Name(), strings.Repeat("é", 127); got != want {
			t.Errorf("Name = %q, want the label", got)
		}
		alice.stop()
		alice.start()
		ab = alice.friend(bob.ID())
		if got, want := ab.Label(), strings.Repeat("é", 127); got != want {
			t.Errorf("after a restart Label = %q, want %q", got, want)
		}
		alice.must(ab.SetLabel(""))
		if got := ab.Name(); got != "Bob" {
			t.Errorf("with the label cleared Name = %q, want Bob", got)
		}
		for _, test := range []struct {
			label string
			want  error
		}{{strings.Repeat("l", 256), carrier.ErrTooLong}, {"\xff", carrier.ErrBadText}, {"a\nb", carrier.ErrBadText}} {
			if err := ab.SetLabel(test.label); !errors.Is(err, test.want) {
				t.Errorf("SetLabel(%.10q) = %v, want %v", test.label, err, test.want)
			}
		}
		// A stranger and oneself have no handle, so no label; a removed friend's says so.
		for _, id := range []carrier.ID{alice.ID(), n.Node("Eve").ID()} {
			if _, err := alice.Friend(id); !errors.Is(err, carrier.ErrNotFriend) {
				t.Errorf("Friend(%s) = %v, want ErrNotFriend", id, err)
			}
		}
		alice.must(ab.Remove())
		if err := ab.SetLabel("x"); !errors.Is(err, carrier.ErrNotFriend) {
			t.Errorf("SetLabel after Remove = %v, want ErrNotFriend", err)
		}
	})
}

func TestRemove(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, ba := befriend(alice, bob)
		alice.must(ab.SetLabel("Bobby"))
		unread := bob.send(alice.ID(), "did you get this?")
		bob.delivered(unread)
		n.Partition(bob.Node)
		pending := alice.send(bob.ID(), "never to arrive")
		theirs := bob.send(alice.ID(), "nor this")
		atAlice, atBob := record(t, alice.Node), record(t, bob.Node)

		synctest.Wait()
		begin := time.Now()
		alice.must(ab.Remove())
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Remove waited %s for the network", took)
		}
		if ab.State() != carrier.FriendNone || ab.Online() || len(alice.Friends()) != 0 {
			t.Errorf("after Remove: state %s, online %t, friends %v; want none of all", ab.State(), ab.Online(), alice.Friends())
		}
		if err := pending.WaitDelivered(within(t, time.Second)); !errors.Is(err, carrier.ErrCancelled) {
			t.Errorf("the pending message ended with %v, want ErrCancelled", err)
		}
		if err := ab.WaitAccepted(within(t, time.Second)); !errors.Is(err, carrier.ErrCancelled) {
			t.Errorf("WaitAccepted = %v, want ErrCancelled", err)
		}
		if err := ab.WaitOnline(within(t, time.Second)); !errors.Is(err, carrier.ErrNotFriend) {
			t.Errorf("WaitOnline = %v, want ErrNotFriend", err)
		}
		if _, err := ab.Send(t.Context(), nil, nil); !errors.Is(err, carrier.ErrNotFriend) {
			t.Errorf("Send after Remove = %v, want ErrNotFriend", err)
		}
		if err := ab.Remove(); !errors.Is(err, carrier.ErrNotFriend) {
			t.Errorf("the second Remove = %v, want ErrNotFriend", err)
		}
		synctest.Wait()
		var told []string // disconnected, then removed
		for _, ev := range atAlice.all() {
			switch ev := ev.(type) {
			case carrier.FriendPresence:
				if !ev.Online {
					told = append(told, "offline")
				}
			case carrier.FriendChanged:
				if ev.State == carrier.FriendNone {
					told = append(told, "removed")
				}
			}
		}
		if want := []string{"offline", "removed"}; !slices.Equal(told, want) {
			t.Errorf("Alice was told %v, want %v", told, want)
		}
		if got := alice.next(); got.body != "did you get this?" {
			t.Errorf("the unread message is %q, want it to stay", got.body)
		}

		// The peer learns it when it can be told.
		time.Sleep(2 * time.Second)
		n.Heal()
		eventually(t, "Bob learns of the removal", func() bool { return ba.State() == carrier.FriendRemoved })
		if err := theirs.WaitDelivered(within(t, patience)); !errors.Is(err, carrier.ErrRefused) {
			t.Errorf("Bob's pending message ended with %v, want ErrRefused", err)
		}
		if got := states(atBob, ba); len(got) == 0 || got[len(got)-1] != carrier.FriendRemoved {
			t.Errorf("Bob was told %v, want removed at the end", got)
		}
		alice.nothingElse(time.Minute)
		// They may begin anew.
		ba = bob.add(alice.Address(), "what have I done?")
		alice.request(bob.ID())
		if got := alice.accept(bob.ID()); got != ab || got.Label() != "" {
			t.Errorf("the new friend is %p, label %q; want the old handle %p and no label", got, got.Label(), ab)
		}
		bob.must(ba.WaitAccepted(within(t, patience)))
		alice.delivered(alice.send(bob.ID(), "never mind"))
		if got := bob.next(); got.body != "never mind" {
			t.Errorf("Bob got %q", got.body)
		}
	})
}

// TestRemovalReachesWhoWasAway: the peer learns it though both were never
// online together since.
func TestRemovalReachesWhoWasAway(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		bob.stop()
		alice.must(ab.Remove())
		alice.leave()
		time.Sleep(20 * time.Minute)
		bob.start()
		ba := bob.friend(alice.ID())
		eventually(t, "Bob learns of the removal", func() bool { return ba.State() == carrier.FriendRemoved })
	})
}

// TestWithdrawnRequest: who accepts what was taken back meanwhile is told so,
// and nobody is a friend.
func TestWithdrawnRequest(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "hello")
		bob.request(alice.ID())
		alice.must(ab.Remove())
		if err := ab.WaitAccepted(within(t, time.Second)); !errors.Is(err, carrier.ErrCancelled) {
			t.Errorf("WaitAccepted = %v, want ErrCancelled", err)
		}
		ba := bob.accept(alice.ID())
		eventually(t, "Bob learns that the request was taken back", func() bool { return ba.State() == carrier.FriendRemoved })
		if got := alice.Friends(); len(got) != 0 {
			t.Errorf("Alice has the friends %v, want none", got)
		}
	})
}

// TestUnansweredRequestExpires: at its target too.
func TestUnansweredRequestExpires(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		alice.add(bob.Address(), "hello")
		r := bob.request(alice.ID())
		alice.stop()
		bob.stop()
		time.Sleep(30*24*time.Hour - time.Minute)
		bob.start()
		if got := bob.Requests(); len(got) != 1 || got[0] != r {
			t.Errorf("before its time Requests = %+v, want the request", got)
		}
		events := record(t, bob.Node)
		time.Sleep(2 * time.Minute)
		if got := bob.Requests(); len(got) != 0 {
			t.Errorf("after 30 days Requests = %+v, want none", got)
		}
		if got := eventsOf[carrier.RequestWithdrawn](events); len(got) != 1 || got[0].ID != alice.ID() {
			t.Errorf("RequestWithdrawn = %+v, want one of Alice", got)
		}
		if _, err := bob.Accept(alice.ID()); !errors.Is(err, carrier.ErrNoRequest) {
			t.Errorf("Accept = %v, want ErrNoRequest", err)
		}
	})
}

// TestRequestExpires: after 30 days without an answer, with what waited for it.
func TestRequestExpires(t *testing.T) {
	t.Parallel()
	// A DHT of one has little to do in a month.
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		address := bob.Address()
		bob.stop()
		alice.add(address, "hello")
		msg := alice.send(address.ID, "for when you accept")
		alice.stop() // a month of idling would be a test of patience only
		time.Sleep(30*24*time.Hour + time.Minute)
		alice.start()
		ab := alice.friend(address.ID)
		if err := ab.WaitAccepted(within(t, patience)); !errors.Is(err, carrier.ErrExpired) {
			t.Errorf("WaitAccepted = %v, want ErrExpired", err)
		}
		if ab.State() != carrier.FriendExpired {
			t.Errorf("State = %s, want expired", ab.State())
		}
		found := false
		for _, m := range alice.Outbox() {
			if m.ID() == msg.ID() {
				found = true
				if err := m.WaitDelivered(within(t, time.Second)); !errors.Is(err, carrier.ErrExpired) {
					t.Errorf("the queued message ended with %v, want ErrExpired", err)
				}
			}
		}
		if !found {
			t.Error("the message that waited for the request is not in the Outbox")
		}
		bob.start()
		alice.add(bob.Address(), "once more")
		bob.request(alice.ID())
		bob.accept(alice.ID())
		alice.must(ab.WaitAccepted(within(t, patience)))
	})
}

// TestAddAccepts: AddFriend to somebody whose request is pending accepts it.
func TestAddAccepts(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab := alice.add(bob.Address(), "hi Bob")
		bob.request(alice.ID())
		if ba := bob.add(alice.Address(), ""); ba.State() != carrier.FriendAccepted {
			t.Errorf("AddFriend of who asks gives %s, want accepted", ba.State())
		}
		alice.must(ab.WaitAccepted(within(t, patience)))
	})
}

// TestFriendsAndRequestsAreOrdered: friends by ID, requests by age, whatever the order of
// coming.
func TestFriendsAndRequestsAreOrdered(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := newPerson(t, n, "Alice")
		var asked []carrier.ID
		for _, name := range []string{"Bob", "Carol", "Dave"} {
			p := newPerson(t, n, name)
			p.add(alice.Address(), "hello")
			asked = append(asked, p.ID())
			alice.request(p.ID())
			time.Sleep(time.Second)
		}
		var got []carrier.ID
		for _, r := range alice.Requests() {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, asked) {
			t.Errorf("Requests are of %v, want %v, oldest first", got, asked)
		}
		for _, id := range asked {
			alice.accept(id)
		}
		got = nil
		for _, f := range alice.Friends() {
			got = append(got, f.ID())
		}
		if slices.SortFunc(asked, carrier.ID.Compare); !slices.Equal(got, asked) {
			t.Errorf("Friends are %v, want %v", got, asked)
		}
	})
}

// TestSeenAgain: a friend that was away is seen online soon, after a restart,
// and after outages of any length, one after another.
func TestSeenAgain(t *testing.T) {
	const most = 20 * time.Second
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 4}, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		p.bob.stop()
		eventually(t, "Alice sees Bob offline", func() bool { return !p.ab.Online() })
		begun := time.Now()
		p.bob.start()
		p.ba = p.bob.friend(p.alice.ID())
		for _, f := range []*carrier.Friend{p.ab, p.ba} {
			p.alice.must(f.WaitOnline(within(t, patience)))
		}
		if took := time.Since(begun); took > most {
			t.Errorf("restart: both saw each other online after %v, want within %v", took, most)
		}
		for _, outage := range append(outages(), time.Duration(fewer(60, 1))*time.Minute, time.Minute) {
			took := p.apart(t, outage, func() { n.Partition(p.bob.Node) }, n.Heal)
			if took > most {
				t.Errorf("outage of %v: both saw each other online after %v, want within %v", outage, took, most)
			}
		}
	})
}

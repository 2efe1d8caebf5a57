package carrier_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

const day = 24 * time.Hour

// quietly runs a test on a DHT of one node, which has little to do in a month.
func quietly(t *testing.T, test func(t *testing.T, alice, bob *person)) {
	t.Helper()
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		test(t, newPerson(t, n, "Alice"), newPerson(t, n, "Bob"))
	})
}

// reaches waits until a friend is in a state.
func reaches(t *testing.T, f *carrier.Friend, want carrier.FriendState) {
	t.Helper()
	eventually(t, "state "+want.String(), func() bool { return f.State() == want })
}

// TestStoredRequestIsRemembered: that a request lies in the DHT is known after a
// restart too, and unknown again of one that took its place.
func TestStoredRequestIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		bob.stop()
		reaches(t, alice.add(bob.Address(), "hello"), carrier.FriendStored)
		alice.stop()
		alice.Node = n.Start(alice.config)
		ab := alice.friend(bob.ID())
		if ab.State() != carrier.FriendStored {
			t.Errorf("after a restart the request is %s, want stored", ab.State())
		}
		events := record(t, alice.Node)
		alice.must(alice.WaitReady(within(t, patience)))
		time.Sleep(time.Minute) // it is put again
		if got, want := states(events, ab), []carrier.FriendState{carrier.FriendStored}; !slices.Equal(got, want) {
			t.Errorf("after a restart Alice was told %v, want %v", got, want)
		}
		alice.must(alice.Block(bob.ID()))
		alice.must(alice.Unblock(bob.ID()))
		if ab.State() != carrier.FriendStored {
			t.Errorf("after a block and its end the request is %s, want stored", ab.State())
		}
		if alice.add(bob.Address(), "hello?"); ab.State() != carrier.FriendPending {
			t.Errorf("another request is %s at once, want pending", ab.State())
		}
		reaches(t, ab, carrier.FriendStored)
	})
}

// TestChangedRequestWhileTheTargetIsAway: only the newest words and name are shown.
func TestChangedRequestWhileTheTargetIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		bob.stop()
		alice.add(bob.Address(), "hello")
		time.Sleep(time.Minute)
		alice.must(alice.SetProfile(carrier.Profile{Name: "Alice B."}))
		alice.add(bob.Address(), "hello, I have married")
		time.Sleep(time.Minute)
		bob.start()
		events := record(t, bob.Node)
		time.Sleep(4 * time.Minute) // over the fixed buckets too
		got := eventsOf[carrier.FriendRequest](events)
		if len(got) != 1 || got[0].Hello != "hello, I have married" || got[0].Name != "Alice B." {
			t.Errorf("Bob was shown %+v, want the newest only", got)
		}
	})
}

// TestRefusalReachesWhoWasAway: whoever of the two is away when.
func TestRefusalReachesWhoWasAway(t *testing.T) {
	for name, story := range map[string]func(alice, bob *person){
		"both gone in turn": func(alice, bob *person) {
			alice.stop()
			bob.must(bob.Refuse(alice.ID()))
			bob.leave()
			time.Sleep(20 * time.Minute)
			alice.start()
		},
		"longer than refusals are put": func(alice, bob *person) {
			alice.stop()
			bob.must(bob.Refuse(alice.ID()))
			bob.stop()
			time.Sleep(20 * day)
			bob.start()
			time.Sleep(time.Minute)
			alice.start() // puts the request again, which is answered again
		},
		"target restarted": func(alice, bob *person) {
			alice.stop()
			bob.must(bob.Refuse(alice.ID()))
			bob.stop()
			bob.start()
			time.Sleep(time.Minute)
			bob.stop()
			alice.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			quietly(t, func(t *testing.T, alice, bob *person) {
				alice.add(bob.Address(), "please")
				bob.request(alice.ID())
				story(alice, bob)
				reaches(t, alice.friend(bob.ID()), carrier.FriendRefused)
			})
		})
	}
}

// TestRemovalIsToldFor30Days: to who comes back by then. Who comes later is told
// nothing; to ask anew is what brings clearness.
func TestRemovalIsToldFor30Days(t *testing.T) {
	for _, test := range []struct {
		name string
		away time.Duration
		want carrier.FriendState
	}{
		{"in time", 29 * day, carrier.FriendRemoved},
		{"too late", 31 * day, carrier.FriendAccepted},
	} {
		t.Run(test.name, func(t *testing.T) {
			quietly(t, func(t *testing.T, alice, bob *person) {
				ab, _ := befriend(alice, bob)
				bob.stop()
				alice.must(ab.Remove())
				alice.stop()
				time.Sleep(test.away)
				alice.start()
				bob.start()
				ba := bob.friend(alice.ID())
				msg, err := ba.Send(t.Context(), []byte("I am back"), nil)
				time.Sleep(5 * time.Minute)
				if got := ba.State(); got != test.want {
					t.Errorf("after %v Alice is %s to Bob, want %s", test.away, got, test.want)
				}
				switch {
				case errors.Is(err, carrier.ErrNotFriend): // he knew already
				case err != nil:
					t.Error(err)
				case msg.State().Status.Final() != (test.want == carrier.FriendRemoved):
					t.Errorf("the message of who was removed is %v", msg.State())
				}
				if ba.Online() || len(alice.Friends()) != 0 {
					t.Error("somebody who was removed is a friend again without being asked")
				}
				bob.add(alice.Address(), "are you angry?")
				alice.request(bob.ID())
				alice.must(alice.Refuse(bob.ID()))
				reaches(t, ba, carrier.FriendRefused)
			})
		})
	}
}

// TestMutualRequests: two who ask each other are friends without an Accept, within
// seconds, in whatever order they do it, and are told so once.
func TestMutualRequests(t *testing.T) {
	for name, ask := range map[string]func(alice, bob *person){
		"at once": func(alice, bob *person) {
			alice.add(bob.Address(), "hi Bob")
			bob.add(alice.Address(), "hi Alice")
		},
		"one after the other": func(alice, bob *person) {
			alice.add(bob.Address(), "hi Bob")
			time.Sleep(3 * time.Second)
			bob.add(alice.Address(), "hi Alice")
		},
		"before they could see it": func(alice, bob *person) {
			bob.stop()
			alice.add(bob.Address(), "hi Bob")
			time.Sleep(time.Minute)
			address := alice.Address()
			alice.stop()
			bob.start()
			bob.add(address, "hi Alice")
			alice.start()
		},
		"and one accepts": func(alice, bob *person) {
			alice.add(bob.Address(), "hi Bob")
			bob.request(alice.ID())
			bob.accept(alice.ID())
			alice.add(bob.Address(), "once more")
			bob.add(alice.Address(), "hi Alice")
		},
		"and one restarts": func(alice, bob *person) {
			alice.add(bob.Address(), "hi Bob")
			bob.add(alice.Address(), "hi Alice")
			alice.stop()
			alice.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubbleWith(t, &carriertest.Options{Routers: 8}, func(t *testing.T, n *carriertest.Network) {
				alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
				ask(alice, bob)
				told := map[*carrier.Friend]*recorder{}
				ab, ba := alice.friend(bob.ID()), bob.friend(alice.ID())
				told[ab], told[ba] = record(t, alice.Node), record(t, bob.Node)
				begun := time.Now()
				for _, f := range []*carrier.Friend{ab, ba} {
					alice.must(f.WaitAccepted(within(t, patience)))
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("friends after %v, want 10 s", took)
				}
				for _, f := range []*carrier.Friend{ab, ba} {
					alice.must(f.WaitOnline(within(t, patience)))
				}
				alice.delivered(alice.send(bob.ID(), "same thought"))
				bob.delivered(bob.send(alice.ID(), "indeed"))
				time.Sleep(2 * time.Minute) // each request was seen by then
				for f, r := range told {
					accepted := 0
					for _, s := range states(r, f) {
						if s == carrier.FriendAccepted {
							accepted++
						}
					}
					if accepted != 1 || f.State() != carrier.FriendAccepted {
						t.Errorf("told %v, want accepted once, at the end", states(r, f))
					}
					for _, ev := range eventsOf[carrier.FriendRequest](r) {
						t.Errorf("a request was shown: %+v", ev)
					}
				}
			})
		})
	}
}

// TestRequestsAndRemovalsCross: what two do to each other while they cannot hear
// each other comes to the same for both when they can.
func TestRequestsAndRemovalsCross(t *testing.T) {
	none := carrier.FriendNone
	for _, test := range []struct {
		name string
		// apart is done while they are apart, to friends.
		apart func(alice, bob *person)
		// Then each is to the other what these say.
		alice, bob carrier.FriendState
		pending    bool // a request of Bob's waits for Alice
	}{
		{"both remove", func(alice, bob *person) {
			alice.must(alice.friend(bob.ID()).Remove())
			bob.must(bob.friend(alice.ID()).Remove())
		}, none, none, false},
		{"one removes, the other asks", func(alice, bob *person) {
			alice.must(alice.friend(bob.ID()).Remove())
			bob.add(alice.Address(), "are we friends?")
		}, none, carrier.FriendStored, true},
		{"one removes and asks again, the other removes", func(alice, bob *person) {
			bob.must(bob.friend(alice.ID()).Remove())
			bob.add(alice.Address(), "I did not mean it")
			alice.must(alice.friend(bob.ID()).Remove())
		}, none, carrier.FriendStored, true},
		{"both remove and ask again", func(alice, bob *person) {
			alice.must(alice.friend(bob.ID()).Remove())
			bob.must(bob.friend(alice.ID()).Remove())
			alice.add(bob.Address(), "sorry")
			bob.add(alice.Address(), "sorry")
		}, carrier.FriendAccepted, carrier.FriendAccepted, false},
		{"both ask as friends", func(alice, bob *person) {
			alice.add(bob.Address(), "still friends?")
			bob.add(alice.Address(), "still friends?")
		}, carrier.FriendAccepted, carrier.FriendAccepted, false},
		{"one removes, asks, and takes it back", func(alice, bob *person) {
			bob.must(bob.friend(alice.ID()).Remove())
			bob.must(bob.add(alice.Address(), "or not").Remove())
		}, carrier.FriendRemoved, none, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bubbleWith(t, &carriertest.Options{Routers: 8}, func(t *testing.T, n *carriertest.Network) {
				alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
				ab, ba := befriend(alice, bob)
				n.Partition(alice.Node)
				n.Partition(bob.Node)
				test.apart(alice, bob)
				time.Sleep(20 * time.Second)
				n.Heal()
				settled := func() bool {
					return ab.State() == test.alice && ba.State() == test.bob && (len(alice.Requests()) == 1) == test.pending
				}
				for begun := time.Now(); !settled() && time.Since(begun) < patience; {
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute) // and so it stays
				synctest.Wait()
				requests := alice.Requests()
				if ab.State() != test.alice || ba.State() != test.bob || (len(requests) == 1) != test.pending || len(bob.Requests()) != 0 {
					t.Errorf("Alice sees Bob %s, Bob sees Alice %s, requests %+v and %+v; want %s, %s, one of Bob's: %t",
						ab.State(), ba.State(), requests, bob.Requests(), test.alice, test.bob, test.pending)
				}
				if test.pending {
					alice.accept(bob.ID())
					alice.must(ba.WaitAccepted(within(t, patience)))
				}
				if ab.State() == carrier.FriendAccepted {
					alice.delivered(alice.send(bob.ID(), "all is well"))
					bob.delivered(bob.send(alice.ID(), "it is"))
				}
			})
		})
	}
}

// TestBlockIsForGood: neither a new address nor another store lets a blocked
// person through.
func TestBlockIsForGood(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		alice.add(bob.Address(), "buy my pills")
		bob.request(alice.ID())
		bob.must(bob.Block(alice.ID()))
		fresh, err := bob.NewAddress()
		bob.must(err)
		ab := alice.add(fresh, "found you")
		atBob := record(t, bob.Node)
		time.Sleep(4 * time.Minute)
		exported, err := bob.ExportIdentity()
		bob.must(err)
		bob.leave()
		bob.config.Dir, bob.config.Identity = t.TempDir(), exported
		bob.start()
		again := record(t, bob.Node)
		if got := bob.Blocked(); !slices.Equal(got, []carrier.ID{alice.ID()}) {
			t.Errorf("in another store Blocked = %v, want Alice", got)
		}
		alice.add(bob.Address(), "and again")
		time.Sleep(4 * time.Minute) // over the fixed buckets too
		for _, r := range slices.Concat(eventsOf[carrier.FriendRequest](atBob), eventsOf[carrier.FriendRequest](again)) {
			t.Errorf("request %q of a blocked person was shown", r.Hello)
		}
		if err := ab.WaitAccepted(within(t, time.Second)); !errors.Is(err, carrier.ErrNotReady) && ab.State() != carrier.FriendStored {
			t.Errorf("the blocked person sees %s, %v; want stored: nobody tells", ab.State(), err)
		}
	})
}

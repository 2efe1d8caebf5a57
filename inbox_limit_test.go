package carrier_test

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// TestConsumedTwiceMakesRoomOnce: Done inside the loop and the end of the loop's
// body are one consumption, also for the bound of the inbox.
func TestConsumedTwiceMakesRoomOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		bob.LimitInbox(2)
		var sent []*carrier.Message
		for _, body := range []string{"0", "1", "2", "3"} {
			sent = append(sent, alice.send(bob.ID(), body))
		}
		alice.delivered(sent[1])
		got, _ := loop(t, within(t, patience), bob.Node, func(m *carrier.Message) bool {
			if string(m.Body()) == "1" {
				return true // which leaves it unread
			}
			bob.must(m.Done())
			return false
		})
		wantBodies(t, "the loop", got, "0", "1")
		alice.delivered(sent[2])
		time.Sleep(time.Minute)
		if sent[3].State().Status == carrier.MessageDelivered {
			t.Error("one message consumed makes room for two")
		}
		wantBodies(t, "the inbox", bob.rest(), "1", "2", "3")
	})
}

// TestFullInboxAfterRestart: what was received and not consumed before a restart
// takes its room after it, too.
func TestFullInboxAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		alice.send(bob.ID(), "0")
		alice.delivered(alice.send(bob.ID(), "1"))
		bob.stop()
		bob.start()
		bob.LimitInbox(2)
		last := alice.send(bob.ID(), "2")
		time.Sleep(time.Minute)
		if got := last.State().Status; got == carrier.MessageDelivered {
			t.Error("a third message is taken into an inbox for two")
		}
		wantBodies(t, "the inbox", bob.rest(), "0", "1", "2")
		alice.delivered(last)
	})
}

package carrier_test

import (
	"testing"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// TestMailAndReceiptsNameTheirBond: what names a bond that has ended is done with
// and does nothing; a bond that is not known yet has its mail wait.
func TestMailAndReceiptsNameTheirBond(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		id := alice.ID()
		ended := bob.BondWith(id)
		bob.must(bob.friend(id).Remove())
		befriend(bob, alice)
		bond := bob.BondWith(id)
		if bond <= ended {
			t.Fatalf("bond %d after %d", bond, ended)
		}
		alice.stop()
		for _, c := range []struct {
			body string
			bond uint64
			done bool
		}{{"ended", ended, true}, {"yet to come", bond + 1, false}, {"present", bond, true}} {
			if done := bob.OfferMail(id, c.bond, c.body); done != c.done {
				t.Errorf("mail of a bond that is %s is done with: %t, want %t", c.body, done, c.done)
			}
		}
		wantBodies(t, "the inbox", bob.rest(), "present")

		m := bob.send(id, "to be acknowledged")
		for _, wrong := range []uint64{ended, bond + 1} {
			if bob.OfferReceipt(id, wrong); m.State().Status == carrier.MessageDelivered {
				t.Errorf("a receipt of bond %d counts, the present one is %d", wrong, bond)
			}
		}
		if bob.OfferReceipt(id, bond); m.State().Status != carrier.MessageDelivered {
			t.Errorf("after the receipt the message is %v", m.State().Status)
		}
		if got := bob.RowsOfTurn(); got != 0 {
			t.Errorf("%d rows are held after the turns that wrote them", got)
		}
	})
}

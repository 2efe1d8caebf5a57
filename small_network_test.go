package carrier_test

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/carriertest"
)

// TestSmallNetwork: with one other DHT node, to which all goes, a message is
// stored and a node says goodbye within seconds, also while everything else that
// a young node asks is in line to that one.
func TestSmallNetwork(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 1, Delay: 10 * time.Millisecond}, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		time.Sleep(20 * time.Second)
		begun := time.Now()
		bob.leave()
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Bob left after %v, want 1 s at most", took)
		}
		for _, body := range []string{"one", "two"} {
			begun = time.Now()
			alice.must(alice.send(bob.ID(), body).WaitStored(within(t, patience)))
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("message %s was stored after %v, want 5 s at most", body, took)
			}
		}
		begun = time.Now()
		alice.leave()
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("Alice left after %v, want 3 s at most", took)
		}
	})
}

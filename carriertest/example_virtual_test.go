package carriertest_test

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// testMailWaits would be TestMailWaits in your own tests. Its three hours on a
// bad line pass in about a second: time is virtual.
func testMailWaits(t *testing.T) {
	bad := &carriertest.Options{Seed: 1, Delay: 40 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.02}
	carriertest.Virtual(t, bad, func(t *testing.T, n *carriertest.Network) {
		ctx := t.Context()
		alice, bob := n.Node("Alice"), n.Start(carrier.Config{Name: "Bob", Dir: t.TempDir()})
		toBob, _ := n.Befriend(alice, bob)

		// Bob goes. Alice writes, and goes too when the DHT has it.
		if err := bob.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		msg, err := toBob.Send(ctx, []byte("back at noon"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.WaitStored(ctx); err != nil {
			t.Fatal(err)
		}
		if err := alice.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)

		// Bob comes back, at the same address, and finds it while he is alone.
		got := n.AwaitMessage(n.Restart(bob))
		if string(got.Body()) != "back at noon" || got.Courier() != carrier.CourierDHT {
			t.Errorf("got %q by %s, want %q by %s", got.Body(), got.Courier(), "back at noon", carrier.CourierDHT)
		}
	})
}

// Mail for a friend who is away, tested in virtual time.
func ExampleVirtual() {
	var t *testing.T // go test gives one to each test
	if t != nil {
		testMailWaits(t)
	}
}

package carriertest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// A slow line that loses one datagram in twenty, and is good again later.
func ExampleNetwork_SetLink() {
	t := &exampleTB{} // in a test: its *testing.T
	defer t.end()

	n := carriertest.NewNetwork(t, nil)
	alice, bob := n.Node("Alice"), n.Node("Bob")
	toBob, _ := n.Befriend(alice, bob)

	n.SetLink(alice, bob, carriertest.Link{Delay: 50 * time.Millisecond, Loss: 0.05, Rate: 100_000})
	if _, err := toBob.Send(context.Background(), []byte("through the rain"), nil); err != nil {
		t.Fatalf("send: %v", err)
	}
	fmt.Printf("%s\n", n.AwaitMessage(bob).Body())
	n.SetLink(alice, bob, carriertest.Link{})
	// Output:
	// through the rain
}

// Bob's node is ended on the spot, and started again when a message waits.
func ExampleNetwork_Crash() {
	t := &exampleTB{} // in a test: its *testing.T
	defer t.end()

	n := carriertest.NewNetwork(t, nil)
	alice, bob := n.Node("Alice"), n.Start(carrier.Config{Name: "Bob", Dir: t.TempDir()})
	toBob, _ := n.Befriend(alice, bob)

	n.Crash(bob)
	if _, err := toBob.Send(context.Background(), []byte("are you there?"), nil); err != nil {
		t.Fatalf("send: %v", err)
	}
	bob = n.Restart(bob)
	fmt.Printf("%s\n", n.AwaitMessage(bob).Body())
	// Output:
	// are you there?
}

// Bob asks, and Alice's program learns it by an event.
func ExampleAwaitEvent() {
	t := &exampleTB{} // in a test: its *testing.T
	defer t.end()

	n := carriertest.NewNetwork(t, nil)
	alice, bob := n.Node("Alice"), n.Node("Bob")
	if _, err := bob.AddFriend(context.Background(), alice.Address(), "it's me"); err != nil {
		t.Fatalf("ask: %v", err)
	}
	req := carriertest.AwaitEvent[carrier.FriendRequest](n, alice, nil)
	fmt.Println(req.Name, "says:", req.Hello)
	// Output:
	// Bob says: it's me
}

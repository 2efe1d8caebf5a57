package carrier_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"sync"
	"testing"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// exampleTB is what carriertest wants of a test, for examples.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                           {}
func (tb *exampleTB) Cleanup(f func())               { tb.cleanups = append(tb.cleanups, f) }
func (*exampleTB) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (*exampleTB) Errorf(format string, args ...any) { log.Fatalf(format, args...) }

// exampleWorld is the network of the examples: to find each other takes Alice
// and Bob two seconds, and once is enough.
type exampleWorld struct {
	tb         exampleTB
	once       sync.Once
	alice, bob *carrier.Node
}

var world exampleWorld

// exampleFriends returns the nodes of Alice and Bob, who are friends and online,
// on a network within this process. All examples share them.
func exampleFriends() (alice, bob *carrier.Node) {
	world.once.Do(func() {
		n := carriertest.NewNetwork(&world.tb, nil)
		world.alice, world.bob = n.Node("Alice"), n.Node("Bob")
		n.Befriend(world.alice, world.bob)
	})
	return world.alice, world.bob
}

// end closes what the examples have started.
func (w *exampleWorld) end() {
	for _, f := range slices.Backward(w.tb.cleanups) {
		f()
	}
}

// readOne is the other side's program, where an example shows one side only.
func readOne(node *carrier.Node) {
	for msg, err := range node.Messages(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		friend, err := node.Friend(msg.From())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", friend.Name(), msg.Body())
		if err := msg.Done(); err != nil {
			log.Fatal(err)
		}
		return
	}
}

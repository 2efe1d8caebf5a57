package carriertest_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"testing"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// exampleTB stands for the *testing.T of a test, which an example has not.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                           {}
func (tb *exampleTB) Cleanup(f func())               { tb.cleanups = append(tb.cleanups, f) }
func (*exampleTB) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (*exampleTB) Errorf(format string, args ...any) { log.Fatalf(format, args...) }

func (tb *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "carriertest-")
	if err != nil {
		log.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) }) // what is left is the system's to remove
	return dir
}

func (tb *exampleTB) end() {
	for _, f := range slices.Backward(tb.cleanups) {
		f()
	}
}

// A test of a program that greets: two nodes who are friends, in one process and
// without a socket. In a test, t is its *testing.T, and nothing has to be ended.
func ExampleNetwork() {
	t := &exampleTB{}
	defer t.end()

	n := carriertest.NewNetwork(t, nil)
	alice, bob := n.Node("Alice"), n.Node("Bob")
	toBob, _ := n.Befriend(alice, bob)

	ctx := context.Background()
	msg, err := toBob.Send(ctx, []byte("hi"), nil)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	if err := msg.WaitDelivered(ctx); err != nil {
		t.Fatalf("deliver: %v", err)
	}
	for msg, err := range bob.Messages(ctx) {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		fmt.Printf("%s\n", msg.Body())
		break
	}
	// Output:
	// hi
}

// Start takes a Config of one's own: here of a node with a directory, which is
// stopped and comes back, at the same address, as the same person.
func ExampleNetwork_Start() {
	t := &exampleTB{}
	defer t.end()

	n := carriertest.NewNetwork(t, nil)
	config := carrier.Config{Dir: t.TempDir(), Name: "Alice", Net: n.Host()}
	first := n.Start(config)
	if err := first.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	second := n.Start(config)
	fmt.Println(second.ID() == first.ID())
	// Output:
	// true
}

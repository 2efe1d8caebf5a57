package carrier_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// exampleTB is what carriertest wants of a test, for an example.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                           {}
func (tb *exampleTB) Cleanup(f func())               { tb.cleanups = append(tb.cleanups, f) }
func (*exampleTB) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (*exampleTB) Errorf(format string, args ...any) { log.Fatalf(format, args...) }

// exampleFriends starts the nodes of Alice and Bob, who are friends already, on
// a network within this process. end closes all.
func exampleFriends() (alice, bob *carrier.Node, end func()) {
	tb := &exampleTB{}
	n := carriertest.NewNetwork(tb, nil)
	alice, bob = n.Node("Alice"), n.Node("Bob")
	n.Befriend(alice, bob)
	return alice, bob, func() {
		for _, f := range slices.Backward(tb.cleanups) {
			f()
		}
	}
}

// What works with a net.Listener and a net.Conn works between friends: here
// HTTP, without a server's address, a name or a certificate.
func ExampleNode_Listen() {
	alice, bob, end := exampleFriends()
	defer end()

	// Bob's program. Whoever asks is one of his friends.
	ln, err := bob.Listen("http", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s is here", r.URL.Path[1:])
		})) // until the listener closes
	}()

	// Alice's program.
	friend, err := alice.Friend(bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return friend.Dial(ctx, "http")
		},
	}}
	defer client.CloseIdleConnections()
	for _, name := range []string{"Bob", "everything"} {
		answer, err := client.Get("http://bob/" + name)
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.Status, string(text))
	}
	// Output:
	// 200 OK Bob is here
	// 200 OK everything is here
}

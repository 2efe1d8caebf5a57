package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
)

// quiet are options of a node on loopback.
func quiet(change func(*options)) options {
	o := options{listen: "127.0.0.1:0", bootstrap: "none", logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	return o
}

// serve runs a node until the test ends, or stop is called, and returns where it
// says that it is.
func serve(t *testing.T, o options) (at string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, o, w)
		_ = w.CloseWithError(io.ErrUnexpectedEOF) // ends a read that waits for more
		done <- err
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run ended with %v", err)
		}
	})
	t.Cleanup(stop)
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("no line on standard output: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	at, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "bootstrap: ")
	if !ok {
		t.Fatalf("it printed %q", line)
	}
	if _, err := netip.ParseAddrPort(at); err != nil {
		t.Fatalf("it printed %q: %v", line, err)
	}
	return at, stop
}

func join(t *testing.T, name, at string) *carrier.Node {
	t.Helper()
	node, err := carrier.Start(t.Context(), carrier.Config{
		Ephemeral: true, Name: name, Listen: "127.0.0.1:0", Bootstrap: []string{at},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := node.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return node
}

// It is all that two people need, also while others shout at it.
func TestTwoPeopleMeetThroughOneNode(t *testing.T) {
	at, stop := serve(t, quiet(nil))
	noise, end := context.WithCancel(t.Context())
	shouting := make(chan struct{})
	go func() {
		defer close(shouting)
		shout(noise, t, at)
	}()
	defer func() { end(); <-shouting }()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	alice, bob := join(t, "Alice", at), join(t, "Bob", at)
	toBob, err := alice.AddFriend(ctx, bob.Address(), "hi")
	if err != nil {
		t.Fatal(err)
	}
	for ev := range bob.Events(ctx) {
		if request, ok := ev.(carrier.FriendRequest); ok {
			if _, err := bob.Accept(request.ID); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if err := toBob.WaitAccepted(ctx); err != nil {
		t.Fatal(err)
	}
	msg, err := toBob.Send(ctx, []byte("found you"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.WaitDelivered(ctx); err != nil {
		t.Fatal(err)
	}
	stop()
}

// shout sends datagrams of chance, and some that begin like the real ones.
func shout(ctx context.Context, t *testing.T, at string) {
	conn, err := net.Dial("udp4", at)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	heads := []string{"", "d1:ad2:id20:", "d1:q3:put1:t2:aa1:y1:qe", "d1:rd2:id20:", "l", "\x00\x01", "\xc8"}
	tail := make([]byte, 1200)
	for i := 0; ctx.Err() == nil; i++ {
		_, _ = rand.Read(tail) // never fails
		_, _ = conn.Write(append([]byte(heads[i%len(heads)]), tail[:i%len(tail)]...))
		time.Sleep(500 * time.Microsecond)
	}
}

// A node that joined another leads to it, finds it again by its table, and
// forgets nothing in a run that meets nobody.
func TestItJoinsOthersAndRemembersThem(t *testing.T) {
	first, stopFirst := serve(t, quiet(nil))
	dir := filepath.Join(t.TempDir(), "state")
	_, stop := serve(t, quiet(func(o *options) { o.bootstrap, o.dir = first, dir }))
	stop()

	second, stop := serve(t, quiet(func(o *options) { o.dir = dir }))
	node := join(t, "Alice", second)
	for deadline := time.Now().Add(10 * time.Second); node.Stats()["dht.nodes"] < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the node knows %d others, want both", node.Stats()["dht.nodes"])
		}
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	stopFirst()

	table := filepath.Join(dir, "dht-table")
	want, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	_, stop = serve(t, quiet(func(o *options) { o.dir = dir }))
	stop()
	if got, err := os.ReadFile(table); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the table is now %x (%v), and was %x", got, err, want)
	}
}

func TestBadOptionsSayWhatToDo(t *testing.T) {
	taken, _ := serve(t, quiet(nil))
	for _, test := range []struct {
		name   string
		change func(*options)
		want   string
	}{
		{"no port", func(o *options) { o.listen = "127.0.0.1" }, "-listen"},
		{"port in use", func(o *options) { o.listen = taken }, "choose another with -listen"},
		{"somebody without a port", func(o *options) { o.bootstrap = "192.0.2.7" }, "-bootstrap"},
		{"a file as directory", func(o *options) { o.dir = "main.go" }, "-dir"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := run(t.Context(), quiet(test.change), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("run: %v, want it to name %q", err, test.want)
			}
		})
	}
}

// What is printed for a socket on all interfaces is an address, not 0.0.0.0.
func TestReachable(t *testing.T) {
	fixed := netip.MustParseAddrPort("192.0.2.7:1")
	if got := reachable([]netip.AddrPort{fixed}); !slices.Equal(got, []netip.AddrPort{fixed}) {
		t.Errorf("reachable(%v) = %v", fixed, got)
	}
	got := reachable([]netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:7"), netip.MustParseAddrPort("[::]:7")})
	if len(got) == 0 {
		t.Fatal("no address for a socket on all interfaces")
	}
	for _, at := range got {
		if at.Addr().IsUnspecified() || at.Port() != 7 {
			t.Errorf("reachable gives %v", at)
		}
	}
}

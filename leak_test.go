package carrier_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
)

// openFiles counts the process's file descriptors; false where the system does
// not tell.
func openFiles() (int, bool) {
	entries, err := os.ReadDir("/proc/self/fd")
	return len(entries), err == nil && runtime.GOOS == "linux"
}

// leakFree checks at the test's end that it has left no goroutine and no file
// descriptor behind. The test must not be parallel: others would be counted.
func leakFree(t *testing.T) {
	t.Helper()
	goroutines := runtime.NumGoroutine()
	files, counted := openFiles()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if settles(goroutines, files, counted) {
			return
		}
		left := runtime.NumGoroutine() - goroutines
		open, _ := openFiles()
		if left > 0 {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // into memory: cannot fail
			t.Errorf("%d goroutines are left:\n%s", left, stacks.String())
		}
		if counted && open > files {
			t.Errorf("%d file descriptors are left, %d open before", open-files, files)
		}
	})
}

// realNode starts a node on real sockets of 127.0.0.1.
func realNode(t *testing.T, config carrier.Config) *carrier.Node {
	t.Helper()
	config.Listen = "127.0.0.1:0"
	if config.Bootstrap == nil {
		config.NoBootstrap = true
	}
	node, err := carrier.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

// TestCloseLeavesNothing: with everything a program can have open.
func TestCloseLeavesNothing(t *testing.T) {
	leakFree(t)
	bootstrap := loopbackDHT(t, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	alice := realNode(t, carrier.Config{Dir: t.TempDir(), Name: "Alice", Bootstrap: bootstrap})
	bob := realNode(t, carrier.Config{Dir: t.TempDir(), Name: "Bob", Bootstrap: bootstrap})
	for _, node := range []*carrier.Node{alice, bob} {
		if err := node.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	requests := bob.Events(ctx)
	friend, err := alice.AddFriend(ctx, bob.Address(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := requestOf(requests, alice.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Accept(alice.ID()); err != nil {
		t.Fatal(err)
	}
	if err := friend.WaitOnline(ctx); err != nil {
		t.Fatal(err)
	}
	// Readers that wait, and one that never begins, all with a context that
	// does not end.
	ended := make(chan struct{}, 4)
	go func() {
		for range alice.Messages(context.Background()) {
		}
		ended <- struct{}{}
	}()
	go func() {
		for range alice.Events(context.Background()) {
		}
		ended <- struct{}{}
	}()
	stranger, err := alice.AddFriend(ctx, somebody(), "")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stranger.Send(ctx, []byte("never to arrive"), nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = stranger.WaitAccepted(context.Background()); ended <- struct{}{} }()
	go func() { _ = msg.WaitDelivered(context.Background()); ended <- struct{}{} }()
	alice.Events(context.Background())

	begin := time.Now()
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("Close took %s, want at most 1s", took)
	}
	for range cap(ended) {
		select {
		case <-ended:
		case <-ctx.Done():
			t.Fatal("a call still waits on the closed node")
		}
	}
}

func TestShutdownLeavesNothing(t *testing.T) {
	leakFree(t)
	bootstrap := loopbackDHT(t, 3)
	node := realNode(t, carrier.Config{Ephemeral: true, Bootstrap: bootstrap})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := node.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := node.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestFailedStartLeavesNothing: whatever Start had open when it failed.
func TestFailedStartLeavesNothing(t *testing.T) {
	leakFree(t)
	node := realNode(t, carrier.Config{Dir: t.TempDir()})
	taken := node.LocalAddrs()[0].String()
	dir := t.TempDir()
	if err := realNode(t, carrier.Config{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	before := runtime.NumGoroutine()
	files, counted := openFiles()
	for name, config := range map[string]carrier.Config{
		"no directory":     {},
		"port in use":      {Dir: dir, Listen: taken},
		"port, in memory":  {Ephemeral: true, Listen: taken},
		"wrong key":        {Dir: dir, Key: make([]byte, 32), Listen: "127.0.0.1:0"},
		"short key":        {Dir: dir, Key: make([]byte, 5), Listen: "127.0.0.1:0"},
		"wrong identity":   {Dir: dir, Identity: []byte("none"), Listen: "127.0.0.1:0"},
		"bad listen":       {Dir: dir, Listen: "nowhere"},
		"listen elsewhere": {Dir: dir, Listen: "203.0.113.1:0"},
		"long name":        {Dir: dir, Name: strings.Repeat("n", 65), Listen: "127.0.0.1:0"},
		"broken network":   {Dir: dir, Net: brokenNet{}},
	} {
		config.NoBootstrap = true
		if node, err := carrier.Start(t.Context(), config); err == nil {
			t.Errorf("%s: Start = nil", name)
			node.Close()
		}
		if node, err := carrier.Start(ended, config); err == nil {
			t.Errorf("%s, context ended: Start = nil", name)
			node.Close()
		}
		time.Sleep(2 * time.Millisecond) // for what has returned to be gone
		if got := runtime.NumGoroutine(); got > before+1 {
			t.Errorf("%s: %d goroutines, %d before", name, got, before)
		}
		if got, _ := openFiles(); counted && got > files {
			t.Errorf("%s: %d file descriptors, %d before", name, got, files)
		}
	}
	// The directory was let go each time.
	realNode(t, carrier.Config{Dir: dir})
}

// brokenNet is a network of which nothing works.
type brokenNet struct{ carrier.Net }

func (brokenNet) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errors.New("no sockets left")
}

func (brokenNet) LocalAddrs() ([]netip.Prefix, error) { return nil, nil }

// TestHeapOfManyNodes: opening and closing a node again and again costs no
// memory.
func TestHeapOfManyNodes(t *testing.T) {
	leakFree(t)
	dir, friend := t.TempDir(), somebody()
	cycle := func() {
		node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Listen: "127.0.0.1:0", NoBootstrap: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.AddFriend(t.Context(), friend, "hello"); err != nil {
			t.Fatal(err)
		}
		for range node.Events(t.Context()) {
			break
		}
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		cycle()
	}
	early := liveHeap()
	for range 40 {
		cycle()
	}
	late := liveHeap()
	t.Logf("live heap %d KB after 10 nodes, %d KB after 50", early>>10, late>>10)
	if late > early+1<<20 {
		t.Errorf("live heap grew from %d KB after 10 nodes to %d KB after 50, want at most 1 MiB more", early>>10, late>>10)
	}
}

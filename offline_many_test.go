package carrier_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

const (
	manyOffline     = 10_000
	manyOfflineSize = 200 // bytes of each
	manySenders     = 200 // that share commits
	// manyOfflineTime is what is promised; manyOfflineSlack is for a machine that
	// has other work too.
	manyOfflineTime  = 5 * time.Second
	manyOfflineSlack = 3
	// manyOfflineHeap is what both nodes may take more while all is under way, with
	// what the collector has not taken yet.
	manyOfflineHeap = 64 << 20
)

// TestManyOfflineMessages: 10,000 messages that were queued while the friend was
// away arrive, once and in order, within seconds of the friend's return, and the
// memory of both nodes hardly moves meanwhile. Sockets and disks are real.
func TestManyOfflineMessages(t *testing.T) {
	leakFree(t)
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as in a program, for the highest heap is measured
	bootstrap := loopbackDHT(t, 8)
	start := func(dir string) *carrier.Node {
		node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Bootstrap: bootstrap, Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		return node
	}
	aliceDir, bobDir := t.TempDir(), t.TempDir()
	bobID := acquaint(t, aliceDir, bobDir)
	alice := start(aliceDir)
	defer alice.Close()
	ctx := within(t, 3*time.Minute)
	if err := alice.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	toBob, err := alice.Friend(bobID)
	if err != nil {
		t.Fatal(err)
	}
	sendMany(t, toBob)
	outbox := alice.Outbox()
	if len(outbox) != manyOffline {
		t.Fatalf("%d messages wait, want %d", len(outbox), manyOffline)
	}

	heap := watchHeap()
	begun := time.Now()
	bob := start(bobDir)
	defer bob.Close()
	var first time.Time
	n := 0
	for msg, err := range bob.Messages(ctx) {
		if err != nil {
			t.Fatalf("after %d messages: %v", n, err)
		}
		if n == 0 {
			first = time.Now()
		}
		if msg.ID() != outbox[n].ID() || len(msg.Body()) != manyOfflineSize {
			t.Fatalf("message %d is %s of %d bytes, want %s of %d", n, msg.ID(), len(msg.Body()), outbox[n].ID(), manyOfflineSize)
		}
		if n++; n == manyOffline {
			break
		}
	}
	took, all := time.Since(first), time.Since(begun)
	grown := heap()
	t.Logf("%d messages of %d bytes: %.2f s from the first to the last, %.2f s from the friend's start; heap at most %d KiB more",
		manyOffline, manyOfflineSize, took.Seconds(), all.Seconds(), grown>>10)
	limit := manyOfflineTime * manyOfflineSlack
	if raced() {
		limit *= 3
	}
	if took > limit {
		t.Errorf("%v from the first message to the last, want at most %v", took, manyOfflineTime)
	}
	if grown > manyOfflineHeap && !raced() {
		t.Errorf("the heap grew by %d MiB, want at most %d", grown>>20, manyOfflineHeap>>20)
	}
	if err := delivered(ctx, outbox[manyOffline-1:]); err != nil {
		t.Error(err)
	}
	for _, msg := range outbox {
		if s := msg.State().Status; s != carrier.MessageDelivered {
			t.Fatalf("a message is %s, want delivered", s)
		}
	}
}

// acquaint makes friends of two people in virtual time, long ago, and returns
// who the second is.
func acquaint(t *testing.T, dirs ...string) (second carrier.ID) {
	t.Helper()
	carriertest.Virtual(t, nil, func(t *testing.T, n *carriertest.Network) {
		a, b := n.Start(carrier.Config{Dir: dirs[0]}), n.Start(carrier.Config{Dir: dirs[1]})
		n.Befriend(a, b)
		second = b.ID()
	})
	return second
}

// sendMany sends all of them.
func sendMany(t *testing.T, to *carrier.Friend) {
	t.Helper()
	body := []byte(strings.Repeat("x", manyOfflineSize))
	errs := make([]error, manySenders)
	var wg sync.WaitGroup
	for g := range manySenders {
		wg.Go(func() {
			for i := g; i < manyOffline && errs[g] == nil; i += manySenders {
				_, errs[g] = to.Send(context.Background(), body, nil)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(fmt.Errorf("send: %w", err))
		}
	}
}

// watchHeap looks at the heap until the returned function is called, which
// says by how much it grew at most.
func watchHeap() (grown func() int64) {
	before, highest := int64(liveHeap()), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			highest = max(highest, int64(m.HeapAlloc))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		return highest - before
	}
}

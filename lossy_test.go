package carrier_test

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

var (
	lossyRuns = flag.Int("lossy-runs", 5, "runs of TestLossyLine")
	lossySeed = flag.Uint64("lossy-seed", 1, "seed of the first run of TestLossyLine; each run adds 1")
)

// The steps of the lossy story, in order.
const (
	lossyRequest = iota
	lossyOnline
	lossyMessage
	lossyDelivered
	lossyStored
	lossyRead
	lossyReceipt
	lossySteps
)

var lossyNames = [lossySteps]string{
	lossyRequest:   "friend request seen after AddFriend",
	lossyOnline:    "accept, until both see each other online",
	lossyMessage:   "message to an online friend shown",
	lossyDelivered: "its receipt",
	lossyStored:    "message to an absent friend stored",
	lossyRead:      "message left in the DHT shown after the start",
	lossyReceipt:   "receipts left in the DHT read after the start",
}

// TestLossyLine tells the whole story on a line with 50 ms of round trip and
// 10 % of loss. Every step must succeed in every run; times are virtual.
func TestLossyLine(t *testing.T) {
	t.Parallel()
	var took [lossySteps][]time.Duration
	for run := range *lossyRuns {
		seed := *lossySeed + uint64(run)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				steps, err := lossyStory(t, dir, seed)
				if err != nil {
					t.Fatalf("%v\nthe same again: go test -run TestLossyLine -lossy-runs 1 -lossy-seed %d .", err, seed)
				}
				for i, d := range steps {
					took[i] = append(took[i], d)
				}
			})
		})
		if !ok {
			return
		}
	}
	for i, name := range lossyNames {
		t.Logf("%8.3f s median, %8.3f s most (virtual, %d runs): %s",
			median(took[i]).Seconds(), most(took[i]).Seconds(), len(took[i]), name)
	}
}

func most(d []time.Duration) (m time.Duration) {
	for _, x := range d {
		m = max(m, x)
	}
	return m
}

// lossyStory plays the story once and returns how long each step took.
func lossyStory(t *testing.T, dir string, seed uint64) (took [lossySteps]time.Duration, err error) {
	net := carriertest.NewNetwork(t, &carriertest.Options{Seed: seed, Delay: 25 * time.Millisecond, Loss: 0.10})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	begun := time.Now()
	step := func(i int) {
		took[i] = time.Since(begun)
		begun = time.Now()
	}
	aliceHost, bobHost := net.Host(), net.Host()
	start := func(name string, host carrier.Net) (*carrier.Node, error) {
		node := net.Start(carrier.Config{Dir: filepath.Join(dir, name), Name: name, Net: host})
		return node, node.WaitReady(ctx)
	}
	alice, err := start("Alice", aliceHost)
	if err != nil {
		return took, err
	}
	bob, err := start("Bob", bobHost)
	if err != nil {
		return took, err
	}

	events := bob.Events(ctx)
	begun = time.Now()
	toBob, err := alice.AddFriend(ctx, bob.Address(), "hello")
	if err != nil {
		return took, err
	}
	if _, err := requestOf(events, alice.ID()); err != nil {
		return took, err
	}
	step(lossyRequest)

	toAlice, err := bob.Accept(alice.ID())
	if err != nil {
		return took, err
	}
	for _, f := range []*carrier.Friend{toBob, toAlice} {
		if err := f.WaitOnline(ctx); err != nil {
			return took, err
		}
	}
	if err := toBob.WaitAccepted(ctx); err != nil {
		return took, err
	}
	step(lossyOnline)

	sent, err := sendAll(ctx, toBob, "you are online")
	if err != nil {
		return took, err
	}
	if _, err := takeSame(ctx, bob, sent); err != nil {
		return took, err
	}
	step(lossyMessage)
	if err := delivered(ctx, sent); err != nil {
		return took, err
	}
	step(lossyDelivered)

	if err := bob.Shutdown(ctx); err != nil {
		return took, err
	}
	begun = time.Now()
	sent, err = sendAll(ctx, toBob, "you are away", "and I leave", "before you come back")
	if err != nil {
		return took, err
	}
	for _, msg := range sent {
		if err := msg.WaitStored(ctx); err != nil {
			return took, err
		}
	}
	step(lossyStored)
	if err := alice.Shutdown(ctx); err != nil {
		return took, err
	}

	begun = time.Now()
	if bob, err = start("Bob", bobHost); err != nil {
		return took, err
	}
	courier, err := takeSame(ctx, bob, sent)
	if err != nil {
		return took, err
	}
	if courier != carrier.CourierDHT {
		return took, fmt.Errorf("what was left in the DHT came by courier %s, want dht", courier)
	}
	step(lossyRead)
	if err := bob.Shutdown(ctx); err != nil {
		return took, err
	}

	begun = time.Now()
	if alice, err = start("Alice", aliceHost); err != nil {
		return took, err
	}
	for _, want := range sent {
		found := false
		for _, msg := range alice.Outbox() {
			if msg.ID() == want.ID() {
				found = true
				if err := msg.WaitDelivered(ctx); err != nil {
					return took, err
				}
			}
		}
		if !found {
			return took, fmt.Errorf("message %s is missing in the sender's outbox", want.ID())
		}
	}
	step(lossyReceipt)
	return took, alice.Shutdown(ctx)
}

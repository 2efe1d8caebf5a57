package carrier_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

// TestDamagedMemoryOfMessages: the fates of messages received are read when mail
// comes; a node that cannot read them ends, as it would show messages twice or
// none any more, and what came is not acknowledged.
func TestDamagedMemoryOfMessages(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := newPerson(t, n, "Alice")
		d := newDisk()
		bob := &person{t: t, net: n, config: carrier.Config{Name: "Bob", Net: n.Host(), Bootstrap: n.Bootstrap()}}
		start := func() {
			bob.config.Hook(&crashStore{disk: d, commits: func([]store.Op) {}, crashed: func() {}}, d.prekeys, nil)
			var err error
			bob.Node, err = carrier.Start(t.Context(), bob.config)
			bob.must(err)
			bob.must(bob.WaitReady(within(t, patience)))
		}
		start()
		befriend(alice, bob)
		alice.delivered(alice.send(bob.ID(), "before"))
		bob.next()
		bob.stop()
		var b store.Batch
		bob.must(d.rows.All("inbox.seen", func(owner, key, _ []byte) error {
			b.Put("inbox.seen", owner, key, []byte{0xFF})
			return nil
		}))
		bob.must(d.rows.Commit(&b))
		if b.Len() == 0 {
			t.Fatal("there is no row to be damaged")
		}
		start()
		last := alice.send(bob.ID(), "after")
		for m, err := range bob.Messages(within(t, patience)) {
			if m != nil || !errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Messages = %v, %v, want that the node has ended", m, err)
			}
			break
		}
		if err := bob.Close(); err == nil {
			t.Error("Close does not say why the node has ended")
		}
		if got := last.State().Status; got == carrier.MessageDelivered {
			t.Error("what came is acknowledged")
		}
	})
}

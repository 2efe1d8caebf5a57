package carrier_test

import (
	"testing"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

// TestMarkAndMessageInOneCommit: that a message has come and the message itself
// become durable together. Between two commits a crash would lose it, or show it
// twice.
func TestMarkAndMessageInOneCommit(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice := newPerson(t, n, "Alice")
		marks, messages := 0, 0
		s := &crashStore{disk: newDisk(), crashed: func() {}, commits: func(ops []store.Op) {
			put := map[string]bool{}
			for _, op := range ops {
				put[op.Table] = put[op.Table] || op.Value != nil
				if op.Table == "inbox" && op.Value != nil {
					messages++
				}
			}
			if put["inbox.seen"] {
				marks++
			}
			if put["inbox.seen"] != put["inbox"] {
				t.Errorf("one commit has the mark: %t, the message: %t", put["inbox.seen"], put["inbox"])
			}
		}}
		bob := &person{t: t, net: n, config: carrier.Config{Name: "Bob", Net: n.Host(), Bootstrap: n.Bootstrap()}}
		bob.config.Hook(s, s.disk.prekeys, nil)
		var err error
		bob.Node, err = carrier.Start(t.Context(), bob.config)
		bob.must(err)
		bob.must(bob.WaitReady(within(t, patience)))
		befriend(alice, bob)
		for _, body := range []string{"0", "1", "2"} {
			alice.delivered(alice.send(bob.ID(), body))
		}
		bob.stop()
		if marks == 0 || messages != 3 {
			t.Errorf("%d commits of marks, %d messages, want 3", marks, messages)
		}
	})
}

package carrier_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

// TestPrekeyOfARunningNode: a node that is never restarted makes a new prekey each
// day, too, and begins to forget the last one.
func TestPrekeyOfARunningNode(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		alice := &person{t: t, net: n, config: carrier.Config{Name: "Alice", Net: n.Host(), Bootstrap: n.Bootstrap()}}
		var ahead atomic.Int64
		d := newDisk()
		s := &crashStore{disk: d, commits: func([]store.Op) {}, crashed: func() {}}
		alice.config.Hook(s, d.prekeys, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
		var err error
		alice.Node, err = carrier.Start(t.Context(), alice.config)
		alice.must(err)
		defer alice.stop()
		_, before := alice.InsecureKeys()
		ahead.Store(int64(25 * time.Hour)) // cheaper than to wait
		time.Sleep(time.Hour + time.Minute)
		_, after := alice.InsecureKeys()
		if len(before) != 1 || len(after) != 2 || after[0].Number != before[0].Number || after[0].Superseded.IsZero() || !after[1].Superseded.IsZero() {
			t.Errorf("a day later the prekeys %v are %v", before, after)
		}
	})
}

package carriertest

import (
	"context"

	"github.com/gocarrier/carrier"
)

// Crash ends a node without a word to anybody, as when its power is cut: nothing
// leaves it any more. What it had promised is in its directory; Restart finds it
// there.
func (n *Network) Crash(node *carrier.Node) {
	n.t.Helper()
	n.host("crash", node).Down()
	if err := node.Close(); err != nil {
		n.t.Fatalf("crash: close node %s: %v", node.ID(), err)
	}
}

// Restart starts a node again that has crashed or was closed, with the Config it
// had, at the same address, and waits until the DHT answers it. A node that
// still runs is closed first. It must have a directory, so it is one that Start
// has made.
func (n *Network) Restart(node *carrier.Node) *carrier.Node {
	n.t.Helper()
	host := n.host("restart", node)
	n.mu.Lock()
	config := n.configs[node]
	n.mu.Unlock()
	if config.Ephemeral {
		n.t.Fatalf("restart: node %q is ephemeral and keeps nothing: start it with a directory", config.Name)
	}
	if err := node.Close(); err != nil {
		n.t.Fatalf("restart: close node %q: %v", config.Name, err)
	}
	host.Up()
	again := n.Start(config)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := again.WaitReady(ctx); err != nil {
		n.t.Fatalf("restart: node %q: %v", config.Name, err)
	}
	return again
}

package carriertest

import (
	"context"

	"github.com/gocarrier/carrier"
)

// AwaitEvent returns the first event of type E at a node that match accepts; nil
// accepts any. The node's events begin with what is so already: friends, their
// presence and pending requests are not missed. It ends the test when none has
// come within two minutes.
//
//	req := carriertest.AwaitEvent[carrier.FriendRequest](net, bob, nil)
func AwaitEvent[E carrier.Event](n *Network, node *carrier.Node, match func(E) bool) E {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ev := range node.Events(ctx) {
		if e, ok := ev.(E); ok && (match == nil || match(e)) {
			return e
		}
	}
	var none E
	n.t.Fatalf("node %s has had no such event in %s: %T", node.ID(), patience, none)
	return none
}

// AwaitMessage returns the next message that a node receives, and consumes it.
// It ends the test when none has come within two minutes, and, as all readers,
// while another loop over the node's Messages runs.
func (n *Network) AwaitMessage(node *carrier.Node) *carrier.Message {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for msg, err := range node.Messages(ctx) {
		if err == nil {
			err = msg.Done()
		}
		if err != nil {
			n.t.Fatalf("await a message: %v", err)
		}
		return msg
	}
	return nil // Messages ends with an error only
}

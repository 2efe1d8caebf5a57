package carrier

import "github.com/gocarrier/carrier/internal/wire"

// Requested hands the node friend requests in one turn, as its courier does that
// has found and verified them.
func (n *Node) Requested(requests []*wire.Request) {
	n.engine.ask(func() {
		for _, r := range requests {
			handler{n.engine}.OnRequest(r)
		}
	})
}

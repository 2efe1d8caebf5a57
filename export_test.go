package carrier

// Unlink ends a node's links and has it make no other: its friends stay online
// by datagrams. It is for tests that measure what a link costs.
func (n *Node) Unlink() {
	e := n.engine
	done := make(chan struct{})
	e.post(func() {
		defer close(done)
		e.closing = true // as in Shutdown: no link is made any more
		for _, f := range e.node.Friends() {
			e.links.forget(f.id)
		}
	})
	<-done
}

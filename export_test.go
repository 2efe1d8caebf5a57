package carrier

import (
	"io"
	"time"

	"github.com/gocarrier/carrier/internal/store"
)

// Unlink ends a node's links and has it make no other: its friends stay online
// by datagrams. It is for tests that measure what a link costs. On a node that has
// ended it does nothing.
func (n *Node) Unlink() {
	e := n.engine
	e.ask(func() {
		e.closing = true // as in Shutdown: no link is made any more
		for _, f := range e.node.Friends() {
			e.links.forget(f.id)
		}
	})
}

// LogKeys has the node tell the secrets of its links, as
// [transport.Config.InsecureKeyLog] says. It is for recordings.
func (c *Config) LogKeys(w io.Writer) { c.keyLog = w }

// InsecureKeys returns the seed of the node's identity, and its prekeys.
func (n *Node) InsecureKeys() (seed []byte, prekeys []store.Prekey) {
	return n.engine.identity.InsecureSeed(), n.engine.prekeyFile.All()
}

// Hook gives the node a store with its prekeys, and a clock, in place of its
// own. A nil clock leaves the machine's.
func (c *Config) Hook(s store.Store, prekeys *store.Prekeys, clock func() time.Time) {
	c.hooks = hooks{store: s, prekeys: prekeys, clock: clock}
}

package carrier

import (
	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/wire"
)

// LimitInbox has the node hold no more than that many messages of each friend
// that were not consumed.
func (n *Node) LimitInbox(messages int) {
	n.engine.ask(func() { n.engine.limits.Inbox = messages })
}

// RowsOfTurn is how many rows the loop holds for the turn under way, beside those
// that are committed.
func (n *Node) RowsOfTurn() (rows int) {
	n.engine.ask(func() { rows = len(n.engine.overlay) })
	return rows
}

// BondWith is the bond of a friend.
func (n *Node) BondWith(id ID) (bond uint64) {
	n.engine.ask(func() { bond = handler{n.engine}.Bond(id) })
	return bond
}

// OfferMail hands over a message as the courier does, the first of a sequence of
// its own, and returns whether that is done with.
func (n *Node) OfferMail(from ID, bond uint64, body string) (done bool) {
	n.engine.ask(func() {
		seq := wire.Sequence{Incarnation: crypto.Incarnation{Created: int64(len(body))}, Counter: 1}
		item := wire.Item{ID: wire.MessageID([]byte((body + "                ")[:16])), Body: []byte(body)}
		m := &wire.Mail{Sequence: seq, Generation: 1, Bond: bond, Base: 1, First: 1, Items: []wire.Item{item}}
		done = handler{n.engine}.OnMail(from, m, courier.ViaDirect)
	})
	return done
}

// OfferReceipt hands over a receipt for all that is pending, as the courier does.
func (n *Node) OfferReceipt(from ID, bond uint64) {
	n.engine.ask(func() {
		seq, base, items := handler{n.engine}.Pending(from)
		r := &wire.Receipt{Sequence: seq, Incarnation: crypto.Incarnation{Created: 1}, Number: base - 1}
		if n := len(items); n > 0 {
			r.Known = uint16(n)
			r.Number, r.Mark = items[n-1].Number, [8]byte(items[n-1].ID[:8])
		}
		handler{n.engine}.OnReceipt(from, bond, r)
	})
}

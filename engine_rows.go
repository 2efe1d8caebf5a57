package carrier

import (
	"errors"
	"fmt"

	"github.com/gocarrier/carrier/crypto"
)

// The tables that the engine itself writes; the rooms name their own.
const (
	tableNode    = "node"    // what belongs to the node, by name
	tableFriend  = "friend"  // friendship's row of each person
	tableProfile = "profile" // the newest profile of each friend
	tableLink    = "link"    // generations of offers, ours and each friend's
	tableInbox   = "inbox"   // received messages not yet consumed, by arrival
)

// rowKey addresses a row within a turn.
type rowKey struct {
	table string
	owner crypto.ID
	key   string
}

// Put writes a row in this turn's commit.
func (e *engine) Put(table string, owner crypto.ID, key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	e.batch.Put(table, owner[:], key, value)
	e.overlay[rowKey{table, owner, string(key)}] = value
}

// Delete removes a row in this turn's commit.
func (e *engine) Delete(table string, owner crypto.ID, key []byte) {
	e.batch.Delete(table, owner[:], key)
	e.overlay[rowKey{table, owner, string(key)}] = nil
}

// Get returns a row, nil when there is none. It sees the writes of this turn.
func (e *engine) Get(table string, owner crypto.ID, key []byte) []byte {
	if v, ok := e.overlay[rowKey{table, owner, string(key)}]; ok {
		return v
	}
	v, err := e.store.Get(table, owner[:], key)
	if err != nil {
		e.fail(fmt.Errorf("read %s row: %w", table, err))
		return nil
	}
	return v
}

// errEnough ends a walk over rows.
var errEnough = errors.New("enough")

// Range calls f with the committed rows of one owner, by rising key, until it
// returns false.
func (e *engine) Range(table string, owner crypto.ID, f func(key, value []byte) bool) {
	err := e.store.Range(table, owner[:], nil, func(key, value []byte) error {
		if !f(key, value) {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		e.fail(fmt.Errorf("read table %s: %w", table, err))
	}
}

// All calls f with the committed rows of every owner, until it returns false.
func (e *engine) All(table string, f func(owner crypto.ID, key, value []byte) bool) {
	err := e.store.All(table, func(owner, key, value []byte) error {
		var id crypto.ID
		if copy(id[:], owner) != len(id) {
			return fmt.Errorf("owner of %d bytes", len(owner))
		}
		if !f(id, key, value) {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		e.fail(fmt.Errorf("read table %s: %w", table, err))
	}
}

// fail ends the node: what it can no longer read it must not go on without. The
// first error counts.
func (e *engine) fail(err error) {
	if e.failed != nil {
		return
	}
	e.failed = err
	e.log.Error("store failed, node stops", "err", err)
	e.cancel(err)
}

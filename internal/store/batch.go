package store

import (
	"bytes"
	"fmt"
)

// An Op is one change within a Batch.
type Op struct {
	Table string
	Owner []byte // OwnerSize bytes, or nil
	Key   []byte
	Value []byte // nil deletes the row
	All   bool   // delete all rows of this table and owner; Key and Value are nil
}

// A Batch collects changes that Commit applies together, in the order in which
// they were added. The zero Batch is empty and ready. It is not safe for
// concurrent use.
type Batch struct {
	ops []Op
	err error // of the first op outside the limits; Commit returns it
}

// Put sets a row, new or not. A nil value is kept as an empty one.
func (b *Batch) Put(table string, owner, key, value []byte) {
	// append to a slice that is not nil gives one that is not nil.
	b.add(Op{Table: table, Owner: bytes.Clone(owner), Key: bytes.Clone(key), Value: append([]byte{}, value...)})
}

// Delete removes a row if it is there.
func (b *Batch) Delete(table string, owner, key []byte) {
	b.add(Op{Table: table, Owner: bytes.Clone(owner), Key: bytes.Clone(key)})
}

// DeleteOwner removes all rows of an owner from a table, those put earlier in
// this batch too.
func (b *Batch) DeleteOwner(table string, owner []byte) {
	b.add(Op{Table: table, Owner: bytes.Clone(owner), All: true})
}

// Len returns the number of changes.
func (b *Batch) Len() int { return len(b.ops) }

// Ops returns the changes, oldest first. They must not be changed, and are
// valid until Reset.
func (b *Batch) Ops() []Op { return b.ops }

// Reset empties the batch for use again.
func (b *Batch) Reset() {
	clear(b.ops) // no reference to old values
	b.ops, b.err = b.ops[:0], nil
}

func (b *Batch) add(op Op) {
	if err := checkRow(op.Table, op.Owner, op.Key, len(op.Value)); err != nil && b.err == nil {
		b.err = err
	}
	b.ops = append(b.ops, op)
}

// checkRow tells whether a row with this address can exist.
func checkRow(table string, owner, key []byte, value int) error {
	switch {
	case table == "" || len(table) > MaxTable || table[0] == 0:
		return fmt.Errorf("%w: table name %.40q must have 1 to %d bytes and not begin with zero", ErrLimit, table, MaxTable)
	case len(owner) != 0 && len(owner) != OwnerSize:
		return fmt.Errorf("%w: owner of %d bytes in table %s must have %d or none", ErrLimit, len(owner), table, OwnerSize)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: key of %d bytes in table %s, at most %d", ErrLimit, len(key), table, MaxKey)
	case value > MaxValue:
		return fmt.Errorf("%w: value of %d bytes in table %s, at most %d", ErrLimit, value, table, MaxValue)
	}
	return nil
}

package store

import (
	"bytes"
	"runtime"

	"go.etcd.io/bbolt"
)

// change is an op as it goes to bbolt, sealed by the goroutine that commits it.
type change struct {
	table   string
	address []byte // of a row, or the mask of an owner when all
	sealed  []byte // nil deletes
	all     bool
}

// group is one commit shared by many callers. The first to come leads it: it
// waits for the commit under way, during which others join, and then writes
// for all of them.
type group struct {
	batches [][]change    // guarded by Disk.mu until the leader takes them
	done    chan struct{} // closed when err is set
	err     error
}

// Commit implements Store.
func (s *Disk) Commit(b *Batch) error {
	if b.err != nil {
		return b.err
	}
	changes := make([]change, 0, len(b.ops))
	for _, op := range b.ops {
		c := change{table: op.Table, address: s.keys.address(op.Table, op.Owner, op.Key), all: op.All}
		if op.Value != nil {
			c.sealed = s.keys.sealRow(op.Table, c.address, op.Owner, op.Value)
		}
		changes = append(changes, c)
	}

	s.mu.Lock()
	if s.err != nil || len(changes) == 0 {
		defer s.mu.Unlock()
		return s.err
	}
	g := s.next
	leads := g == nil
	if leads {
		g = &group{done: make(chan struct{})}
		s.next = g
	}
	g.batches = append(g.batches, changes)
	s.mu.Unlock()

	if leads {
		s.lead(g)
	}
	<-g.done
	return g.err
}

// lead writes a group when its turn comes.
func (s *Disk) lead(g *group) {
	s.writing.Lock()
	defer s.writing.Unlock()
	// Whom the last commit has just released may come again at once: let them
	// join, instead of writing now for one and next for all others (8.5 callers
	// a commit become 13 with 16 goroutines).
	runtime.Gosched()
	s.mu.Lock()
	s.next = nil // who comes now is of the next group
	g.err = s.err
	s.mu.Unlock()
	if g.err == nil {
		if err := s.write(g.batches); err != nil {
			g.err = s.fail(err)
		}
	}
	close(g.done)
}

// write applies batches in one durable transaction.
func (s *Disk) write(batches [][]change) error {
	return guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			for _, changes := range batches {
				for _, c := range changes {
					if err := c.apply(tx); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

func (c change) apply(tx *bbolt.Tx) error {
	table := []byte(c.table)
	if c.sealed != nil {
		b, err := tx.CreateBucketIfNotExists(table)
		if err != nil {
			return err
		}
		return b.Put(c.address, c.sealed)
	}
	b := tx.Bucket(table)
	if b == nil {
		return nil
	}
	if !c.all {
		return b.Delete(c.address)
	}
	// A cursor loses its place when its row is deleted: collect first. The
	// keys are copied since deleting moves them.
	var keys [][]byte
	cur := b.Cursor()
	for k, _ := cur.Seek(c.address); k != nil && bytes.HasPrefix(k, c.address); k, _ = cur.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

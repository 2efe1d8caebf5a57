package store

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// memory is the Store without a disk: what is committed lasts until Close.
type memory struct {
	mu     sync.RWMutex // guards what follows
	tables map[string]map[string]rows
	size   int64
	closed bool
}

// rows are those of one owner in a table, in order of their keys. Keys and
// values in it are never changed, only replaced.
type rows []row

type row struct{ key, value []byte }

var _ Store = (*memory)(nil)

// Memory returns an empty store that lives in memory only. It behaves as one
// on disk does, and never fails but for ErrLimit and ErrClosed.
func Memory() Store {
	return &memory{tables: make(map[string]map[string]rows)}
}

// Commit implements Store.
func (m *memory) Commit(b *Batch) error {
	if b.err != nil {
		return b.err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for _, op := range b.ops {
		m.apply(op)
	}
	return nil
}

func (m *memory) apply(op Op) {
	owners := m.tables[op.Table]
	if owners == nil {
		owners = make(map[string]rows)
		m.tables[op.Table] = owners
	}
	owner := string(op.Owner)
	rs := owners[owner]
	if op.All {
		for _, r := range rs {
			m.size -= r.size()
		}
		delete(owners, owner)
		return
	}
	i, found := rs.find(op.Key)
	if found {
		m.size -= rs[i].size()
	}
	switch {
	case op.Value != nil:
		// The batch stays the caller's, but its bytes are never changed.
		r := row{op.Key, op.Value}
		m.size += r.size()
		if found {
			rs[i] = r
		} else {
			rs = slices.Insert(rs, i, r)
		}
	case found:
		rs = slices.Delete(rs, i, i+1)
	}
	if len(rs) == 0 {
		delete(owners, owner)
	} else {
		owners[owner] = rs
	}
}

// Get implements Store.
func (m *memory) Get(table string, owner, key []byte) ([]byte, error) {
	if err := checkRow(table, owner, key, 0); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	rs := m.tables[table][string(owner)]
	if i, found := rs.find(key); found {
		return append([]byte{}, rs[i].value...), nil
	}
	return nil, nil
}

// Range implements Store.
func (m *memory) Range(table string, owner, from []byte, f func(key, value []byte) error) error {
	if err := checkRow(table, owner, from, 0); err != nil {
		return err
	}
	m.mu.RLock()
	closed := m.closed
	rs := m.tables[table][string(owner)]
	i, _ := rs.find(from)
	rs = slices.Clone(rs[i:])
	m.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	for _, r := range rs {
		if err := f(append([]byte{}, r.key...), append([]byte{}, r.value...)); err != nil {
			return err
		}
	}
	return nil
}

// All implements Store.
func (m *memory) All(table string, f func(owner, key, value []byte) error) error {
	if err := checkRow(table, nil, nil, 0); err != nil {
		return err
	}
	m.mu.RLock()
	closed := m.closed
	owners := slices.Sorted(maps.Keys(m.tables[table]))
	m.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	for _, owner := range owners {
		err := m.Range(table, []byte(owner), nil, func(key, value []byte) error {
			var o []byte // its own copy for each call
			if owner != "" {
				o = []byte(owner)
			}
			return f(o, key, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Size implements Store.
func (m *memory) Size() (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return 0, ErrClosed
	}
	return m.size, nil
}

// Close implements Store.
func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.tables, m.size = true, nil, 0
	return nil
}

// Format prints no row.
func (m *memory) Format(f fmt.State, _ rune) { fmt.Fprint(f, "store(memory)") }

// find returns where a key stands, or would.
func (rs rows) find(key []byte) (int, bool) {
	return slices.BinarySearchFunc(rs, key, func(r row, key []byte) int { return bytes.Compare(r.key, key) })
}

func (r row) size() int64 { return int64(len(r.key) + len(r.value)) }

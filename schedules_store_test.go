package carrier_test

import (
	"fmt"
	"sync"

	"github.com/gocarrier/carrier/internal/store"
)

// disk is a person's store, which outlives the runs of the node: each run opens
// it as a crashStore.
type disk struct {
	rows    store.Store
	tables  map[string]bool // that were ever written
	prekeys *store.Prekeys
	inbox   ledger
}

func newDisk() *disk {
	return &disk{rows: store.Memory(), tables: map[string]bool{}, prekeys: store.MemoryPrekeys(), inbox: ledger{}}
}

// clone is a backup of the disk as it is now.
func (d *disk) clone() (*disk, error) {
	c := newDisk()
	var batch store.Batch
	for table := range d.tables {
		c.tables[table] = true
		err := d.rows.All(table, func(owner, key, value []byte) error {
			batch.Put(table, owner, key, value)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := c.rows.Commit(&batch); err != nil {
		return nil, err
	}
	for from, last := range d.inbox {
		c.inbox[from] = last
	}
	return c, c.prekeys.Replace(d.prekeys.All())
}

// crashStore is one run's hold on a disk. It behaves as store.Store promises,
// and from the commit at which it is to crash, done or not, every call fails:
// to the disk that is the process's end.
type crashStore struct {
	disk    *disk
	commits func(ops []store.Op) // sees what was committed, one call at a time
	crashed func()               // called once, before the failing commit returns

	mu    sync.Mutex
	crash int  // the commit, counted from now, that is the last; 0: none
	half  bool // that commit is not done
	dead  bool
}

var _ store.Store = (*crashStore)(nil)

// crashAt has the n-th commit from now be the last, done or not.
func (s *crashStore) crashAt(n int, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crash, s.half = n, !done
}

// kill ends the run: nothing is written any more.
func (s *crashStore) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

func (s *crashStore) Commit(b *store.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return fmt.Errorf("%w: crashed", store.ErrFailed)
	}
	if s.crash > 0 {
		s.crash--
		s.dead = s.crash == 0
	}
	if !s.dead || !s.half {
		if err := s.disk.rows.Commit(b); err != nil {
			return err
		}
		for _, op := range b.Ops() {
			s.disk.tables[op.Table] = true
		}
		s.commits(b.Ops())
	}
	if s.dead {
		s.crashed()
		return fmt.Errorf("%w: crashed", store.ErrFailed)
	}
	return nil
}

// alive is the error of a call after the crash.
func (s *crashStore) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return fmt.Errorf("%w: crashed", store.ErrFailed)
	}
	return nil
}

func (s *crashStore) Get(table string, owner, key []byte) ([]byte, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	return s.disk.rows.Get(table, owner, key)
}

func (s *crashStore) Range(table string, owner, from []byte, f func(key, value []byte) error) error {
	if err := s.alive(); err != nil {
		return err
	}
	return s.disk.rows.Range(table, owner, from, f)
}

func (s *crashStore) All(table string, f func(owner, key, value []byte) error) error {
	if err := s.alive(); err != nil {
		return err
	}
	return s.disk.rows.All(table, f)
}

func (s *crashStore) Size() (int64, error) { return s.disk.rows.Size() }

// Close leaves the disk for the next run.
func (s *crashStore) Close() error {
	s.kill()
	return nil
}

package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// format is what this version writes, and the highest it reads.
const format = 1

// The bucket that says how to read the others, and its keys. No table's name
// begins with zero.
var (
	metaBucket = []byte("\x00meta")
	metaFormat = []byte("format") // uint32
	metaSalt   = []byte("salt")
	metaCheck  = []byte("check")
)

// Range and All read this much in one transaction: enough that its cost
// vanishes, little enough to hold in memory.
const (
	pageRows  = 256
	pageBytes = 256 << 10
)

// disk is the Store in a directory.
type disk struct {
	// These do not change.
	dir  string
	keys *keys
	db   *bbolt.DB
	file *os.File // the database's file, which db owns
	lock *os.File

	// The commit under way holds it.
	writing sync.Mutex

	closing  sync.Once
	closeErr error

	mu      sync.Mutex // guards what follows
	next    *group     // what the next commit will take; nil: nobody waits
	err     error      // why calls fail now; nil: the store works
	abandon bool       // bbolt has panicked and may hold its locks for ever
}

var _ Store = (*disk)(nil)

// Open opens the store in a directory, which is made if it is missing. It
// belongs to the caller until Close: a second Open of it, in this process or
// another, returns ErrInUse at once and harms nothing. (On Solaris, illumos
// and AIX a second one in the same process is not noticed.)
//
// key is the at-rest key, KeySize random bytes; a passphrase must be made into
// one by a slow hash first. With nil the key is kept in the file carrier.key
// in the directory, made when the directory is new: that protects copies of
// the database without it, not against who can read the directory.
//
// The errors are ErrInUse, ErrWrongKey, ErrKeyMode, ErrDamaged, ErrNewer, and
// the operating system's. A failed Open leaves a directory that can be opened
// again.
func Open(dir string, key []byte) (Store, error) {
	s, err := openDisk(dir, key)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return s, nil
}

func openDisk(dir string, key []byte) (_ *disk, err error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	s := &disk{dir: dir}
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()

	path := filepath.Join(dir, dbName)
	// What an interrupted run was making is worth nothing.
	for _, name := range []string{keyName, dbName} {
		if err := os.Remove(filepath.Join(dir, name+newSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if key, err = firstKey(dir, key); err != nil {
			return nil, err
		}
		if err := createDB(path, key); err != nil {
			return nil, fmt.Errorf("make database: %w", err)
		}
	case err != nil:
		return nil, err
	case info.Size() == 0: // bbolt would take it for a new one
		return nil, fmt.Errorf("%w: %s is empty; restore it from a backup", ErrDamaged, path)
	case info.Mode().Perm()&0o077 != 0: // sealed, so this can be mended
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	if err := s.openDB(path); err != nil {
		return nil, err
	}
	return s, s.readMeta(key)
}

// createDB makes the database under another name and publishes it whole, so
// that a crash leaves none or one that opens.
func createDB(path string, key []byte) error {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	k, err := deriveKeys(key, salt, dbName)
	if err != nil {
		return err
	}
	db, err := bbolt.Open(path+newSuffix, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return errors.Join(
			b.Put(metaFormat, binary.BigEndian.AppendUint32(nil, format)),
			b.Put(metaSalt, salt),
			b.Put(metaCheck, k.check))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		os.Remove(path + newSuffix)
		return err
	}
	return publishFile(path)
}

// openDB opens the database file.
//
// The list of free pages is kept in the file: without it bbolt would search
// for them in a goroutine of its own, where the panic over a damaged page
// cannot be caught and takes the program down.
func (s *disk) openDB(path string) error {
	err := guard(func() (err error) {
		s.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:      time.Nanosecond, // one try; zero would wait for ever
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(name, flag, mode)
				s.file = f
				return f, err
			},
		})
		return err
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: another program has %s open", ErrInUse, path)
	case errors.Is(err, ErrDamaged), errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return fmt.Errorf("%w: %s is not a database (%w); restore it from a backup", ErrDamaged, path, err)
	}
	return err
}

// readMeta checks that the database is whole, of a known format and of this
// key.
func (s *disk) readMeta(given []byte) error {
	var version, salt, check []byte
	var want int64
	err := s.view(func(tx *bbolt.Tx) error {
		want = tx.Size()
		if b := tx.Bucket(metaBucket); b != nil {
			version, salt, check = bytes.Clone(b.Get(metaFormat)), bytes.Clone(b.Get(metaSalt)), bytes.Clone(b.Get(metaCheck))
		}
		return nil
	})
	if err != nil {
		return err
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if have := info.Size(); have < want {
		return fmt.Errorf("%w: %s has %d bytes of %d; restore it from a backup", ErrDamaged, s.file.Name(), have, want)
	}
	if len(version) != 4 || binary.BigEndian.Uint32(version) == 0 {
		return fmt.Errorf("%w: %s names no format; restore it from a backup", ErrDamaged, s.file.Name())
	}
	if v := binary.BigEndian.Uint32(version); v > format {
		return fmt.Errorf("%w: %s has format %d, this version knows %d; use the newer one", ErrNewer, s.file.Name(), v, format)
	}
	if len(salt) != saltSize || len(check) != checkSize {
		return fmt.Errorf("%w: %s has no salt or check value; restore it from a backup", ErrDamaged, s.file.Name())
	}
	key, err := existingKey(s.dir, given)
	if err != nil {
		return err
	}
	if s.keys, err = deriveKeys(key, salt, dbName); err != nil {
		return err
	}
	if !s.keys.fits(check) {
		return fmt.Errorf("%w: %s was made with another", ErrWrongKey, s.file.Name())
	}
	return nil
}

// Get implements Store.
func (s *disk) Get(table string, owner, key []byte) ([]byte, error) {
	if err := checkRow(table, owner, key, 0); err != nil {
		return nil, err
	}
	address := s.keys.address(table, owner, key)
	var sealed []byte
	err := s.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(table)); b != nil {
			sealed = bytes.Clone(b.Get(address))
		}
		return nil
	})
	if err != nil || sealed == nil {
		return nil, err
	}
	_, _, value, err := s.keys.openRow(table, address, sealed)
	return value, err
}

// Range implements Store.
func (s *disk) Range(table string, owner, from []byte, f func(key, value []byte) error) error {
	if err := checkRow(table, owner, from, 0); err != nil {
		return err
	}
	address := s.keys.address(table, owner, from)
	return s.scan(table, address[:maskSize:maskSize], address, func(_, key, value []byte) error { return f(key, value) })
}

// All implements Store.
func (s *disk) All(table string, f func(owner, key, value []byte) error) error {
	if err := checkRow(table, nil, nil, 0); err != nil {
		return err
	}
	return s.scan(table, nil, nil, f)
}

// scan calls f for the rows of a table whose addresses begin with prefix, not
// below from. It reads a page of them in one transaction and hands them out
// after it: an open transaction would keep bbolt from using freed pages again,
// and a commit by f could wait for it for ever.
func (s *disk) scan(table string, prefix, from []byte, f func(owner, key, value []byte) error) error {
	type row struct{ address, sealed []byte }
	page := make([]row, 0, 16)
	for more := true; more; {
		page, more = page[:0], false
		err := s.view(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(table))
			if b == nil {
				return nil
			}
			size := 0
			c := b.Cursor()
			for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
				if len(page) == pageRows || size >= pageBytes {
					more = true
					break
				}
				page = append(page, row{bytes.Clone(k), bytes.Clone(v)})
				size += len(v)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			owner, key, value, err := s.keys.openRow(table, r.address, r.sealed)
			if err != nil {
				return err
			}
			if err := f(owner, key, value); err != nil {
				return err
			}
		}
		if more {
			from = append(page[len(page)-1].address, 0) // the least key above the last
		}
	}
	return nil
}

// Size implements Store.
func (s *disk) Size() (int64, error) {
	if err := s.state(); err != nil {
		return 0, err
	}
	info, err := os.Stat(filepath.Join(s.dir, dbName))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close implements Store.
func (s *disk) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.err = ErrClosed
		s.mu.Unlock()
		s.writing.Lock() // a commit under way ends; one that waits finds s.err
		defer s.writing.Unlock()
		s.closeErr = s.release()
	})
	return s.closeErr
}

// release gives back what Open took, as far as it came.
func (s *disk) release() error {
	s.mu.Lock()
	abandon := s.abandon
	s.mu.Unlock()
	var err error
	switch {
	case s.db != nil && !abandon:
		err = s.db.Close()
	case s.file != nil:
		// bbolt did not open it, or has panicked, when waiting for its locks
		// could take for ever: the map of the file stays until the process
		// ends. Where bbolt has closed the file itself, these fail, and may.
		_ = unlockFile(s.file)
		_ = s.file.Close()
	}
	if cerr := s.lock.Close(); err == nil {
		err = cerr
	}
	return err
}

// Format prints the directory and no key.
func (s *disk) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "store(%s)", s.dir) }

// state returns why the store cannot be used, nil when it can.
func (s *disk) state() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail makes the store dead and returns what its calls return from now on.
func (s *disk) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(cause, ErrDamaged) {
		s.abandon = true
	}
	if s.err == nil {
		s.err = fmt.Errorf("%w: %w; make room or mend the disk, then open it again", ErrFailed, cause)
	}
	return s.err
}

// view runs f, which must be nothing but reads of bbolt, in a transaction.
func (s *disk) view(f func(*bbolt.Tx) error) error {
	if err := s.state(); err != nil {
		return err
	}
	err := guard(func() error { return s.db.View(f) })
	switch {
	case errors.Is(err, ErrDamaged):
		return s.fail(err)
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return ErrClosed
	}
	return err
}

// guard runs f, which must do nothing but call bbolt, and returns an error
// that matches ErrDamaged when it panics: bbolt panics over inconsistent pages,
// and reading a map of a file that was cut short faults.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the database is inconsistent (%v)", ErrDamaged, r)
		}
	}()
	return f()
}

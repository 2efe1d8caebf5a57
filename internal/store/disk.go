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
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gocarrier/carrier/crypto"
)

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

// Disk is the Store in a directory.
type Disk struct {
	// These do not change.
	dir     string
	secret  crypto.Key // the at-rest key
	given   bool       // by the program: there is no key file
	keys    *keys      // of the database
	db      *bbolt.DB
	file    *os.File // the database's file, which db owns
	prekeys *Prekeys
	lock    *os.File
	files   files

	// Who writes, the database or the key file, holds it.
	writing sync.Mutex

	closing  sync.Once
	closeErr error

	mu      sync.Mutex // guards what follows
	next    *group     // what the next commit will take; nil: nobody waits
	err     error      // why calls fail now; nil: the store works
	abandon bool       // bbolt has panicked and may hold its locks for ever
}

var _ Store = (*Disk)(nil)

// Open opens the store in a directory, which is made if it is missing, and the
// prekeys beside it. The directory belongs to the caller until Close: a second
// Open of it, in this process or another, returns ErrInUse at once and harms
// nothing. (On Solaris, illumos and AIX a second one in the same process is not
// noticed.)
//
// Without secret.Key a random at-rest key is kept in the file carrier.key in
// the directory, made when the directory is new; under secret.Passphrase if
// there is one. Without a passphrase that protects copies of the database
// without the file, not against who can read the directory. The passphrase of
// a directory is changed by SetPassphrase; Open neither sets nor removes it.
//
// A database of an older format is brought to the newest, in one transaction
// and when all of its rows open.
//
// The errors are ErrInUse, ErrWrongKey, ErrPassphrase, ErrKeyMode, ErrDamaged,
// ErrNewer, and the operating system's. A failed Open leaves the files as they
// were.
func Open(dir string, secret Secret) (*Disk, error) {
	s, err := openDisk(dir, secret, files{}, migrations())
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return s, nil
}

func openDisk(dir string, secret Secret, f files, steps []migration) (_ *Disk, err error) {
	switch {
	case secret.Key != nil && secret.Passphrase != nil:
		return nil, fmt.Errorf("%w: both a key and a passphrase are given", ErrWrongKey)
	case secret.Passphrase != nil && len(secret.Passphrase) == 0:
		return nil, errEmptyPassphrase
	}
	if err := f.makeDir(dir); err != nil {
		return nil, err
	}
	s := &Disk{dir: dir, files: f, given: secret.Key != nil}
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
		// The prekeys are made after the database: it is not the first start
		// that was interrupted.
		if _, err := os.Lstat(filepath.Join(dir, prekeysName)); err == nil {
			return nil, fmt.Errorf("%w: %s is missing; restore it from a backup, or begin anew in an empty directory", ErrDamaged, path)
		}
		key, err := firstKey(f, dir, secret)
		if err != nil {
			return nil, err
		}
		if err := createDB(f, path, key, newest(steps)); err != nil {
			return nil, fmt.Errorf("make database: %w", err)
		}
		secret = Secret{Key: key} // not to make it of the passphrase twice
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a file; restore it from a backup", ErrDamaged, path)
	case info.Size() == 0: // bbolt would take it for a new one
		return nil, fmt.Errorf("%w: %s is empty; restore it from a backup", ErrDamaged, path)
	}
	if err := s.openDB(path); err != nil {
		return nil, err
	}
	have, err := s.readMeta(secret, newest(steps))
	if err != nil {
		return nil, err
	}
	if info != nil && info.Mode().Perm()&0o077 != 0 { // sealed, so this can be mended
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	if s.prekeys, err = openPrekeys(dir, s.secret.InsecureBytes(), f); err != nil {
		return nil, err
	}
	return s, s.migrate(have, steps)
}

// Prekeys returns the prekeys beside the database; the store's lock covers them.
func (s *Disk) Prekeys() *Prekeys { return s.prekeys }

// SetPassphrase puts the key file under a passphrase, or under another; nil
// takes it away. It returns when that is durable; after an error either holds.
// The at-rest key stays the same, so nothing else is written, and who had it
// before has it still: from an old copy of the key file and its passphrase,
// too. It returns ErrWrongKey for a directory whose key the program keeps, and
// ErrPassphrase for one that is empty.
func (s *Disk) SetPassphrase(passphrase []byte) error {
	if s.given {
		return fmt.Errorf("%w: that of %s is kept by the program", ErrWrongKey, s.dir)
	}
	line, err := keyLine(s.secret.InsecureBytes(), passphrase) // a tenth of a second: commits need not wait for it
	if err != nil {
		return err
	}
	s.writing.Lock() // Close waits for it: it gives the directory to others
	defer s.writing.Unlock()
	if err := s.state(); err != nil {
		return err
	}
	return writeKey(s.files, s.dir, line)
}

// createDB makes the database under another name and publishes it whole, so
// that a crash leaves none or one that opens.
func createDB(f files, path string, key []byte, format uint32) error {
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
	return f.publish(path)
}

// openDB opens the database file.
//
// The list of free pages is kept in the file: without it bbolt would search
// for them in a goroutine of its own, where the panic over a damaged page
// cannot be caught and takes the program down.
func (s *Disk) openDB(path string) error {
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
	var system syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: another program has %s open", ErrInUse, path)
	case errors.As(err, &system): // no room, no right, too many open files
		return err
	}
	return fmt.Errorf("%w: %s is not a database (%w); restore it from a backup", ErrDamaged, path, err)
}

// readMeta checks that the database is whole, of a known format and of this
// key, and returns its format.
func (s *Disk) readMeta(secret Secret, newest uint32) (uint32, error) {
	var version, salt, check []byte
	ours := false
	var want int64
	err := s.view(func(tx *bbolt.Tx) error {
		want = tx.Size()
		if b := tx.Bucket(metaBucket); b != nil {
			ours = true
			version, salt, check = bytes.Clone(b.Get(metaFormat)), bytes.Clone(b.Get(metaSalt)), bytes.Clone(b.Get(metaCheck))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	if have := info.Size(); have < want {
		return 0, fmt.Errorf("%w: %s has %d bytes of %d; restore it from a backup", ErrDamaged, s.file.Name(), have, want)
	}
	if !ours {
		return 0, fmt.Errorf("%w: %s is the database of another program; restore ours from a backup", ErrDamaged, s.file.Name())
	}
	if len(version) != 4 || binary.BigEndian.Uint32(version) == 0 {
		return 0, fmt.Errorf("%w: %s names no format; restore it from a backup", ErrDamaged, s.file.Name())
	}
	have := binary.BigEndian.Uint32(version)
	if have > newest {
		return 0, fmt.Errorf("%w: %s has format %d, this version knows %d; use the newer one", ErrNewer, s.file.Name(), have, newest)
	}
	if len(salt) != saltSize || len(check) != checkSize {
		return 0, fmt.Errorf("%w: %s has no salt or check value; restore it from a backup", ErrDamaged, s.file.Name())
	}
	key, err := existingKey(s.dir, secret)
	if err != nil {
		return 0, err
	}
	if s.keys, err = deriveKeys(key, salt, dbName); err != nil {
		return 0, err
	}
	if !s.keys.fits(check) {
		return 0, fmt.Errorf("%w: %s was made with another", ErrWrongKey, s.file.Name())
	}
	s.secret, err = crypto.KeyFromBytes(key)
	return have, err
}

// Get implements Store.
func (s *Disk) Get(table string, owner, key []byte) ([]byte, error) {
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
func (s *Disk) Range(table string, owner, from []byte, f func(key, value []byte) error) error {
	if err := checkRow(table, owner, from, 0); err != nil {
		return err
	}
	address := s.keys.address(table, owner, from)
	return s.scan(table, address[:maskSize:maskSize], address, func(_, key, value []byte) error { return f(key, value) })
}

// All implements Store.
func (s *Disk) All(table string, f func(owner, key, value []byte) error) error {
	if err := checkRow(table, nil, nil, 0); err != nil {
		return err
	}
	return s.scan(table, nil, nil, f)
}

// scan calls f for the rows of a table whose addresses begin with prefix, not
// below from. It reads a page of them in one transaction and hands them out
// after it: an open transaction would keep bbolt from using freed pages again,
// and a commit by f could wait for it for ever.
func (s *Disk) scan(table string, prefix, from []byte, f func(owner, key, value []byte) error) error {
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
func (s *Disk) Size() (int64, error) {
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
func (s *Disk) Close() error {
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
func (s *Disk) release() error {
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
func (s *Disk) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "store(%s)", s.dir) }

// state returns why the store cannot be used, nil when it can.
func (s *Disk) state() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail makes the store dead and returns what its calls return from now on.
func (s *Disk) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(cause, ErrDamaged) {
		s.abandon = true
	}
	if s.err == nil {
		s.err = fmt.Errorf("%w: %w", ErrFailed, cause)
	}
	return s.err
}

// view runs f, which must be nothing but reads of bbolt, in a transaction.
func (s *Disk) view(f func(*bbolt.Tx) error) error {
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

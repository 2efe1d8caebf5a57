// Package store keeps rows of bytes in transactions: on disk in one bbolt
// file, sealed at rest, or in memory, behind one interface.
//
// A row is addressed by table, owner and key. The owner is a friend's 32-byte
// ID, or nil for what belongs to nobody in particular. Keys are short, ordered
// byte strings (numbers in big-endian, message IDs). What the bytes of a row
// mean is known to the package that writes it.
//
// # On disk
//
// A directory holds four files, all of mode 0600:
//
//	carrier.lock      locked while the directory is in use; empty
//	carrier.key       the at-rest key, unless the program gives one; in clear
//	                  or under a passphrase
//	carrier.db        the rows, a bbolt database
//	carrier.prekeys   the private prekeys, see [Prekeys]
//
// Table names and keys stand in the database in clear, an owner never does. In
// the bucket of its table a row's bbolt key is
//
//	mask(16) ‖ key      mask = HMAC-SHA256(mask key, len(table) ‖ table ‖ owner), cut to 16 bytes
//
// so that the rows of one owner are neighbours in key order, and nothing shows
// that rows of two tables have the same owner. Its bbolt value is
//
//	nonce(24) ‖ XChaCha20-Poly1305(len(owner) ‖ owner ‖ value)
//
// with len(table) ‖ table ‖ mask ‖ key as additional data: a row moved to
// another table, owner or key does not open. Mask key, seal key and the check
// value that tells a wrong key are derived by HKDF-SHA256 from the at-rest key
// and a random salt in the database. The at-rest key is random, so that another
// passphrase is another key file, and the database stays as it is.
//
// What sealing does not hide: how many rows and owners each table has, the
// keys, the sizes of values, and when the file is written. Nor can it see that
// the whole file was put back to an older state, or that whole rows were taken
// out. bbolt does not wipe the pages it frees, so a deleted row's sealed bytes
// can stay in the file until the page is used again; who has the at-rest key
// can read them. What must really go is kept in [Prekeys].
package store

import "errors"

// The errors that calls of this package match, besides those of the operating
// system.
var (
	// ErrInUse is returned by Open when this or another process has the
	// directory open.
	ErrInUse = errors.New("directory is in use")
	// ErrWrongKey is returned by Open when the directory was
	// made with another at-rest key, or its key file is missing.
	ErrWrongKey = errors.New("wrong at-rest key")
	// ErrPassphrase is returned by Open when the key file is under another
	// passphrase than the given one, under one and none was given, or under
	// none and one was given.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrKeyMode is returned by Open when others than the owner may read or
	// write the key file. The mode is not mended silently, because the key may
	// have been read already.
	ErrKeyMode = errors.New("key file is open to others")
	// ErrDamaged is returned by Open and by calls that read, when
	// what stands on the disk is not what was written there.
	ErrDamaged = errors.New("damaged on disk")
	// ErrNewer is returned by Open when a later version of the
	// program wrote a format that this one does not know.
	ErrNewer = errors.New("written by a newer version")
	// ErrFailed is matched by every call after a commit failed on the disk.
	ErrFailed = errors.New("store has failed")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("store is closed")
	// ErrLimit is returned by Commit for a row outside the limits.
	ErrLimit = errors.New("row exceeds a limit")
)

// Limits of rows, in bytes.
const (
	OwnerSize = 32      // an owner that is not nil
	MaxTable  = 32      // a table's name, at least 1
	MaxKey    = 255     // a key, which may be empty
	MaxValue  = 1 << 20 // a value, which may be empty
)

// KeySize is the length of an at-rest key in bytes.
const KeySize = 32

// A Store keeps rows. It is safe for concurrent use.
//
// Bytes given to a Batch and bytes handed out are copies on both ways: neither
// side can change the other's.
type Store interface {
	// Commit applies the batch in its order, all of it or nothing, and returns
	// when it is durable. Later reads of any goroutine see it. Concurrent
	// calls share the cost of one commit. The batch is not changed and can be
	// used again.
	//
	// An error that matches ErrLimit concerns this batch only. Any other means
	// that the disk failed (full, gone, damaged): it is not known whether the
	// batch is on it, the store is dead from then on and every call returns
	// an error that matches ErrFailed. Close it and open it again to see.
	Commit(b *Batch) error

	// Get returns the value of a row, not nil even when empty; nil and no
	// error when there is no such row.
	Get(table string, owner, key []byte) ([]byte, error)

	// Range calls f for the rows of one owner with keys not below from (nil:
	// all of them) in rising order of their keys. It ends with the first error
	// of f, which it returns as it is.
	//
	// No lock is held while f runs, so f may use the store. Each row is whole,
	// but the rows are not of one moment: of what is committed while Range
	// runs, it may see a part.
	Range(table string, owner, from []byte, f func(key, value []byte) error) error

	// All is Range over the rows of all owners of a table. Owners come in no
	// order, the rows of each together and in order of their keys. The owner
	// is nil where it was nil or empty.
	All(table string, f func(owner, key, value []byte) error) error

	// Size returns the bytes that the rows take: of a database the length of
	// its file, which does not shrink when rows are deleted.
	Size() (int64, error)

	// Close waits for commits under way and releases everything. Calls after
	// the first wait for it and return the same.
	Close() error
}

package store

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

// The life of a prekey: the newest is superseded by another after RotateAfter,
// and erased EraseAfter later. Mail sealed to it can be opened until then.
const (
	RotateAfter = 24 * time.Hour
	EraseAfter  = 30 * 24 * time.Hour
)

// MaxPrekeys is how many prekeys are kept at most.
const MaxPrekeys = 1024

// Private is the private half of a prekey, an X25519 scalar. However it is
// printed or encoded as text or JSON, it shows nothing.
type Private [32]byte

const redacted = "redacted"

// Format prints that there is a key, and nothing of it.
func (Private) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText gives no key away.
func (Private) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Prekey is a key that mail to its owner is sealed to.
type Prekey struct {
	Number     uint64 // rising
	Private    Private
	Created    time.Time // kept to the millisecond
	Superseded time.Time // zero for the newest, the current one
}

// Prekeys keeps the private prekeys. It is safe for concurrent use.
//
// They have a small file of their own, which is written anew as a whole for
// every change: beside the old one, synced, and renamed over it, the directory
// synced. So no file holds an erased key any longer when Replace or Rotate
// returns. That is as much as a program can do: a file system's journal and
// snapshots, a backup, and above all the blocks that flash memory sets aside
// when it writes elsewhere, may keep the old bytes for some time. Overwriting
// the old file would not reach those either. What is left there is sealed with
// the at-rest key, so erasure holds against who gets the disk but not that key;
// against who gets both it holds as far as the disk forgets, for which an
// encrypted or trimmed disk helps.
type Prekeys struct {
	path  string // empty: memory only
	keys  *keys
	salt  []byte
	files files

	mu   sync.Mutex // guards what follows, and the file
	list []Prekey   // by rising number
}

// The file is
//
//	magic(8) ‖ format(4) ‖ salt(16) ‖ check(16) ‖ nonce(24) ‖ XChaCha20-Poly1305(count × prekey)
//	prekey = number(8) ‖ private(32) ‖ created(8) ‖ superseded(8)
//
// all big-endian, times in ms since 1970, 0 for none, sealed with all before
// the nonce as additional data.
const (
	prekeysMagic  = "carrpkey"
	prekeysFormat = 1
	prekeysHeader = len(prekeysMagic) + 4 + saltSize + checkSize
	prekeySize    = 8 + 32 + 8 + 8
)

// openPrekeys opens the prekeys of a directory. A file that is not there yet is
// an empty list. The errors are ErrWrongKey for a file of another directory,
// ErrDamaged, ErrNewer, and the operating system's.
func openPrekeys(dir string, key []byte, f files) (*Prekeys, error) {
	p := &Prekeys{path: filepath.Join(dir, prekeysName), files: f}
	// An interrupted write may have left keys that are to be erased.
	if err := os.Remove(p.path + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	data, err := readSmall(p.path, int64(prekeysHeader+crypto.KeyOverhead+MaxPrekeys*prekeySize))
	if errors.Is(err, fs.ErrNotExist) {
		p.salt = make([]byte, saltSize)
		rand.Read(p.salt) // never fails
		p.keys, err = deriveKeys(key, p.salt, prekeysName)
		return p, err
	}
	if err != nil {
		return nil, err
	}
	return p, p.decode(key, data)
}

// MemoryPrekeys returns an empty list of prekeys that lives in memory only.
func MemoryPrekeys() *Prekeys { return &Prekeys{} }

// Format prints where the prekeys are and none of them.
func (p *Prekeys) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "prekeys(%s)", p.path) }

// All returns a copy of the prekeys by rising number; the last is the current
// one.
func (p *Prekeys) All() []Prekey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

// Replace puts these prekeys, in any order, in the place of all others, which
// are erased when it returns nil. On an error the old ones stay in use; the
// file holds the one list or the other.
func (p *Prekeys) Replace(list []Prekey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replace(slices.Clone(list))
}

// Rotate does what is due: it makes a new current prekey by newKey when there
// is none or it was created RotateAfter ago, and erases those superseded
// EraseAfter ago. It is to be called at start and then at least once an hour.
// newKey must give a number above all others. A key may be told to friends only
// after Rotate has returned. On an error nothing has changed; call it again
// later.
//
// A clock that was ahead when a key was made or superseded does not keep it
// for ever: a time in the future of now is taken for now, and a current key
// from more than RotateAfter in the future is superseded.
func (p *Prekeys) Rotate(now time.Time, newKey func() (number uint64, private [32]byte)) (changed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Prekey, 0, len(p.list)+1)
	for _, k := range p.list {
		if k.Superseded.After(now) {
			k.Superseded, changed = now, true
		}
		if !k.Superseded.IsZero() && now.Sub(k.Superseded) >= EraseAfter {
			changed = true
			continue
		}
		list = append(list, k)
	}
	if n := len(list); n == 0 || !list[n-1].Superseded.IsZero() || now.Sub(list[n-1].Created).Abs() >= RotateAfter {
		number, private := newKey()
		if n := len(p.list); n > 0 && number <= p.list[n-1].Number {
			return false, fmt.Errorf("rotate prekeys: new number %d is not above %d", number, p.list[n-1].Number)
		}
		if n > 0 && list[n-1].Superseded.IsZero() {
			list[n-1].Superseded = now
		}
		list = append(list, Prekey{Number: number, Private: private, Created: now})
		changed = true
	}
	if !changed {
		return false, nil
	}
	if err := p.replace(list); err != nil {
		return false, err
	}
	return true, nil
}

// replace takes over the list.
func (p *Prekeys) replace(list []Prekey) error {
	slices.SortFunc(list, func(a, b Prekey) int { return cmp.Compare(a.Number, b.Number) })
	if len(list) > MaxPrekeys {
		return fmt.Errorf("%w: %d prekeys, at most %d", ErrLimit, len(list), MaxPrekeys)
	}
	for i := range list {
		if i > 0 && list[i].Number == list[i-1].Number {
			return fmt.Errorf("%w: two prekeys have the number %d", ErrLimit, list[i].Number)
		}
		list[i].Created = fromMilli(toMilli(list[i].Created))
		list[i].Superseded = fromMilli(toMilli(list[i].Superseded))
	}
	if p.path != "" {
		if err := p.files.replace(p.path, p.encode(list)); err != nil {
			return fmt.Errorf("write prekeys: %w; make room or mend the disk, then try again", err)
		}
	}
	clear(p.list)
	p.list = list
	return nil
}

func (p *Prekeys) encode(list []Prekey) []byte {
	plain := make([]byte, 0, len(list)*prekeySize)
	for _, k := range list {
		plain = binary.BigEndian.AppendUint64(plain, k.Number)
		plain = append(plain, k.Private[:]...)
		plain = binary.BigEndian.AppendUint64(plain, uint64(toMilli(k.Created)))
		plain = binary.BigEndian.AppendUint64(plain, uint64(toMilli(k.Superseded)))
	}
	header := []byte(prekeysMagic)
	header = binary.BigEndian.AppendUint32(header, prekeysFormat)
	header = append(header, p.salt...)
	header = append(header, p.keys.check...)
	data := append(header, p.keys.seal.Seal(nil, header, plain)...)
	clear(plain)
	return data
}

// decode reads the file into p.
func (p *Prekeys) decode(key, data []byte) error {
	damaged := func(why string) error {
		return fmt.Errorf("%w: %s %s; restore it from a backup, or remove it and lose the mail under way", ErrDamaged, p.path, why)
	}
	const versionEnd = len(prekeysMagic) + 4
	if len(data) < versionEnd || string(data[:len(prekeysMagic)]) != prekeysMagic {
		return damaged("is not a file of prekeys")
	}
	if v := binary.BigEndian.Uint32(data[len(prekeysMagic):]); v > prekeysFormat {
		return fmt.Errorf("%w: %s has format %d, this version knows %d; use the newer one", ErrNewer, p.path, v, prekeysFormat)
	} else if v == 0 {
		return damaged("names no format")
	}
	if len(data) < prekeysHeader {
		return damaged("is cut short")
	}
	var err error
	p.salt = data[versionEnd : versionEnd+saltSize : versionEnd+saltSize]
	if p.keys, err = deriveKeys(key, p.salt, prekeysName); err != nil {
		return err
	}
	if !p.keys.fits(data[versionEnd+saltSize : prekeysHeader]) {
		return fmt.Errorf("%w: %s was made with another", ErrWrongKey, p.path)
	}
	plain, err := p.keys.seal.Open(nil, data[:prekeysHeader:prekeysHeader], data[prekeysHeader:])
	if err != nil || len(plain)%prekeySize != 0 || len(plain)/prekeySize > MaxPrekeys {
		return damaged("does not open")
	}
	for b := plain; len(b) > 0; b = b[prekeySize:] {
		p.list = append(p.list, Prekey{
			Number:     binary.BigEndian.Uint64(b),
			Private:    Private(b[8:40]),
			Created:    fromMilli(int64(binary.BigEndian.Uint64(b[40:]))),
			Superseded: fromMilli(int64(binary.BigEndian.Uint64(b[48:]))),
		})
	}
	clear(plain)
	return nil
}

func toMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

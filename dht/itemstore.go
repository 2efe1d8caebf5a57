package dht

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha1"
	"slices"
	"sync"
	"time"
)

// itemLife is how long an item is kept after it was put last.
const itemLife = 48 * time.Hour

// itemStore holds the items that others put on us (BEP 44), within bounds: the
// one used longest ago makes room. It is safe for concurrent use.
type itemStore struct {
	maxBytes int

	mu    sync.Mutex
	items *lru[nodeID, *storedItem]
	bytes int
}

// storedItem is an item as it came: v stays bencoded, of any kind.
type storedItem struct {
	v      []byte
	key    [32]byte
	sig    [64]byte
	seq    int64
	muta   bool // mutable
	put    time.Time
	weight int
}

// itemOverhead is counted for each item besides its value: fields and maps.
const itemOverhead = 300

func newItemStore(maxItems, maxBytes int) *itemStore {
	return &itemStore{maxBytes: maxBytes, items: newLRU[nodeID, *storedItem](maxItems + 1)}
}

// get returns the item of target. Its slices must not be changed.
func (s *itemStore) get(target nodeID, now time.Time) (*storedItem, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items.get(target)
	if ok && now.Sub(item.put) > itemLife {
		s.drop(target, item)
		return nil, false
	}
	return item, ok
}

// drop removes an item. The caller holds mu.
func (s *itemStore) drop(target nodeID, item *storedItem) {
	s.items.remove(target)
	s.bytes -= item.weight
}

// put stores the item of a put query, or returns the error to answer with.
func (s *itemStore) put(a *args, now time.Time) *krpcError {
	switch {
	case len(a.v) == 0:
		return errPutNoValue
	case len(a.v) > maxEncoded:
		return errPutTooBig
	case len(a.salt) > maxSalt:
		return errPutSalt
	}
	item := &storedItem{v: slices.Clone(a.v), put: now, weight: len(a.v) + itemOverhead}
	where := nodeID(sha1.Sum(a.v))
	if a.hasKey {
		if a.seq == nil {
			return errPutNoSeq
		}
		item.key, item.sig, item.seq, item.muta = a.key, a.sig, *a.seq, true
		where = target(a.key, a.salt)
		if !s.has(where, item) && !ed25519.Verify(a.key[:], signed(a.salt, *a.seq, a.v), a.sig[:]) {
			return errPutSignature
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.items.get(where); ok {
		if old.muta && item.muta && now.Sub(old.put) <= itemLife {
			if a.cas != nil && *a.cas != old.seq {
				return errPutCAS
			}
			if item.seq < old.seq || item.seq == old.seq && !bytes.Equal(item.v, old.v) {
				return errPutSeq
			}
		}
		s.drop(where, old)
	}
	s.items.put(where, item)
	s.bytes += item.weight
	for s.items.len() >= s.items.max || s.bytes > s.maxBytes {
		target, oldest, _ := s.items.oldest()
		s.drop(target, oldest)
	}
	return nil
}

// has says whether that very item is there already, as when it is put again to
// keep it alive.
func (s *itemStore) has(where nodeID, item *storedItem) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.items.get(where)
	return ok && old.key == item.key && old.seq == item.seq && old.sig == item.sig && bytes.Equal(old.v, item.v)
}

// sweep drops what has expired.
func (s *itemStore) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var expired []nodeID
	s.items.each(func(target nodeID, item *storedItem) bool {
		if now.Sub(item.put) > itemLife {
			expired = append(expired, target)
		}
		return true
	})
	for _, target := range expired {
		if item, ok := s.items.get(target); ok {
			s.drop(target, item)
		}
	}
}

func (s *itemStore) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items.len()
}

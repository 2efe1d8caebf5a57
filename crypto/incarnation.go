package crypto

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// An Incarnation names one store of an identity. An identity that is
// imported, or begins with an empty store, gets a new one above all that are
// known. Incarnations may be compared by ==; the zero one names none.
type Incarnation struct {
	Created int64  // unix milliseconds
	Random  uint64 // tells apart copies made at the same time
}

// NewIncarnation returns an incarnation made at now, above newest, the newest
// one known (or the zero one).
func NewIncarnation(now time.Time, newest Incarnation) Incarnation {
	after := newest.Created
	if after < math.MaxInt64 {
		after++
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, or ends the program
	return Incarnation{Created: max(now.UnixMilli(), after), Random: binary.BigEndian.Uint64(b[:])}
}

// Compare orders incarnations by Created, then Random: -1 if i is older than
// o, 0 if they are equal, 1 if it is newer.
func (i Incarnation) Compare(o Incarnation) int {
	return cmp.Or(cmp.Compare(i.Created, o.Created), cmp.Compare(i.Random, o.Random))
}

// IsZero reports whether i is the zero Incarnation.
func (i Incarnation) IsZero() bool { return i == Incarnation{} }

// String returns Created in decimal and Random in hexadecimal.
func (i Incarnation) String() string { return fmt.Sprintf("%d-%016x", i.Created, i.Random) }

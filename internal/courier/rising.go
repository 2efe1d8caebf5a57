package courier

import (
	"fmt"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// The courier's rows.
const (
	table = "courier"

	// Of the node as a whole (owner: its own ID):
	keyRising = "rising" // no number drawn yet is above this one
	keyStarts = "starts" // nonces of this store's newest runs

	// Of each person:
	keyPeer = "peer" // what is known of them: peer.save
	keyBox  = "box"  // what stands in our mail slots to them: box.save
)

// aDay is how far ahead of our clock a rising number may be and still be
// adopted as our own past.
const aDay = 24 * time.Hour

// rising gives the numbers that must rise over restarts, restored backups and
// imports: max(last + 1, unix ms). They are made durable in blocks: the row
// holds a bound that all drawn numbers are below, so that most draws write
// nothing; a restart goes on above the bound.
type rising struct {
	last, bound uint64
}

// risingBlock is how far the bound is put ahead, in numbers or milliseconds.
const risingBlock = 120_000

func (r *rising) restore(c *Courier) error {
	row := c.rows.Get(table, c.self, []byte(keyRising))
	if row == nil {
		return nil
	}
	rd := wire.NewReader(row)
	r.bound = rd.Uint64()
	if err := rd.Done(); err != nil {
		return fmt.Errorf("courier: row of rising numbers: %w", err)
	}
	r.last = r.bound
	return nil
}

func (r *rising) next(c *Courier) uint64 {
	n := max(r.last+1, uint64(max(c.loop.Now().UnixMilli(), 1)))
	r.set(c, n)
	return n
}

// raise goes above a number of our own that another run, or another copy of
// this store, has used.
func (r *rising) raise(c *Courier, n uint64) {
	switch {
	case n <= r.last:
	case n > tooFar(c.loop.Now()):
		c.count("fault.ahead")
	default:
		r.set(c, n)
	}
}

func (r *rising) set(c *Courier, n uint64) {
	r.last = n
	if n >= r.bound {
		r.bound = n + risingBlock
		c.rows.Put(table, c.self, []byte(keyRising), wire.AppendUint64(nil, r.bound))
	}
}

// seq is the seq of an item whose record bears a rising number, above the last in
// its place. Nobody reads what is too far ahead: if our clock once was, and the
// numbers go on from there, the clock as it is now gives it.
func (c *Courier) seq(number uint64, last int64) int64 {
	now := c.loop.Now()
	if number > tooFar(now) {
		number = uint64(max(now.UnixMilli(), 1))
	}
	if last > 0 && uint64(last) > tooFar(now) {
		last = 0
	}
	return max(int64(number), last+1)
}

// tooFar is the lowest number that is too far ahead to be believed.
func tooFar(now time.Time) uint64 { return uint64(max(now.Add(aDay).UnixMilli(), 0)) }

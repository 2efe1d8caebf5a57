package dht

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	// MaxValue is the longest value that Put takes, in bytes. BEP 44 ends at 1,000
	// bytes bencoded, and the implementations in the field differ near the end.
	MaxValue = 900
	// MaxSalt is the longest salt in bytes (BEP 44).
	MaxSalt = maxSalt
	// MaxAhead is how far the sequence number of an item, read as Unix
	// milliseconds, may be ahead of our clock. One further ahead is counted as a
	// fault (item_future) and not reported: adopting it would burn the sequence.
	MaxAhead = 24 * time.Hour
)

// Item is a mutable item of BEP 44: a value under a key and a salt, signed with
// its sequence number. Items that Get and Put report have been verified.
type Item struct {
	Key   [32]byte       // Ed25519 public key
	Salt  []byte         // at most MaxSalt bytes; nil = none
	Value []byte         // the content of the bencoded byte string, not its encoding
	Seq   int64          // sequence number; by convention Unix milliseconds
	Sig   [64]byte       // over salt, Seq and value, by Key
	From  netip.AddrPort // the node that it was read from; zero = our own store
}

// target is where an item of key and salt lives.
func target(key [32]byte, salt []byte) nodeID {
	return sha1.Sum(append(key[:], salt...))
}

// signed returns what the signature of an item covers; v is bencoded.
func signed(salt []byte, seq int64, v []byte) []byte {
	var b []byte
	if len(salt) > 0 {
		b = appendString(append(b, "4:salt"...), salt)
	}
	b = appendInt(append(b, "3:seq"...), seq)
	return append(append(b, "1:v"...), v...)
}

// verify returns nil if the signature of the item is its key's.
func (i *Item) verify() bool {
	v := appendString(nil, i.Value)
	return ed25519.Verify(i.Key[:], signed(i.Salt, i.Seq, v), i.Sig[:])
}

// proof remembers the item whose signature was found good last: most of those who
// are asked for an item have the very same.
type proof struct{ last *Item }

// holds says whether the signature of the item is its key's.
func (p *proof) holds(item Item) bool {
	if p.last != nil && item.same(p.last) {
		return true
	}
	if !item.verify() {
		return false
	}
	p.last = &item
	return true
}

// same says whether both are one item, to the last byte.
func (i *Item) same(other *Item) bool {
	return i.Key == other.Key && i.Seq == other.Seq && i.Sig == other.Sig &&
		bytes.Equal(i.Salt, other.Salt) && bytes.Equal(i.Value, other.Value)
}

// itemIn returns the item of key and salt in an answer. With none, fault is nil
// or the name of the counter that says what was wrong.
func itemIn(r *reply, key [32]byte, salt []byte, p *proof) (item Item, fault error) {
	values := &r.values
	if len(values.V) == 0 || r.fault != nil {
		return item, errNoItem
	}
	value, err := wholeString(values.V)
	switch {
	case values.K != key:
		return item, errItemKey // under a wrong target, or somebody else's
	case err != nil:
		return item, errItemKind
	case values.Seq == nil:
		return item, errItemSeq
	}
	item = Item{Key: key, Salt: salt, Value: value, Seq: *values.Seq, Sig: values.Sig, From: r.addr}
	switch {
	case !p.holds(item):
		return item, errItemSignature
	case item.Seq > time.Now().Add(MaxAhead).UnixMilli():
		return item, errItemFuture
	}
	return item, nil
}

// Why an answer holds no item; but for errNoItem the names of counters.
var (
	errNoItem        = errors.New("no item")
	errItemKey       = errors.New("item_wrong_key")
	errItemKind      = errors.New("item_not_a_string")
	errItemSeq       = errors.New("item_without_seq")
	errItemSignature = errors.New("item_bad_signature")
	errItemFuture    = errors.New("item_future")
)

// Query says what Get reads.
type Query struct {
	Key  [32]byte // Ed25519 public key of the writer
	Salt []byte   // at most MaxSalt bytes; nil = none
	// Newer is the sequence number that we have: only items with a higher one are
	// reported, and nodes that have no higher one send no value. 0 = any item.
	Newer int64
	// Ask is how many of the nodes known to be near the item are asked, directly
	// and in one round trip, in rotation. 0 = a full walk. When none is known (yet,
	// or any more) nobody is asked: Health.Asked is 0, there is no error, and it is
	// for the caller to say whether a walk, which costs far more, is worth it now.
	Ask int
	// Wide has a walk go on to the 16 nearest nodes where it else ends with 8: for
	// an item that is known to exist and was not found. A put that could not reach
	// those nodes has gone on to others.
	Wide bool
}

// Health is how an operation went.
type Health struct {
	Asked    int  // nodes asked
	Answered int  // nodes that answered, with whatever
	Found    int  // nodes that had a valid item, or peers
	Stored   int  // nodes that took what was written
	Walked   bool // there was a full walk, of some 20 to 100 packets
}

// merge adds another step's counts.
func (h *Health) merge(f found) {
	h.Asked += f.asked
	h.Answered += f.answered
}

// Get reads a mutable item (BEP 44). It calls each, on its own goroutine, for
// the first valid item newer than q.Newer at once, and then for every one still
// newer; each must not block for long. It returns when the walk is complete,
// which dead nodes can make a second or two later than the first item: a caller
// that has enough cancels ctx.
//
// That there is no item is no error, only no call of each; one miss in some
// hundred is normal, so callers look again. The error matches ErrNoAnswer when
// nodes were asked and none answered or a walk knows none to ask, ErrInvalid for a salt
// too long, net.ErrClosed after Close, and ctx's error.
func (n *Node) Get(ctx context.Context, q Query, each func(Item)) (Health, error) {
	var h Health
	if len(q.Salt) > MaxSalt || q.Ask < 0 {
		return h, fmt.Errorf("get of an item with a salt of %d bytes, asking %d nodes: %w", len(q.Salt), q.Ask, ErrInvalid)
	}
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return h, err
	}
	defer end()
	where := target(q.Key, q.Salt)
	newest := q.Newer
	first := q.Newer == 0
	report := func(item Item) {
		if first || item.Seq > newest {
			first, newest = false, item.Seq
			each(item)
		}
	}
	own, ok := n.items.get(where, time.Now())
	if ok && own.key == q.Key {
		if value, err := wholeString(own.v); err == nil {
			item := Item{Key: q.Key, Salt: slices.Clone(q.Salt), Value: value, Seq: own.seq, Sig: own.sig}
			if item.Seq <= time.Now().Add(MaxAhead).UnixMilli() {
				report(item)
			}
		}
	}
	args := krpc.MsgArgs{Target: krpc.ID(where)}
	if q.Newer != 0 {
		args.Seq = &q.Newer
	}
	var p proof
	l := lookup{target: where, method: "get", args: args}
	if q.Wide {
		l.width = putWider
	}
	_, err = n.consult(ctx, l, q.Ask, &h, func(r *reply) bool {
		item, fault := itemIn(r, q.Key, q.Salt, &p)
		if fault != nil {
			if !errors.Is(fault, errNoItem) {
				n.count(fault.Error())
			}
			// With a sequence number and no value it has the item, but none newer.
			return errors.Is(fault, errNoItem) && q.Newer != 0 && r.values.Seq != nil && *r.values.Seq >= q.Newer
		}
		h.Found++
		if item.Seq < newest {
			n.count("item_stale")
		}
		report(item)
		return true
	})
	return h, err
}

// consult runs a lookup, at nodes known for its target when ask is positive, else
// as a walk, and remembers what it learns of them. visit says whether the node has
// what was looked for.
func (n *Node) consult(ctx context.Context, l lookup, ask int, h *Health, visit func(*reply) bool) (found, error) {
	if ask > 0 {
		if l.only = n.holders.turn(l.target, ask, l.near); len(l.only) == 0 {
			return found{}, nil
		}
	}
	has := make(map[netip.AddrPort]bool)
	heard := make(map[netip.AddrPort]bool)
	f := n.look(ctx, l, func(r *reply) {
		heard[r.addr] = true
		has[r.addr] = visit(r)
	})
	h.merge(f)
	for i := range f.closest {
		f.closest[i].has = has[f.closest[i].addr]
	}
	switch {
	case ctx.Err() != nil:
		return f, n.stopped(ctx)
	case l.only != nil:
		for _, c := range f.closest {
			n.holders.renew(l.target, c.addr, c.token, c.has)
		}
		for _, c := range l.only {
			if !heard[c.addr] {
				n.holders.drop(l.target, c.addr)
			}
		}
	default:
		h.Walked = true
		n.holders.set(l.target, f.closest)
	}
	if f.answered == 0 {
		return f, n.noAnswer(f.asked)
	}
	return f, nil
}

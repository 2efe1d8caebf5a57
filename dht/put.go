package dht

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	putAim    = 8  // copies below which a put walks again
	putWidth  = 10 // nodes that its first walk looks for, so that a few may fail
	putWider  = 16 // and its second
	putMost   = 12 // nodes written in one step
	putEnough = 3  // copies from which a put counts, where that many nodes exist
)

// Put says what Put writes. It does not show its private key when printed.
type Put struct {
	Key   ed25519.PrivateKey
	Salt  []byte // at most MaxSalt bytes; nil = none
	Value []byte // at most MaxValue bytes
	// Seq is the sequence number, which must rise with every value: nodes refuse
	// lower ones. By convention it is at least the Unix time in milliseconds.
	Seq int64
	// Direct writes to the nodes known from a walk in the last minutes, in one
	// round trip, and walks only if fewer than 8 of them take the item.
	Direct bool
	// Not are addresses of nodes whose copies do not count, because whoever the
	// item is for may sit there; they are written all the same.
	Not []netip.AddrPort
	// Seen, if set, is called for every valid item that the walk reads under this
	// key and salt, of whatever sequence number: an earlier value of ours, or
	// another writer's. It runs on Put's goroutine. A direct put reads nothing.
	Seen func(Item)
}

var (
	_ fmt.Formatter  = Put{}
	_ slog.LogValuer = Put{}
)

// Format writes the put without its key.
func (p Put) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "{put of %d bytes, salt %q, seq %d}", len(p.Value), p.Salt, p.Seq)
}

// LogValue returns the put without its key.
func (p Put) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("bytes", len(p.Value)), slog.String("salt", string(p.Salt)), slog.Int64("seq", p.Seq))
}

// PutResult is how a put went.
type PutResult struct {
	Health
	// Newer is the highest valid sequence number above ours that nodes hold; 0 =
	// none. Then nothing, or nothing more, was written: put again with Newer + 1
	// or more.
	Newer int64
	// All says that every node near the item that answered the last walk holds
	// it: where fewer than 8 copies were made, there is no place for more.
	All bool
}

// Put signs a mutable item (BEP 44) and writes it to the nodes closest to its
// target: it aims at 8 to 12 other nodes, and walks a second time when fewer than
// 8 took it. Our own node never counts.
//
// How long the nodes keep it is up to them: BEP 44 asks for 2 hours, some keep
// less under load; Carrier nodes keep 48 hours within their bounds. So put again
// every 15 to 60 minutes.
//
// The error is nil when at least 3 nodes hold the item, or every node that
// answered does. It matches ErrNewer when nodes hold a higher sequence number
// (PutResult.Newer), ErrNotStored when too few took it, ErrNoAnswer when nobody
// answered, ErrInvalid for a value, salt, key or sequence number out of range,
// net.ErrClosed after Close, and ctx's error. The result is valid with an error, too.
func (n *Node) Put(ctx context.Context, put Put) (PutResult, error) {
	if len(put.Key) != ed25519.PrivateKeySize {
		return PutResult{}, fmt.Errorf("put with a private key of %d bytes, not %d: %w", len(put.Key), ed25519.PrivateKeySize, ErrInvalid)
	}
	item := Item{Salt: put.Salt, Value: put.Value, Seq: put.Seq}
	copy(item.Key[:], put.Key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	copy(item.Sig[:], ed25519.Sign(put.Key, signed(put.Salt, put.Seq, appendString(nil, put.Value))))
	return n.write(ctx, item, put)
}

// Reput writes an item that was read, as its reader: anyone may, and it keeps
// the item alive while its writer is away. It is like Put otherwise; an item
// whose signature is not its key's is ErrInvalid.
func (n *Node) Reput(ctx context.Context, item Item) (PutResult, error) {
	if !item.verify() {
		return PutResult{}, fmt.Errorf("put of an item whose signature is not valid: %w", ErrInvalid)
	}
	return n.write(ctx, item, Put{})
}

// writing is a put under way.
type writing struct {
	node   *Node
	item   Item
	seen   func(Item)
	not    []netip.AddrPort
	target nodeID
	stored map[netip.AddrPort]bool // those that took the item
	all    bool                    // the last walk ended with every node that answered among them
	result PutResult
}

// write writes an item in the way that put says.
func (n *Node) write(ctx context.Context, item Item, put Put) (PutResult, error) {
	if len(item.Value) > MaxValue || len(item.Salt) > MaxSalt || item.Seq < 0 {
		return PutResult{}, fmt.Errorf("put of %d bytes with a salt of %d and sequence number %d: the limits are %d, %d and not negative: %w",
			len(item.Value), len(item.Salt), item.Seq, MaxValue, MaxSalt, ErrInvalid)
	}
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return PutResult{}, err
	}
	defer end()
	w := &writing{
		node: n, item: item, seen: put.Seen, not: put.Not, target: target(item.Key, item.Salt),
		stored: make(map[netip.AddrPort]bool),
	}
	if put.Direct {
		w.direct(ctx)
	}
	for _, width := range []int{putWidth, putWider} {
		if w.copies() >= putAim || w.result.Newer != 0 || ctx.Err() != nil || w.walk(ctx, width) {
			break // in the last case another walk would find nobody else
		}
	}
	w.result.Stored, w.result.All = w.copies(), w.all
	return w.result, w.err(ctx)
}

// err says whether the item counts as stored.
func (w *writing) err(ctx context.Context) error {
	stored := w.copies()
	switch {
	case w.result.Newer == 0 && (stored >= putEnough || stored > 0 && w.all):
		return nil
	case ctx.Err() != nil:
		return w.node.stopped(ctx)
	case w.result.Newer != 0:
		return fmt.Errorf("put of sequence number %d where %d is: %w", w.item.Seq, w.result.Newer, ErrNewer)
	case w.result.Answered == 0:
		return w.node.noAnswer(w.result.Asked)
	default:
		return fmt.Errorf("%d of %d nodes took the item, try again: %w", stored, w.result.Answered, ErrNotStored)
	}
}

// direct writes to the nodes known for the target whose tokens live.
func (w *writing) direct(ctx context.Context) {
	known := w.node.holders.writable(w.target)
	w.result.Asked += min(len(known), putMost)
	w.result.Answered += w.store(ctx, known)
}

// walk looks up the nodes closest to the target, and writes to those. It says
// whether every node that there is was reached and took the item.
func (w *writing) walk(ctx context.Context, width int) bool {
	l := lookup{target: w.target, method: "get", writes: true, width: width, args: krpc.MsgArgs{Target: krpc.ID(w.target)}}
	w.all = false
	var held []netip.AddrPort
	p := proof{&w.item}
	f, err := w.node.consult(ctx, l, 0, &w.result.Health, func(r *reply) bool {
		item, fault := itemIn(r, w.item.Key, w.item.Salt, &p)
		if fault != nil {
			if !errors.Is(fault, errNoItem) {
				w.node.count(fault.Error())
			}
			return false
		}
		w.result.Found++
		w.read(item)
		if w.ours(item) {
			held = append(held, r.addr)
		}
		return true
	})
	if err != nil || w.result.Newer != 0 {
		return false
	}
	for nodes := f.closest; w.copies() < putAim && len(nodes) > 0 && ctx.Err() == nil; {
		step := nodes[:min(len(nodes), putMost)]
		nodes = nodes[len(step):]
		w.store(ctx, step)
	}
	for _, addr := range held { // written again all the same: that renews its life
		w.stored[addr] = true
	}
	w.all = !slices.ContainsFunc(f.closest, func(h holder) bool { return !w.stored[h.addr] })
	return w.all && !f.missed
}

// copies is how many of the nodes that took the item count.
func (w *writing) copies() int {
	n := len(w.stored)
	for _, addr := range w.not {
		if w.stored[addr] {
			n--
		}
	}
	return n
}

// ours says whether an item that was read is the one that we write.
func (w *writing) ours(item Item) bool {
	return item.Seq == w.item.Seq && string(item.Value) == string(w.item.Value)
}

// read takes in a valid item of the target.
func (w *writing) read(item Item) {
	if item.Seq > w.item.Seq {
		w.result.Newer = max(w.result.Newer, item.Seq)
	}
	if w.seen != nil {
		w.seen(item)
	}
}

// store writes to at most putMost nodes at once, those that have taken the item
// aside, and returns how many answered.
func (w *writing) store(ctx context.Context, nodes []holder) (answered int) {
	var mu sync.Mutex
	var pending sync.WaitGroup
	var refused []holder
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(h holder) bool { return w.stored[h.addr] })
	for _, h := range nodes[:min(len(nodes), putMost)] {
		f := w.node.familyOf(h.addr)
		w.node.wait.Add(1)
		pending.Go(func() {
			defer w.node.wait.Done()
			r, err := f.queryAhead(ctx, h.addr, "put", w.args(h.token), queryTries, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				if ctx.Err() == nil {
					w.node.holders.drop(w.target, h.addr)
				}
				return
			case r.fault == nil:
				w.stored[h.addr] = true
				w.node.holders.renew(w.target, h.addr, "", true)
			case r.fault.Code == krpc.ErrorCodeSequenceNumberLessThanCurrent:
				refused = append(refused, h)
			default:
				w.node.count("put_refused")
				w.node.holders.drop(w.target, h.addr)
			}
			answered++
		})
	}
	pending.Wait()
	for _, h := range refused {
		w.reread(ctx, h)
	}
	return answered
}

// reread reads the item of a node that refused ours as too old. Some answer so
// to the very item that they have: then it is stored. Only a valid item with a
// higher number counts as newer, not the node's word.
func (w *writing) reread(ctx context.Context, h holder) {
	f := w.node.familyOf(h.addr)
	r, err := f.query(ctx, h.addr, "get", krpc.MsgArgs{Target: krpc.ID(w.target), Want: f.want()}, queryTries, nil)
	if err != nil {
		return
	}
	item, fault := itemIn(r, w.item.Key, w.item.Salt, &proof{&w.item})
	switch {
	case errors.Is(fault, errNoItem):
		w.node.count("put_refused")
	case fault != nil:
		w.node.count(fault.Error())
	default:
		w.read(item)
		if w.ours(item) {
			w.stored[h.addr] = true
		}
	}
}

// args are the arguments of a put query.
func (w *writing) args(token string) krpc.MsgArgs {
	seq := w.item.Seq
	args := krpc.MsgArgs{V: w.item.Value, K: w.item.Key, Seq: &seq, Sig: w.item.Sig, Token: token}
	if len(w.item.Salt) > 0 {
		// The library leaves out a nil salt, but not an empty one, which npm
		// bittorrent-dht takes as signed.
		args.Salt = w.item.Salt
	}
	return args
}

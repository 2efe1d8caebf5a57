package carrier

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/gocarrier/carrier/transport"
)

// FriendState is what a person is to this node.
type FriendState uint8

// The states of a Friend.
const (
	FriendNone     FriendState = iota // no longer a friend: we removed them
	FriendPending                     // our request is on its way into the DHT
	FriendAccepted                    // both are friends
	FriendRefused                     // they refused our request
	FriendRemoved                     // they removed us
	FriendExpired                     // our request found no answer in 30 days
	FriendStored                      // our request lies in the DHT and has no answer yet
)

// String names the state in one word.
func (s FriendState) String() string {
	switch s {
	case FriendNone:
		return "none"
	case FriendPending:
		return "pending"
	case FriendAccepted:
		return "accepted"
	case FriendRefused:
		return "refused"
	case FriendRemoved:
		return "removed"
	case FriendExpired:
		return "expired"
	case FriendStored:
		return "stored"
	}
	return "unknown"
}

// Presence is what a person shows to friends.
type Presence uint8

// The presences. A friend that is not online shows PresenceOffline.
const (
	PresenceOffline Presence = iota
	PresenceOnline
	PresenceAway
	PresenceBusy
)

// String names the presence in one word.
func (p Presence) String() string {
	switch p {
	case PresenceOffline:
		return "offline"
	case PresenceOnline:
		return "online"
	case PresenceAway:
		return "away"
	case PresenceBusy:
		return "busy"
	}
	return "unknown"
}

// Path is the way that the packets of a link take.
type Path = transport.Path

// PathKind says of what kind it is.
type PathKind = transport.PathKind

// The kinds of path.
const (
	PathNone   = transport.PathNone   // no link
	PathLAN    = transport.PathLAN    // straight, within one network
	PathDirect = transport.PathDirect // straight, over the internet
	PathRelay  = transport.PathRelay  // by a TURN server, which sees ciphertext only
)

// Profile is what a person tells friends of themselves.
type Profile struct {
	Name        string // at most 64 bytes of UTF-8
	Description string // at most 255 bytes of UTF-8
}

// Friend is a person whom this node knows: a friend, or somebody it asked to
// become one. There is one *Friend per ID in a node, valid as long as the node;
// after removal its calls answer ErrNotFriend. Safe for concurrent use.
type Friend struct {
	node *Node
	id   ID

	mu      sync.Mutex
	info    friendInfo
	changed chan struct{} // closed and replaced at each change of info
}

// friendInfo is what a handle shows; the engine replaces it whole.
type friendInfo struct {
	state    FriendState
	label    string
	profile  Profile
	online   bool
	presence Presence
	endpoint netip.AddrPort
	seen     time.Time
	path     Path
	format   int // higher than ours; 0: none was seen
}

func newFriend(n *Node, id ID) *Friend {
	return &Friend{node: n, id: id, changed: make(chan struct{})}
}

// update lets f change what the handle shows and wakes who waits for it.
func (f *Friend) update(change func(*friendInfo)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.info)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Friend) snapshot() (friendInfo, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info, f.changed
}

// ID returns the friend's identity.
func (f *Friend) ID() ID { return f.id }

// State returns what the friend is to this node now.
func (f *Friend) State() FriendState { i, _ := f.snapshot(); return i.state }

// Profile returns what the friend last told of itself; for a pending friend it
// is empty.
func (f *Friend) Profile() Profile { i, _ := f.snapshot(); return i.profile }

// Name returns the label if one was set, else the name the friend gave itself,
// else the ID in short.
func (f *Friend) Name() string {
	i, _ := f.snapshot()
	switch {
	case i.label != "":
		return i.label
	case i.profile.Name != "":
		return i.profile.Name
	}
	return shortID(f.id)
}

// Label returns the name that this node's user gave the friend; empty if none.
func (f *Friend) Label() string { i, _ := f.snapshot(); return i.label }

// Online reports whether there is a live link to the friend, or it has been heard
// from, bound to a question of ours, within the last 30 s. Who is gone without a
// goodbye is offline within 15 s, within 5 s of something sent over the link, and
// within 35 s if there was no link.
func (f *Friend) Online() bool { i, _ := f.snapshot(); return i.online }

// Presence returns what the friend shows; PresenceOffline when not online.
func (f *Friend) Presence() Presence {
	i, _ := f.snapshot()
	if !i.online {
		return PresenceOffline
	}
	return i.presence
}

// LastSeen returns when the friend was last heard from, as known when it last
// came online, went offline or told its state; zero if never.
func (f *Friend) LastSeen() time.Time { i, _ := f.snapshot(); return i.seen }

// Path returns how the friend is reached now: PathNone without a link, or while
// it is suspect.
func (f *Friend) Path() Path { return f.node.engine.links.path(f.id) }

// SetLabel sets this user's own name for the friend, at most 255 bytes of
// UTF-8; empty clears it. It returns ErrNotFriend, ErrTooLong or ErrBadText.
func (f *Friend) SetLabel(label string) error {
	return f.node.engine.setLabel(f.id, label)
}

// Send puts a message of 0 to 65,536 bytes into the outbox and returns once it
// is durable there; it then travels by itself, also across restarts of both
// nodes, in the order of the calls. The body is copied. While the friend is
// pending or blocked it waits for acceptance or Unblock. opts may be nil.
//
// It returns ErrNotFriend, ErrTooLong, or ErrOutboxFull when 16,384 messages or
// 64 MiB wait for this friend. A ctx that ends first gives its error; the
// message may then have been taken or not.
func (f *Friend) Send(ctx context.Context, body []byte, opts *SendOptions) (*Message, error) {
	return f.node.engine.send(ctx, f.id, body, opts)
}

// Remove ends the friendship, or withdraws the request. It is durable when it
// returns and does not wait for the network; the peer learns it at once over a
// link, else as soon as it can be told, for 30 days: one that stays away longer
// goes on seeing a friend who is never online, until it asks anew. Messages that
// wait for the friend end cancelled, though what was on its way may still arrive
// within a second; unread ones from it stay. It returns ErrNotFriend if there
// was nothing to end.
func (f *Friend) Remove() error { return f.node.engine.remove(f.id) }

// WaitAccepted waits until the friend has accepted: nil, ErrRefused when the
// friend refused or removed us, ErrExpired, ErrCancelled when we removed it, or
// the end of ctx.
func (f *Friend) WaitAccepted(ctx context.Context) error {
	return f.wait(ctx, "wait for acceptance by", "no answer yet", func(i friendInfo) (bool, error) {
		switch i.state {
		case FriendAccepted:
			return true, nil
		case FriendRefused, FriendRemoved:
			return true, ErrRefused
		case FriendExpired:
			return true, ErrExpired
		case FriendNone:
			return true, ErrCancelled
		case FriendPending, FriendStored:
		}
		return false, nil
	})
}

// WaitOnline waits until the friend is online: nil, ErrNotFriend when it
// is no (longer a) friend, or the end of ctx.
func (f *Friend) WaitOnline(ctx context.Context) error {
	return f.wait(ctx, "wait online", "not online yet", func(i friendInfo) (bool, error) {
		switch i.state {
		case FriendAccepted, FriendPending, FriendStored:
			return i.online, nil
		case FriendNone, FriendRefused, FriendRemoved, FriendExpired:
		}
		return true, ErrNotFriend
	})
}

func (f *Friend) wait(ctx context.Context, op, waiting string, done func(friendInfo) (bool, error)) error {
	for {
		info, changed := f.snapshot()
		if ok, err := done(info); err != nil {
			return &Error{Op: op, What: shortID(f.id), Err: err}
		} else if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctxError(ctx, op, shortID(f.id), waiting)
		case <-f.node.engine.done:
			return closedError(op, f.node.engine.cause())
		}
	}
}

// String gives the friend's name and short ID, for logs.
func (f *Friend) String() string {
	if name := f.Name(); name != shortID(f.id) {
		return name + " (" + shortID(f.id) + ")"
	}
	return shortID(f.id)
}

// LogValue shows the short ID only.
func (f *Friend) LogValue() slog.Value { return slog.StringValue(shortID(f.id)) }

// shortID is enough of an ID for a person to tell friends apart.
func shortID(id ID) string {
	s := id.String()
	if len(s) > 8 {
		s = s[:8]
	}
	return s + "…"
}

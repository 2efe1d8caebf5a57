package carrier

import (
	"context"
	"iter"
	"net/netip"
	"time"
)

// Event is something that a program may want to react to: one of the types of
// this file. Every fact in an event can also be asked, of the Friend or Message
// that it names or of the Node.
type Event interface{ event() }

// FriendRequest is a stranger's request to become a friend: answer it with
// Accept, Refuse or Block. A repeat with the same words is not reported again
// while it is pending.
type FriendRequest struct {
	ID    ID
	Name  string    // as the requester calls itself; at most 64 bytes
	Hello string    // at most 256 bytes
	Time  time.Time // when it was sent, by the requester's clock
}

// RequestWithdrawn says that a stranger's request is gone unanswered: it has
// expired after 30 days, or given way to another where 256 of strangers were
// pending: every new one is reported, however many come, and one that gave way may
// be found and reported again. One that was taken back is noticed when it is
// accepted: the friend is removed then.
type RequestWithdrawn struct{ ID ID }

// FriendChanged reports a friend's new State: pending, stored, accepted, refused,
// removed, expired, or none when we removed them.
type FriendChanged struct {
	Friend *Friend
	State  FriendState
}

// FriendPresence reports that a friend has come online, gone offline, or shows
// another presence. Unread ones of the same friend coalesce: the newest stays.
type FriendPresence struct {
	Friend   *Friend
	Online   bool
	Presence Presence
	Endpoint netip.AddrPort // where it was reached; zero when offline or unknown
}

// FriendProfile reports a friend's new name or description.
type FriendProfile struct {
	Friend *Friend
	Profile
}

// FriendPath reports that there is a link to a friend, that it takes another
// way, or that there is none now. Unread ones of the same friend coalesce.
type FriendPath struct {
	Friend *Friend
	Path   Path
}

// MessageChanged reports a new state of a message that was sent.
type MessageChanged struct {
	Message *Message
	State   MessageState
}

// MessageReceived says that a message waits for Messages. It carries no handle,
// so that reading stays in one place.
type MessageReceived struct {
	From ID
	ID   MessageID
}

// Connected reports whether the DHT answers; it is sent once a change.
// Node.Connected can be asked, too.
type Connected struct{ Connected bool }

// IdentityInUse warns that another running node has this node's identity. The
// one with the older store stops writing (Yields) until the other is gone, which
// another IdentityInUse tells (Gone). Meanwhile Warnings has it.
type IdentityInUse struct {
	Yields bool      // this node is the one that waits
	Gone   bool      // the other one is; the warning is over
	Since  time.Time // when that was noticed
}

// ClockSkew warns that this machine's clock is more than an hour off from that
// of two friends; a Skew of 0 says that it no longer is. Mail by direct datagrams
// needs an hour, mail by the DHT a day. Meanwhile Warnings has it.
type ClockSkew struct{ Skew time.Duration } // theirs minus ours

// PeerNewer warns that a friend speaks a newer format than this node, from then
// on in this run. Warnings has it.
type PeerNewer struct {
	Friend *Friend
	Format int
}

// Synced ends a snapshot: what comes after it is news.
type Synced struct{}

// Lagged says that the reader was too slow and N events were thrown away. A new
// snapshot and a Synced follow.
type Lagged struct{ N int }

func (FriendRequest) event()    {}
func (RequestWithdrawn) event() {}
func (FriendChanged) event()    {}
func (FriendPresence) event()   {}
func (FriendPath) event()       {}
func (FriendProfile) event()    {}
func (MessageChanged) event()   {}
func (MessageReceived) event()  {}
func (Connected) event()        {}
func (IdentityInUse) event()    {}
func (ClockSkew) event()        {}
func (PeerNewer) event()        {}
func (Synced) event()           {}
func (Lagged) event()           {}

// Events subscribes to the node's events at the call, and returns them as a
// sequence that can be ranged over once. It begins with a snapshot: Connected,
// what Warnings returns, for each friend a FriendChanged (with a FriendProfile where known and a
// FriendPresence where online and a FriendPath where linked), a FriendRequest for each pending request, then
// Synced. Messages are not in it: Messages and Outbox have them. After that each event
// comes once, in the order in which the node committed it. Only FriendPresence
// and FriendPath coalesce. A reader that falls more than Config.EventQueue events behind gets
// Lagged and then a new snapshot; the node never waits for it.
//
// The sequence ends when ctx does or the node closes, or fails: Err tells which.
// Any number of readers may
// run; a sequence that is never ranged over holds its bounded queue until ctx
// ends.
func (n *Node) Events(ctx context.Context) iter.Seq[Event] {
	return n.engine.events(ctx)
}

// Package carrier talks to people instead of addresses. A Node has a key as its
// identity, finds its friends through the BitTorrent Mainline DHT with no server
// and no account, exchanges messages with them, also when the two are never
// online together, and opens sessions to them through NATs.
//
// A whole program:
//
//	node, err := carrier.Start(ctx, carrier.Config{Dir: "alice", Name: "Alice"})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer node.Shutdown(ctx)
//	fmt.Println("my address:", node.Address())
//	go func() {
//		for ev := range node.Events(ctx) {
//			if req, ok := ev.(carrier.FriendRequest); ok {
//				node.Accept(req.ID)
//			}
//		}
//	}()
//	for msg, err := range node.Messages(ctx) {
//		if err != nil {
//			log.Fatal(err)
//		}
//		fmt.Printf("%s: %s\n", msg.From(), msg.Body())
//	}
//
// # Identity
//
// A node's ID is its Ed25519 public key; the private key lies in the state
// directory, sealed under a key file beside it, which Config.Passphrase can lock,
// or under Config.Key. An Address is an ID with a random number, the nospam:
// whoever has the Address may send a friend request, and NewAddress makes the
// old one dead while friends stay. ExportIdentity moves an identity to another
// directory; SealIdentity makes a text of it, under a passphrase, to be kept.
//
// # Friends
//
// AddFriend gives a *Friend at once, in state pending; the request is found by
// its target through the DHT, now or within 30 days. The target sees a
// FriendRequest event and answers with Accept, Refuse or Block. All of these are
// durable local acts that do not wait for the network.
//
// # Messages
//
// Send returns when the message is durable in the outbox. It then travels over
// the link or straight by UDP when the friend is online, else sealed through the
// DHT, in order per friend, and is stored exactly once; the program is handed it
// at least once, with the same ID after a crash. Messages of up to about 5 KB in
// total wait in the DHT while both are apart; larger ones wait in the outbox
// and Message.State says so.
//
// # Sessions and streams
//
// To each friend who is online a node keeps one link: UDP, through NATs by ICE,
// under keys of its own. It is made by itself and survives changes of address;
// Friend.Path says which way it takes. On it programs open sessions with a
// service of the friend's, and in them streams: reliable ones that are a net.Conn,
// and datagrams.
//
//	listener, err := node.Listen("http", nil) // a net.Listener, for friends only
//	conn, err := friend.Dial(ctx, "http")     // a net.Conn
//
// ListenSessions and NewSession give more: metadata, acceptance or refusal of each
// session with a reason, several streams, datagram streams.
//
// # Events
//
// Events gives any number of readers a snapshot and then the news; Lagged tells
// a slow reader that it gets a new snapshot. Every fact can also be asked.
//
// # Errors
//
// Failing calls return an *Error that says what was tried, on what, why it
// failed and what helps; errors.Is finds the sentinels of this package and the
// causes behind them. What waits for the network takes a context.
//
// # Security
//
// Contents, names and identity keys are sealed from everybody in between: DHT
// nodes and whoever watches the line see random keys and bytes. IP addresses
// are not hidden, and there is no anonymity and no deniability. SECURITY.md in
// the repository says what is promised and what is not.
//
// # Compatibility
//
// Nothing is promised before version 1.0. The wire format carries a number;
// unknown ones are dropped and counted, and PeerNewer tells of newer friends.
package carrier

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/transport"
)

// ID is the public key that identifies a person's node.
type ID = crypto.ID

// Address is what a person gives to others so that they can send a request.
type Address = crypto.Address

// TURNServer is a relay (RFC 8656), and what it wants to know of its users.
type TURNServer = transport.TURNServer

// Net is the network that a node uses. The zero Config uses the operating
// system's; tests give one of their own. Addresses are in the form of package
// net; a node asks for sockets of networks "udp4" and "udp6" only, and for names
// of network "ip". It is used by several goroutines at once.
type Net interface {
	// ListenPacket opens a socket, as net.ListenConfig does.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	// DialContext opens a connection, as net.Dialer does.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// LookupNetIP resolves a name, as net.Resolver does.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LocalAddrs returns the addresses of the interfaces that are up.
	LocalAddrs() ([]netip.Prefix, error)
}

// Config says how a node is to run. Only Dir (or Ephemeral) must be set.
type Config struct {
	// Dir is the state directory, made if missing (0700). One running node has
	// one directory. Empty is ErrNoDir, unless Ephemeral is set.
	Dir string
	// Ephemeral keeps everything in memory: identity, friends and messages are
	// lost at Close.
	Ephemeral bool

	// Name and Description are the profile at the first start; later starts
	// keep what SetProfile last set. At most 64 and 255 bytes of UTF-8.
	Name        string
	Description string

	// Identity is what ExportIdentity or OpenIdentity gave. It is taken at the
	// first start of an empty directory; a directory of another identity is ErrWrongIdentity.
	// Nil: a new identity is made at the first start.
	Identity []byte
	// Key seals the state directory, 32 random bytes that the program keeps
	// somewhere else. Nil: a key file of mode 0600 in the directory does, made
	// at the first start.
	Key []byte
	// Passphrase locks that key file by Argon2id: Start then takes 64 MiB of
	// memory for about a tenth of a second. The first start sets it, later ones
	// must give the same; SetPassphrase changes it, or gives one to a directory
	// that has none. Nil: the key file is in clear, and protects only copies of
	// the other files. The bytes are taken as they are, so text should be brought
	// to one form (Unicode's NFC); they may be overwritten when Start has
	// returned. Not to be set together with Key.
	Passphrase []byte

	// Listen is the UDP address, "host:port" or ":port". A literal IP binds
	// that family only. Empty: all interfaces, of each family that the machine
	// has at the start, on the port of the last run or else a free one.
	Listen string
	// Bootstrap are DHT nodes to begin with, as "host:port". Nil: the public
	// routers of the Mainline DHT.
	Bootstrap []string
	// NoBootstrap begins with the nodes known from earlier runs only.
	NoBootstrap bool
	// Quiet is for metered lines: the node asks the DHT six times less often
	// and does not serve it (BEP 43). Friends are noticed later.
	Quiet bool
	// Net is the network. Nil: the operating system.
	Net Net

	// STUN are servers, "host:port", that are asked for our address. None are
	// needed: the DHT tells it.
	STUN []string
	// TURN are relays for friends that no direct path leads to. None: there is no
	// link to those, and messages go by the DHT.
	TURN []TURNServer
	// SessionMemory bounds the bytes that all sessions together hold; above it
	// the largest session is closed. 0: 512 MiB.
	SessionMemory int64

	// EventQueue bounds the unread events of one Events reader. 0: 1,024.
	EventQueue int
	// Logger takes what an operator may want to know. Nil: nothing is logged.
	Logger *slog.Logger

	// keyLog is told the secrets of links, for this package's own recordings.
	keyLog io.Writer
	// hooks replace parts of the node in this package's own tests.
	hooks hooks
}

// Format prints the configuration without its secrets: Identity, Key, Passphrase
// and the passwords of relays are left out.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config // without this method
	c.Identity, c.Key, c.Passphrase = nil, nil, nil
	c.TURN = slices.Clone(c.TURN)
	for i := range c.TURN {
		c.TURN[i].Password = ""
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(c))
}

// LogValue logs the configuration as Format prints it.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%+v", c)) }

// Node is one person's presence in the network. Make it with Start. All methods
// are safe for concurrent use; after Close they return errors that match
// net.ErrClosed, and Friend and those without an error result answer with the
// last state or with nothing.
type Node struct {
	engine   *engine
	messages messageRegistry[MessageID] // sent
	received messageRegistry[uint64]    // by arrival
	friends  friendRegistry
}

// Start opens the state directory and the sockets and starts the node; it
// returns as soon as the local state is there, without waiting for the network.
// ctx bounds the start only.
//
// Its errors match ErrNoDir, ErrDirInUse, ErrPortInUse, ErrWrongKey,
// ErrWrongPassphrase, ErrWrongIdentity, ErrDamaged, ErrNewer, ErrFailed,
// ErrTooLong or ErrBadText (of Name or Description), or the cause from the
// operating system. After an error nothing is left running, and a directory that
// could not be opened is as it was.
func Start(ctx context.Context, config Config) (*Node, error) {
	return start(ctx, config)
}

// WaitReady waits until a node of the DHT has answered. When ctx ends first the
// error matches ErrNotReady and ctx's, and says which nodes were asked; the
// node goes on trying.
func (n *Node) WaitReady(ctx context.Context) error { return n.engine.waitReady(ctx) }

// Shutdown says goodbye to friends, closes all sessions, waits until what was
// written to their streams has arrived and what friends must know is in the DHT,
// or ctx ends, and closes the node. It returns ctx's error if that came first;
// the node is closed in any case.
func (n *Node) Shutdown(ctx context.Context) error { return n.engine.shutdown(ctx) }

// Close stops the node within a second, without a goodbye. Nothing durable is
// lost. It is idempotent, and when it returns every goroutine, socket and file
// of the node is gone. On a node that has failed it returns why, as Err does.
func (n *Node) Close() error { return n.engine.shut() }

// ID returns the node's identity.
func (n *Node) ID() ID { return n.engine.identity.ID() }

// Address returns the address that strangers can send requests to.
func (n *Node) Address() Address { return n.engine.address() }

// NewAddress draws a new nospam: the old address is dead from now on, pending
// requests and friends stay.
func (n *Node) NewAddress() (Address, error) { return n.engine.newAddress() }

// AddFriend sends a friend request with a hello of at most 256 bytes, which may
// be empty. It returns once that is durable; the request is put into the DHT
// until it is answered, withdrawn by Remove, or 30 days have passed.
//
// For somebody already asked the request is sent again with the new hello; for
// somebody whose request is pending here it accepts; for a friend it refreshes
// the friendship. It returns ErrSelf, ErrBadAddress, ErrTooLong, ErrBadText or
// ErrBlocked.
func (n *Node) AddFriend(ctx context.Context, to Address, hello string) (*Friend, error) {
	return n.engine.addFriend(ctx, to, hello)
}

// Accept makes a friend of a person whose request is pending. It returns
// ErrNoRequest if there is none, and ErrBlocked for a blocked person.
func (n *Node) Accept(id ID) (*Friend, error) { return n.engine.accept(id) }

// Refuse answers a pending request with no; the person may ask again. It
// returns ErrNoRequest if there is none, and ErrBlocked for a blocked person.
func (n *Node) Refuse(id ID) error { return n.engine.refuse(id) }

// Block drops everything that comes from a person, friend or not, now and
// later, without telling them. It returns ErrSelf for the node's own ID.
func (n *Node) Block(id ID) error { return n.engine.block(id) }

// Unblock ends a block. A friendship that was blocked goes on.
func (n *Node) Unblock(id ID) error { return n.engine.unblock(id) }

// Blocked returns the blocked IDs, in order.
func (n *Node) Blocked() []ID { return n.engine.blocked() }

// Requests returns the pending requests of others, oldest first.
func (n *Node) Requests() []FriendRequest { return n.engine.requests() }

// Friend returns the handle of anybody whom Friends lists; ErrNotFriend for
// anybody else.
func (n *Node) Friend(id ID) (*Friend, error) { return n.engine.friend(id) }

// Friends returns the handles of all friends, of those asked to become one, and,
// until Remove, of those who did not answer, refused or removed us, in the order
// of their IDs. Friend.State tells them apart.
func (n *Node) Friends() []*Friend { return n.engine.friendList() }

// SetProfile sets what friends are told of this person: at most 64 and 255 bytes
// of UTF-8. It returns ErrTooLong or ErrBadText.
func (n *Node) SetProfile(p Profile) error { return n.engine.setProfile(p) }

// Profile returns what friends are told of this person.
func (n *Node) Profile() Profile { return n.engine.profile() }

// SetPresence sets what friends see while this node runs: PresenceOnline (the
// state at every start), PresenceAway or PresenceBusy.
func (n *Node) SetPresence(p Presence) error { return n.engine.setPresence(p) }

// Err returns nil while the node runs. After Close or Shutdown it is an error that
// matches net.ErrClosed; after a failure of the state directory, one that matches
// ErrFailed and the cause too. It is set before Events, Messages and other calls
// end for that reason.
func (n *Node) Err() error { return n.engine.err() }

// Connected reports whether the DHT answers, as last told by a Connected event;
// false once the node has closed.
func (n *Node) Connected() bool { return n.engine.connectedNow() }

// Warnings returns the warnings that hold now: an IdentityInUse, a ClockSkew, and
// a PeerNewer for each friend that has one.
func (n *Node) Warnings() []Event { return n.engine.warnings() }

// Outbox returns the sent messages that are not final, and those that became
// final within the last day (16,384 a friend at most), by friend and then in
// the order of sending.
func (n *Node) Outbox() []*Message { return n.engine.outbox() }

// LocalAddrs returns the UDP addresses that the node listens on; with them
// another node can be bootstrapped.
func (n *Node) LocalAddrs() []netip.AddrPort { return n.engine.localAddrs() }

// Stats returns every counter of the node by name: packets and bytes by kind,
// and what was dropped by reason.
func (n *Node) Stats() map[string]uint64 { return n.engine.stats() }

// SetPassphrase puts the state directory under a passphrase, or under another
// one; nil takes it away. It returns when that is durable; a crash leaves the
// old or the new one. Only the key file is written anew, since it is that key
// that the passphrase locks: who has an older copy of that file, and its
// passphrase if it had one, can open the directory for ever. It returns
// ErrWrongPassphrase for one that is empty and not nil, ErrWrongKey for a
// directory under Config.Key, and ErrNoDir for an ephemeral node.
func (n *Node) SetPassphrase(passphrase []byte) error { return n.engine.setPassphrase(passphrase) }

// ExportIdentity returns the identity with address, profile, friends, labels,
// blocks and request numbers, but without messages, for Config.Identity of an
// empty directory elsewhere. It holds the private key in clear: whoever has it is
// this person. SealIdentity makes it safe to keep. The two must not run at the
// same time; see IdentityInUse.
func (n *Node) ExportIdentity() ([]byte, error) { return n.engine.export() }

// NetworkChanged tells the node that addresses or interfaces have changed. It
// notices by itself within 5 s; a program that knows can be faster.
func (n *Node) NetworkChanged() { n.engine.networkChanged() }

// publicRouters are the well-known first nodes of the Mainline DHT.
func publicRouters() []string {
	return []string{
		"router.bittorrent.com:6881",
		"router.utorrent.com:6881",
		"dht.transmissionbt.com:6881",
		"dht.libtorrent.org:25401",
	}
}

package carrier

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/delivery"
	"github.com/gocarrier/carrier/internal/eventq"
	"github.com/gocarrier/carrier/internal/friendship"
	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/udpio"
	"github.com/gocarrier/carrier/internal/wire"
)

const (
	defaultEventQueue = 1024
	tableEvery        = 5 * time.Minute // the routing table is saved so often, and at Close
	prekeyEvery       = time.Hour       // whether the prekey is due is looked at so often
)

// The rows of tableNode.
const (
	rowIdentity    = "identity"    // the seed
	rowNospam      = "nospam"      //
	rowIncarnation = "incarnation" // of this store
	rowProfile     = "profile"     //
	rowTable       = "dht"         // the routing table
	rowPort        = "port"        // of the last run
)

// withDefaults returns config with every zero filled in.
func withDefaults(config Config) Config {
	if config.Net == nil {
		config.Net = udpio.OS{}
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.EventQueue <= 0 {
		config.EventQueue = defaultEventQueue
	}
	return config
}

// start is Start.
func start(ctx context.Context, config Config) (_ *Node, err error) {
	config = withDefaults(config)
	if err := checkProfile("start", Profile{config.Name, config.Description}); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, ctxError(ctx, "start", config.Dir, "not begun")
	}
	e := &engine{
		log:      config.Logger,
		config:   config,
		done:     make(chan struct{}),
		released: make(chan struct{}),
		ready:    make(chan struct{}),
		wake:     make(chan struct{}, 1),
		overlay:  map[rowKey][]byte{},
		mail:     map[crypto.ID]*mailbox{},
		stepped:  map[crypto.ID]*mailbox{},
		hub:      eventq.NewHub[Event](config.EventQueue),
	}
	limits := delivery.DefaultLimits()
	e.limits = &limits
	e.node = &Node{engine: e}
	e.inbox = newInbox(e)
	e.links = newLinks(e)
	e.services = &services{e: e, byName: map[string]*SessionListener{}}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			e.cancel(err)
			if left := e.release(); left != nil {
				err = errors.Join(err, left)
			}
		}
	}()

	if err := e.openStore(); err != nil {
		return nil, err
	}
	if err := e.loadMeta(); err != nil {
		return nil, err
	}
	if err := e.commit(); err != nil { // who we are is durable before anybody hears of it
		return nil, storeError("start", config.Dir, err)
	}
	if e.sockets, err = listen(ctx, config, savedPort(e.nodeRow(rowPort))); err != nil {
		return nil, err
	}
	e.putNodeRow(rowPort, binary.BigEndian.AppendUint16(nil, e.sockets[0].LocalAddr().Port()))
	if err := e.startDHT(); err != nil {
		return nil, &Error{Op: "start", Err: err}
	}
	if err := e.restore(); err != nil {
		return nil, err
	}
	// Nothing was written yet of a directory that turns out to be damaged.
	if err := e.commit(); err != nil {
		return nil, storeError("start", config.Dir, err)
	}
	if err := e.prekeys.rotate(e.Now()); err != nil {
		return nil, storeError("start", config.Dir, err)
	}

	for _, s := range e.sockets {
		s.Handle(udpio.Envelope, e.receive)
	}
	go e.run()
	e.spawn(e.join)
	e.spawn(e.watch)
	return e.node, nil
}

// openStore opens the state directory, or memory.
func (e *engine) openStore() error {
	if h := e.config.hooks; h.store != nil {
		e.store, e.prekeyFile = h.store, h.prekeys
		return nil
	}
	if e.config.Ephemeral {
		e.store, e.prekeyFile = store.Memory(), store.MemoryPrekeys()
		return nil
	}
	if e.config.Dir == "" {
		return &Error{Op: "start", Err: ErrNoDir, Hint: "set Config.Dir, or Config.Ephemeral to keep nothing"}
	}
	dir, err := filepath.Abs(e.config.Dir)
	if err != nil {
		return &Error{Op: "start", What: e.config.Dir, Err: err}
	}
	secret := store.Secret{Key: e.config.Key, Passphrase: e.config.Passphrase}
	e.config.Key, e.config.Passphrase = nil, nil // not to be kept beside what they opened
	if secret.Key != nil && secret.Passphrase != nil {
		return &Error{Op: "start", What: dir, Err: fmt.Errorf("%w: both Config.Key and Config.Passphrase are set", ErrWrongKey), Hint: "set one of them, or neither"}
	}
	s, err := store.Open(dir, secret)
	if err != nil {
		return storeError("start", dir, err)
	}
	e.store, e.prekeyFile = s, s.Prekeys()
	return nil
}

// damaged says that a row of the state directory cannot be what was written, or
// why rows could not be read at all.
func (e *engine) damaged(err error) error {
	if cause := e.cause(); cause != nil {
		return storeError("start", e.config.Dir, cause)
	}
	return &Error{Op: "start", What: e.config.Dir, Err: because(ErrDamaged, err), Hint: "restore it from a backup"}
}

func (e *engine) nodeRow(name string) []byte { return e.Get(tableNode, crypto.ID{}, []byte(name)) }

func (e *engine) putNodeRow(name string, b []byte) { e.Put(tableNode, crypto.ID{}, []byte(name), b) }

// loadMeta reads who this node is, or makes it at the first start.
func (e *engine) loadMeta() error {
	seed := e.nodeRow(rowIdentity)
	if err := e.cause(); err != nil {
		return storeError("start", e.config.Dir, err)
	}
	if seed == nil {
		if e.nodeRow(rowIncarnation) != nil {
			return e.damaged(errors.New("the identity is missing"))
		}
		if err := e.firstStart(); err != nil {
			return err
		}
		seed = e.nodeRow(rowIdentity)
	}
	identity, err := crypto.IdentityFromSeed(seed)
	if err != nil {
		return e.damaged(err)
	}
	e.identity = identity
	if e.config.Identity != nil {
		x, err := parseExport(e.config.Identity)
		if err != nil {
			return &Error{Op: "start", Err: because(ErrWrongIdentity, err), Hint: "give Config.Identity whole, as ExportIdentity made it"}
		}
		if !x.identity.Equal(identity) {
			return &Error{Op: "start", What: e.config.Dir, Err: fmt.Errorf("%w: the directory belongs to %s", ErrWrongIdentity, shortID(identity.ID())), Hint: "use an empty directory for another identity"}
		}
	}
	if e.incarnation, err = parseIncarnation(e.nodeRow(rowIncarnation)); err != nil {
		return e.damaged(err)
	}
	if copy(e.nospam[:], e.nodeRow(rowNospam)) != len(e.nospam) {
		return e.damaged(errors.New("saved nospam: too short"))
	}
	if e.self, err = wire.ParseProfile(e.nodeRow(rowProfile)); err != nil {
		return e.damaged(fmt.Errorf("saved profile: %w", err))
	}
	e.startNonce = randomUint64()
	e.presence = PresenceOnline
	return nil
}

// firstStart writes a new identity, or the imported one, in the first commit.
func (e *engine) firstStart() error {
	now := e.Now()
	x := export{identity: crypto.NewIdentity(), nospam: crypto.NewNospam()}
	x.profile = Profile{e.config.Name, e.config.Description}
	if e.config.Identity != nil {
		imported, err := parseExport(e.config.Identity)
		if err != nil {
			return &Error{Op: "start", Err: because(ErrWrongIdentity, err), Hint: "give Config.Identity whole, as ExportIdentity made it"}
		}
		x = imported
		if e.config.Name != "" || e.config.Description != "" {
			x.profile = Profile{e.config.Name, e.config.Description}
		}
	}
	incarnation := crypto.NewIncarnation(now, x.incarnation)
	e.putNodeRow(rowIdentity, x.identity.InsecureSeed())
	e.putNodeRow(rowNospam, x.nospam[:])
	e.putNodeRow(rowIncarnation, wire.AppendIncarnation(nil, incarnation))
	e.putNodeRow(rowProfile, wire.AppendProfile(nil, &wire.Profile{
		Incarnation: incarnation, Version: uint64(now.UnixMilli()), Name: x.profile.Name, Description: x.profile.Description,
	}))
	for id, row := range x.people {
		e.Put(tableFriend, id, nil, row)
	}
	return nil
}

// startDHT gives the DHT its part of each socket.
func (e *engine) startDHT() error {
	config := dht.Config{
		Bootstrap: e.bootstrap,
		Returned:  e.returned,
		Table:     e.nodeRow(rowTable),
		ReadOnly:  e.config.Quiet,
		Logger:    e.log,
	}
	for _, s := range e.sockets {
		config.Conns = append(config.Conns, s.Conn(udpio.KRPC))
	}
	node, err := dht.New(config)
	if err != nil {
		return fmt.Errorf("start the DHT: %w", err)
	}
	e.dht = node
	return nil
}

// restore gives the rooms what they had saved.
func (e *engine) restore() error {
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	e.friendship = friendship.New(e.identity.ID())
	e.All(tableFriend, func(id crypto.ID, _, row []byte) bool { keep(e.friendship.Restore(id, row)); return true })
	e.All(tableInbox, func(id crypto.ID, key, row []byte) bool { keep(e.inbox.restore(id, key, row)); return true })
	slices.SortFunc(e.inbox.entries, func(a, b *inboxEntry) int { return cmp.Compare(a.arrival, b.arrival) })
	keep(e.restoreMail()) // after the inbox, whose messages take room
	e.prekeys = newPrekeys(e.prekeyFile)
	keep(e.prekeys.load())
	if len(errs) > 0 || e.cause() != nil {
		return e.damaged(errors.Join(errs...))
	}
	if len(e.prekeys.keys) == 0 { // at the first start friends that were imported are told of one
		if err := e.prekeys.rotate(e.Now()); err != nil {
			return storeError("start", e.config.Dir, err)
		}
	}
	var err error
	e.courier, err = courier.New(courier.Config{
		Identity:    e.identity,
		Incarnation: e.incarnation,
		Start:       e.startNonce,
		Loop:        e,
		Rows:        e,
		Slots:       slots{e},
		Datagrams:   e,
		Links:       e.links,
		Prekeys:     e.prekeys,
		Handler:     handler{e},
		Logger:      e.log,
		Quiet:       e.config.Quiet,
	})
	if err == nil && e.cause() == nil {
		err = e.startLinks()
	}
	if err != nil || e.cause() != nil {
		return e.damaged(err)
	}
	e.courier.SetAddress(e.address())
	e.courier.ProfileChanged(e.self)
	e.restoreFriends()
	e.after(tableEvery, e.saveTable)
	e.after(prekeyEvery, e.rotatePrekeys)
	return nil
}

// saveTable keeps the routing table for the next start.
func (e *engine) saveTable() {
	if t := e.dht.Table(); t != nil {
		e.putNodeRow(rowTable, t)
	}
	e.after(tableEvery, e.saveTable)
}

func (e *engine) rotatePrekeys() {
	if err := e.prekeys.rotate(e.Now()); err != nil {
		e.log.Error("prekeys not rotated", "err", err)
	}
	e.after(prekeyEvery, e.rotatePrekeys)
}

func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

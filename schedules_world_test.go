package carrier_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/store"
)

// systemRouters is how many DHT nodes there are besides the people's.
const systemRouters = 8

// system is one schedule: people, their nodes, and the network between them. Its
// driver is the test's goroutine; what nodes tell is noted by others, in referee.
type system struct {
	referee
	t       *testing.T
	plan    plan
	net     *lab.Network
	routers []*router
	people  []*actor
	crashed chan crash   // what has, and still runs
	logger  *slog.Logger // nil: nothing is logged
}

// crash is the end of one run of a person's node.
type crash struct {
	actor *actor
	store *crashStore
}

// router is a DHT node that anybody may use.
type router struct {
	at   netip.AddrPort
	host *lab.Host
	node *dht.Node // nil while it is down
}

// actor is somebody with a machine: a disk, a clock and an address, and at
// times a node that runs.
type actor struct {
	w     *system
	index int
	name  string
	host  *lab.Host
	addrs int // how many the host has had
	disk  *disk
	saved *backup
	clock wallClock
	id    carrier.ID              // since the first start
	asked map[int]carrier.Address // whom it asked, and at which address

	// Guarded by referee.mu.
	shown     map[int]int      // in this run, by sender: the number of the newest
	lastShown map[int]int      // in any run
	seen      map[*letter]bool // shown before
	consumed  map[*letter]bool // for good: Done has returned

	node     *carrier.Node // nil while it is down
	store    *crashStore   // of this run
	stop     context.CancelFunc
	readers  sync.WaitGroup
	linkless bool        // it makes no links in this run
	reading  atomic.Bool // its program reads its messages
	read     chan struct{}
}

// wallClock is a clock that was set wrong. Setting it moves the time of day, not
// what time differences are measured with: as in every operating system.
type wallClock struct{ offset atomic.Int64 } // in seconds

func (c *wallClock) now() time.Time {
	return twoClocks(time.Now(), time.Duration(c.offset.Load())*time.Second)
}

func (c *wallClock) set(d time.Duration) { c.offset.Store(int64(d / time.Second)) }

// twoClocks is t with the wall clock's reading moved, and t as the reading of the
// monotonic clock. A synctest bubble has no such times and package time no call
// that makes them, so this writes them as time.Now does: the highest bit says
// that there are two readings, under it stand the wall clock's seconds since
// 1885 and, in 30 bits, nanoseconds; then the monotonic clock's nanoseconds.
func twoClocks(t time.Time, moved time.Duration) time.Time {
	both := struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}{ext: t.UnixNano(), loc: time.Local}
	wall := t.Add(moved)
	both.wall = 1<<63 | uint64(wall.Unix()-time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix())<<30 | uint64(wall.Nanosecond())
	return *(*time.Time)(unsafe.Pointer(&both))
}

func newSystem(t *testing.T, p plan) *system {
	w := &system{
		t: t, plan: p, crashed: make(chan crash, 64),
		net: lab.New(lab.Options{Seed: p.seed, Default: p.link}),
	}
	w.begin(w)
	w.net.Tap(w.packet)
	now := time.Now()
	one, two := twoClocks(now, 0), twoClocks(now.Add(time.Second), time.Hour)
	if !one.Round(0).Equal(now) || two.Sub(one) != time.Second || two.Round(0).Sub(one.Round(0)) != time.Hour+time.Second {
		t.Fatal("a time.Time is not made as in earlier versions of Go")
	}
	for i := range systemRouters {
		addr := netip.AddrFrom4([4]byte{198, 18, 0, byte(1 + i)})
		w.routers = append(w.routers, &router{at: netip.AddrPortFrom(addr, 6881), host: w.net.Host(addr)})
	}
	for _, r := range w.routers {
		w.startRouter(r)
	}
	for i := range p.people {
		addr := netip.AddrFrom4([4]byte{198, 18, byte(1 + i), 1})
		w.people = append(w.people, &actor{
			w: w, index: i, name: nameAt(i), host: w.net.Host(addr), addrs: 1, disk: newDisk(), read: make(chan struct{}, 1),
			asked: map[int]carrier.Address{}, shown: map[int]int{}, lastShown: map[int]int{}, consumed: map[*letter]bool{}, seen: map[*letter]bool{},
		})
	}
	return w
}

// close ends everything that runs.
func (w *system) close() {
	for _, p := range w.people {
		p.kill()
	}
	for _, r := range w.routers {
		w.stopRouter(r)
	}
	w.net.Close()
}

func (w *system) startRouter(r *router) {
	if r.node != nil {
		return
	}
	conn, err := r.host.ListenPacket(context.Background(), "udp4", r.at.String())
	if err != nil {
		w.t.Fatalf("listen for a DHT node: %v", err)
	}
	first := w.routers[0].at
	if r == w.routers[0] {
		first = w.routers[1].at
	}
	r.node, err = dht.New(dht.Config{
		Conns:     []net.PacketConn{conn},
		Bootstrap: func(context.Context) ([]netip.AddrPort, error) { return []netip.AddrPort{first}, nil },
	})
	if err != nil {
		w.t.Fatalf("start a DHT node: %v", err)
	}
}

func (w *system) stopRouter(r *router) {
	if r.node == nil {
		return
	}
	if err := r.node.Close(); err != nil {
		w.t.Errorf("close a DHT node: %v", err)
	}
	r.node = nil
}

// bootstrap is what nodes begin with: some may be down.
func (w *system) bootstrap() []string {
	var at []string
	for _, r := range w.routers[:4] {
		at = append(at, r.at.String())
	}
	return at
}

// sleep lets time pass, and takes away nodes whose stores have crashed.
func (w *system) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case c := <-w.crashed:
			w.tally.Crashes++
			if c.actor.store == c.store {
				c.actor.kill()
			}
		case <-timer.C:
			return
		}
	}
}

// start runs the person's node.
func (p *actor) start() { p.startUntil(0, false) }

// startUntil runs the person's node with a store that crashes at the n-th commit,
// done or not: before it has come up, if n is small. With n = 0 it does not.
func (p *actor) startUntil(n int, done bool) {
	if p.node != nil {
		return
	}
	w := p.w
	s := &crashStore{disk: p.disk}
	s.crashAt(n, done)
	s.commits = func(ops []store.Op) { w.committed(p, ops) }
	s.crashed = func() {
		p.host.Down() // what the crash left undone does not leave the machine
		w.crashed <- crash{p, s}
	}
	config := carrier.Config{Name: p.name, Net: p.host, Bootstrap: w.bootstrap(), Logger: w.logger, EventQueue: 1 << 16}
	if w.logger != nil {
		config.Logger = w.logger.With("node", p.name)
	}
	config.Hook(s, p.disk.prekeys, p.clock.now)
	p.host.Up()
	node, err := carrier.Start(context.Background(), config)
	if err != nil && s.alive() != nil {
		return // it has crashed
	}
	if err != nil {
		w.fail("%s does not start: %v", p.name, err)
		return
	}
	p.node, p.store, p.linkless = node, s, false
	w.mu.Lock()
	p.id = node.ID()
	clear(p.shown) // what was not consumed comes again
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	events := node.Events(ctx)
	p.readers.Go(func() {
		for ev := range events {
			w.event(p, ev)
		}
	})
	p.readers.Go(func() { p.readMessages(ctx, node) })
	w.started(p)
}

// readMessages is the person's program.
func (p *actor) readMessages(ctx context.Context, node *carrier.Node) {
	for {
		for !p.reading.Load() {
			select {
			case <-p.read:
			case <-ctx.Done():
				return
			}
		}
		for msg, err := range node.Messages(ctx) {
			if err != nil {
				return // closed or crashed
			}
			if !p.reading.Load() {
				break
			}
			if !p.w.show(p, msg) {
				break
			}
		}
	}
}

func (p *actor) setReading(on bool) {
	p.reading.Store(on)
	select {
	case p.read <- struct{}{}:
	default:
	}
}

// kill ends the process without any warning.
func (p *actor) kill() {
	if p.node == nil {
		return
	}
	p.host.Down()
	p.store.kill()
	p.end(p.node.Close())
}

// shutdown ends it in order.
func (p *actor) shutdown() {
	if p.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p.end(p.node.Shutdown(ctx))
}

// end waits for what reads from a node that was closed.
func (p *actor) end(err error) {
	if err != nil && !errors.Is(err, carrier.ErrFailed) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrFailed) {
		p.w.fail("%s does not close: %v", p.name, err)
	}
	p.stop()
	p.readers.Wait()
	p.node, p.store = nil, nil
	p.host.Down()
}

// move gives the person's machine another address.
func (p *actor) move() {
	p.addrs++
	p.host.Move(p.w.net.Segment, p.addr())
}

// addr is where the person's machine is now.
func (p *actor) addr() netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(1 + p.index), byte(p.addrs)})
}
